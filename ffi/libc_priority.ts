/** The scheduling priority of the calling thread. */
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
});

/** From here on this thread gives way to all others. Returns whether that was done. */
export function yieldToOthers(): boolean {
  return library.symbols.setpriority(PRIO_PROCESS, 0, NICE_MAX) === 0;
}

/** This thread takes its turn like all others again, which only root may decide. Returns whether that was done. */
export function takeTurns(): boolean {
  return library.symbols.setpriority(PRIO_PROCESS, 0, 0) === 0;
}
