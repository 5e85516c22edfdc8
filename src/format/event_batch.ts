/**
 * One EVENTS value, checked: its header when it is made, each event when `check` is asked about it. The part of reading that
 * knows the "must" clauses of docs/FORMAT.md; event_cursor.ts walks over it. Nothing is read out of bounds, and what breaks
 * a "must" is `data_corrupt`.
 */
import { Buffer } from "node:buffer";
import { unwrap, ValueKind } from "./envelope.ts";
import { checkFields, corruptField } from "./event_fields.ts";
import {
  BATCH_HEADER_BYTES,
  COMM_BYTES,
  EVENT_FIXED_BYTES,
  EXTENT_BYTES,
  hasOffset,
  isOp,
  NO_MTIME,
  padded,
  U32,
  WORD,
} from "./event_layout.ts";
import { EventFlag } from "./trace_event.ts";

const NSEC_MAX = 999_999_999;

/** See the head of the file. Offsets count from the end of the envelope. */
export class EventBatch {
  readonly count: number;
  readonly firstSeq: number;
  readonly firstNs: number;
  readonly lastNs: number;
  /** What stands after the envelope, in three views of the same memory. */
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly view: DataView;
  /** Behind the last event: where the comm table begins. */
  readonly end: number;
  readonly #commCount: number;
  readonly #comms: string[] = [];

  /** @throws {DiffKeeperError} `data_corrupt` */
  constructor(value: Uint8Array) {
    const aligned = value.byteOffset % 8 === 0 ? value : value.slice();
    const bytes = unwrap(aligned, ValueKind.EVENTS);
    if (bytes.length < BATCH_HEADER_BYTES) throw corruptField("its header is cut");
    if (bytes.length % 8 !== 0) throw corruptField("its size is not a multiple of 8");
    this.bytes = bytes;
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.count = this.u32(0);
    this.#commCount = this.u32(2);
    this.firstSeq = this.u64(4);
    this.firstNs = this.u64(6);
    this.lastNs = this.u64(8);
    this.end = BATCH_HEADER_BYTES + this.u32(1);
    this.#checkHeader();
  }

  #checkHeader(): void {
    if (this.end + this.#commCount * COMM_BYTES !== this.bytes.length) {
      throw corruptField("its parts do not fill it");
    }
    if (this.count * EVENT_FIXED_BYTES > this.end - BATCH_HEADER_BYTES) {
      throw corruptField("its count of events is too large");
    }
    if (this.u32(3) !== 0) throw corruptField("its reserved field is not 0");
    if (!Number.isSafeInteger(this.firstSeq + this.count)) throw corruptField("its seq cannot be");
    if (this.firstNs > this.lastNs || !Number.isSafeInteger(this.lastNs)) {
      throw corruptField("its times cannot be");
    }
  }

  /**
   * Checks the event that begins at `at` and gives its size. Tagged fields are checked to fill their place, not what they say.
   * @throws {DiffKeeperError} `data_corrupt`
   */
  check(at: number): number {
    if (at + EVENT_FIXED_BYTES > this.end) throw corruptField("an event is cut");
    const word = at >>> 2;
    const size = this.u32(word + WORD.SIZE);
    if (size < EVENT_FIXED_BYTES || (size & 7) !== 0 || at + size > this.end) {
      throw corruptField("an event has an impossible size");
    }
    const opFlags = this.u32(word + WORD.OP_FLAGS);
    const op = opFlags & 0xff;
    if (!isOp(op)) throw corruptField("an event has an unknown op");
    if (this.u32(word + WORD.COMM) >= this.#commCount) {
      throw corruptField("an event names no entry of the comm table");
    }
    const nsec = this.u32(word + WORD.MTIME_NSEC);
    if (nsec > NSEC_MAX && nsec !== NO_MTIME) {
      throw corruptField("the nanoseconds of an mtime are above 999999999");
    }
    const flags = opFlags >>> 8;
    const payload = this.u32(word + WORD.PAYLOAD);
    const isInline = (flags & EventFlag.EXTENTS) === 0;
    const tail = at + EVENT_FIXED_BYTES + (isInline ? padded(payload) : payload * EXTENT_BYTES);
    if (tail > at + size) throw corruptField("the payload of an event is longer than the event");
    if ((flags & EventFlag.TLVS) !== 0) checkFields(this.view, tail, at + size);
    else if (tail !== at + size) throw corruptField("an event is longer than its parts");
    if (isInline && hasOffset(op) && payload > this.u64(word + WORD.LENGTH)) {
      throw corruptField("an event has more payload than its length");
    }
    return size;
  }

  /** A name of the comm table, a binary string without its NULs; made once. */
  comm(index: number): string {
    return this.#comms[index] ??= this.#readComm(index);
  }

  #readComm(index: number): string {
    const start = this.bytes.byteOffset + this.end + index * COMM_BYTES;
    const comm = Buffer.from(this.bytes.buffer, start, COMM_BYTES);
    const nul = comm.indexOf(0);
    return comm.toString("latin1", 0, nul < 0 ? COMM_BYTES : nul);
  }

  /** The word at a position in words; 0 behind the end. */
  u32(word: number): number {
    return this.words[word] ?? 0;
  }

  /** The u64 at a position in words; exact up to 2^53. */
  u64(word: number): number {
    return this.u32(word) + this.u32(word + 1) * U32;
  }
}
