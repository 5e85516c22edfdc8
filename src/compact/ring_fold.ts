/**
 * Keeps a trace within its budget while it is recorded: looks now and then how much there is, and folds the oldest history into the
 * baseline, in steps, because each costs as much as the tree. So there is a little more than was asked for until the recording
 * ends. The log is moved into the file too, or it would grow without end.
 */
import {
  LIVE_FOLD_PART,
  LIVE_KEEP_NS_MIN,
  LIVE_LOG_BYTES_MAX,
  LIVE_LOOK_MS,
  LIVE_SIZE_HIGH,
  LIVE_SIZE_LOW,
} from "../base/limits.ts";
import { Trace } from "../history/trace.ts";
import type { CompactStore } from "../store/compact_store.ts";
import { EFFORT_FAST } from "./blob_maker.ts";
import { eventAt, eventBeyond } from "./fold_point.ts";
import type { Budget } from "./gc_trace.ts";
import { foldHistory } from "./history_fold.ts";

/** See the head of the file. */
export class RingFold {
  readonly #store: CompactStore;
  readonly #budget: Budget;
  #lookedAtMs = 0;

  constructor(store: CompactStore, budget: Budget) {
    this.#store = store;
    this.#budget = budget;
  }

  /** Does what is due. @returns whether history was folded: what is known of rows may be wrong then. */
  turn(): boolean {
    const now = performance.now();
    if (now - this.#lookedAtMs < LIVE_LOOK_MS) return false;
    this.#lookedAtMs = now;
    const seq = this.#due();
    if (seq > 0) foldHistory(this.#store, { seq, effort: EFFORT_FAST, live: true });
    const { maxBytes = Number.POSITIVE_INFINITY } = this.#budget;
    const isLong = this.#store.walBytes() > Math.min(LIVE_LOG_BYTES_MAX, maxBytes / 8);
    if (seq > 0 || isLong) this.#store.trimLog();
    return seq > 0;
  }

  /** The last event that is to go; 0: none. */
  #due(): number {
    const trace = Trace.open(this.#store.path);
    try {
      const { endNs, first } = trace.range();
      const { seq: gone, tNs: goneNs } = first ?? { seq: 0, tNs: 0 };
      const young = endNs - LIVE_KEEP_NS_MIN;
      const wanted = Math.max(this.#byTime(trace, endNs, goneNs), this.#bySize());
      const seq = wanted === 0 ? 0 : Math.min(wanted, eventAt(trace, young));
      return seq > gone ? seq : 0;
    } finally {
      trace.close();
    }
  }

  #byTime(trace: Trace, endNs: number, goneNs: number): number {
    const { keepNs } = this.#budget;
    if (keepNs === undefined) return 0;
    const over = endNs - keepNs - goneNs;
    return over < keepNs * LIVE_FOLD_PART ? 0 : eventAt(trace, endNs - keepNs);
  }

  #bySize(): number {
    const { maxBytes } = this.#budget;
    if (maxBytes === undefined) return 0;
    const used = this.#store.usedBytes() + this.#store.walBytes();
    if (used <= maxBytes * LIVE_SIZE_HIGH) return 0;
    return eventBeyond(this.#store, maxBytes * LIVE_SIZE_LOW);
  }
}
