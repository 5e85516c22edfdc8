/**
 * Every named limit of DiffKeeper, in one place, so that related limits can be seen and asserted together.
 * Convention: UPPER_SNAKE with the unit last (`JOURNAL_BYTES_MAX`, `FLUSH_INTERVAL_MS`); the docstring says what is
 * bounded, why this number, and what happens when it is reached. A limit of the kernel names its source. Limits that
 * depend on each other are asserted at the end of this file.
 */
import { assert } from "./assert.ts";

/** How many causes an error report follows before it stops; a longer chain is a loop. Further causes are not shown. */
export const ERROR_CAUSES_MAX = 8;

/** How long a task runs before a progress line appears on the terminal; shorter tasks stay silent. */
export const PROGRESS_DELAY_MS = 1_000;

/** Shortest time between two redraws of the progress line; calls in between are ignored. */
export const PROGRESS_INTERVAL_MS = 100;

assert(
  PROGRESS_INTERVAL_MS <= PROGRESS_DELAY_MS,
  "a progress line must redraw faster than it waits",
);
