/**
 * Bytes and whole numbers of few bytes: a varint has seven bits per byte, the lowest first, and the top bit set in all but its
 * last byte (as LEB128). At most 2^53 - 1.
 */
import { DiffKeeperError } from "../base/error.ts";

const FIRST_BYTES = 256;
const VARINT_BYTES_MAX = 8;

/** Collects bytes. */
export class ByteWriter {
  #bytes = new Uint8Array(FIRST_BYTES);
  #at = 0;

  /** What was put, a view that is valid until the next put. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  byte(value: number): void {
    if (this.#at === this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#at++] = value;
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest);
  }

  u64(value: bigint): void {
    for (let shift = 0n; shift < 64n; shift += 8n) this.byte(Number((value >> shift) & 0xffn));
  }
}

/** Reads bytes back. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** @throws {DiffKeeperError} `data_corrupt` */
  byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw corruptBytes();
    return byte;
  }

  /** @throws {DiffKeeperError} `data_corrupt`: it is cut or above 2^53 - 1. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < VARINT_BYTES_MAX; count++) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (!Number.isSafeInteger(value)) throw corruptBytes();
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
    throw corruptBytes();
  }

  u64(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 64n; shift += 8n) value |= BigInt(this.byte()) << shift;
    return value;
  }

  /** @throws {DiffKeeperError} `data_corrupt`: bytes are left. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw corruptBytes();
  }
}

function corruptBytes(): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", "cannot read a packed row: its directory is damaged");
}
