/**
 * Takes what a trace only refers to into a copy of it: contents that a lazy baseline left in the files on disk, or that the
 * recorder saved beside the trace. A file that has changed since is no longer what it was: its content is marked as unknown in the
 * copy and told by name, because on another machine nobody could find that out.
 */
import {
  CONTENT_CHUNK_BYTES_MAX,
  JOURNAL_BATCH_BYTES_MAX,
  JOURNAL_TRANSACTION_BYTES_MAX,
  SOLID_BYTES_MAX,
  SOLID_FILE_BYTES_MAX,
} from "../base/limits.ts";
import { ValueKind } from "../format/envelope.ts";
import { EventBatchEncoder } from "../format/event_codec.ts";
import { rangeOf, type TraceKey } from "../format/keys.ts";
import { encodePackedRow } from "../format/packed_row.ts";
import { EventFlag, type Extent, Op, type TraceEvent } from "../format/trace_event.ts";
import { BaseFiles } from "../history/base_files.ts";
import { Materializer } from "../history/content.ts";
import type { History } from "../history/fold.ts";
import { Trace } from "../history/trace.ts";
import type { CompactStore } from "../store/compact_store.ts";
import { BlobMaker, type Effort } from "./blob_maker.ts";

/** Files that are named which could not be embedded; of more only their number. */
export const MISSING_NAMED_MAX = 1_000;

/** A file whose content at the start could not be had. */
export interface MissingContent {
  /** Absolute, a binary string. */
  path: string;
  bytes: number;
  why: string;
}

/** What was taken in. */
export interface EmbedReport {
  files: number;
  bytes: number;
  missingFiles: number;
  missing: MissingContent[];
}

const HEAD = { seq: 0, tNs: 0, pid: 0, tid: 0, comm: "" } as const;
const none = () => undefined;

/**
 * Embeds what the copy refers to. `source` is the trace that was copied, in its place: beside it is what its recorder saved.
 * @throws {DiffKeeperError} `data_corrupt`, `io`, `disk_full`
 */
export function embedContents(
  copy: CompactStore,
  source: Trace,
  options: { effort: Effort; onFile?: (done: number, total: number) => void },
): EmbedReport {
  const embedding = new Embedding(copy, source, options.effort);
  const nodes = [...startOf(copy.path).left.keys()];
  for (const [index, node] of nodes.entries()) {
    embedding.file(node);
    options.onFile?.(index + 1, nodes.length);
  }
  embedding.finish();
  return embedding.report;
}

/** What the copy itself says of the start: a recorder may have written on in the trace that was copied. */
function startOf(path: string): History {
  const trace = Trace.open(path);
  try {
    return trace.start();
  } finally {
    trace.close();
  }
}

class Embedding {
  readonly report: EmbedReport = { files: 0, bytes: 0, missingFiles: 0, missing: [] };
  readonly #store: CompactStore;
  readonly #source: Trace;
  readonly #start: History;
  readonly #base: BaseFiles;
  readonly #contents: Materializer;
  readonly #maker: BlobMaker;
  readonly #encoder = new EventBatchEncoder();
  /** Content that becomes the next row, and the id that it will have. */
  readonly #room = new Uint8Array(CONTENT_CHUNK_BYTES_MAX);
  #roomUsed = 0;
  #roomRow = 0;
  #nextSaved: number;
  /** Rows that wait for the event that points to them. */
  #rows: { key: TraceKey; id: number; value: Uint8Array }[] = [];
  #rowBytes = 0;
  #counts = { data: 0, contents: 0 };

  constructor(store: CompactStore, source: Trace, effort: Effort) {
    this.#store = store;
    this.#source = source;
    this.#start = source.start();
    this.#base = new BaseFiles(source, this.#start);
    this.#contents = new Materializer(this.#start.content, source, this.#base);
    this.#maker = new BlobMaker(store, effort);
    this.#nextSaved = store.rows.count(rangeOf("saved"));
  }

  /** One file: its content becomes rows, and an event says where. */
  file(id: number): void {
    const node = this.#start.tree.need(id);
    const isLeft = this.#start.left.has(id);
    const size = this.#start.content.size(id);
    let why = isLeft ? this.#base.open(node) : undefined;
    const extents: Extent[] = [];
    const before = { ...this.report };
    if (why === undefined) {
      this.#contents.write(id, (at, bytes) => this.#take(at, bytes, extents));
      why = this.#base.close();
    } else this.#base.close();
    if (why === undefined) {
      this.report.files++;
      this.report.bytes += size;
      this.#put({ ...HEAD, op: Op.CONTENT, flags: 0, node: id, length: size, extents });
      return;
    }
    this.report.files = before.files;
    this.#miss({ path: this.#pathOf(id), bytes: size, why });
    this.#put({ ...HEAD, op: Op.CONTENT, flags: EventFlag.UNREAD, node: id, length: 0 });
  }

  finish(): void {
    if (this.#encoder.count === 0) return;
    this.#putRoom(true);
    const n = this.#nextSaved++;
    const store = this.#store;
    store.transaction(() => {
      for (const { key, id, value } of this.#rows) store.insert(key, id, value);
      store.insert({ sort: "saved", n }, store.reserveId(), this.#encoder.finish(0));
      store.count({ ...this.#counts, saved: 1 });
    });
    this.#encoder.reset();
    this.#maker.reset();
    this.#rows = [];
    this.#rowBytes = 0;
    this.#counts = { data: 0, contents: 0 };
  }

  #put(event: TraceEvent): void {
    this.#encoder.append(event);
    const isFull = this.#encoder.bytes >= JOURNAL_BATCH_BYTES_MAX;
    if (isFull || this.#rowBytes >= JOURNAL_TRANSACTION_BYTES_MAX) this.finish();
  }

  #miss(missing: MissingContent): void {
    this.report.missingFiles++;
    if (this.report.missing.length < MISSING_NAMED_MAX) this.report.missing.push(missing);
  }

  #pathOf(id: number): string {
    const { tree } = this.#start;
    const root = this.#source.recording.rootPaths[tree.rootOf(id)] ?? "";
    return `${root === "/" ? "" : root}/${tree.path(id) ?? ""}`;
  }

  /** Stores a run of bytes, small ones together, that files which resemble each other are compressed together. */
  #take(at: number, bytes: Uint8Array, extents: Extent[]): void {
    for (let done = 0; done < bytes.length; done += CONTENT_CHUNK_BYTES_MAX) {
      const part = bytes.subarray(done, done + CONTENT_CHUNK_BYTES_MAX);
      if (isZero(part)) continue;
      const { length } = part;
      const isSmall = length <= SOLID_FILE_BYTES_MAX;
      if (!isSmall || this.#roomUsed + length > SOLID_BYTES_MAX) this.#putRoom(true);
      if (this.#roomUsed === 0) this.#roomRow = this.#store.reserveId();
      const offset = this.#roomUsed;
      this.#room.set(part, offset);
      this.#roomUsed += length;
      extents.push({ row: this.#roomRow, offset, length, at: at + done });
      if (!isSmall) this.#putRoom(false);
    }
  }

  /** What was gathered becomes a row. */
  #putRoom(isSolid: boolean): void {
    if (this.#roomUsed === 0) return;
    const bytes = this.#room.subarray(0, this.#roomUsed);
    this.#roomUsed = 0;
    const id = this.#roomRow;
    const known = this.#maker.contents.length;
    const value = encodePackedRow(
      ValueKind.PACKED_DATA,
      this.#maker.make(bytes, none, !isSolid),
    );
    const contents = this.#maker.contents.slice(known);
    for (const { id, sha256, value } of contents) {
      this.#rows.push({ key: { sort: "content", sha256 }, id, value });
      this.#rowBytes += value.length;
    }
    this.#rows.push({ key: { sort: "data", n: id }, id, value });
    this.#rowBytes += value.length;
    this.#counts.data++;
    this.#counts.contents += contents.length;
  }
}

function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}
