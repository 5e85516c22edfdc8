/**
 * Columns of u32 words as bytes (docs/FORMAT.md, "Columns"): what stands in one field of many events, together, so that a
 * compressor sees like beside like. A column is a mode byte and then: mode 0, one u32 that all words have; mode 1 to 4, so
 * many planes of one byte per word, the lowest byte first. Signed differences are folded to small words by `zigzag`.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { GrowingBuffer } from "./growing_buffer.ts";

const FIRST_BYTES = 1 << 20;
const WORD_BYTES = 4;

/** A difference modulo 2^32 as a word that is small when the difference is, whatever its sign. */
export function zigzag(difference: number): number {
  return ((difference << 1) ^ (difference >> 31)) >>> 0;
}

/** The difference that `zigzag` folded. */
export function unzigzag(word: number): number {
  return (word >>> 1) ^ -(word & 1);
}

/** Writes columns behind each other into memory that is used again after `reset`. */
export class ColumnWriter {
  readonly #buffer: GrowingBuffer;

  /** @param limitBytes of everything between two resets. */
  constructor(limitBytes: number) {
    this.#buffer = new GrowingBuffer(Math.min(FIRST_BYTES, limitBytes), limitBytes);
  }

  /** What was put, a view that is valid until the next put. */
  get bytes(): Uint8Array {
    return this.#buffer.bytes.subarray(0, this.#buffer.position);
  }

  reset(): void {
    this.#buffer.position = 0;
  }

  /** A number of its own, as a column of one word. */
  number(value: number): void {
    assert(value >= 0 && value <= 0xffff_ffff, "a number must fit in a word");
    this.#constant(value);
  }

  /** A whole number up to 2^53, as two numbers. */
  large(value: number): void {
    this.number(value >>> 0);
    this.number(Math.floor(value / 4_294_967_296));
  }

  /** The first `count` words. */
  words(words: Uint32Array, count: number): void {
    const first = words[0] ?? 0;
    let all = 0;
    let differs = 0;
    for (let index = 0; index < count; index++) {
      const word = words[index] ?? 0;
      all |= word;
      differs |= word ^ first;
    }
    if (differs === 0) this.#constant(count === 0 ? 0 : first);
    else this.#planes(words, count, 4 - (Math.clz32(all) >> 3));
  }

  /** Bytes as they are; their number is not stored. */
  raw(bytes: Uint8Array): void {
    this.#buffer.ensure(bytes.length);
    this.#buffer.bytes.set(bytes, this.#buffer.position);
    this.#buffer.position += bytes.length;
  }

  #constant(value: number): void {
    const buffer = this.#buffer;
    buffer.ensure(1 + WORD_BYTES);
    let at = buffer.position;
    buffer.bytes[at++] = 0;
    for (let shift = 0; shift < 32; shift += 8) buffer.bytes[at++] = value >>> shift;
    buffer.position = at;
  }

  #planes(words: Uint32Array, count: number, width: number): void {
    const buffer = this.#buffer;
    buffer.ensure(1 + width * count);
    const { bytes } = buffer;
    let at = buffer.position;
    bytes[at++] = width;
    for (let shift = 0; shift < width * 8; shift += 8) {
      for (let index = 0; index < count; index++) bytes[at + index] = (words[index] ?? 0) >>> shift;
      at += count;
    }
    buffer.position = at;
  }
}

/** Reads what a ColumnWriter wrote. Everything is outside data. */
export class ColumnReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** @throws {DiffKeeperError} `data_corrupt` */
  number(): number {
    if (this.#take(1) !== 0) throw corruptColumn("a number is missing");
    return this.#word();
  }

  /** A number that must not exceed `max`. @throws {DiffKeeperError} `data_corrupt` */
  count(max: number): number {
    const value = this.number();
    if (value > max) throw corruptColumn("a count is too large");
    return value;
  }

  /** @throws {DiffKeeperError} `data_corrupt` */
  large(): number {
    const value = this.number() + this.number() * 4_294_967_296;
    if (!Number.isSafeInteger(value)) throw corruptColumn("a number is too large");
    return value;
  }

  /** A column of `count` words. @throws {DiffKeeperError} `data_corrupt` */
  words(count: number): Uint32Array {
    const words = new Uint32Array(count);
    const width = this.#take(1);
    if (width === 0) return words.fill(this.#word());
    if (width > WORD_BYTES) throw corruptColumn("a column is too wide");
    const bytes = this.raw(width * count);
    for (let index = 0; index < count; index++) words[index] = bytes[index] ?? 0;
    for (let plane = 1; plane < width; plane++) {
      const start = plane * count;
      const shift = plane * 8;
      for (let index = 0; index < count; index++) {
        words[index] = (words[index] ?? 0) | ((bytes[start + index] ?? 0) << shift);
      }
    }
    return words;
  }

  /** The next bytes as they are, a view. @throws {DiffKeeperError} `data_corrupt` */
  raw(count: number): Uint8Array {
    if (this.#at + count > this.#bytes.length) throw corruptColumn("it is cut");
    const bytes = this.#bytes.subarray(this.#at, this.#at + count);
    this.#at += count;
    return bytes;
  }

  /** @throws {DiffKeeperError} `data_corrupt`: something is left. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw corruptColumn("there are bytes after its end");
  }

  #take(count: number): number {
    return this.raw(count)[0] ?? 0;
  }

  #word(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.raw(WORD_BYTES);
    return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
  }
}

/** A `data_corrupt` error about columns. The text is constant. */
export function corruptColumn(why: string): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", `cannot read a packed row: ${why}`);
}
