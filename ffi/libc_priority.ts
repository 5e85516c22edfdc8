/** The scheduling priority of threads. */
import { dlopen } from "bun:ffi";

const PRIO_PROCESS = 0;
/** Lowest priority: `nice` 19. */
const NICE_MAX = 19;

const library = dlopen("libc.so.6", {
  /** man 2 setpriority. On Linux `who` 0 is the calling thread alone. Returns 0 or -1. */
  setpriority: {
    args: [
      "i32", // int which
      "u32", // id_t who
      "i32", // int prio
    ],
    returns: "i32", // int
  },
  gettid: { args: [], returns: "i32" /* pid_t */ },
});

/** Of the calling thread, for `takeTurnsAs`. */
export function threadId(): number {
  return library.symbols.gettid();
}

/** From here on this thread gives way to all others. Returns whether that was done. */
export function yieldToOthers(): boolean {
  return library.symbols.setpriority(PRIO_PROCESS, 0, NICE_MAX) === 0;
}

/** This thread takes its turn like all others again, which only root may decide. Returns whether that was done. */
export function takeTurns(): boolean {
  return takeTurnsAs(0);
}

/** As `takeTurns`, for another thread of this process. */
export function takeTurnsAs(thread: number): boolean {
  return library.symbols.setpriority(PRIO_PROCESS, thread, 0) === 0;
}
