/**
 * Folds bursts: writes of one process to one file that follow each other, with nothing but other writes in between, become
 * one line. It stands where its last write stands, so that "a time includes everything printed under it" and "#N is the
 * state after N" stay true for folded lines. A pause or a long time ends a burst, so that a slow log keeps its rhythm.
 */
import { EventFlag, Op } from "../format/trace_event.ts";
import type { TimelineEntry } from "./timeline.ts";

/** A pause of this length ends a burst. */
export const BURST_PAUSE_NS = 1_000_000_000;

/** A burst is not longer than this. */
export const BURST_SPAN_NS = 10_000_000_000;

/** Files that are written in turns and fold all the same; one more ends all bursts. */
export const BURST_FILES_MAX = 16;

/** One line of the timeline: an entry, or several writes. */
export interface Burst {
  /** The last write; of a single entry that entry. */
  last: TimelineEntry;
  firstSeq: number;
  firstNs: number;
  count: number;
  /** Bytes of all. */
  bytes: number;
  /** Flags of any of them. */
  flags: number;
}

/** One entry as a line of its own. */
export function single(entry: TimelineEntry): Burst {
  const { seq, tNs, length, flags } = entry;
  return { last: entry, firstSeq: seq, firstNs: tNs, count: 1, bytes: length, flags };
}

/** Folds a stream of entries; see the head of the file. */
export function* foldBursts(entries: Iterable<TimelineEntry>): Generator<Burst> {
  let open: Burst[] = [];
  for (const entry of entries) {
    if (entry.op !== Op.WRITE) {
      yield* closed(open);
      open = [];
      yield single(entry);
      continue;
    }
    const burst = open.find(({ last }) =>
      last.node === entry.node && last.pid === entry.pid &&
      (last.flags & EventFlag.MAPPED) === (entry.flags & EventFlag.MAPPED)
    );
    if (burst !== undefined && isWithin(burst, entry)) {
      burst.last = entry;
      burst.count++;
      burst.bytes += entry.length;
      burst.flags |= entry.flags;
      continue;
    }
    if (burst !== undefined || open.length >= BURST_FILES_MAX || isPause(open, entry)) {
      yield* closed(open);
      open = [];
    }
    open.push(single(entry));
  }
  yield* closed(open);
}

function isWithin(burst: Burst, entry: TimelineEntry): boolean {
  return entry.tNs - burst.last.tNs < BURST_PAUSE_NS && entry.tNs - burst.firstNs < BURST_SPAN_NS;
}

function isPause(open: readonly Burst[], entry: TimelineEntry): boolean {
  return open.some((burst) => !isWithin(burst, entry));
}

/** The bursts in the order of their last writes. */
function closed(open: Burst[]): Burst[] {
  return open.sort((a, b) => a.last.seq - b.last.seq);
}
