/**
 * Limits of the Resolver: how long a record may wait for one that belongs before it. Times are
 * record time (the kernel's clock in the records), so that a replay of the same ring decides alike.
 */
import { assert } from "../base/assert.ts";

/**
 * Records held while an older number of the in-lock order is outstanding; then they go on. A task that was preempted between
 * its change and the end of its call may keep its number for a long time; a number is lost only when a record is.
 */
export const REORDER_RECORDS_MAX = 16_384;

/**
 * The same in record time, ns. A filesystem that writes its log, or holds a writer back, keeps a task in its call for seconds
 * (btrfs: 1.2 s seen).
 */
export const REORDER_WAIT_NS = 10_000_000_000;

/** The same once something was lost: the number may have been in it. */
export const REORDER_LOSS_NS = 1_000_000_000;

/** Records that come while a name operation contradicts the model; then the kernel's facts decide. */
export const RACE_RECORDS_MAX = 256;

/** The same in record time, ns, since its turn came. */
export const RACE_WAIT_NS = 50_000_000;

/** Symlinks followed in one path, as in the kernel (MAXSYMLINKS). */
export const SYMLINK_HOPS_MAX = 40;

/** Components walked for one path with all its symlinks: 40 targets of 2,048 components. */
export const PATH_STEPS_MAX = 81_920;

/** Bytes read back from a file at once. */
export const READ_BACK_BYTES = 1 << 20;

/** Remembered pairs of MMAP and NOTE, and last attribute calls; then all are forgotten. */
export const SEEN_MAX = 65_536;

assert(
  RACE_RECORDS_MAX <= REORDER_RECORDS_MAX,
  "a contradiction is settled before an order is given up",
);
assert(RACE_WAIT_NS <= REORDER_WAIT_NS, "a contradiction is settled before an order is given up");
