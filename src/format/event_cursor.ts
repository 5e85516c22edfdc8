/**
 * Reads one EVENTS value event by event (docs/FORMAT.md, "EVENTS") without allocating per event: `next` moves, getters read.
 * Everything in the value is outside data: the header is checked when the cursor is made, each event when `next` or `seek`
 * reaches it, tagged fields when `event` reads them. What breaks a "must" is `data_corrupt`; nothing is read out of bounds.
 *
 * States: before the first event -> on an event (next)* -> after the last. Getters are only meaningful on an event.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import { unwrap, ValueKind } from "./envelope.ts";
import { checkFields, corruptField, readFields } from "./event_fields.ts";
import {
  BATCH_HEADER_BYTES,
  COMM_BYTES,
  EVENT_FIXED_BYTES,
  EXTENT_BYTES,
  hasLength,
  hasOffset,
  isNameOp,
  isOp,
  NO_MTIME,
  padded,
  U32,
  WORD,
} from "./event_layout.ts";
import { EventFlag, type Extent, Op, type OpCode, type TraceEvent } from "./trace_event.ts";

const NSEC_MAX = 999_999_999;
const LAYOUT_FLAGS = EventFlag.EXTENTS | EventFlag.TLVS;

/** See the head of the file. */
export class EventCursor {
  /** Events in the batch. */
  readonly count: number;
  /** Seq of the first event; 0: a baseline batch, whose events have none. */
  readonly firstSeq: number;
  readonly firstNs: number;
  readonly lastNs: number;
  /** The payload of the row: what stands after the envelope. */
  readonly bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #view: DataView;
  readonly #end: number;
  readonly #commCount: number;
  readonly #comms: string[] = [];
  /** Bytes from the end of the envelope; before the first event: end of the header. */
  #at = BATCH_HEADER_BYTES;
  #word = 0;
  #size = 0;
  #index = -1;
  #previousNs: number;

  /**
   * @param value the row's value with its envelope. The cursor keeps it; it must not change.
   * @throws {DiffKeeperError} `data_corrupt`
   */
  constructor(value: Uint8Array) {
    const aligned = value.byteOffset % 8 === 0 ? value : value.slice();
    const bytes = unwrap(aligned, ValueKind.EVENTS);
    if (bytes.length < BATCH_HEADER_BYTES) throw corruptField("its header is cut");
    if (bytes.length % 8 !== 0) throw corruptField("its size is not a multiple of 8");
    this.bytes = bytes;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.count = this.#u32(0);
    this.#commCount = this.#u32(2);
    this.firstSeq = this.#u64(4);
    this.firstNs = this.#u64(6);
    this.lastNs = this.#u64(8);
    this.#end = BATCH_HEADER_BYTES + this.#u32(1);
    this.#previousNs = this.firstNs;
    if (this.#end + this.#commCount * COMM_BYTES !== bytes.length) {
      throw corruptField("its parts do not fill it");
    }
    if (this.count * EVENT_FIXED_BYTES > this.#end - BATCH_HEADER_BYTES) {
      throw corruptField("its count of events is too large");
    }
    if (!Number.isSafeInteger(this.firstSeq + this.count) || this.firstNs > this.lastNs) {
      throw corruptField("its first seq or its times cannot be");
    }
  }

  /** Moves to the next event; false after the last. @throws {DiffKeeperError} `data_corrupt` */
  next(): boolean {
    const at = this.#at + this.#size;
    if (this.#index + 1 >= this.count) {
      if (at !== this.#end) throw corruptField("there are bytes after its last event");
      if (this.#previousNs !== this.lastNs) throw corruptField("its last time is not that event's");
      return false;
    }
    this.#check(at);
    this.#at = at;
    this.#index++;
    const tNs = this.tNs;
    if (tNs < this.#previousNs || tNs > this.lastNs) {
      throw corruptField("its times are not in order");
    }
    this.#previousNs = tNs;
    return true;
  }

  /**
   * Moves to the event at an offset that a VERSIONS entry names.
   * @param at bytes from the end of the envelope.
   * @throws {DiffKeeperError} `data_corrupt`: there is no event with this seq.
   */
  seek(at: number, seq: number): void {
    const index = seq - this.firstSeq;
    if (!(index >= 0 && index < this.count)) throw corruptField("a pointer names a seq outside it");
    if (at < BATCH_HEADER_BYTES || at % 8 !== 0) {
      throw corruptField("a pointer does not name an event");
    }
    this.#check(at);
    this.#at = at;
    this.#index = index;
    this.#previousNs = this.tNs;
  }

  /** Moves so that the next `next` gives the event with this seq, or the end. */
  skipTo(seq: number): void {
    assert(this.#index === -1, "a cursor must skip before it moves");
    const skip = Math.min(seq - this.firstSeq, this.count);
    for (let index = 0; index < skip; index++) {
      if (!this.next()) return;
    }
  }

  /** Back to before the first event. */
  rewind(): void {
    this.#at = BATCH_HEADER_BYTES;
    this.#size = 0;
    this.#index = -1;
    this.#previousNs = this.firstNs;
  }

  get op(): OpCode {
    const op = this.#u32(this.#word + WORD.OP_FLAGS) & 0xff;
    assert(isOp(op), "a getter must only be used on an event");
    return op;
  }

  /** All 24 bits, the layout flags EXTENTS and TLVS too. */
  get flags(): number {
    return this.#u32(this.#word + WORD.OP_FLAGS) >>> 8;
  }

  get seq(): number {
    return this.firstSeq === 0 ? 0 : this.firstSeq + this.#index;
  }

  get tNs(): number {
    return this.#u64(this.#word + WORD.T);
  }

  get pid(): number {
    return this.#u32(this.#word + WORD.PID);
  }

  get tid(): number {
    return this.#u32(this.#word + WORD.TID);
  }

  get node(): number {
    return this.#u32(this.#word + WORD.NODE);
  }

  /** Task name, a binary string; made once per entry of the comm table. */
  get comm(): string {
    const index = this.#u32(this.#word + WORD.COMM);
    return this.#comms[index] ??= this.#readComm(index);
  }

  /** Meaning as `TraceEvent.offset`; of no meaning for name ops. */
  get offset(): number {
    return this.#u64(this.#word + WORD.OFFSET);
  }

  /** Meaning as `TraceEvent.length`; of no meaning for name ops. */
  get length(): number {
    return this.#u64(this.#word + WORD.LENGTH);
  }

  /** Name ops only, as are `toParent` and `victim`. */
  get parent(): number {
    return this.#u32(this.#word + WORD.OFFSET);
  }

  get toParent(): number {
    return this.#u32(this.#word + WORD.OFFSET + 1);
  }

  get victim(): number {
    return this.#u32(this.#word + WORD.LENGTH);
  }

  /** Whether the event changes the mtime of `node`. */
  get hasMtime(): boolean {
    return this.mtimeNsec !== NO_MTIME;
  }

  get mtimeSec(): number {
    const at = this.#word + WORD.MTIME_SEC;
    return this.#u32(at) + (this.#u32(at + 1) | 0) * U32;
  }

  /** `NO_MTIME`: the event does not change the mtime. */
  get mtimeNsec(): number {
    return this.#u32(this.#word + WORD.MTIME_NSEC);
  }

  /** Where the event stands, in bytes from the end of the envelope. */
  get eventOffset(): number {
    return this.#at;
  }

  /** Where the inline payload stands, in bytes from the end of the envelope: with the row id, a pointer to it. */
  get payloadOffset(): number {
    return this.#at + EVENT_FIXED_BYTES;
  }

  /** Bytes of inline payload. */
  get payloadLength(): number {
    return this.#hasExtents() ? 0 : this.#u32(this.#word + WORD.PAYLOAD);
  }

  /** The inline payload, a view of the batch. */
  get payload(): Uint8Array {
    return this.bytes.subarray(this.payloadOffset, this.payloadOffset + this.payloadLength);
  }

  get extentCount(): number {
    return this.#hasExtents() ? this.#u32(this.#word + WORD.PAYLOAD) : 0;
  }

  /** The n-th extent, from 0 on. */
  extent(index: number): Extent {
    assert(index >= 0 && index < this.extentCount, "an extent must be asked for by its index");
    const at = (this.payloadOffset + index * EXTENT_BYTES) >>> 2;
    return {
      row: this.#u32(at),
      offset: this.#u32(at + 1),
      length: this.#u32(at + 2),
      at: this.#u64(at + 4),
    };
  }

  /** The whole event as a value of its own, except that byte arrays are views of the batch. @throws `data_corrupt` */
  event(): TraceEvent {
    const event: TraceEvent = {
      seq: this.seq,
      op: this.op,
      flags: this.flags & ~LAYOUT_FLAGS,
      tNs: this.tNs,
      pid: this.pid,
      tid: this.tid,
      comm: this.comm,
      node: this.node,
    };
    if (this.hasMtime) event.mtime = { sec: this.mtimeSec, nsec: this.mtimeNsec };
    if (isNameOp(event.op)) this.#readNameIds(event);
    else this.#readRange(event);
    if (this.#hasExtents()) {
      event.extents = [];
      for (let index = 0; index < this.extentCount; index++) event.extents.push(this.extent(index));
    } else if (this.payloadLength > 0) {
      event.inline = this.payload;
    }
    if ((this.flags & EventFlag.TLVS) !== 0) {
      readFields({ view: this.#view, from: this.#tailStart(), to: this.#at + this.#size }, event);
    }
    return event;
  }

  #readNameIds(event: TraceEvent): void {
    event.parent = this.parent;
    if (event.op === Op.RENAME || this.toParent !== 0) event.toParent = this.toParent;
    if (event.op === Op.RENAME || this.victim !== 0) event.victim = this.victim;
  }

  #readRange(event: TraceEvent): void {
    const { offset, length } = this;
    if (offset !== 0 || hasOffset(event.op)) event.offset = offset;
    if (length !== 0 || hasLength(event.op)) event.length = length;
  }

  /** Checks the event at `at` and makes it the current one for the getters of the fixed part. */
  #check(at: number): void {
    if (at + EVENT_FIXED_BYTES > this.#end) throw corruptField("an event is cut");
    const word = at >>> 2;
    const size = this.#u32(word + WORD.SIZE);
    if (size < EVENT_FIXED_BYTES || size % 8 !== 0 || at + size > this.#end) {
      throw corruptField("an event has an impossible size");
    }
    const opFlags = this.#u32(word + WORD.OP_FLAGS);
    const op = opFlags & 0xff;
    if (!isOp(op)) throw corruptField("an event has an unknown op");
    if (this.#u32(word + WORD.COMM) >= this.#commCount) {
      throw corruptField("an event names no entry of the comm table");
    }
    const nsec = this.#u32(word + WORD.MTIME_NSEC);
    if (nsec > NSEC_MAX && nsec !== NO_MTIME) {
      throw corruptField("the nanoseconds of an mtime are above 999999999");
    }
    const flags = opFlags >>> 8;
    const payload = this.#u32(word + WORD.PAYLOAD);
    const body = (flags & EventFlag.EXTENTS) !== 0 ? payload * EXTENT_BYTES : padded(payload);
    const tail = at + EVENT_FIXED_BYTES + body;
    if (tail > at + size) throw corruptField("the payload of an event is longer than the event");
    if ((flags & EventFlag.TLVS) !== 0) checkFields(this.#view, tail, at + size);
    else if (tail !== at + size) throw corruptField("an event is longer than its parts");
    if (
      (flags & EventFlag.EXTENTS) === 0 && hasOffset(op) && payload > this.#u64(word + WORD.LENGTH)
    ) {
      throw corruptField("an event has more payload than its length");
    }
    this.#word = word;
    this.#size = size;
  }

  #tailStart(): number {
    const payload = this.#u32(this.#word + WORD.PAYLOAD);
    return this.payloadOffset + (this.#hasExtents() ? payload * EXTENT_BYTES : padded(payload));
  }

  #hasExtents(): boolean {
    return (this.flags & EventFlag.EXTENTS) !== 0;
  }

  #readComm(index: number): string {
    const start = this.bytes.byteOffset + this.#end + index * COMM_BYTES;
    const comm = Buffer.from(this.bytes.buffer, start, COMM_BYTES);
    const nul = comm.indexOf(0);
    return comm.toString("latin1", 0, nul < 0 ? COMM_BYTES : nul);
  }

  #u32(word: number): number {
    return this.#words[word] ?? 0;
  }

  #u64(word: number): number {
    return this.#u32(word) + this.#u32(word + 1) * U32;
  }
}
