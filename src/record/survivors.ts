/**
 * The processes of the command that outlive it: counted for the summary, and waited for by `record --wait`. The kernel's records say who
 * was started and who ended; /proc has the last word, because a record may have been lost.
 */
import { WAIT_PAUSE_MS } from "../base/limits.ts";
import { isAlive } from "./process_ids.ts";

/** See the head of the file. */
export class Survivors {
  readonly #pids: () => readonly number[];
  #waits = false;

  /** @param pids ids of all that have not ended, as far as the records say. */
  constructor(pids: () => readonly number[]) {
    this.#pids = pids;
  }

  count(): number {
    return this.#pids().filter(isAlive).length;
  }

  /** Resolves when there is none any more, however long that takes, or when `stopWaiting` says so. */
  async wait(): Promise<void> {
    this.#waits = true;
    while (this.#waits && this.count() > 0) await Bun.sleep(WAIT_PAUSE_MS);
  }

  stopWaiting(): void {
    this.#waits = false;
  }
}
