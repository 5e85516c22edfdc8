/**
 * What a difference consists of before it is compressed: three streams, as the C code (c/delta.c) and its twin make them,
 * and a cursor over the first of them. The cursor trusts nothing: any bytes give entries or `data_corrupt`.
 */
import { DiffKeeperError } from "../base/error.ts";

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

  /** Goes past a number without reading it. @throws {DiffKeeperError} `data_corrupt` if the bytes end inside. */
  skip(): void {
    while ((this.bytes[this.at++] ?? 0) >= 128);
    if (this.at > this.bytes.length) throw corrupt("a number is cut");
  }

  /** The next `length` bytes, as a view. @throws {DiffKeeperError} `data_corrupt` if there are fewer. */
  take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at) throw corrupt("a stream is cut");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

/** How many numbers an entry has. */
const COLUMNS = 4;

/** Walks the entries of a control stream; the fields are those of the entry last read. */
export class ControlCursor {
  readonly #copies: NumberReader;
  readonly #diffs: NumberReader;
  readonly #extras: NumberReader;
  readonly #seeks: NumberReader;
  copy = 0;
  diff = 0;
  extra = 0;
  seek = 0;

  /** Of entries one after another, or of four columns of equally many numbers. */
  constructor(control: Uint8Array | readonly Uint8Array[]) {
    if (control instanceof Uint8Array) {
      this.#copies =
        this.#diffs =
        this.#extras =
        this.#seeks =
          new NumberReader(control);
      return;
    }
    const column = (i: number) => new NumberReader(control[i] ?? new Uint8Array(0));
    this.#copies = column(0);
    this.#diffs = column(1);
    this.#extras = column(2);
    this.#seeks = column(3);
  }

  /** False at the end. @throws {DiffKeeperError} `data_corrupt`. */
  next(): boolean {
    if (this.#copies.atEnd) return false;
    this.copy = this.#copies.next();
    this.diff = this.#diffs.next();
    this.extra = this.#extras.next();
    const zigzag = this.#seeks.next();
    this.seek = (zigzag >>> 1) ^ -(zigzag & 1);
    return true;
  }
}

/** The numbers of sound entries sorted into columns, and how many entries there are. */
export function toColumns(control: Uint8Array): { columns: Uint8Array; entries: number } {
  const lengths = new Uint32Array(COLUMNS + 1);
  eachNumber(control, (column, from, to) => {
    lengths[column + 1] = (lengths[column + 1] ?? 0) + to - from;
  });
  const ends = lengths.map((_, i) => lengths.subarray(0, i + 1).reduce((a, b) => a + b, 0));
  const columns = new Uint8Array(control.length);
  let numbers = 0;
  eachNumber(control, (column, from, to) => {
    let at = ends[column] ?? 0;
    for (let i = from; i < to; i++) columns[at++] = control[i] ?? 0;
    ends[column] = at;
    numbers++;
  });
  return { columns, entries: numbers / COLUMNS };
}

function eachNumber(
  control: Uint8Array,
  visit: (column: number, from: number, to: number) => void,
): void {
  let column = 0;
  let from = 0;
  for (let at = 0; at < control.length; at++) {
    if ((control[at] ?? 0) >= 128) continue;
    visit(column, from, at + 1);
    from = at + 1;
    column = (column + 1) % COLUMNS;
  }
}

/** Takes the columns of so many entries from the reader, as views. @throws {DiffKeeperError} `data_corrupt`. */
export function takeColumns(reader: NumberReader, entries: number): Uint8Array[] {
  const columns: Uint8Array[] = [];
  for (let column = 0; column < COLUMNS; column++) {
    const from = reader.at;
    for (let left = entries; left > 0; left--) reader.skip();
    columns.push(reader.bytes.subarray(from, reader.at));
  }
  return columns;
}

/** The error of everything that breaks a "must" of a delta. */
export function corrupt(why: string, cause?: unknown): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", `cannot apply a delta: ${why}`, { cause });
}
