/**
 * What the main thread and the background compactor say to each other: begin -> stopped. To stop it, and to hold it back while the
 * recorder's ring is filling, there are shared words, so that it need not look at messages in the middle of its work.
 */

import type { Budget } from "./gc_trace.ts";

/** Words of the shared memory. */
export const Shared = {
  /** Bytes that wait in the ring; the recorder writes it. */
  PENDING: 0,
  /** 1: come to an end. */
  STOP: 1,
  /** Thread id of the compactor, 0 while it has none; it writes it. */
  THREAD: 2,
} as const;
export const SHARED_WORDS = 3;

/** To the compactor. */
export interface BeginCompaction {
  dir: string;
  shared: SharedArrayBuffer;
  /** Whether it packs what was recorded. */
  pack: boolean;
  /** What the trace may keep while it is recorded; absent: everything. */
  budget?: Budget;
  /** It rests while more than these bytes wait in the ring. */
  pendingMax: number;
}

/** From the compactor: it has closed the trace. `error`: why it gave up before it was told to. */
export interface CompactionStopped {
  error?: string;
}
