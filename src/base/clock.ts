/**
 * Time as an input: whoever needs it takes a `Clock`, so that a test or a simulation can hand over a manual one. All
 * values are nanoseconds as bigint. The monotonic clock here measures lengths only: in Bun `process.hrtime` and
 * `Bun.nanoseconds` count from the start of the process, not from boot as CLOCK_MONOTONIC of the kernel and
 * bpf_ktime_get_ns do. Times of events are the kernel's own; code that must name a moment on that clock asks
 * clock_gettime(2) through ffi.
 */

/** A source of time. */
export interface Clock {
  /** Never goes back; its origin is any, so only differences have a meaning. */
  monotonicNs(): bigint;
  /** Nanoseconds since 1970-01-01T00:00:00Z; jumps when somebody sets the clock. */
  wallNs(): bigint;
}

const NS_PER_MS = 1_000_000n;

/** The clocks of this machine; the wall clock has the resolution of `Date.now`, one millisecond. */
export const systemClock: Clock = {
  monotonicNs: () => process.hrtime.bigint(),
  wallNs: () => BigInt(Date.now()) * NS_PER_MS,
};

/** A clock that stands still until told; for tests and simulation. */
export class ManualClock implements Clock {
  #monotonicNs: bigint;
  #wallNs: bigint;

  constructor(monotonicNs = 0n, wallNs = 0n) {
    this.#monotonicNs = monotonicNs;
    this.#wallNs = wallNs;
  }

  monotonicNs(): bigint {
    return this.#monotonicNs;
  }

  wallNs(): bigint {
    return this.#wallNs;
  }

  /** Moves both clocks ahead. */
  advance(deltaNs: bigint): void {
    this.#monotonicNs += deltaNs;
    this.#wallNs += deltaNs;
  }
}
