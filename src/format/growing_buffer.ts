/**
 * A buffer that grows by doubling up to a limit, with a write position, seen as bytes and as u32 words. It lives as long as
 * its encoder and is used again for every batch, so that encoding allocates nothing. Integers are written little-endian;
 * the words are the CPU's own, which is little-endian on every platform DiffKeeper runs on (asserted at load).
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";

const U32 = 4_294_967_296;
const LATIN1_MAX = 0xff;

assert(
  new Uint8Array(new Uint32Array([1]).buffer)[0] === 1,
  "the trace format needs a little-endian CPU",
);

/** See the head of the file. `bytes` and `words` are replaced when it grows: do not keep them. */
export class GrowingBuffer {
  bytes: Uint8Array;
  words: Uint32Array;
  /** Where the next put goes, in bytes. */
  position = 0;
  readonly #limitBytes: number;

  constructor(sizeBytes: number, limitBytes: number) {
    assert(sizeBytes > 0 && sizeBytes % 8 === 0, "a growing buffer must start with whole words");
    assert(sizeBytes <= limitBytes, "a growing buffer must not start above its limit");
    this.bytes = new Uint8Array(sizeBytes);
    this.words = new Uint32Array(this.bytes.buffer);
    this.#limitBytes = limitBytes;
  }

  /**
   * Makes room for `count` bytes behind the position.
   * @throws {DiffKeeperError} `limit_exceeded`; nothing has changed then.
   */
  ensure(count: number): void {
    if (this.position + count > this.bytes.length) this.#grow(this.position + count);
  }

  #grow(needBytes: number): void {
    if (needBytes > this.#limitBytes) {
      throw new DiffKeeperError(
        "limit_exceeded",
        `cannot store an event or batch of ${needBytes} bytes: the limit is ${this.#limitBytes} bytes`,
      );
    }
    const doubled = Math.min(this.bytes.length * 2, this.#limitBytes);
    const grown = new Uint8Array(Math.max(doubled, Math.ceil(needBytes / 8) * 8));
    grown.set(this.bytes.subarray(0, this.position));
    this.bytes = grown;
    this.words = new Uint32Array(grown.buffer);
  }

  /** Puts a u32 at the position, which must be a multiple of 4. */
  putU32(value: number): void {
    this.ensure(4);
    this.words[this.position >>> 2] = value;
    this.position += 4;
  }

  /** Puts a whole number of 0 to 2^64 as u64, a negative one as i64; exact up to 2^53. */
  putU64(value: number): void {
    this.ensure(8);
    const at = this.position >>> 2;
    this.words[at] = value;
    this.words[at + 1] = Math.floor(value / U32);
    this.position += 8;
  }

  /** Puts bytes and pads with zeros to a multiple of 8. */
  putPadded(source: Uint8Array): void {
    this.ensure(source.length + 8);
    this.bytes.set(source, this.position);
    this.position += source.length;
    this.#pad();
  }

  /** Puts a binary string (one byte per char) and pads with zeros to a multiple of 8. */
  putLatin1Padded(text: string): void {
    this.ensure(text.length + 8);
    let seen = 0;
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      seen |= code;
      this.bytes[this.position + index] = code;
    }
    assert(seen <= LATIN1_MAX, "a name must be a binary string: one char per byte");
    this.position += text.length;
    this.#pad();
  }

  #pad(): void {
    const rest = this.position & 7;
    if (rest === 0) return;
    this.bytes.fill(0, this.position, this.position + 8 - rest);
    this.position += 8 - rest;
  }
}
