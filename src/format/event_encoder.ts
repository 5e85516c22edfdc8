/**
 * Encodes trace events into one EVENTS value (docs/FORMAT.md, "EVENTS"). One encoder serves a whole recording: its buffer is
 * made at start, grows by doubling and is used again after `reset`.
 *
 * States: empty -> filling (append, appendWrite)* -> finished (finish) -> empty (reset). Appending after finish is a defect.
 * `appendWrite` is the fast path: no allocation per event, no bigint, words instead of a DataView.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { EVENT_BYTES_MAX, JOURNAL_BATCH_BYTES_MAX, TRACE_VALUE_BYTES_MAX } from "../base/limits.ts";
import { CommTable } from "./comm_table.ts";
import { ENVELOPE_BYTES, seal, ValueKind } from "./envelope.ts";
import { putFields } from "./event_fields.ts";
import {
  COMM_BYTES,
  EVENT_FIXED_BYTES,
  EVENTS_START,
  EXTENT_BYTES,
  isNameOp,
  NO_MTIME,
  padded,
  U32,
  WORD,
} from "./event_layout.ts";
import { GrowingBuffer } from "./growing_buffer.ts";
import { LeftFile, putLeftFile } from "./left_file.ts";
import { type LeftFiles, putLeftFiles } from "./left_files.ts";
import { EventFlag, Op, type TraceEvent } from "./trace_event.ts";

const BUFFER_BYTES = JOURNAL_BATCH_BYTES_MAX + (JOURNAL_BATCH_BYTES_MAX >> 2);
/** Payload up to here is copied word by word, which needs no view object; longer payload by `set`. */
const WORD_COPY_BYTES_MAX = 256;
/** Flags that say what follows the fixed part; the encoder sets them, whatever the event says. */
const LAYOUT_FLAGS = EventFlag.EXTENTS | EventFlag.TLVS;
const FLAGS_MAX = 0xff_ffff;
const EMPTY = new Uint8Array(0);

/** What `appendWrite` reads. The caller makes one and fills it again for each event; nothing of it is kept. */
export class WriteHead {
  op: typeof Op.WRITE | typeof Op.OUTPUT = Op.WRITE;
  flags = 0;
  /** Nanoseconds since the start of the command, not smaller than that of the event before. */
  tNs = 0;
  pid = 0;
  tid = 0;
  node = 0;
  /** The 16 bytes of the task name as four little-endian u32. */
  comm0 = 0;
  comm1 = 0;
  comm2 = 0;
  comm3 = 0;
  /** WRITE: file offset. OUTPUT: 1 stdout, 2 stderr. */
  offset = 0;
  /** Bytes of the call. */
  length = 0;
  mtimeSec = 0;
  /** `NO_MTIME`: the event does not change the mtime. */
  mtimeNsec = NO_MTIME;
  /** The payload: `payload` bytes of `source` from `start` on. Copied before `appendWrite` returns. */
  source: Uint8Array = EMPTY;
  start = 0;
  payload = 0;
}

/** See the head of the file. */
export class EventBatchEncoder {
  readonly #buffer = new GrowingBuffer(BUFFER_BYTES, TRACE_VALUE_BYTES_MAX);
  readonly #comms = new CommTable();
  readonly #commBytes = new Uint8Array(COMM_BYTES);
  readonly #commWords = new Uint32Array(this.#commBytes.buffer);
  readonly #left = new LeftFile(new Uint32Array(0), EMPTY);
  #source: Uint8Array = EMPTY;
  #sourceWords: Uint32Array | undefined;
  #count = 0;
  #firstNs = 0;
  #lastNs = 0;
  #finished = false;

  constructor() {
    this.#buffer.position = EVENTS_START;
  }

  /** Events so far. */
  get count(): number {
    return this.#count;
  }

  /** Size of the value that `finish` would give, envelope included. */
  get bytes(): number {
    return this.#buffer.position + this.#comms.count * COMM_BYTES;
  }

  /** Time of the first event so far: the timestamp of the batch's key. 0 when empty. */
  get firstNs(): number {
    return this.#firstNs;
  }

  /**
   * Appends a WRITE or OUTPUT with its payload.
   * @returns the event's offset, in bytes from the end of the envelope.
   */
  appendWrite(head: WriteHead): number {
    const { payload, tNs } = head;
    const buffer = this.#buffer;
    const start = buffer.position;
    const size = EVENT_FIXED_BYTES + ((payload + 7) & ~7);
    buffer.ensure(size);
    this.#begin(tNs);
    const words = buffer.words;
    const at = start >>> 2;
    words[at] = size;
    words[at + 1] = head.op | ((head.flags & ~LAYOUT_FLAGS) << 8);
    words[at + 2] = tNs;
    words[at + 3] = tNs / U32;
    words[at + 4] = head.pid;
    words[at + 5] = head.tid;
    words[at + 6] = head.node;
    words[at + 7] = this.#comms.indexOf(head.comm0, head.comm1, head.comm2, head.comm3);
    words[at + 8] = head.offset;
    words[at + 9] = head.offset / U32;
    words[at + 10] = head.length;
    words[at + 11] = head.length / U32;
    words[at + 12] = head.mtimeSec;
    words[at + 13] = Math.floor(head.mtimeSec / U32);
    words[at + 14] = head.mtimeNsec;
    words[at + 15] = payload;
    if (payload !== 0) this.#copyPayload(head, start + EVENT_FIXED_BYTES);
    buffer.position = start + size;
    return start - ENVELOPE_BYTES;
  }

  /**
   * Appends any event. `seq` of the event and the flags EXTENTS and TLVS are ignored: the batch gives the first, the fields
   * that are present the others.
   * @returns the event's offset, in bytes from the end of the envelope.
   * @throws {DiffKeeperError} `limit_exceeded`: larger than `EVENT_BYTES_MAX`; the batch is as it was before.
   */
  append(event: TraceEvent): number {
    const buffer = this.#buffer;
    const start = buffer.position;
    try {
      const flags = this.#putTail(event, start);
      const size = buffer.position - start;
      if (size > EVENT_BYTES_MAX) throw tooLarge(size);
      this.#begin(event.tNs);
      this.#putHead(event, { start, size, flags });
    } catch (thrown) {
      buffer.position = start;
      throw thrown;
    }
    return start - ENVELOPE_BYTES;
  }

  /** Appends a file of a lazy baseline, as `append` of its event would. */
  appendLeft(file: LeftFile): void {
    this.#begin(0);
    // no process, as in the whole baseline
    putLeftFile(this.#buffer, file, this.#comms.indexOf(0, 0, 0, 0));
  }

  /** The same for all files of a folder. */
  appendLeftFiles(files: LeftFiles): void {
    if (files.files === 0) return;
    this.#begin(0);
    this.#count += files.files - 1;
    putLeftFiles(this.#buffer, files, { file: this.#left, comm: this.#comms.indexOf(0, 0, 0, 0) });
  }

  /**
   * Ends the batch: writes header, comm table and envelope.
   * @param firstSeq seq of the first event; 0 for a baseline batch.
   * @returns the value, a view of the encoder's memory that is valid until `reset`.
   */
  finish(firstSeq: number): Uint8Array {
    assert(!this.#finished, "a batch must be finished only once");
    assert(Number.isSafeInteger(firstSeq) && firstSeq >= 0, "a seq must be a whole number");
    const buffer = this.#buffer;
    const end = buffer.position;
    for (const word of this.#comms.words) buffer.putU32(word);
    const valueBytes = buffer.position;
    buffer.position = ENVELOPE_BYTES;
    buffer.putU32(this.#count);
    buffer.putU32(end - EVENTS_START);
    buffer.putU32(this.#comms.count);
    buffer.putU32(0);
    buffer.putU64(firstSeq);
    buffer.putU64(this.#firstNs);
    buffer.putU64(this.#lastNs);
    assert(buffer.position === EVENTS_START, "a batch header must be 40 bytes");
    const value = buffer.bytes.subarray(0, valueBytes);
    seal(value, ValueKind.EVENTS);
    this.#finished = true;
    return value;
  }

  /** A copy of the events of a finished batch, as words. */
  copyEvents(): Uint32Array {
    assert(this.#finished, "events must be copied from a finished batch");
    const start = EVENTS_START / 4;
    const { words } = this.#buffer;
    const end = start + (words[(ENVELOPE_BYTES >>> 2) + 1] as number) / 4;
    return words.slice(start, end);
  }

  /** Empties the batch; the memory stays. */
  reset(): void {
    this.#buffer.position = EVENTS_START;
    this.#comms.reset();
    this.#count = 0;
    this.#firstNs = 0;
    this.#lastNs = 0;
    this.#finished = false;
  }

  #begin(tNs: number): void {
    assert(!this.#finished, "a finished batch must be reset before it takes events");
    assert(tNs >= this.#lastNs, "the time of events must never decrease");
    if (this.#count === 0) this.#firstNs = tNs;
    this.#lastNs = tNs;
    this.#count++;
  }

  #copyPayload(head: WriteHead, to: number): void {
    const { source, start, payload } = head;
    const { bytes, words } = this.#buffer;
    assert(start + payload <= source.length, "a payload must lie inside its source");
    const wordEnd = (to + payload + 7) >>> 3 << 1;
    words[wordEnd - 1] = 0;
    words[wordEnd - 2] = 0;
    if (payload > WORD_COPY_BYTES_MAX) {
      bytes.set(source.subarray(start, start + payload), to);
      return;
    }
    if (source !== this.#source) this.#bindSource(source);
    const sourceWords = this.#sourceWords;
    let done = 0;
    if (sourceWords !== undefined && (start & 3) === 0) {
      const from = start >>> 2;
      const target = to >>> 2;
      const count = payload >>> 2;
      for (let index = 0; index < count; index++) {
        words[target + index] = sourceWords[from + index] ?? 0;
      }
      done = count << 2;
    }
    for (; done < payload; done++) bytes[to + done] = source[start + done] ?? 0;
  }

  /** The ring is one array for the whole recording, so its word view is made once. */
  #bindSource(source: Uint8Array): void {
    this.#source = source;
    this.#sourceWords = source.byteOffset % 4 === 0
      ? new Uint32Array(source.buffer, source.byteOffset, source.length >>> 2)
      : undefined;
  }

  /** Puts what follows the fixed part; returns the layout flags. */
  #putTail(event: TraceEvent, start: number): number {
    const buffer = this.#buffer;
    buffer.ensure(EVENT_FIXED_BYTES);
    buffer.position = start + EVENT_FIXED_BYTES;
    assert(
      event.inline === undefined || event.extents === undefined,
      "an event must not have both inline payload and extents",
    );
    let flags = 0;
    if (event.inline !== undefined) buffer.putPadded(event.inline);
    if (event.extents !== undefined) {
      flags |= EventFlag.EXTENTS;
      buffer.ensure(event.extents.length * EXTENT_BYTES);
      for (const extent of event.extents) {
        buffer.putU32(extent.row);
        buffer.putU32(extent.offset);
        buffer.putU32(extent.length);
        buffer.putU32(0);
        buffer.putU64(extent.at);
      }
    }
    const tail = buffer.position;
    putFields(buffer, event);
    return buffer.position > tail ? flags | EventFlag.TLVS : flags;
  }

  #putHead(event: TraceEvent, at: { start: number; size: number; flags: number }): void {
    const buffer = this.#buffer;
    assert(at.size === padded(at.size), "the size of an event must be a multiple of 8");
    assert(event.flags >= 0 && event.flags <= FLAGS_MAX, "flags must fit in 24 bits");
    const names = isNameOp(event.op);
    buffer.position = at.start;
    buffer.putU32(at.size);
    buffer.putU32(event.op | (((event.flags & ~LAYOUT_FLAGS) | at.flags) << 8));
    buffer.putU64(event.tNs);
    buffer.putU32(event.pid);
    buffer.putU32(event.tid);
    buffer.putU32(event.node);
    buffer.putU32(this.#commIndex(event.comm));
    buffer.putU32((names ? event.parent : event.offset) ?? 0);
    buffer.putU32(names ? event.toParent ?? 0 : Math.floor((event.offset ?? 0) / U32));
    buffer.putU32((names ? event.victim : event.length) ?? 0);
    buffer.putU32(names ? 0 : Math.floor((event.length ?? 0) / U32));
    buffer.putU64(event.mtime?.sec ?? 0);
    buffer.putU32(event.mtime?.nsec ?? NO_MTIME);
    buffer.putU32(event.extents?.length ?? event.inline?.length ?? 0);
    assert(buffer.position === at.start + (WORD.PAYLOAD + 1) * 4, "a fixed part must be 64 bytes");
    buffer.position = at.start + at.size;
  }

  #commIndex(comm: string): number {
    // no process, as in the whole baseline
    if (comm === "") return this.#comms.indexOf(0, 0, 0, 0);
    this.#commBytes.fill(0);
    for (let index = 0; index < Math.min(comm.length, COMM_BYTES); index++) {
      this.#commBytes[index] = comm.charCodeAt(index);
    }
    const words = this.#commWords;
    return this.#comms.indexOf(words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0);
  }
}

function tooLarge(size: number): DiffKeeperError {
  return new DiffKeeperError(
    "limit_exceeded",
    `cannot store an event of ${size} bytes: the limit is ${EVENT_BYTES_MAX} bytes`,
  );
}
