/**
 * What takes space in a trace: by kind of row and by file. A file is charged for its bytes as they are stored: of a blob in
 * proportion, and of content that is stored once for many only by the first that has it. Reads every row once.
 */
import { openBatch } from "../format/batch_value.ts";
import { ENVELOPE_BYTES } from "../format/envelope.ts";
import type { EventCursor } from "../format/event_codec.ts";
import { EXTENT_BYTES } from "../format/event_layout.ts";
import { KEY_LETTERS, rangeOf, type TraceKey } from "../format/keys.ts";
import { type Blob, blobAt, Codec, type PackedRow } from "../format/packed_row.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { keyAfter, type Row } from "../store/trace_reader.ts";
import { changesNames, type EventPlace, Places } from "./places.ts";
import type { OnProgress, Trace } from "./trace.ts";

/** Names of what rows hold, in the order in which they are shown. */
export const STAT_KINDS = [
  "events",
  "content",
  "keyframes",
  "index",
  "processes",
  "other",
] as const;
export type StatKind = (typeof STAT_KINDS)[number];

/** Bytes of one kind. */
export interface KindStats {
  rows: number;
  /** What they are when nothing is packed. */
  rawBytes: number;
  storedBytes: number;
}

/** How content is stored: as it is, compressed, as difference from other content, or not again, because it is there. */
export const STAT_FORMS = ["whole", "compressed", "difference", "repeated"] as const;
export type StatForm = (typeof STAT_FORMS)[number];
export type FormStats = Omit<KindStats, "rows">;

const FORM_OF_CODEC: Readonly<Record<number, StatForm>> = {
  [Codec.RAW]: "whole",
  [Codec.ZSTD]: "compressed",
  [Codec.PREFIX]: "difference",
  [Codec.LINES]: "compressed",
  [Codec.DELTA]: "difference",
  [Codec.CONTENT]: "repeated",
};

/** One file, by its path at the time; "" for what the command printed. */
export interface FileStats {
  path: string;
  root: number;
  writes: number;
  rawBytes: number;
  storedBytes: number;
}

/** See the head of the file. */
export interface TraceStats {
  kinds: Record<StatKind, KindStats>;
  /** Of the content: how it is stored. */
  forms: Record<StatForm, FormStats>;
  files: FileStats[];
}

/** Sorts of rows whose bytes are what they are. */
const PLAIN: Partial<Record<TraceKey["sort"], StatKind>> = {
  version: "index",
  process: "processes",
  info: "other",
};

/** Gathers the statistics. @throws {DiffKeeperError} `data_corrupt` */
export function traceStats(trace: Trace, onProgress?: OnProgress): TraceStats {
  return new Gathering(trace, onProgress).run();
}

class Gathering {
  readonly #trace: Trace;
  readonly #onProgress: OnProgress | undefined;
  readonly #kinds: Record<StatKind, KindStats>;
  readonly #forms: Record<StatForm, FormStats>;
  readonly #files = new Map<string, FileStats>();
  readonly #places = new Places();
  /** Bytes of each row of content that were charged to a file. */
  readonly #charged = new Map<number, number>();

  constructor(trace: Trace, onProgress: OnProgress | undefined) {
    this.#trace = trace;
    this.#onProgress = onProgress;
    const none = () => ({ rows: 0, rawBytes: 0, storedBytes: 0 });
    const form = () => ({ rawBytes: 0, storedBytes: 0 });
    this.#forms = { whole: form(), compressed: form(), difference: form(), repeated: form() };
    this.#kinds = Object.fromEntries(STAT_KINDS.map((kind) => [kind, none()])) as Record<
      StatKind,
      KindStats
    >;
  }

  run(): TraceStats {
    for (const sort of Object.keys(KEY_LETTERS) as TraceKey["sort"][]) {
      for (const row of this.#rows(sort)) this.#row(sort, row);
    }
    this.#walk();
    const files = [...this.#files.values()].sort((a, b) => b.storedBytes - a.storedBytes);
    return { kinds: this.#kinds, forms: this.#forms, files };
  }

  *#rows(sort: TraceKey["sort"]): Generator<Row> {
    const { reader } = this.#trace;
    let { from } = rangeOf(sort);
    const { to } = rangeOf(sort);
    for (;;) {
      const key = reader.keyFrom({ from, to });
      const row = key === undefined ? undefined : reader.rowOf(key);
      if (key === undefined || row === undefined) return;
      yield row;
      from = keyAfter(key);
    }
  }

  #row(sort: TraceKey["sort"], row: Row): void {
    const stored = row.key.length + row.value.length;
    const plain = PLAIN[sort];
    if (plain !== undefined) this.#add(plain, { rows: 1, raw: stored, stored });
    else if (sort === "keyframe") this.#add("keyframes", { rows: 1, raw: 0, stored });
    else if (sort === "content" || sort === "data") {
      // what the compactor moved there was counted where it was
      const isMoved = sort === "content" && row.id >= PACKED_POINTER;
      const raw = this.#contentBytes(row.id);
      // the first reference to it is no saving
      if (isMoved) this.#forms.repeated.rawBytes -= raw;
      this.#add("content", { rows: 1, raw: isMoved ? 0 : raw, stored });
    } else this.#batch(row);
  }

  /** Bytes of a row of content that are there, and how they are stored. */
  #contentBytes(id: number): number {
    const { from, to } = this.#trace.reader.extentOf(id);
    const packed = this.#trace.reader.packedRow(id);
    if (packed !== undefined) return this.#form(packed.blobs);
    this.#forms.whole.rawBytes += to - from;
    this.#forms.whole.storedBytes += to - from;
    return to - from;
  }

  /** Counts how blobs are stored; gives their bytes when unpacked. */
  #form(blobs: readonly Blob[]): number {
    let sum = 0;
    for (const { codec, length, stored } of blobs) {
      const form = FORM_OF_CODEC[codec];
      if (form === undefined) continue;
      sum += length;
      this.#forms[form].rawBytes += length;
      this.#forms[form].storedBytes += stored.length;
    }
    return sum;
  }

  /** A row of events: what of it are events, and what is content. */
  #batch(row: Row): void {
    const { cursor, isPacked } = openBatch(row.value, row.id);
    let payload = 0;
    let own = 0;
    while (cursor.next()) {
      if (isPacked && isOwn(cursor, row.id)) {
        own++;
        payload += cursor.extent(0).length;
      } else payload += cursor.payloadLength;
    }
    const packed = this.#trace.reader.packedRow(row.id);
    const content = packed === undefined ? payload : storedBytes(packed);
    if (packed !== undefined) this.#form(packed.blobs);
    else {
      this.#forms.whole.rawBytes += payload;
      this.#forms.whole.storedBytes += payload;
    }
    const events = cursor.bytes.length - (isPacked ? own * EXTENT_BYTES : payload);
    const size = row.key.length + row.value.length;
    this.#add("events", { rows: 1, raw: events + ENVELOPE_BYTES, stored: size - content });
    this.#add("content", { rows: 0, raw: payload, stored: content });
  }

  #add(kind: StatKind, more: { rows: number; raw: number; stored: number }): void {
    const stats = this.#kinds[kind];
    stats.rows += more.rows;
    stats.rawBytes += more.raw;
    stats.storedBytes += more.stored;
  }

  /** Follows the events, to charge what they point to to the files they are about. */
  #walk(): void {
    for (const { cursor } of this.#trace.reader.baselineBatches()) {
      this.#places.foldBaseline(cursor);
      cursor.rewind();
      while (cursor.next()) this.#event(cursor);
    }
    for (const { cursor } of this.#trace.reader.savedBatches()) {
      while (cursor.next()) this.#event(cursor);
    }
    for (const { cursor, seq } of this.#trace.reader.journalBatches()) {
      while (cursor.next()) {
        if (changesNames(cursor.op)) this.#places.fold(cursor.event());
        this.#event(cursor);
      }
      this.#onProgress?.(seq);
    }
  }

  #event(cursor: EventCursor): void {
    const isWrite = cursor.op === Op.WRITE || cursor.op === Op.OUTPUT;
    if (cursor.payloadLength === 0 && cursor.extentCount === 0 && !isWrite) return;
    const file = this.#fileOf(cursor);
    if (isWrite) file.writes++;
    file.rawBytes += cursor.payloadLength;
    file.storedBytes += cursor.payloadLength;
    for (let index = 0; index < cursor.extentCount; index++) {
      const { row: target, offset, length } = cursor.extent(index);
      file.rawBytes += length;
      file.storedBytes += this.#share(target, offset, length);
    }
  }

  #fileOf(cursor: EventCursor): FileStats {
    const place: Partial<EventPlace> = cursor.op === Op.OUTPUT
      ? {}
      : this.#places.ofNode(cursor.node);
    const { path = "", root = -1 } = place;
    const key = `${root}:${path}`;
    let file = this.#files.get(key);
    if (file === undefined) {
      file = { path, root, writes: 0, rawBytes: 0, storedBytes: 0 };
      this.#files.set(key, file);
    }
    return file;
  }

  /** What a run of content takes, of all the blobs that it lies in. */
  #share(row: number, offset: number, length: number): number {
    const packed = this.#trace.reader.packedRow(row);
    if (packed === undefined) return this.#first(row, length, length);
    const base = offset >= PACKED_POINTER ? PACKED_POINTER : 0;
    let sum = 0;
    for (let done = 0; done < length;) {
      const index = blobAt(packed, offset + done - base);
      const blob = packed.blobs[index];
      const end = packed.starts[index + 1] ?? 0;
      const part = Math.min(length - done, end - (offset + done - base));
      if (blob !== undefined) sum += this.#blobShare(blob, { row, isOwn: base > 0 }, part);
      done += part;
    }
    return sum;
  }

  #blobShare(blob: Blob, at: { row: number; isOwn: boolean }, part: number): number {
    if (blob.codec !== Codec.CONTENT) {
      const share = blob.stored.length * part / blob.length;
      return at.isOwn ? share : this.#first(at.row, part, share);
    }
    const target = blob.row ?? 0;
    const stored = this.#trace.reader.packedRow(target)?.blobs[0]?.stored.length ?? blob.length;
    return this.#first(target, part, stored * part / blob.length);
  }

  /** Content that many have is charged once. */
  #first(row: number, length: number, share: number): number {
    const charged = this.#charged.get(row) ?? 0;
    const { from, to } = this.#trace.reader.extentOf(row);
    if (charged >= to - from) return 0;
    this.#charged.set(row, charged + length);
    return share;
  }
}

/** Whether the event's payload was inline before it was packed. */
function isOwn(cursor: EventCursor, row: number): boolean {
  if ((cursor.flags & EventFlag.EXTENTS) === 0 || cursor.extentCount !== 1) return false;
  return cursor.extent(0).row === row;
}

function storedBytes(packed: PackedRow): number {
  return packed.blobs.reduce((sum, blob) => sum + blob.stored.length, 0);
}
