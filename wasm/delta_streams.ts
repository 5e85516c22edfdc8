/**
 * What a difference consists of before it is compressed: three streams, as the C code (c/delta.c) and its twin make them,
 * and a cursor over the first of them. The cursor trusts nothing: any bytes give entries or `data_corrupt`.
 */
import { DiffKeeperError } from "../src/base/error.ts";

/** The streams of one section. */
export interface DeltaStreams {
  /** Entries of four numbers: copy, diff, extra, seek (docs/FORMAT.md). */
  readonly control: Uint8Array;
  /** Target minus base, modulo 256, for the `diff` bytes of all entries. */
  readonly diff: Uint8Array;
  /** The `extra` bytes of all entries. */
  readonly extra: Uint8Array;
}

/** Reads numbers of 7 bits a byte, lowest first (LEB128), up to 2^32 - 1, from bytes of unknown origin. */
export class NumberReader {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get atEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  /** @throws {DiffKeeperError} `data_corrupt` if the bytes end inside the number or it needs more than 32 bits. */
  next(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 28; scale *= 128) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) throw corrupt("a number is cut");
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (value > 0xffff_ffff) break;
        return value;
      }
    }
    throw corrupt("a number has more than 32 bits");
  }

  /** The next `length` bytes, as a view. @throws {DiffKeeperError} `data_corrupt` if there are fewer. */
  take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at) throw corrupt("a stream is cut");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

/** Walks the entries of a control stream; the fields are those of the entry last read. */
export class ControlCursor {
  readonly #numbers: NumberReader;
  copy = 0;
  diff = 0;
  extra = 0;
  seek = 0;

  constructor(control: Uint8Array) {
    this.#numbers = new NumberReader(control);
  }

  /** False at the end. @throws {DiffKeeperError} `data_corrupt`. */
  next(): boolean {
    if (this.#numbers.atEnd) return false;
    this.copy = this.#numbers.next();
    this.diff = this.#numbers.next();
    this.extra = this.#numbers.next();
    const zigzag = this.#numbers.next();
    this.seek = (zigzag >>> 1) ^ -(zigzag & 1);
    return true;
  }
}

/** The error of everything that breaks a "must" of a delta. */
export function corrupt(why: string, cause?: unknown): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", `cannot apply a delta: ${why}`, { cause });
}
