/**
 * The tagged fields of many events as columns (docs/FORMAT.md, "Packed events"): tags and lengths, ATTR and DIRTIME word by
 * word as differences from the one before, and the bytes of all others behind each other.
 */
import { ColumnReader, type ColumnWriter, corruptColumn, unzigzag, zigzag } from "./columns.ts";
import type { EventBatch } from "./event_batch.ts";
import { ATTR_BYTES, DIRTIME_BYTES, padded, Tag, TAG_HEADER_BYTES, WORD } from "./event_layout.ts";
import { cannotPack, checkPadding, putTable } from "./event_packer.ts";
import { GrowingBuffer } from "./growing_buffer.ts";
import { TRACE_VALUE_BYTES_MAX } from "../base/limits.ts";
import { ATTR_COLUMNS, DIRTIME_COLUMNS } from "./packed_layout.ts";

/** A field that has an entry in a table; all others are bytes. */
function isTable(tag: number, length: number): boolean {
  return (tag === Tag.ATTR && length === ATTR_BYTES) ||
    (tag === Tag.DIRTIME && length === DIRTIME_BYTES);
}

/** Collects fields. */
export class FieldColumns {
  #tags: number[] = [];
  #attrs: number[] = [];
  #times: number[] = [];
  readonly #bytes = new GrowingBuffer(1 << 16, TRACE_VALUE_BYTES_MAX);
  readonly #attr = new Uint32Array(ATTR_COLUMNS);

  reset(): void {
    this.#tags = [];
    this.#attrs = [];
    this.#times = [];
    this.#bytes.position = 0;
    this.#attr.fill(0);
  }

  /** Takes the fields of one event, which stand in [from, to) of the batch; returns how many they are. */
  add(batch: EventBatch, at: { from: number; to: number; word: number }): number {
    const { view, words, bytes } = batch;
    let count = 0;
    for (let from = at.from; from < at.to; count++) {
      const tag = view.getUint16(from, true);
      if (view.getUint16(from + 2, true) !== 0) throw cannotPack();
      const length = view.getUint32(from + 4, true);
      const start = from + TAG_HEADER_BYTES;
      this.#tags.push(tag, length);
      if (!isTable(tag, length)) this.#put(bytes.subarray(start, start + length));
      else if (tag === Tag.ATTR) this.#putAttr(words, start >>> 2);
      else this.#putTime(words, start >>> 2, at.word);
      checkPadding(bytes, start + length, start + padded(length));
      from = start + padded(length);
    }
    return count;
  }

  /** Puts everything collected. */
  write(out: ColumnWriter): void {
    out.number(this.#tags.length / 2);
    out.number(this.#bytes.position);
    putTable(out, this.#tags, 2);
    putTable(out, this.#attrs, ATTR_COLUMNS);
    putTable(out, this.#times, DIRTIME_COLUMNS);
    out.raw(this.#bytes.bytes.subarray(0, this.#bytes.position));
  }

  #put(bytes: Uint8Array): void {
    const buffer = this.#bytes;
    buffer.ensure(bytes.length);
    buffer.bytes.set(bytes, buffer.position);
    buffer.position += bytes.length;
  }

  #putAttr(words: Uint32Array, start: number): void {
    for (let index = 0; index < ATTR_COLUMNS; index++) {
      const word = words[start + index] ?? 0;
      this.#attrs.push(zigzag(word - (this.#attr[index] ?? 0)));
      this.#attr[index] = word;
    }
  }

  /** A folder's time is mostly that of what changed in it. */
  #putTime(words: Uint32Array, start: number, event: number): void {
    this.#times.push(zigzag((words[start] ?? 0) - (words[event + WORD.OFFSET] ?? 0)));
    this.#times.push(zigzag((words[start + 1] ?? 0) - (words[event + WORD.MTIME_NSEC] ?? 0)));
    for (const half of [0, 1]) {
      const guess = words[event + WORD.MTIME_SEC + half] ?? 0;
      this.#times.push(zigzag((words[start + 2 + half] ?? 0) - guess));
    }
  }
}

/** Gives fields back, in their order. */
export class FieldReader {
  readonly #tags: Uint32Array;
  readonly #lengths: Uint32Array;
  readonly #attrs: Uint32Array[] = [];
  readonly #times: Uint32Array[] = [];
  readonly #bytes: ColumnReader;
  readonly #attr = new Uint32Array(ATTR_COLUMNS);
  #next = 0;
  #nextAttr = 0;
  #nextTime = 0;

  /** @throws {DiffKeeperError} `data_corrupt` */
  constructor(columns: ColumnReader) {
    const count = columns.count(TRACE_VALUE_BYTES_MAX / TAG_HEADER_BYTES);
    const byteCount = columns.count(TRACE_VALUE_BYTES_MAX);
    this.#tags = columns.words(count);
    this.#lengths = columns.words(count);
    let attrs = 0;
    let times = 0;
    for (let index = 0; index < count; index++) {
      const tag = this.#tags[index] ?? 0;
      if (!isTable(tag, this.#lengths[index] ?? 0)) continue;
      if (tag === Tag.ATTR) attrs++;
      else times++;
    }
    for (let i = 0; i < ATTR_COLUMNS; i++) this.#attrs.push(columns.words(attrs));
    for (let i = 0; i < DIRTIME_COLUMNS; i++) this.#times.push(columns.words(times));
    this.#bytes = new ColumnReader(columns.raw(byteCount));
  }

  /** Bytes that all fields take in their events. */
  get totalSize(): number {
    let size = 0;
    for (const length of this.#lengths) size += TAG_HEADER_BYTES + padded(length);
    return size;
  }

  /** Writes the next `count` fields at `at`; `event` is the word at which their event begins. Returns where they end. */
  read(target: { words: Uint32Array; bytes: Uint8Array }, count: number, where: {
    at: number;
    event: number;
  }): number {
    const { words, bytes } = target;
    let { at } = where;
    if (this.#next + count > this.#tags.length) throw corruptColumn("a tagged field is missing");
    for (let index = 0; index < count; index++) {
      const tag = this.#tags[this.#next] ?? 0;
      const length = this.#lengths[this.#next++] ?? 0;
      words[at >>> 2] = tag;
      words[(at >>> 2) + 1] = length;
      const start = at + TAG_HEADER_BYTES;
      if (!isTable(tag, length)) bytes.set(this.#bytes.raw(length), start);
      else if (tag === Tag.ATTR) this.#readAttr(words, start >>> 2);
      else this.#readTime(words, start >>> 2, where.event);
      at = start + padded(length);
    }
    return at;
  }

  /** @throws {DiffKeeperError} `data_corrupt`: fields are left. */
  end(): void {
    if (this.#next !== this.#tags.length) throw corruptColumn("there are too many tagged fields");
    this.#bytes.end();
  }

  #readAttr(words: Uint32Array, start: number): void {
    const entry = this.#nextAttr++;
    for (let index = 0; index < ATTR_COLUMNS; index++) {
      const difference = unzigzag(this.#attrs[index]?.[entry] ?? 0);
      const word = ((this.#attr[index] ?? 0) + difference) >>> 0;
      this.#attr[index] = word;
      words[start + index] = word;
    }
  }

  #readTime(words: Uint32Array, start: number, event: number): void {
    const entry = this.#nextTime++;
    const difference = (column: number) => unzigzag(this.#times[column]?.[entry] ?? 0);
    words[start] = (words[event + WORD.OFFSET] ?? 0) + difference(0);
    words[start + 1] = (words[event + WORD.MTIME_NSEC] ?? 0) + difference(1);
    words[start + 2] = (words[event + WORD.MTIME_SEC] ?? 0) + difference(2);
    words[start + 3] = (words[event + WORD.MTIME_SEC + 1] ?? 0) + difference(3);
  }
}
