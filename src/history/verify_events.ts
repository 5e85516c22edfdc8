/**
 * Checks the event batches of a trace, in order: keys agree with batches, seqs follow each other without a gap, times never
 * decrease, every event decodes, every extent lies in a row that is there, and all of them fold through the Tree. After an
 * event that does not fold the tree says nothing any more: later events are decoded, but not folded.
 *
 * States: begin -> baseline* -> journal* -> finish; then `again` once per further chunk of versions.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { openBatch } from "../format/batch_value.ts";
import type { EventCursor } from "../format/event_codec.ts";
import { countInexact, newFidelity } from "../format/fidelity.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import { blobAt, Codec } from "../format/packed_row.ts";
import { EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import { Tree } from "../resolve/tree.ts";
import type { Row, TraceReader } from "../store/trace_reader.ts";
import { LeftFiles } from "./left_files.ts";
import type { RowLengths } from "./row_lengths.ts";
import type { Problems } from "./verify_report.ts";
import type { VersionChunk } from "./verify_versions.ts";

/** Events with these are not folded from the cursor's fields alone. */
const SLOW_FLAGS = EventFlag.EXTENTS | EventFlag.TLVS;

/** Operations after which a node may have another path or none. */
const LOSES_NAME: ReadonlySet<number> = new Set([Op.RENAME, Op.UNLINK, Op.RMDIR]);

/** See the head of the file. */
export class EventCheck {
  readonly #reader: TraceReader;
  readonly #problems: Problems;
  readonly #lengths: RowLengths;
  /** Packed batches: pointers into them count from PACKED_POINTER on. */
  readonly #packed = new Set<number>();
  /** Rows of which a part was dropped. */
  readonly #thinned = new Set<number>();
  #tree = new Tree();
  #versions: VersionChunk | undefined;
  #nextBaseline = 0;
  #nextSaved = 0;
  /** Files that the trace refers to; complete after `finish`. */
  readonly left = new LeftFiles();
  /** Seq of the next batch; undefined: the batch before cannot be read. */
  #nextSeq: number | undefined = 1;
  /** An event did not fold, or a batch is missing. */
  isBroken = false;
  /** Journal events read. */
  events = 0;
  lastSeq = 0;
  lastNs = 0;
  /** Journal events that are not exact. */
  readonly fidelity = newFidelity();

  constructor(reader: TraceReader, problems: Problems, lengths: RowLengths) {
    this.#reader = reader;
    this.#problems = problems;
    this.#lengths = lengths;
  }

  /** Regular files that the tree knows. */
  fileCount(): number {
    let count = 0;
    for (const node of this.#tree.nodes()) if (node.isFile) count++;
    return count;
  }

  /** History up to this event was folded into the baseline. */
  foldedTo(seq: number): void {
    this.#nextSeq = seq + 1;
    this.lastSeq = seq;
  }

  /** A row of content that was packed, and whether pointers into it count as those into packed batches. */
  packed(row: number, isBatch: boolean): void {
    if (isBatch) this.#packed.add(row);
    const blobs = this.#reader.packedRow(row)?.blobs ?? [];
    if (blobs.some((blob) => blob.codec === Codec.GONE)) this.#thinned.add(row);
  }

  /** Before the first batch. */
  begin(versions: VersionChunk | undefined): void {
    this.#versions = versions;
    versions?.sort();
  }

  /** The n-th baseline batch. @throws {DiffKeeperError} `data_corrupt`: it cannot be read. */
  baseline(row: Row, n: number): void {
    if (n !== this.#nextBaseline) {
      this.#broken(row, `baseline batch ${this.#nextBaseline} is missing`);
    }
    this.#nextBaseline = n + 1;
    this.#batch(row, (cursor) => {
      if (cursor.firstSeq !== 0) this.#broken(row, "a baseline batch has a seq");
    });
  }

  /** The n-th batch of contents of the start. @throws {DiffKeeperError} `data_corrupt`: it cannot be read. */
  saved(row: Row, n: number): void {
    if (n !== this.#nextSaved) {
      this.#broken(row, `batch ${this.#nextSaved} of saved contents is missing`);
    }
    this.#nextSaved = n + 1;
    this.#batch(row, (cursor) => {
      if (cursor.firstSeq !== 0) this.#broken(row, "a batch of saved contents has a seq");
    });
  }

  /** A journal batch; the key is that of its row. @throws {DiffKeeperError} `data_corrupt`: it cannot be read. */
  journal(row: Row, key: { tNs: number; seq: number }): void {
    const expected = this.#nextSeq;
    this.#nextSeq = undefined;
    if (expected !== undefined && key.seq !== expected) {
      this.#broken(row, `it begins with event #${key.seq}, not #${expected}`);
    }
    this.lastSeq = Math.max(this.lastSeq, key.seq);
    this.#batch(row, (cursor) => {
      if (cursor.firstSeq !== key.seq) this.#broken(row, "its seq is not that of its key");
      if (cursor.firstNs !== key.tNs) this.#broken(row, "its time is not that of its key");
      if (cursor.count === 0) this.#broken(row, "it has no event");
      if (cursor.firstNs < this.lastNs) this.#broken(row, "it begins before the batch before ends");
      this.#nextSeq = key.seq + cursor.count;
      this.lastSeq = Math.max(this.lastSeq, this.#nextSeq - 1);
      this.lastNs = Math.max(this.lastNs, cursor.lastNs);
    });
  }

  /** A part of a keyframe: its pointers. @throws {DiffKeeperError} `data_corrupt`: it cannot be read. */
  part(row: Row): void {
    const { cursor } = openBatch(row.value, row.id);
    while (cursor.next()) this.#extents(cursor, row);
  }

  /** After the last batch. */
  finish(): void {
    if (!this.isBroken) this.left.finish(this.#tree);
    if (!this.isBroken) this.#versions?.finish();
    this.#versions = undefined;
  }

  /** Walks a trace that was found whole once more, for further versions. */
  again(versions: VersionChunk): void {
    assert(!this.isBroken, "a broken trace must not be walked again");
    this.#tree = new Tree();
    this.begin(versions);
    for (const { cursor } of this.#reader.baselineBatches()) {
      while (cursor.next()) this.#fold(cursor, 0);
    }
    for (const { cursor, row } of this.#reader.journalBatches()) {
      while (cursor.next()) this.#fold(cursor, row);
    }
    this.finish();
  }

  #batch(row: Row, checkHeader: (cursor: EventCursor) => void): void {
    let cursor: EventCursor;
    try {
      const opened = openBatch(row.value, row.id);
      cursor = opened.cursor;
      const length = opened.isPacked ? unpackAll(this.#reader, row.id) : cursor.bytes.length;
      this.#lengths.set(row.id, length);
      if (opened.isPacked) this.#packed.add(row.id);
      checkHeader(cursor);
      while (cursor.next()) this.#event(cursor, row);
    } catch (thrown) {
      // Its events are missing in the tree.
      this.isBroken = true;
      throw thrown;
    }
  }

  #event(cursor: EventCursor, row: Row): void {
    const { op, flags } = cursor;
    if (cursor.seq !== 0) {
      this.events++;
      countInexact(this.fidelity, op, flags);
    }
    if ((flags & EventFlag.EXTENTS) !== 0) this.#extents(cursor, row);
    if (this.isBroken) {
      cursor.event();
      return;
    }
    try {
      this.#fold(cursor, row.id);
    } catch (thrown) {
      if (!(thrown instanceof DiffKeeperError) || thrown.code !== "data_corrupt") throw thrown;
      this.#broken(row, `${nameOf(cursor)}: ${thrown.message}; what follows is not folded`);
    }
  }

  #fold(cursor: EventCursor, row: number): void {
    const tree = this.#tree;
    const versions = this.#versions?.wants(cursor.seq) === true && cursor.seq !== 0
      ? this.#versions
      : undefined;
    const pathBefore = versions !== undefined && LOSES_NAME.has(cursor.op)
      ? tree.path(cursor.node)
      : undefined;
    if (cursor.op === Op.WRITE && (cursor.flags & SLOW_FLAGS) === 0) {
      tree.applyWrite(tree.need(cursor.node), cursor.offset + cursor.length, cursor);
    } else {
      const event = cursor.event();
      this.left.see(event);
      if (event.op === Op.CONTENT) tree.need(event.node);
      if (event.op === Op.MMAP && event.node !== 0) tree.need(event.node);
      tree.apply(event);
    }
    versions?.check(cursor, row, { tree, pathBefore });
  }

  #extents(cursor: EventCursor, row: Row): void {
    const room = roomOf(cursor.event());
    for (let index = 0; index < cursor.extentCount; index++) {
      const { row: target, offset, length, at } = cursor.extent(index);
      const has = this.#lengths.get(target) ?? this.#lengthOf(target);
      if (has === undefined) {
        this.#wrong(row, `${nameOf(cursor)}: its content is in row ${target}, which is not there`);
      } else if (offset + length > has + (this.#packed.has(target) ? PACKED_POINTER : 0)) {
        this.#wrong(row, `${nameOf(cursor)}: its content ends behind the end of row ${target}`);
      }
      if (this.#thinned.has(target) && isGone(this.#reader, { row: target, offset, length })) {
        this.#wrong(row, `${nameOf(cursor)}: its content in row ${target} was dropped`);
      }
      if (room !== undefined && at + length > room) {
        this.#wrong(row, `${nameOf(cursor)}: it has more content than its length`);
      }
    }
  }

  /** Of a row that was not met yet: it came while we read. */
  #lengthOf(row: number): number | undefined {
    try {
      return this.#reader.extentOf(row).to;
    } catch (thrown) {
      if (thrown instanceof DiffKeeperError && thrown.code === "data_corrupt") return undefined;
      throw thrown;
    }
  }

  #wrong(row: Row, text: string): void {
    this.#problems.add({ row: row.id, key: row.key }, text);
  }

  #broken(row: Row, text: string): void {
    this.isBroken = true;
    this.#wrong(row, text);
  }
}

/** Bytes that an event's content may reach to; undefined: not bounded. */
function roomOf(event: TraceEvent): number | undefined {
  if (event.op === Op.BASELINE) return event.attr?.size;
  const isBounded = event.op === Op.WRITE || event.op === Op.OUTPUT || event.op === Op.RESYNC;
  return isBounded ? event.length : undefined;
}

function nameOf(cursor: EventCursor): string {
  return cursor.seq === 0 ? `baseline node ${cursor.node}` : `event #${cursor.seq}`;
}

/** Unpacks every blob of a packed row, which checks it; returns their length. @throws {DiffKeeperError} `data_corrupt` */
export function unpackAll(reader: TraceReader, row: number): number {
  const { from, to } = reader.extentOf(row);
  const packed = reader.packedRow(row);
  for (let at = from; at < to;) {
    const index = packed === undefined ? -1 : blobAt(packed, at - from);
    if (packed?.blobs[index]?.codec === Codec.GONE) {
      at = from + (packed.starts[index + 1] ?? to);
      continue;
    }
    const { bytes, start } = reader.piece(row, at);
    at = start + bytes.length;
  }
  return to - from;
}

/** Whether a pointer reaches into content that was dropped. */
function isGone(
  reader: TraceReader,
  pointer: { row: number; offset: number; length: number },
): boolean {
  const packed = reader.packedRow(pointer.row);
  if (packed === undefined || pointer.length === 0) return false;
  const from = pointer.offset - reader.extentOf(pointer.row).from;
  const last = blobAt(packed, from + pointer.length - 1);
  for (let index = blobAt(packed, from); index <= last; index++) {
    if (packed.blobs[index]?.codec === Codec.GONE) return true;
  }
  return false;
}
