/**
 * Takes into a trace what files held at the start of the recording, where the trace only refers to it: read from the file on disk, or
 * from what the recorder saved beside the trace, and stored as rows. Small files stand together, so that those which resemble each
 * other are compressed together. Rows wait in memory until `commit`, which the caller calls now and then.
 */
import {
  CONTENT_CHUNK_BYTES_MAX,
  START_FILE_BYTES_MAX,
  START_SOLID_BYTES_MAX,
} from "../base/limits.ts";
import { ValueKind } from "../format/envelope.ts";
import type { TraceKey } from "../format/keys.ts";
import { encodePackedRow } from "../format/packed_row.ts";
import type { Extent } from "../format/trace_event.ts";
import { BaseFiles } from "../history/base_files.ts";
import { Materializer } from "../history/content.ts";
import type { History } from "../history/fold.ts";
import type { Trace } from "../history/trace.ts";
import type { CompactStore } from "../store/compact_store.ts";
import { BlobMaker, type Effort } from "./blob_maker.ts";

const none = () => undefined;

/** Where a content was put; `why`: it could not be had. */
export interface TakenContent {
  size: number;
  extents: Extent[];
  why: string | undefined;
}

/** See the head of the file. */
export class StartContents {
  readonly #store: CompactStore;
  readonly #source: Trace;
  readonly #start: History;
  readonly #base: BaseFiles;
  readonly #contents: Materializer;
  readonly #maker: BlobMaker;
  /** Content that becomes the next row, and the id that it will have. */
  readonly #room = new Uint8Array(CONTENT_CHUNK_BYTES_MAX);
  #roomUsed = 0;
  #roomRow = 0;
  #rows: { key: TraceKey; id: number; value: Uint8Array }[] = [];
  #rowBytes = 0;
  #counts = { data: 0, contents: 0 };

  /** @param source the trace in its place: beside it is what its recorder saved. */
  constructor(store: CompactStore, source: Trace, effort: Effort) {
    this.#store = store;
    this.#source = source;
    this.#start = source.start();
    this.#base = new BaseFiles(source, this.#start);
    this.#contents = new Materializer(this.#start.content, source, this.#base);
    this.#maker = new BlobMaker(store, effort);
  }

  /** Bytes of rows that wait for `commit`. */
  get waitingBytes(): number {
    return this.#rowBytes;
  }

  /** Absolute path of a file at the start, a binary string. */
  pathOf(id: number): string {
    const { tree } = this.#start;
    const root = this.#source.recording.rootPaths[tree.rootOf(id)] ?? "";
    return `${root === "/" ? "" : root}/${tree.path(id) ?? ""}`;
  }

  /** Stores what a file held at the start. */
  take(id: number): TakenContent {
    const { content, left, tree } = this.#start;
    const size = content.size(id);
    const extents: Extent[] = [];
    let why = left.has(id) ? this.#base.open(tree.need(id)) : undefined;
    if (why === undefined) {
      this.#contents.write(id, (at, bytes) => this.#take(at, bytes, extents));
      why = this.#base.close();
    } else this.#base.close();
    return { size, extents, why };
  }

  /** Writes the rows, with what `more` writes, in one transaction. */
  commit(more: () => void = () => undefined): void {
    this.#putRoom(true);
    const store = this.#store;
    store.transaction(() => {
      for (const { key, id, value } of this.#rows) store.insert(key, id, value);
      store.count(this.#counts);
      more();
    });
    this.#maker.reset();
    this.#rows = [];
    this.#rowBytes = 0;
    this.#counts = { data: 0, contents: 0 };
  }

  /** Stores a run of bytes, small ones together, that files which resemble each other are compressed together. */
  #take(at: number, bytes: Uint8Array, extents: Extent[]): void {
    for (let done = 0; done < bytes.length; done += CONTENT_CHUNK_BYTES_MAX) {
      const part = bytes.subarray(done, done + CONTENT_CHUNK_BYTES_MAX);
      if (isZero(part)) continue;
      const { length } = part;
      const isSmall = length <= START_FILE_BYTES_MAX;
      if (!isSmall || this.#roomUsed + length > START_SOLID_BYTES_MAX) this.#putRoom(true);
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
      isSolid ? [this.#maker.solid(bytes, undefined, false)] : this.#maker.make(bytes, none),
    );
    const contents = this.#maker.contents.slice(known);
    for (const { id, key, value } of contents) {
      this.#rows.push({ key, id, value });
      this.#rowBytes += value.length;
      if (key.sort === "data") this.#counts.data++;
      else this.#counts.contents++;
    }
    this.#rows.push({ key: { sort: "data", n: id }, id, value });
    this.#rowBytes += value.length;
    this.#counts.data++;
  }
}

function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}
