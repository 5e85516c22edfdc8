/**
 * Turns the kernel's loss counters into GAP events where they rose: between the records before and after the drain's look.
 * Counters that mean "settled otherwise" (payload read back, folder announced again) are reported in the summary only.
 */
import type { LossCounters, Shared } from "../capture/ebpf/shared.ts";
import type { Resolver } from "../resolve/resolver.ts";

/** Classes that mean that something is missing from the trace, with the words for it. */
const MISSING = [
  ["ring_full", "the ring buffer was full"],
  ["task_storage", "the kernel had no memory for a task"],
  ["scratch_busy", "a scratch buffer was busy"],
  ["walk_too_long", "a path was too long to follow"],
  ["touched_overflow", "a call changed more inodes than could be noted"],
] as const;

/** See the head of the file. */
export class LossWatch {
  readonly #shared: Shared;
  #seen: LossCounters;

  constructor(shared: Shared) {
    this.#shared = shared;
    this.#seen = shared.lost();
  }

  counters(): LossCounters {
    return this.#seen;
  }

  /** Says what was lost since the last look. */
  report(resolver: Resolver): void {
    const now = this.#shared.lost();
    for (const [name, text] of MISSING) {
      const events = now[name] - this.#seen[name];
      if (events <= 0) continue;
      const bytes = name === "ring_full" ? now.ring_full_bytes - this.#seen.ring_full_bytes : 0;
      resolver.gap(text, { events, bytes });
    }
    this.#seen = now;
  }
}
