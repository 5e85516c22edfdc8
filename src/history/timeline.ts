/**
 * The events of a trace in order, with the path of each, filtered. Reads what is stored when asked and goes on from there
 * the next time, so that a running recording can be followed. Only events that pass the filters become objects; of the
 * others only those on names are folded.
 */
import type { EventCursor } from "../format/event_codec.ts";
import type { Glob } from "../format/glob.ts";
import { isInexact } from "../format/fidelity.ts";
import { isAfterSpan, isBeforeSpan, type TimeSpan } from "../format/time_expr.ts";
import { EventFlag, Op, shownOp, type TraceEvent } from "../format/trace_event.ts";
import { changesNames, type EventPlace, Places } from "./places.ts";
import type { OnProgress, Trace } from "./trace.ts";

/** Which events to give; what is absent does not filter. */
export interface TimelineFilter {
  /**
   * Covers the path or the new path, as they are at that moment, or, where a folder is renamed, those of something in it. Losses that name no path pass, because they may concern every path.
   */
  glob?: Glob;
  ops?: ReadonlySet<number>;
  /** Losses, which have no process, pass. */
  pids?: ReadonlySet<number>;
  from?: TimeSpan;
  to?: TimeSpan;
  /** Only what is not exact, and of the baseline too: its entries have seq 0. */
  inexact?: boolean;
}

/** One event of the timeline. */
export interface TimelineEntry {
  seq: number;
  tNs: number;
  op: number;
  flags: number;
  pid: number;
  /** Task name, a binary string. */
  comm: string;
  node: number;
  place: EventPlace;
  offset: number;
  length: number;
  /** The whole event; absent for plain writes, of which all is said above. */
  event?: TraceEvent;
}

/** Events after which progress is reported. */
const PROGRESS_EVENTS = 8192;

/** See the head of the file. */
export class Timeline {
  readonly #trace: Trace;
  readonly #filter: TimelineFilter;
  readonly #onProgress: OnProgress | undefined;
  readonly #places = new Places();
  readonly #globVerdicts = new Map<EventPlace, boolean>();
  #lastSeq = 0;
  #isBegun = false;
  /** Whether an event after `to` was met: nothing more will come. */
  isDone = false;
  /** GAPs of the baseline that were not given, because only `inexact` gives the baseline. */
  baselineGaps = 0;
  /** Whether the glob covered the place of an event that passed the other filters. */
  globMatched = false;

  constructor(trace: Trace, filter: TimelineFilter, onProgress?: OnProgress) {
    this.#trace = trace;
    this.#filter = filter;
    this.#onProgress = onProgress;
  }

  /** The entries stored since the last call; all at the first. @throws {DiffKeeperError} `data_corrupt` */
  *entries(): Generator<TimelineEntry> {
    if (!this.#isBegun && this.#skipToKeyframe()) this.#isBegun = true;
    if (!this.#isBegun) {
      for (const { cursor } of this.#trace.reader.baselineBatches()) {
        if (this.#filter.inexact !== true) {
          this.baselineGaps += this.#places.foldBaseline(cursor);
        } else yield* this.#baseline(cursor);
      }
      this.#isBegun = true;
    }
    const { to } = this.#filter;
    for (const { cursor } of this.#trace.reader.pollNewBatches(this.#lastSeq)) {
      while (!this.isDone && cursor.next()) {
        const { seq } = cursor;
        if (to !== undefined && isAfterSpan(to, seq, cursor.tNs)) {
          this.isDone = true;
          return;
        }
        this.#lastSeq = seq;
        if (seq % PROGRESS_EVENTS === 0) this.#onProgress?.(seq);
        const entry = this.#read(cursor);
        if (entry !== undefined) yield entry;
      }
      if (this.isDone) return;
    }
  }

  /** Begins at the last keyframe before what is asked for; false: there is none, or all is asked for. */
  #skipToKeyframe(): boolean {
    const { from, inexact } = this.#filter;
    if (from === undefined || inexact === true) return false;
    const keyframe = this.#trace.keyframe((seq, tNs) => isBeforeSpan(from, seq, tNs));
    if (keyframe === undefined) return false;
    for (const { cursor } of keyframe.parts()) this.#places.foldKeyframe(cursor);
    this.baselineGaps = keyframe.rest.baselineGaps;
    this.#lastSeq = keyframe.rest.seq;
    return true;
  }

  /** What is not exact in a baseline batch. */
  *#baseline(cursor: EventCursor): Generator<TimelineEntry> {
    while (cursor.next()) {
      const entry = this.#read(cursor);
      // a folded baseline may have given up the content of a file without a name
      if (entry === undefined) continue;
      const hasName = entry.place.path !== undefined && !entry.place.unlinked;
      if (entry.op !== Op.WRITE || hasName) yield entry;
    }
  }

  /** The entry the cursor stands on, if it passes. */
  #read(cursor: EventCursor): TimelineEntry | undefined {
    const { op } = cursor;
    const passes = this.#passesHead(cursor, op);
    let event: TraceEvent | undefined;
    let place: EventPlace | undefined;
    if (changesNames(op)) {
      event = cursor.event();
      place = this.#places.fold(event);
    }
    if (!passes) return undefined;
    place ??= this.#places.ofNode(cursor.node);
    if (op !== Op.WRITE || (cursor.flags & EventFlag.UNREAD) !== 0) event ??= cursor.event();
    if (!this.#passesGlob(place, op, event)) return undefined;
    return entryOf(cursor, place, event);
  }

  #passesHead(cursor: EventCursor, op: number): boolean {
    const { ops, pids, from, inexact } = this.#filter;
    if (inexact === true && !isInexact(op, cursor.flags)) return false;
    if (from !== undefined && isBeforeSpan(from, cursor.seq, cursor.tNs)) return false;
    if (ops !== undefined && !ops.has(shownOp(op, cursor.flags))) return false;
    return pids === undefined || op === Op.GAP || pids.has(cursor.pid);
  }

  #passesGlob(place: EventPlace, op: number, event: TraceEvent | undefined): boolean {
    const { glob } = this.#filter;
    if (glob === undefined) return true;
    if (op === Op.GAP && place.path === undefined) return true;
    const known = this.#globVerdicts.get(place);
    if (known !== undefined) return known;
    const { rootPaths } = this.#trace.recording;
    const covers = (path: string | undefined, root = -1) =>
      path !== undefined && glob.covers(path, rootPaths[root] ?? "");
    const passes = covers(place.path, place.root) || covers(place.to, place.toRoot) ||
      (op === Op.RENAME && event !== undefined && this.#movesMatch(glob, place, event));
    if (passes) this.globMatched = true;
    if (this.#globVerdicts.size >= VERDICTS_MAX) this.#globVerdicts.clear();
    this.#globVerdicts.set(place, passes);
    return passes;
  }

  /** Whether a folder is renamed with something in it that is asked for, by the old path or the new one. */
  #movesMatch(glob: Glob, place: EventPlace, { node, victim = 0, flags }: TraceEvent): boolean {
    const { rootPaths } = this.#trace.recording;
    const ends = [
      { path: place.path, root: rootPaths[place.root] ?? "" },
      { path: place.to, root: rootPaths[place.toRoot ?? -1] ?? "" },
    ].flatMap(({ path, root }) => path === undefined ? [] : [{ path, root }])
      .filter(({ path, root }) => glob.reachesBelow(path, root));
    if (ends.length === 0) return false;
    const moved = (flags & EventFlag.EXCHANGE) === 0 ? [node] : [node, victim];
    for (const folder of moved) {
      for (const rest of this.#places.below(folder)) {
        if (ends.some(({ path, root }) => glob.matches(`${path}/${rest}`, root))) return true;
      }
    }
    return false;
  }
}

/** Verdicts on places kept; then all are forgotten, because they can be found again. */
const VERDICTS_MAX = 65_536;

function entryOf(
  cursor: EventCursor,
  place: EventPlace,
  event: TraceEvent | undefined,
): TimelineEntry {
  const isName = changesNames(cursor.op);
  return {
    seq: cursor.seq,
    tNs: cursor.tNs,
    op: cursor.op,
    flags: cursor.flags,
    pid: cursor.pid,
    comm: cursor.comm,
    node: cursor.node,
    place,
    offset: isName ? 0 : cursor.offset,
    length: isName ? 0 : cursor.length,
    event,
  };
}

/** The `half` items before a moment and the `half` items from it on. `isBefore` says where an item lies. */
export function* around<T>(
  items: Iterable<T>,
  half: number,
  isBefore: (item: T) => boolean,
): Generator<T> {
  const before: T[] = [];
  let after = 0;
  for (const item of items) {
    if (isBefore(item)) {
      if (before.push(item) > half) before.shift();
      continue;
    }
    if (after === 0) yield* before;
    if (after++ === half) return;
    yield item;
  }
  if (after === 0) yield* before;
}

/** The first `count` items. */
export function* limited<T>(items: Iterable<T>, count: number): Generator<T> {
  let given = 0;
  if (count === 0) return;
  for (const item of items) {
    yield item;
    if (++given === count) return;
  }
}
