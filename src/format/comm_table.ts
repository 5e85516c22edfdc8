/**
 * The comm table of a batch while it is being written: each different task name once, found by its 16 bytes as four u32
 * words. Open addressing over preallocated words; the last name asked for is answered without a search. The table has no
 * more entries than its batch has events, which bounds it.
 */
import { assert } from "../base/assert.ts";
import { COMM_BYTES } from "./event_layout.ts";

const ENTRIES_AT_START = 256;
const WORDS = COMM_BYTES / 4;
const GOLDEN = 0x9e37_79b1;

/** See the head of the file. */
export class CommTable {
  #count = 0;
  #last = 0;
  #words = new Uint32Array(ENTRIES_AT_START * WORDS);
  /** Index of the entry plus 1; 0: free. Twice as many as entries fit, so that a search always ends. */
  #slots = new Uint32Array(ENTRIES_AT_START * 2);

  /** Entries so far. */
  get count(): number {
    return this.#count;
  }

  /** The entries, 4 words each; a view that is valid until the next change. */
  get words(): Uint32Array {
    return this.#words.subarray(0, this.#count * WORDS);
  }

  /** The index of the name with these four words, entered if it is new. */
  indexOf(a: number, b: number, c: number, d: number): number {
    if (this.#count > 0 && this.#holds(this.#last, a, b, c, d)) return this.#last;
    const mask = this.#slots.length - 1;
    let slot = hash(a, b, c, d) & mask;
    for (let probes = 0; probes <= mask; probes++) {
      const entry = this.#slots[slot] ?? 0;
      if (entry === 0) return this.#enter(slot, a, b, c, d);
      if (this.#holds(entry - 1, a, b, c, d)) return this.#last = entry - 1;
      slot = (slot + 1) & mask;
    }
    assert(false, "a comm table must never be full");
    return 0;
  }

  /** Forgets all names; keeps the memory. */
  reset(): void {
    this.#count = 0;
    this.#last = 0;
    this.#slots.fill(0);
  }

  #holds(index: number, a: number, b: number, c: number, d: number): boolean {
    const at = index * WORDS;
    const words = this.#words;
    return words[at] === a >>> 0 && words[at + 1] === b >>> 0 && words[at + 2] === c >>> 0 &&
      words[at + 3] === d >>> 0;
  }

  #enter(slot: number, a: number, b: number, c: number, d: number): number {
    const at = this.#count * WORDS;
    this.#words[at] = a;
    this.#words[at + 1] = b;
    this.#words[at + 2] = c;
    this.#words[at + 3] = d;
    this.#slots[slot] = this.#count + 1;
    this.#last = this.#count++;
    if (this.#count * 2 === this.#slots.length) this.#grow();
    return this.#last;
  }

  #grow(): void {
    const words = new Uint32Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
    this.#slots = new Uint32Array(this.#slots.length * 2);
    const mask = this.#slots.length - 1;
    for (let index = 0; index < this.#count; index++) {
      const at = index * WORDS;
      let slot = hash(words[at] ?? 0, words[at + 1] ?? 0, words[at + 2] ?? 0, words[at + 3] ?? 0) &
        mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = index + 1;
    }
  }
}

function hash(a: number, b: number, c: number, d: number): number {
  let mixed = Math.imul(a, GOLDEN) ^ b;
  mixed = Math.imul(mixed ^ (mixed >>> 15), GOLDEN) ^ c;
  mixed = Math.imul(mixed ^ (mixed >>> 15), GOLDEN) ^ d;
  mixed = Math.imul(mixed, GOLDEN);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
