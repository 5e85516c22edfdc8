/**
 * Makes packed events (docs/FORMAT.md, "Packed events") a batch again: the value of an EVENTS row, in which each event that had
 * inline payload has one extent instead, which points into the content of the row itself. So readers see one form of events.
 * The columns are outside data: every count is bounded and the result is checked as a batch before it is used.
 */
import { TRACE_VALUE_BYTES_MAX } from "../base/limits.ts";
import { ColumnReader, corruptColumn, unzigzag } from "./columns.ts";
import { ENVELOPE_BYTES, seal, ValueKind } from "./envelope.ts";
import {
  COMM_BYTES,
  EVENT_FIXED_BYTES,
  EVENTS_START,
  EXTENT_BYTES,
  isNameOp,
  NO_MTIME,
  U32,
  WORD,
} from "./event_layout.ts";
import { FieldReader } from "./field_columns.ts";
import {
  COLUMN,
  COLUMNS,
  EXTENT_COLUMNS,
  NO_MTIME_WORD,
  PACKED_POINTER,
  streamKey,
  WriteEnds,
} from "./packed_layout.ts";
import { EventFlag, Op } from "./trace_event.ts";

const EVENTS_MAX = TRACE_VALUE_BYTES_MAX / EVENT_FIXED_BYTES;
const HEADER_WORDS = ENVELOPE_BYTES / 4;

/**
 * @param row id of the row, for the extents.
 * @throws {DiffKeeperError} `data_corrupt`
 */
export function unpackEvents(packed: Uint8Array, row: number): Uint8Array {
  return new Unpacking(packed, row).run();
}

class Unpacking {
  readonly #row: number;
  readonly #count: number;
  readonly #commBytes: Uint8Array;
  readonly #firstSeq: number;
  readonly #firstNs: number;
  readonly #columns: Uint32Array[] = [];
  readonly #extents: Uint32Array[] = [];
  readonly #fields: FieldReader;
  readonly #ends = new WriteEnds();
  readonly #streamOf = new Map<number, number>();
  /** Where the next byte of each stream stands in the row's content. */
  readonly #next: Float64Array;
  #words = new Uint32Array(0);
  #bytes = new Uint8Array(0);
  #extentAt = 0;
  #extentRow = 0;
  #extentEnd = 0;
  #time = { low: 0, high: 0 };
  #pid = 0;
  #node = 0;
  #parent = 0;
  #mtime = { low: 0, high: 0, nsec: 0 };

  constructor(packed: Uint8Array, row: number) {
    this.#row = row;
    const columns = new ColumnReader(packed);
    this.#count = columns.count(EVENTS_MAX);
    const comms = columns.count(EVENTS_MAX);
    const streams = columns.count(EVENTS_MAX);
    const extents = columns.count(TRACE_VALUE_BYTES_MAX / EXTENT_BYTES);
    this.#firstSeq = columns.large();
    this.#firstNs = columns.large();
    this.#commBytes = columns.raw(comms * COMM_BYTES);
    this.#next = Float64Array.from(columns.words(streams));
    for (let i = 0; i < COLUMNS; i++) this.#columns.push(columns.words(this.#count));
    for (let i = 0; i < EXTENT_COLUMNS; i++) this.#extents.push(columns.words(extents));
    this.#fields = new FieldReader(columns);
    columns.end();
  }

  run(): Uint8Array {
    const value = this.#allocate();
    let at = EVENTS_START;
    for (let i = 0; i < this.#count; i++) at = this.#event(i, at);
    this.#fields.end();
    if (this.#extentAt !== (this.#extents[0]?.length ?? 0)) throw corruptColumn("extents are left");
    if (at + this.#commBytes.length !== value.length) throw corruptColumn("its size is wrong");
    this.#bytes.set(this.#commBytes, at);
    const last = this.#time.low + this.#time.high * U32;
    const header = [this.#count, at - EVENTS_START, this.#commBytes.length / COMM_BYTES, 0];
    for (const number of [this.#firstSeq, this.#firstNs, this.#count === 0 ? 0 : last]) {
      header.push(number >>> 0, Math.floor(number / U32));
    }
    this.#words.set(header, HEADER_WORDS);
    seal(value, ValueKind.EVENTS);
    return value;
  }

  /** Room for the whole batch, and not more than a value may have. */
  #allocate(): Uint8Array {
    let size = EVENTS_START + this.#commBytes.length + this.#count * EVENT_FIXED_BYTES;
    for (let i = 0; i < this.#count; i++) {
      const payload = this.#column(COLUMN.PAYLOAD, i);
      const isInline = ((this.#column(COLUMN.OP_FLAGS, i) >>> 8) & EventFlag.EXTENTS) === 0;
      size += (isInline ? Math.min(payload, 1) : payload) * EXTENT_BYTES;
    }
    size += this.#fields.totalSize;
    if (size > TRACE_VALUE_BYTES_MAX) throw corruptColumn("it is too large");
    const value = new Uint8Array(size);
    this.#bytes = value;
    this.#words = new Uint32Array(value.buffer);
    return value;
  }

  #event(i: number, start: number): number {
    const words = this.#words;
    const word = start >>> 2;
    let opFlags = this.#column(COLUMN.OP_FLAGS, i);
    const op = opFlags & 0xff;
    const payload = this.#column(COLUMN.PAYLOAD, i);
    const isInline = ((opFlags >>> 8) & EventFlag.EXTENTS) === 0;
    this.#who(i, word);
    this.#range(i, word, { op, inline: isInline ? payload : 0 });
    this.#mtimeOf(i, word);
    words[word + WORD.COMM] = this.#column(COLUMN.COMM, i);
    words[word + WORD.PAYLOAD] = isInline ? Math.min(payload, 1) : payload;
    let at = start + EVENT_FIXED_BYTES;
    if (isInline && payload > 0) {
      opFlags |= EventFlag.EXTENTS << 8;
      this.#ownExtent(word, at >>> 2, { op, payload });
      at += EXTENT_BYTES;
    } else if (!isInline) {
      this.#eventExtents(at >>> 2, payload);
      at += payload * EXTENT_BYTES;
    }
    const fields = this.#column(COLUMN.FIELDS, i);
    words[word + WORD.OP_FLAGS] = opFlags;
    const end = fields === 0
      ? at
      : this.#fields.read({ words, bytes: this.#bytes }, fields, { at, event: word });
    words[word + WORD.SIZE] = end - start;
    return end;
  }

  #who(i: number, word: number): void {
    const words = this.#words;
    const time = this.#time;
    const low = time.low + this.#column(COLUMN.T, i);
    time.low = low >>> 0;
    time.high = (time.high + this.#column(COLUMN.T_HIGH, i) + (low >= U32 ? 1 : 0)) >>> 0;
    this.#pid = (this.#pid + unzigzag(this.#column(COLUMN.PID, i))) >>> 0;
    this.#node = (this.#node + unzigzag(this.#column(COLUMN.NODE, i))) >>> 0;
    words[word + WORD.T] = time.low;
    words[word + WORD.T + 1] = time.high;
    words[word + WORD.PID] = this.#pid;
    words[word + WORD.TID] = this.#pid + unzigzag(this.#column(COLUMN.TID, i));
    words[word + WORD.NODE] = this.#node;
  }

  #range(i: number, word: number, event: { op: number; inline: number }): void {
    const words = this.#words;
    let low = this.#column(COLUMN.OFFSET, i);
    let high = this.#column(COLUMN.OFFSET_HIGH, i);
    let length = this.#column(COLUMN.LENGTH, i);
    let lengthHigh = this.#column(COLUMN.LENGTH_HIGH, i);
    if (isNameOp(event.op)) {
      low = (this.#parent + unzigzag(low)) >>> 0;
      this.#parent = low;
    } else if (event.op === Op.WRITE || event.op === Op.FALLOCATE) {
      const ends = this.#ends;
      const slot = ends.slot(this.#node);
      const sum = low + (ends.low[slot] ?? 0);
      high = (high + (ends.high[slot] ?? 0) + (sum >= U32 ? 1 : 0)) >>> 0;
      low = sum >>> 0;
      const total = length + event.inline;
      lengthHigh = (lengthHigh + (total >= U32 ? 1 : 0)) >>> 0;
      length = total >>> 0;
      ends.move(slot, low, high, length);
    }
    words[word + WORD.OFFSET] = low;
    words[word + WORD.OFFSET + 1] = high;
    words[word + WORD.LENGTH] = length;
    words[word + WORD.LENGTH + 1] = lengthHigh;
  }

  #mtimeOf(i: number, word: number): void {
    const words = this.#words;
    const nsec = this.#column(COLUMN.MTIME_NSEC, i);
    if (nsec === NO_MTIME_WORD) {
      words[word + WORD.MTIME_NSEC] = NO_MTIME;
      return;
    }
    const mtime = this.#mtime;
    mtime.low = (mtime.low + unzigzag(this.#column(COLUMN.MTIME, i))) >>> 0;
    mtime.high = (mtime.high + unzigzag(this.#column(COLUMN.MTIME_HIGH, i))) >>> 0;
    mtime.nsec = (mtime.nsec + unzigzag(nsec)) >>> 0;
    words[word + WORD.MTIME_SEC] = mtime.low;
    words[word + WORD.MTIME_SEC + 1] = mtime.high;
    words[word + WORD.MTIME_NSEC] = mtime.nsec;
  }

  /** The event's payload stands in the row's own content, behind what its stream had before. */
  #ownExtent(word: number, at: number, event: { op: number; payload: number }): void {
    const key = streamKey(event.op, this.#node, this.#words[word + WORD.OFFSET] ?? 0);
    let stream = this.#streamOf.get(key);
    if (stream === undefined) {
      stream = this.#streamOf.size;
      this.#streamOf.set(key, stream);
    }
    const start = this.#next[stream];
    if (start === undefined) throw corruptColumn("a stream of payload is missing");
    this.#next[stream] = start + event.payload;
    if (start + event.payload > TRACE_VALUE_BYTES_MAX) throw corruptColumn("it is too large");
    this.#words[at] = this.#row;
    this.#words[at + 1] = PACKED_POINTER + start;
    this.#words[at + 2] = event.payload;
  }

  #eventExtents(start: number, count: number): void {
    const words = this.#words;
    let end = 0;
    for (let index = 0; index < count; index++) {
      const entry = this.#extentAt++;
      const at = start + index * EXTENT_COLUMNS;
      const word = (column: number) => this.#extents[column]?.[entry] ?? 0;
      const row = (this.#extentRow + unzigzag(word(0))) >>> 0;
      const guess = row === this.#extentRow ? this.#extentEnd : 0;
      const low = (end >>> 0) + word(4);
      words[at] = row;
      words[at + 1] = guess + word(1);
      words[at + 2] = word(2);
      words[at + 3] = word(3);
      words[at + 4] = low;
      words[at + 5] = Math.floor(end / U32) + word(5);
      this.#extentRow = row;
      this.#extentEnd = ((words[at + 1] ?? 0) + word(2)) >>> 0;
      end = (words[at + 4] ?? 0) + (words[at + 5] ?? 0) * U32 + word(2);
    }
  }

  #column(column: number, index: number): number {
    return this.#columns[column]?.[index] ?? 0;
  }
}
