/**
 * The order of changes, taken inside the inode lock. The kernel gives each call the next number of one
 * global sequence while it holds the locks of what it changes; records reach the ring when the call
 * returns, which can be later. Two changes of one thing share a lock, so the numbers tell which came
 * first. A number that never comes (a lost record) is given up by `skipTo`.
 */
import { assert } from "../base/assert.ts";

/** Which numbers have come. */
export class LockOrder {
  #next: number;
  readonly #ahead = new Set<number>();

  /** @param first the lowest number that can come; lower ones are taken as they come. */
  constructor(first = 1) {
    this.#next = first;
  }

  /** The lowest number that has not come. */
  get next(): number {
    return this.#next;
  }

  /** The next number came in its turn, with nothing waiting: the fast path. */
  advance(): void {
    this.#next++;
    if (this.#ahead.size > 0) this.#settle();
  }

  /** A number came. */
  arrived(seq: number): void {
    assert(seq > 0, "number 0 means that there is none");
    if (seq < this.#next) return;
    this.#ahead.add(seq);
    this.#settle();
  }

  /** Waits no longer for numbers up to `seq`. */
  skipTo(seq: number): void {
    for (; this.#next <= seq; this.#next++) this.#ahead.delete(this.#next);
    this.#settle();
  }

  /** Have all numbers below `seq` come? */
  isReady(seq: number): boolean {
    return seq <= this.#next;
  }

  #settle(): void {
    while (this.#ahead.delete(this.#next)) this.#next++;
  }
}
