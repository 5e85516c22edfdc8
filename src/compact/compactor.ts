/**
 * Turns a raw trace into a packed one, step by step: first the baseline, then the journal, segment by segment, each step one
 * transaction that replaces rows by what they stand for. Readers see the same events before, during and after. A kill between
 * steps loses nothing: the next compactor learns from the rows that are packed what this one knew, and goes on.
 */
import { asDiffKeeperError } from "../base/error.ts";
import {
  COMPACT_DEEP_BYTES,
  COMPACT_GARBAGE_BYTES,
  KEYFRAME_EVENTS_MIN,
  KEYFRAME_EVENTS_PER_NODE,
  SEGMENT_BYTES,
  SEGMENT_DATA_BYTES_MAX,
  SEGMENT_EVENTS_MAX,
  SEGMENT_ROWS_MAX,
  SOLID_PREFIX_BYTES_MIN,
} from "../base/limits.ts";
import { releaseBytes } from "../base/release.ts";
import { openBatch } from "../format/batch_value.ts";
import { ENVELOPE_BYTES, ValueKind } from "../format/envelope.ts";
import type { EventBatch } from "../format/event_batch.ts";
import { EventCursor } from "../format/event_codec.ts";
import { EventPacker } from "../format/event_packer.ts";
import { unpackEvents } from "../format/event_unpacker.ts";
import { buildKey, rangeOf } from "../format/keys.ts";
import { type Blob, type BlobBase, encodePackedRow } from "../format/packed_row.ts";
import { EventFlag } from "../format/trace_event.ts";
import { encodePackedJson } from "../format/packed_json.ts";
import { zstdEncode } from "../format/zstd.ts";
import type { CompactStore, CountChange } from "../store/compact_store.ts";
import type { JsonObject } from "../store/schema.ts";
import { keyAfter, type Row } from "../store/trace_rows.ts";
import { Bases } from "./bases.ts";
import { BlobMaker, type Effort } from "./blob_maker.ts";
import { checkPacked } from "./event_check.ts";
import { CompactState } from "./compact_state.ts";
import { learnContent, learnNames, learnStreams } from "./lessons.ts";
import { layOut, solidOf } from "./segment.ts";

/** A data row that a step packs. */
interface PackedData {
  id: number;
  value: Uint8Array;
}

type Sort = "version" | "baseline" | "content" | "journal" | "process";
const SORTS: readonly Sort[] = ["version", "baseline", "content", "journal", "process"];

/** How to pack. */
export interface CompactSettings {
  effort: Effort;
  /** Events between two keyframes, at least. */
  keyframeEvents: number;
  /** And as many for each node that a keyframe has to hold. */
  keyframeEventsPerNode: number;
  /** Bytes of batches that become one row, at most, if it is more than one batch. */
  segmentBytes: number;
  /** Batches that become one row, at most; left out: SEGMENT_ROWS_MAX. */
  segmentRows?: number;
  /** Bytes of content put together from which on it is a prefix for the next. */
  solidPrefixBytes: number;
}

/** The settings for an effort. `maxBytes`: the trace is to be kept below that. */
export function settingsOf(effort: Effort, maxBytes?: number): CompactSettings {
  const settings = {
    effort,
    keyframeEvents: KEYFRAME_EVENTS_MIN,
    keyframeEventsPerNode: KEYFRAME_EVENTS_PER_NODE,
    segmentBytes: SEGMENT_BYTES,
    solidPrefixBytes: SOLID_PREFIX_BYTES_MIN,
  };
  if (maxBytes === undefined) return settings;
  // history goes by rows, and what is kept keeps the blobs that it is told by: a row for each batch, and blobs on their own
  return { ...settings, segmentRows: 1, solidPrefixBytes: Number.POSITIVE_INFINITY };
}

/** What was done so far. */
export interface CompactProgress {
  /** Bytes of the values that were packed, before and after. */
  bytesBefore: number;
  bytesAfter: number;
  /** Last event that is packed. */
  lastSeq: number;
}

/** See the head of the file. */
export class Compactor {
  readonly progress: CompactProgress = { bytesBefore: 0, bytesAfter: 0, lastSeq: 0 };
  readonly #store: CompactStore;
  readonly #settings: CompactSettings;
  readonly #bases = new Bases();
  readonly #maker: BlobMaker;
  readonly #packer = new EventPacker();
  #state: CompactState;
  /** The last content that was put together. */
  #solid: BlobBase | undefined;
  /** Whether something was packed in a hurry, and not again since. */
  #isFast: boolean;
  #garbageBytes = 0;
  /** Where each sort of rows goes on: behind the last one that was looked at. */
  readonly #from = new Map<Sort, Uint8Array>();

  constructor(store: CompactStore, settings: CompactSettings) {
    this.#store = store;
    this.#settings = settings;
    this.#state = new CompactState(settings);
    this.#maker = new BlobMaker(store, settings.effort);
    this.#isFast = store.progress()?.["fast"] === true;
    this.#resume();
  }

  /**
   * Packs the next rows. `final`: nothing more will come, so the last, small rows are packed too.
   * @returns false when there was nothing to do.
   */
  step(final: boolean): boolean {
    this.#packer.reset();
    this.#maker.reset();
    return this.#keyframeStep() || this.#versionStep() || this.#baselineStep() ||
      this.#contentStep() ||
      this.#journalStep(final) || (final && this.#processStep());
  }

  /** Learns what an earlier run knew. */
  #resume(): void {
    const stored = this.#store.progress();
    for (const sort of SORTS) {
      const { from, to } = rangeOf(sort);
      const text = stored?.[sort];
      const until = typeof text === "string" ? Buffer.from(text, "latin1") : from;
      this.#from.set(sort, until);
      if (sort !== "baseline" && sort !== "journal") continue;
      if (sort === "journal") {
        this.#state.restoreFold(this.#store.rows);
        this.#state.restore(this.#store.rows);
      }
      let at = from;
      for (;;) {
        const row = this.#store.first({ from: at, to });
        if (row === undefined || Buffer.compare(row.key, until) >= 0) break;
        const { cursor } = openBatch(row.value, row.id);
        this.#learn(cursor, row.id);
        this.#state.fold(cursor, row.id, true);
        at = keyAfter(row.key);
      }
    }
    const number = (name: string) => {
      const value = stored?.[name];
      return typeof value === "number" ? value : 0;
    };
    this.progress.bytesBefore = number("bytes_before");
    this.progress.bytesAfter = number("bytes_after");
    this.progress.lastSeq = number("last_seq");
  }

  #learn(cursor: EventCursor, row: number): void {
    learnNames(this.#bases, cursor);
    learnContent(this.#bases, cursor, { row, content: this.#store.content });
    this.#learnSolid(row);
  }

  #learnSolid(row: number): void {
    const packed = this.#store.content.packed(row);
    if (packed === undefined) return;
    this.#solid = solidOf(row, packed, this.#settings.solidPrefixBytes) ?? this.#solid;
  }

  #next(sort: Sort): Row | undefined {
    const range = rangeOf(sort);
    return this.#store.first({ from: this.#from.get(sort) ?? range.from, to: range.to });
  }

  /** The index points into rows that will change: it goes first, and is made again from the packed journal. */
  #versionStep(): boolean {
    const rows: { id: number }[] = [];
    const { from, to } = rangeOf("version");
    let behind = this.#from.get("version") ?? from;
    // without their values: that of a file written ten million times has hundreds of megabytes
    for (const { id, key } of this.#store.heads({ from: behind, to })) {
      rows.push({ id });
      behind = keyAfter(key);
      if (rows.length === VERSION_ROWS_PER_STEP) break;
    }
    if (rows.length === 0) return false;
    this.#from.set("version", behind);
    this.#commit([], [], rows, { versions: -rows.length });
    return true;
  }

  /** Many processes in one row; when nobody writes theirs again. */
  #processStep(): boolean {
    const rows: Row[] = [];
    let from = this.#from.get("process") ?? rangeOf("process").from;
    while (rows.length < PROCESSES_PER_ROW) {
      const row = this.#store.first({ from, to: rangeOf("process").to });
      if (row === undefined || row.value[4] !== ValueKind.JSON) break;
      rows.push(row);
      from = keyAfter(row.key);
    }
    const [first] = rows;
    if (first === undefined) return false;
    this.#from.set("process", from);
    const objects = rows.map((row) => ({
      key: Buffer.from(row.key).toString("latin1"),
      info: this.#store.rows.json(row),
    }));
    const value = encodePackedJson(objects, this.#settings.effort.small.level);
    this.#commit([], [{ id: first.id, value }], rows.slice(1), {});
    return true;
  }

  #baselineStep(): boolean {
    const row = this.#next("baseline");
    if (row === undefined) return false;
    this.#from.set("baseline", keyAfter(row.key));
    this.#pack([row]);
    return true;
  }

  /** Rows of content that the recorder put: compressed one by one, because pointers name them. */
  #contentStep(): boolean {
    const row = this.#next("content");
    if (row === undefined) {
      // rows that come from now on are packed already
      this.#from.set("content", rangeOf("content").to);
      return false;
    }
    this.#from.set("content", keyAfter(row.key));
    if (row.value[4] !== ValueKind.DATA) return true;
    const packed = this.#maker.recompress(row.value.subarray(32));
    if (packed === undefined || packed.length >= row.value.length) return true;
    this.#commit([row], [{ id: row.id, value: packed }]);
    return true;
  }

  #journalStep(final: boolean): boolean {
    const rows: Row[] = [];
    let [bytes, events, elsewhere] = [0, 0, 0];
    let from = this.#from.get("journal") ?? rangeOf("journal").from;
    const { segmentBytes } = this.#settings;
    let isFull = false;
    while (!isFull) {
      const range = { from, to: rangeOf("journal").to };
      isFull = rows.length > 0 && bytes + this.#store.firstBytes(range) > segmentBytes;
      const row = isFull ? undefined : this.#store.first(range);
      if (row === undefined) break;
      rows.push(row);
      bytes += row.value.length;
      events += batchCount(row.value);
      elsewhere += extentBytes(row.value);
      from = keyAfter(row.key);
      isFull = events >= SEGMENT_EVENTS_MAX || elsewhere >= SEGMENT_DATA_BYTES_MAX ||
        rows.length >= (this.#settings.segmentRows ?? SEGMENT_ROWS_MAX);
    }
    if (rows.length === 0 || (!isFull && !final)) return false;
    this.#from.set("journal", from);
    this.#pack(rows);
    return true;
  }

  /** Packs batches that follow each other into the first one's row. */
  #pack(rows: readonly Row[]): void {
    const [first] = rows;
    if (first === undefined) return;
    const packer = this.#packer;
    let batches: EventBatch[];
    try {
      batches = rows.map((row) => packer.add(row.value));
    } catch (thrown) {
      if (asDiffKeeperError(thrown).code !== "limit_exceeded") throw thrown;
      // it has what columns cannot hold: it stays as it is
      this.#keepRaw(rows);
      return;
    }
    const cursors = () => batches.map((batch) => new EventCursor(batch));
    if (packer.hasNames) { for (const cursor of cursors()) learnNames(this.#bases, cursor); }
    const data = packer.hasExtents ? cursors().flatMap((cursor) => this.#packData(cursor)) : [];
    const { content, blobs } = layOut(packer, {
      bases: this.#bases,
      maker: this.#maker,
      row: first.id,
      solid: this.#solid,
      // by what was packed before, so that one that is killed goes on as it began
      deep: this.progress.bytesBefore < COMPACT_DEEP_BYTES,
    });
    const packed = packer.pack();
    const unpacked = unpackEvents(packed, first.id);
    checkPacked(batches, unpacked, content);
    const frame = zstdEncode(packed, this.#settings.effort.events);
    const value = encodePackedRow(ValueKind.PACKED_EVENTS, blobs, {
      length: packed.length,
      frame,
    });
    this.progress.lastSeq = Math.max(this.progress.lastSeq, packer.firstSeq + packer.count - 1);
    this.#commit(rows, [{ id: first.id, value }, ...data]);
    this.#maker.settle();
    this.#collect(rows.reduce((sum, row) => sum + row.value.length, 0));
    for (const row of rows) releaseBytes(row.value);
    const cursor = new EventCursor(unpacked);
    // names are learned already
    if (!packer.hasExtents) learnStreams(this.#bases, packer, first.id, this.#store.content);
    else learnContent(this.#bases, cursor, { row: first.id, content: this.#store.content });
    this.#learnSolid(first.id);
    this.#state.fold(cursor, first.id, packer.hasNames);
    releaseBytes(unpacked);
  }

  /** Gives back the memory of what was read: the runtime would wait until it is much more. */
  #collect(bytes: number): void {
    this.#garbageBytes += bytes;
    if (this.#garbageBytes < COMPACT_GARBAGE_BYTES) return;
    this.#garbageBytes = 0;
    Bun.gc(true);
  }

  /** One by one, so that only those stay raw that must. */
  #keepRaw(rows: readonly Row[]): void {
    this.#packer.reset();
    const [only, second] = rows;
    if (only === undefined) return;
    if (second !== undefined) {
      for (const row of rows) {
        this.#packer.reset();
        this.#pack([row]);
      }
      return;
    }
    const { cursor } = openBatch(only.value, only.id);
    this.#commit([], []);
    this.#learn(cursor, only.id);
    this.#state.fold(cursor, only.id, true);
  }

  /** Stores the state when enough has happened since the last time. */
  #keyframeStep(): boolean {
    if (!this.#state.isKeyframeDue()) return false;
    // it makes objects for everything that is known
    const objectBytes = this.#state.objectBytes;
    this.#collect(objectBytes);
    const { rest, values } = this.#state.keyframe(this.#settings.effort.events);
    const { seq, tNs } = rest;
    const store = this.#store;
    try {
      store.begin();
      for (const [part, value] of values.entries()) {
        store.insert({ sort: "keyframe", tNs, seq, part }, store.reserveId(), value);
        this.progress.bytesAfter += value.length;
      }
      store.count({ keyframes: values.length });
      store.commit(this.#json());
    } catch (thrown) {
      store.rollback();
      throw thrown;
    }
    // from what was stored: what readers will see is what is gone on from
    this.#state = new CompactState(this.#settings);
    // the state before, and what was made of it, are not to stand beside the next one
    this.#collect(objectBytes);
    this.#state.restore(store.rows);
    return true;
  }

  /** Packs the data rows that the events point to and that are still raw. */
  #packData(cursor: EventCursor): PackedData[] {
    const parts = new Map<number, { node: number; offset: number; length: number; at: number }[]>();
    cursor.rewind();
    while (cursor.next()) {
      if ((cursor.flags & EventFlag.EXTENTS) === 0) continue;
      for (let index = 0; index < cursor.extentCount; index++) {
        const { row, offset, length, at } = cursor.extent(index);
        const list = parts.get(row) ?? [];
        list.push({ node: cursor.node, offset, length, at: cursor.offset + at });
        parts.set(row, list);
      }
    }
    const packed: PackedData[] = [];
    for (const [id, list] of parts) {
      const row = this.#store.rows.byId(id);
      if (row === undefined || row.value[4] !== ValueKind.DATA || row.key[0] !== DATA_LETTER) {
        continue;
      }
      const payload = row.value.subarray(32);
      const blobs: Blob[] = [];
      list.sort((a, b) => a.offset - b.offset);
      let next = 0;
      for (const { node, offset, length, at } of list) {
        if (offset < next) continue;
        const none = () => undefined;
        if (offset > next) blobs.push(...this.#maker.make(payload.subarray(next, offset), none));
        const bytes = payload.subarray(offset, offset + length);
        blobs.push(...this.#maker.make(
          bytes,
          (from) => this.#bases.find(node, at + from),
          (from) => this.#bases.findRun(node, at + from, length - from),
        ));
        next = offset + length;
      }
      if (next < payload.length) {
        blobs.push(...this.#maker.make(payload.subarray(next), () => undefined));
      }
      packed.push({ id, value: encodePackedRow(ValueKind.PACKED_DATA, blobs) });
      this.#garbageBytes += row.value.length;
      this.#maker.keep(id, row.value);
    }
    return packed;
  }

  /** One transaction: the first row and data rows are replaced, further ones go, new content comes. */
  #commit(
    rows: readonly Row[],
    values: readonly PackedData[],
    removed: readonly { id: number }[] = rows.slice(1),
    change: CountChange = { journal: -Math.max(0, rows.length - 1) },
  ): void {
    const store = this.#store;
    const { contents } = this.#maker;
    for (const { value } of rows) this.progress.bytesBefore += value.length;
    for (const { value } of [...values, ...contents]) this.progress.bytesAfter += value.length;
    if (values.length > 0 && this.#settings.effort.isFast) this.#isFast = true;
    try {
      store.begin();
      for (const { id, key, value } of contents) store.insert(key, id, value);
      for (const { id, value } of values) store.replace(id, value);
      for (const row of removed) store.remove(row.id);
      const data = contents.filter(({ key }) => key.sort === "data").length;
      store.count({ ...change, contents: contents.length - data, data });
      store.commit(this.#json());
    } catch (thrown) {
      store.rollback();
      throw thrown;
    }
  }

  #json(): JsonObject {
    const { bytesBefore, bytesAfter, lastSeq } = this.progress;
    const keys: JsonObject = {};
    for (const [sort, key] of this.#from) keys[sort] = Buffer.from(key).toString("latin1");
    const state = { fast: this.#isFast, last_seq: lastSeq, ...keys };
    return { bytes_before: bytesBefore, bytes_after: bytesAfter, ...state };
  }
}

/** Processes that one row holds. */
const PROCESSES_PER_ROW = 4_096;
/** Rows of the index that one transaction removes. */
const VERSION_ROWS_PER_STEP = 500;
const DATA_LETTER = buildKey({ sort: "data", n: 0 })[0];

/** Bytes of payload that the events of a batch have in other rows. Damage is told by who packs it. */
function extentBytes(value: Uint8Array): number {
  let bytes = 0;
  try {
    const cursor = new EventCursor(value);
    while (cursor.next()) {
      for (let index = 0; index < cursor.extentCount; index++) bytes += cursor.extent(index).length;
    }
  } catch (thrown) {
    if (asDiffKeeperError(thrown).code !== "data_corrupt") throw thrown;
  }
  return bytes;
}

/** Events of a batch, as its header says; the packer checks it. */
function batchCount(value: Uint8Array): number {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  return value.length < ENVELOPE_BYTES + 4 ? 0 : view.getUint32(ENVELOPE_BYTES, true);
}
