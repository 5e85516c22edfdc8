/**
 * Reads one EVENTS value event by event (docs/FORMAT.md, "EVENTS") without allocating per event: `next` moves, getters read.
 * Everything in the value is outside data: the header is checked when the cursor is made, each event when `next` or `seek`
 * reaches it, tagged fields when `event` reads them. What breaks a "must" is `data_corrupt`; nothing is read out of bounds.
 *
 * States: before the first event -> on an event (next)* -> after the last. Getters are only meaningful on an event.
 */
import { assert } from "../base/assert.ts";
import { EventBatch } from "./event_batch.ts";
import { corruptField, readFields } from "./event_fields.ts";
import {
  BATCH_HEADER_BYTES,
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
  readonly #batch: EventBatch;
  readonly #words: Uint32Array;
  /** Bytes from the end of the envelope; before the first event: end of the header. */
  #at = BATCH_HEADER_BYTES;
  #word = 0;
  #size = 0;
  #index = -1;
  #previousNs: number;

  /**
   * @param value the row's value with its envelope, or the batch that was made of it. The cursor keeps it; it must not change.
   * @throws {DiffKeeperError} `data_corrupt`
   */
  constructor(value: Uint8Array | EventBatch) {
    const batch = value instanceof EventBatch ? value : new EventBatch(value);
    this.#batch = batch;
    this.#words = batch.words;
    this.bytes = batch.bytes;
    this.count = batch.count;
    this.firstSeq = batch.firstSeq;
    this.firstNs = batch.firstNs;
    this.lastNs = batch.lastNs;
    this.#previousNs = batch.firstNs;
  }

  /** Moves to the next event; false after the last. @throws {DiffKeeperError} `data_corrupt` */
  next(): boolean {
    const at = this.#at + this.#size;
    if (this.#index + 1 >= this.count) {
      if (at !== this.#batch.end) throw corruptField("there are bytes after its last event");
      if (this.#previousNs !== this.lastNs) throw corruptField("its last time is not that event's");
      return false;
    }
    this.#moveTo(at);
    this.#index++;
    const tNs = this.tNs;
    if (this.#index === 0 && tNs !== this.firstNs) throw corruptField("its first time is another");
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
    this.#moveTo(at);
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
    return this.#batch.comm(this.#u32(this.#word + WORD.COMM));
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
      readFields(
        { view: this.#batch.view, from: this.#tailStart(), to: this.#at + this.#size },
        event,
      );
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

  #moveTo(at: number): void {
    this.#size = this.#batch.check(at);
    this.#at = at;
    this.#word = at >>> 2;
  }

  #tailStart(): number {
    const payload = this.#u32(this.#word + WORD.PAYLOAD);
    return this.payloadOffset + (this.#hasExtents() ? payload * EXTENT_BYTES : padded(payload));
  }

  #hasExtents(): boolean {
    return (this.flags & EventFlag.EXTENTS) !== 0;
  }

  #u32(word: number): number {
    return this.#words[word] ?? 0;
  }

  #u64(word: number): number {
    return this.#u32(word) + this.#u32(word + 1) * U32;
  }
}
