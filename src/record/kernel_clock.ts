/** The kernel's clocks (clock_gettime(2)) in nanoseconds, as the BPF programs read them. */
import { libc, pinned } from "../../ffi/libc.ts";

/** Clock ids of include/uapi/linux/time.h. */
export const CLOCK_REALTIME = 0;
/** CPU time of the calling thread. */
export const CLOCK_THREAD_CPUTIME = 3;
export const CLOCK_BOOTTIME = 7;
const NS = 1_000_000_000n;

/** What a clock shows. */
export function clockNs(
  clock: typeof CLOCK_REALTIME | typeof CLOCK_THREAD_CPUTIME | typeof CLOCK_BOOTTIME,
): bigint {
  const time = pinned(16);
  libc.clock_gettime(clock, time.address);
  const view = new DataView(time.bytes.buffer);
  return view.getBigInt64(0, true) * NS + view.getBigInt64(8, true);
}
