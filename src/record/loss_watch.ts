/**
 * Turns the kernel's loss counters into GAP events where they rose. The counters are read each time before the kernel gets room in
 * the ring: from one such moment to the next the ring only fills, so what was lost for want of room was lost behind all records
 * that are in it then, and before all that come later. There the GAP event stands. Classes that mean "settled otherwise" (payload
 * read back, folder announced again) are reported in the summary only.
 */
import type { LossCounters, Shared } from "../capture/ebpf/shared.ts";

/** Classes that mean that something is missing from the trace, with the words for it. */
const MISSING = [
  ["ring_full", "the ring buffer was full"],
  ["task_storage", "the kernel had no memory for a task"],
  ["scratch_busy", "a scratch buffer was busy"],
  ["walk_too_long", "a path was too long to follow"],
  ["touched_overflow", "a call changed more inodes than could be noted"],
] as const;

/** What was lost at a place in the stream of records. */
interface Loss {
  /** Bytes of records that came before it. */
  at: number;
  text: string;
  events: number;
  bytes: number;
}

/** Takes what was lost. */
export interface LossTaker {
  gap(text: string, loss: { events: number; bytes: number }): void;
}

/** See the head of the file. */
export class LossWatch {
  readonly #shared: Pick<Shared, "lost">;
  readonly #first: LossCounters;
  #seen: LossCounters;
  /** By place; at most a ring full of places, because the reader goes past them. */
  #losses: Loss[] = [];

  constructor(shared: Pick<Shared, "lost">) {
    this.#shared = shared;
    this.#first = shared.lost();
    this.#seen = this.#first;
  }

  counters(): LossCounters {
    return this.#seen;
  }

  /** Was anything lost so far? */
  get hasLost(): boolean {
    return MISSING.some(([name]) => this.#seen[name] > this.#first[name]);
  }

  /** Where in the stream the next loss is to be reported; Infinity: nowhere. */
  get nextAt(): number {
    return this.#losses[0]?.at ?? Infinity;
  }

  /** Reads the counters. `end`: where the stream ended just before. */
  look(end: number): void {
    const now = this.#shared.lost();
    for (const [name, text] of MISSING) {
      const events = now[name] - this.#seen[name];
      if (events <= 0) continue;
      const bytes = name === "ring_full" ? now.ring_full_bytes - this.#seen.ring_full_bytes : 0;
      this.#losses.push({ at: end, text, events, bytes });
    }
    this.#seen = now;
  }

  /** Says what was lost up to a place in the stream. */
  report(taker: LossTaker, position: number): void {
    for (let loss = this.#losses[0]; loss !== undefined && loss.at <= position;) {
      this.#losses.shift();
      taker.gap(loss.text, { events: loss.events, bytes: loss.bytes });
      loss = this.#losses[0];
    }
  }
}
