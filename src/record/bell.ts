/**
 * How the drain worker sleeps without its event loop and still hears messages: shared memory counts those that were sent, the worker
 * counts those that it has taken up. While the two differ it does not sleep, and gives its event loop turns: a turn may end before a
 * message that was just sent has come through.
 */

/** One end of the bell; `memory` is that of both. */
export class Bell {
  readonly #sent: Int32Array;
  #heard = 0;

  constructor(readonly memory = new SharedArrayBuffer(4)) {
    this.#sent = new Int32Array(memory);
  }

  /** A message was sent: wakes the other end. */
  ring(): void {
    Atomics.add(this.#sent, 0, 1);
    Atomics.notify(this.#sent, 0);
  }

  /** So many messages have been taken up since the beginning. */
  heard(messages: number): void {
    this.#heard = messages | 0;
  }

  /** Sleeps up to `timeMs`, or until a message was sent. Returns whether one waits. */
  sleep(timeMs: number): boolean {
    return Atomics.wait(this.#sent, 0, this.#heard, timeMs) !== "timed-out";
  }
}
