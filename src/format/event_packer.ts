/**
 * Packs the events of one or more batches that follow each other (docs/FORMAT.md, "Packed events"): their fields into columns,
 * their inline payload, file by file, into one run of bytes that the caller stores as it likes. The opposite is
 * event_unpacker.ts; both keep the same guesses (packed_layout.ts).
 *
 * States: empty -> adding (add)* -> placed (place) -> packed (pack) -> empty (reset). One packer serves a whole compaction.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { EVENT_BYTES_MAX, TRACE_VALUE_BYTES_MAX } from "../base/limits.ts";
import { ColumnWriter, zigzag } from "./columns.ts";
import { CommTable } from "./comm_table.ts";
import { EventBatch } from "./event_batch.ts";
import {
  BATCH_HEADER_BYTES,
  COMM_BYTES,
  EVENT_FIXED_BYTES,
  EXTENT_BYTES,
  isNameOp,
  NO_MTIME,
  padded,
  U32,
  WORD,
} from "./event_layout.ts";
import { FieldColumns } from "./field_columns.ts";
import {
  COLUMN,
  COLUMNS,
  EXTENT_COLUMNS,
  NO_MTIME_WORD,
  streamKey,
  WriteEnds,
} from "./packed_layout.ts";
import { EventFlag, Op } from "./trace_event.ts";

const FIRST_EVENTS = 1 << 14;
/** Payload up to here is copied byte by byte, which needs no view object. */
const LOOP_COPY_BYTES = 128;

/** The payload of one file, or of one output of the command, in the batches that were added. */
export interface PayloadStream {
  /** The file's node; -1 and -2: the command's stdout and stderr. */
  key: number;
  bytes: number;
  /** Events that it came in. */
  pieces: number;
  /** File offset of its first byte. */
  at: number;
  /** Whether all of it follows each other in the file; where the last piece ended. */
  isRun: boolean;
  end: number;
}

/** See the head of the file. */
export class EventPacker {
  /** In the order in which they first appear. */
  readonly streams: PayloadStream[] = [];
  count = 0;
  firstSeq = 0;
  firstNs = 0;
  lastNs = 0;
  /** Bytes of inline payload. */
  payloadBytes = 0;
  /** Whether an event on names was added, and one with extents. */
  hasNames = false;
  hasExtents = false;
  readonly #streamOf = new Map<number, number>();
  readonly #batches: { bytes: Uint8Array; end: number }[] = [];
  readonly #comms = new CommTable();
  readonly #ends = new WriteEnds();
  readonly #fields = new FieldColumns();
  readonly #out = new ColumnWriter(TRACE_VALUE_BYTES_MAX);
  #columns = columnsOf(FIRST_EVENTS);
  #extents: number[] = [];
  #extentRow = 0;
  #extentEnd = 0;
  /** Of each event with inline payload: its stream, where it stands in its batch, its length. */
  #pieces = new Uint32Array(FIRST_EVENTS * 3);
  #pieceCount = 0;
  #starts: number[] = [];
  #time = { low: 0, high: 0 };
  #pid = 0;
  #node = 0;
  #parent = 0;
  #mtime = { low: 0, high: 0, nsec: 0 };
  #remap = new Uint32Array(256);

  /** Forgets everything; the memory stays. */
  reset(): void {
    this.streams.length = 0;
    this.#streamOf.clear();
    this.#batches.length = 0;
    this.#comms.reset();
    this.#ends.reset();
    this.#fields.reset();
    this.#out.reset();
    this.#extents = [];
    this.#extentRow = this.#extentEnd = 0;
    this.hasNames = this.hasExtents = false;
    this.count = this.#pieceCount = this.payloadBytes = 0;
    this.#time = { low: 0, high: 0 };
    this.#pid = this.#node = this.#parent = 0;
    this.#mtime = { low: 0, high: 0, nsec: 0 };
  }

  /**
   * Adds a batch, the value of its row, and gives it, checked. It must not change until `place`.
   * @throws {DiffKeeperError} `data_corrupt`; `limit_exceeded`: it has what columns cannot hold, and must stay as it is. The
   * packer must be reset then.
   */
  add(value: Uint8Array): EventBatch {
    const batch = new EventBatch(value);
    if (this.count === 0) {
      this.firstSeq = batch.firstSeq;
      this.firstNs = batch.firstNs;
    }
    assert(batch.firstSeq === 0 || batch.firstSeq === this.firstSeq + this.count, "no gap");
    this.lastNs = batch.lastNs;
    this.#ensure(this.count + batch.count);
    this.#mapComms(batch);
    let at = BATCH_HEADER_BYTES;
    for (let index = 0; index < batch.count; index++) {
      const size = batch.check(at);
      this.#event(batch, at, size);
      at += size;
    }
    this.#batches.push({ bytes: batch.bytes, end: this.#pieceCount });
    return batch;
  }

  /** Copies the payload into `target`, the n-th stream from byte `starts[n]` on. */
  place(target: Uint8Array, starts: readonly number[]): void {
    assert(starts.length === this.streams.length, "each stream must have a start");
    this.#starts = [...starts];
    const next = Float64Array.from(starts);
    let piece = 0;
    for (const { bytes, end } of this.#batches) {
      for (; piece < end; piece++) {
        const stream = this.#pieces[piece * 3] ?? 0;
        const from = this.#pieces[piece * 3 + 1] ?? 0;
        const length = this.#pieces[piece * 3 + 2] ?? 0;
        const to = next[stream] ?? 0;
        next[stream] = to + length;
        if (length > LOOP_COPY_BYTES) target.set(bytes.subarray(from, from + length), to);
        else for (let i = 0; i < length; i++) target[to + i] = bytes[from + i] ?? 0;
      }
    }
  }

  /** Where the streams were placed. */
  get starts(): readonly number[] {
    return this.#starts;
  }

  /** The columns as bytes, a view that is valid until `reset`. `place` must have been called. */
  pack(): Uint8Array {
    const out = this.#out;
    assert(
      this.#starts.length === this.streams.length,
      "payload must be placed before it is packed",
    );
    out.number(this.count);
    out.number(this.#comms.count);
    out.number(this.streams.length);
    out.number(this.#extents.length / EXTENT_COLUMNS);
    out.large(this.firstSeq);
    out.large(this.firstNs);
    const { words } = this.#comms;
    out.raw(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
    out.words(Uint32Array.from(this.#starts), this.#starts.length);
    for (const column of this.#columns) out.words(column, this.count);
    putTable(out, this.#extents, EXTENT_COLUMNS);
    this.#fields.write(out);
    return out.bytes;
  }

  #event(batch: EventBatch, at: number, size: number): void {
    const { words } = batch;
    const word = at >>> 2;
    const i = this.count++;
    const opFlags = words[word + WORD.OP_FLAGS] ?? 0;
    const op = opFlags & 0xff;
    const payload = words[word + WORD.PAYLOAD] ?? 0;
    const isInline = ((opFlags >>> 8) & EventFlag.EXTENTS) === 0;
    this.#set(COLUMN.OP_FLAGS, i, opFlags);
    this.#set(COLUMN.PAYLOAD, i, payload);
    this.#set(COLUMN.COMM, i, this.#remap[words[word + WORD.COMM] ?? 0] ?? 0);
    this.#who(words, word, i);
    this.#range(words, word, { i, op, inline: isInline ? payload : 0 });
    this.#mtimeOf(words, word, i);
    let tail = at + EVENT_FIXED_BYTES;
    if (!isInline) {
      this.hasExtents = true;
      this.#eventExtents(words, tail >>> 2, payload);
      tail += payload * EXTENT_BYTES;
    } else if (payload > 0) {
      this.#piece(words, word, { op, at: tail, payload });
      checkPadding(batch.bytes, tail + payload, tail + padded(payload));
      tail += padded(payload);
    }
    const fields = tail === at + size
      ? 0
      : this.#fields.add(batch, { from: tail, to: at + size, word });
    this.#set(COLUMN.FIELDS, i, fields);
  }

  #set(column: number, index: number, word: number): void {
    const words = this.#columns[column];
    if (words !== undefined) words[index] = word;
  }

  #who(words: Uint32Array, word: number, i: number): void {
    const low = words[word + WORD.T] ?? 0;
    const high = words[word + WORD.T + 1] ?? 0;
    const time = this.#time;
    this.#set(COLUMN.T, i, low - time.low);
    this.#set(COLUMN.T_HIGH, i, high - time.high - (low < time.low ? 1 : 0));
    time.low = low;
    time.high = high;
    const pid = words[word + WORD.PID] ?? 0;
    const node = words[word + WORD.NODE] ?? 0;
    this.#set(COLUMN.PID, i, zigzag(pid - this.#pid));
    this.#set(COLUMN.TID, i, zigzag((words[word + WORD.TID] ?? 0) - pid));
    this.#set(COLUMN.NODE, i, zigzag(node - this.#node));
    this.#pid = pid;
    this.#node = node;
  }

  /** Offset and length, or the ids of a name op, which stand in their place. */
  #range(words: Uint32Array, word: number, event: { i: number; op: number; inline: number }): void {
    const { i, op, inline } = event;
    let low = words[word + WORD.OFFSET] ?? 0;
    let high = words[word + WORD.OFFSET + 1] ?? 0;
    let length = words[word + WORD.LENGTH] ?? 0;
    let lengthHigh = words[word + WORD.LENGTH + 1] ?? 0;
    if (isNameOp(op)) {
      this.hasNames = true;
      const parent = low;
      low = zigzag(parent - this.#parent);
      this.#parent = parent;
    } else if (op === Op.WRITE || op === Op.FALLOCATE) {
      const ends = this.#ends;
      const slot = ends.slot(words[word + WORD.NODE] ?? 0);
      const guess = ends.low[slot] ?? 0;
      const guessHigh = ends.high[slot] ?? 0;
      ends.move(slot, low, high, length);
      high = high - guessHigh - (low < guess ? 1 : 0);
      low = low - guess;
      lengthHigh -= length < inline ? 1 : 0;
      length -= inline;
    }
    this.#set(COLUMN.OFFSET, i, low);
    this.#set(COLUMN.OFFSET_HIGH, i, high);
    this.#set(COLUMN.LENGTH, i, length);
    this.#set(COLUMN.LENGTH_HIGH, i, lengthHigh);
  }

  #mtimeOf(words: Uint32Array, word: number, i: number): void {
    const low = words[word + WORD.MTIME_SEC] ?? 0;
    const high = words[word + WORD.MTIME_SEC + 1] ?? 0;
    const nsec = words[word + WORD.MTIME_NSEC] ?? 0;
    const mtime = this.#mtime;
    if (nsec === NO_MTIME && low === 0 && high === 0) {
      this.#set(COLUMN.MTIME, i, 0);
      this.#set(COLUMN.MTIME_HIGH, i, 0);
      this.#set(COLUMN.MTIME_NSEC, i, NO_MTIME_WORD);
      return;
    }
    if (nsec === NO_MTIME) throw cannotPack();
    this.#set(COLUMN.MTIME, i, zigzag(low - mtime.low));
    this.#set(COLUMN.MTIME_HIGH, i, zigzag(high - mtime.high));
    this.#set(COLUMN.MTIME_NSEC, i, zigzag(nsec - mtime.nsec));
    mtime.low = low;
    mtime.high = high;
    mtime.nsec = nsec;
  }

  #piece(words: Uint32Array, word: number, event: { op: number; at: number; payload: number }) {
    const { op, at, payload } = event;
    const offset = words[word + WORD.OFFSET] ?? 0;
    const key = streamKey(op, words[word + WORD.NODE] ?? 0, offset);
    const hasOffset = !isNameOp(op) && op !== Op.OUTPUT;
    const start = hasOffset ? offset + (words[word + WORD.OFFSET + 1] ?? 0) * U32 : 0;
    let stream = this.#streamOf.get(key);
    if (stream === undefined) {
      stream = this.streams.length;
      this.#streamOf.set(key, stream);
      this.streams.push({ key, bytes: 0, pieces: 0, at: start, isRun: true, end: start });
    }
    const entry = this.streams[stream];
    if (entry !== undefined) {
      entry.bytes += payload;
      entry.pieces++;
      if (hasOffset && start !== entry.end) entry.isRun = false;
      entry.end = start + payload;
    }
    this.payloadBytes += payload;
    const i = this.#pieceCount++ * 3;
    this.#pieces[i] = stream;
    this.#pieces[i + 1] = at;
    this.#pieces[i + 2] = payload;
  }

  #eventExtents(words: Uint32Array, start: number, count: number): void {
    let end = 0;
    for (let index = 0; index < count; index++) {
      const at = start + index * EXTENT_COLUMNS;
      const [row = 0, offset = 0, length = 0, reserved = 0] = words.subarray(at, at + 4);
      const within = (words[at + 4] ?? 0) + (words[at + 5] ?? 0) * U32;
      const guess = row === this.#extentRow ? this.#extentEnd : 0;
      const high = Math.floor(within / U32) - Math.floor(end / U32);
      this.#extents.push(zigzag(row - this.#extentRow), (offset - guess) >>> 0, length, reserved);
      this.#extents.push(((within >>> 0) - (end >>> 0)) >>> 0, high >>> 0);
      if (!Number.isSafeInteger(within)) throw cannotPack();
      this.#extentRow = row;
      this.#extentEnd = (offset + length) >>> 0;
      end = within + length;
    }
  }

  #mapComms(batch: EventBatch): void {
    const start = batch.end >>> 2;
    const count = (batch.bytes.length - batch.end) / COMM_BYTES;
    if (this.#remap.length < count) this.#remap = new Uint32Array(count * 2);
    for (let index = 0; index < count; index++) {
      const at = start + index * 4;
      const [a = 0, b = 0, c = 0, d = 0] = batch.words.subarray(at, at + 4);
      this.#remap[index] = this.#comms.indexOf(a, b, c, d);
    }
  }

  #ensure(events: number): void {
    if (events * 3 > this.#pieces.length) {
      const pieces = new Uint32Array(events * 6);
      pieces.set(this.#pieces.subarray(0, this.#pieceCount * 3));
      this.#pieces = pieces;
    }
    if (events <= (this.#columns[0]?.length ?? 0)) return;
    const columns = columnsOf(events * 2);
    for (const [index, column] of this.#columns.entries()) columns[index]?.set(column);
    this.#columns = columns;
  }
}

function columnsOf(events: number): Uint32Array[] {
  return Array.from({ length: COLUMNS }, () => new Uint32Array(events));
}

/** Puts rows of a table, which stand one behind the other, column by column. */
export function putTable(out: ColumnWriter, rows: readonly number[], columns: number): void {
  const count = rows.length / columns;
  const words = new Uint32Array(count);
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < count; row++) words[row] = rows[row * columns + column] ?? 0;
    out.words(words, count);
  }
}

/** What the columns do not hold, because no writer makes it: such a batch must stay as it is. */
export function cannotPack(): DiffKeeperError {
  return new DiffKeeperError(
    "limit_exceeded",
    `cannot pack a batch: an event has fields that columns cannot hold (limit ${EVENT_BYTES_MAX})`,
  );
}

/** Bytes that only fill up must be zero: they are not stored. */
export function checkPadding(bytes: Uint8Array, from: number, to: number): void {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) throw cannotPack();
}
