/**
 * Reads a trace (docs/FORMAT.md): ended, cut, being recorded now, or copied. Everything is checked before it is given: the
 * envelope of each value, each key against its value, and that the journal has no gap. Each call sees what was committed when
 * it ran; no read transaction stays open between calls, so a running recorder is never held up.
 *
 * States: open -> closed (close). Payloads are cached up to `READER_CACHE_BYTES_MAX`; callers must not change them.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { releaseBytes } from "../base/release.ts";
import { ValueKind } from "../format/envelope.ts";
import { type KeyRange, rangeOf, sha256Hex, type TraceKey, versionRange } from "../format/keys.ts";
import { decodePackedJson } from "../format/packed_json.ts";
import type { PackedRow } from "../format/packed_row.ts";
import type { Extent } from "../format/trace_event.ts";
import { decodeVersions, type Version } from "../format/versions_codec.ts";
import { ContentReader, type Piece } from "./content_reader.ts";
import { type BaselineBatch, type JournalBatch, JournalReader } from "./journal_reader.ts";
import { findKeyframe, type StoredKeyframe } from "./keyframe_rows.ts";
import { lockState } from "./recorder_lock.ts";
import { INFO_END, INFO_RECORDING, type JsonObject } from "./schema.ts";
import { type OpenMode, type OpenTrace, openTrace } from "./trace_open.ts";
import { type Row, TraceRows } from "./trace_rows.ts";

export type { Piece } from "./content_reader.ts";
export type { BaselineBatch, JournalBatch } from "./journal_reader.ts";
export type { KeyframePart, StoredKeyframe } from "./keyframe_rows.ts";
export { keyAfter, type Row } from "./trace_rows.ts";

/** What the `i:` rows say. */
export interface TraceInfo {
  recording: JsonObject;
  /** Absent: the recording was cut, or is going on. */
  end: JsonObject | undefined;
  state: "recording" | "ended" | "cut";
}

/** A process, as `p:` row. */
export interface ProcessRow {
  startNs: number;
  pid: number;
  info: JsonObject;
}

/** See the head of the file. */
export class TraceReader {
  /** The state-dir, absolute. */
  readonly dir: string;
  /** What must not be written to while it is read: the state-dir, or the one file of a packed trace. */
  readonly place: string;
  /** How the database was opened; a trace opened as `log` or `immutable` does not change any more. */
  readonly mode: OpenMode;
  readonly #rows: TraceRows;
  readonly #journal: JournalReader;
  readonly #leftWal: boolean;
  readonly #isPackedFile: boolean;
  readonly #content: ContentReader;

  private constructor(dir: string, state: { opened: OpenTrace; rows: TraceRows }) {
    this.dir = dir;
    this.mode = state.opened.mode;
    const { isPackedFile, path } = state.opened;
    this.#isPackedFile = isPackedFile;
    this.place = isPackedFile ? path : dir;
    this.#leftWal = state.opened.leftWal;
    this.#rows = state.rows;
    this.#journal = new JournalReader(state.rows);
    this.#content = new ContentReader(state.rows);
  }

  /**
   * Opens the trace in a state-dir, or a trace.db by its name.
   * @throws {DiffKeeperError} `not_found`, `version_too_new`, `data_corrupt`, `truncated`, `in_use`, `io`.
   */
  static open(dirOrFile: string): TraceReader {
    const opened = openTrace(dirOrFile);
    return new TraceReader(opened.dir, { opened, rows: new TraceRows(opened) });
  }

  /** What and how it was recorded. @throws {DiffKeeperError} `truncated`: cut before the first flush; `data_corrupt`. */
  info(): TraceInfo {
    const recording = this.#rows.info(INFO_RECORDING);
    if (recording === undefined) {
      throw new DiffKeeperError("truncated", `cannot read trace "${this.dir}": it is empty`, {
        hint: "the recorder stopped before its first flush, or a copy lacks trace.db-wal",
      });
    }
    // The lock before the end row: a recorder that ends in between has written the row by then.
    const running = !this.#isPackedFile && ["held", "unknown"].includes(lockState(this.dir));
    const end = this.#rows.info(INFO_END);
    // Events come in WAL mode, and only a recorder that wrote its end row leaves it.
    if (end === undefined && this.#leftWal && this.lastEvent().seq > 0) {
      throw this.#rows.corrupt("its end row is missing");
    }
    return { recording, end, state: end !== undefined ? "ended" : running ? "recording" : "cut" };
  }

  /**
   * Sees what is stored now, until it is closed: pointers that were read stay good though a compactor is at work. For one answer, not
   * for following.
   */
  hold(): void {
    if (this.mode === "shared") this.#rows.hold();
  }

  /** Any other `i:` row; undefined if there is none. */
  extraInfo(name: string): JsonObject | undefined {
    return this.#rows.info(name);
  }

  /** The baseline, in order. @throws {DiffKeeperError} `data_corrupt` */
  *baselineBatches(): Generator<BaselineBatch> {
    for (const batch of this.#journal.baseline()) {
      if (!batch.isPacked) this.#content.keep(batch.row, batch.cursor.bytes);
      yield batch;
    }
  }

  /** Contents of the baseline that were saved later (`s:` rows), in order. @throws {DiffKeeperError} `data_corrupt` */
  *savedBatches(): Generator<BaselineBatch> {
    for (const batch of this.#journal.baseline("saved")) {
      if (!batch.isPacked) this.#content.keep(batch.row, batch.cursor.bytes);
      yield batch;
    }
  }

  /**
   * The journal from the event `fromSeq` on, in order, without a gap; the cursor of the first batch has skipped what comes
   * before. Ends with what is stored now; while recording, call it again with the next seq.
   * @param options.passing a batch, and all that its events show of its bytes, is good only until the next one is asked for.
   * @throws {DiffKeeperError} `data_corrupt`: also when a batch is missing.
   */
  *journalBatches(fromSeq = 1, { passing = false } = {}): Generator<JournalBatch> {
    for (const batch of this.#journal.journal(fromSeq)) {
      const { bytes } = batch.cursor;
      let isKept = false;
      if (!batch.isPacked && passing) isKept = this.#content.takeOver(batch.row, bytes);
      else if (!batch.isPacked) this.#content.keep(batch.row, bytes);
      yield batch;
      if (passing && !isKept) releaseBytes(bytes);
    }
  }

  /** The first event of the last batch that begins at or before a time; 1: there is none. */
  firstSeqAt(tNs: number): number {
    return this.#journal.firstSeqAt(tNs);
  }

  /** For --follow: the batches with events after `afterSeq`; one short lookup when there is nothing new. */
  pollNewBatches(afterSeq: number): Generator<JournalBatch> {
    return this.journalBatches(afterSeq + 1);
  }

  /** Seq and time of the last event that is stored; both 0: there is none. */
  lastEvent(): { seq: number; tNs: number } {
    const batch = this.#journal.lastStored();
    if (batch === undefined) return this.#journal.folded();
    return { seq: batch.seq + batch.cursor.count - 1, tNs: batch.cursor.lastNs };
  }

  /**
   * The run of content in which a pointer lies, unpacked and checked.
   * @throws {DiffKeeperError} `data_corrupt`
   */
  piece(row: number, offset: number): Piece {
    return this.#content.piece(row, offset);
  }

  /** From now on a piece is good only until the next one is asked for; for one who reads contents once. */
  passing(): void {
    this.#content.passing();
  }

  /** From where to where pointers into a row of content or events may reach. @throws {DiffKeeperError} `data_corrupt` */
  extentOf(row: number): { from: number; to: number } {
    return this.#content.extentOf(row);
  }

  /** The blobs of a packed row; undefined: the row is raw. @throws {DiffKeeperError} `data_corrupt` */
  packedRow(row: number): PackedRow | undefined {
    return this.#content.packed(row);
  }

  /** The bytes a pointer names; a view of what is cached, or a copy. @throws {DiffKeeperError} `data_corrupt` */
  slice(pointer: Omit<Extent, "at">): Uint8Array {
    const { row, offset, length } = pointer;
    let whole: Uint8Array | undefined;
    for (let done = 0; done < length;) {
      const { bytes, start } = this.piece(row, offset + done);
      const from = offset + done - start;
      const part = bytes.subarray(from, from + length - done);
      if (part.length === length) return part;
      if (part.length === 0 || offset + length > this.extentOf(row).to) {
        throw this.#rows.corrupt(`an event points behind the end of row ${row}`);
      }
      // at once: the next piece may end this one (`passing`)
      whole ??= new Uint8Array(length);
      whole.set(part, done);
      done += part.length;
    }
    return whole ?? new Uint8Array(0);
  }

  /**
   * The last keyframe whose moment is accepted; undefined: there is none. Its parts are read when they are asked for.
   * @throws {DiffKeeperError} `data_corrupt`
   */
  keyframe(accept: (seq: number, tNs: number) => boolean): StoredKeyframe | undefined {
    return findKeyframe(this.#rows, accept);
  }

  /** A content chunk by its digest, checked against it; undefined if it is not stored. @throws `data_corrupt` */
  content(sha256: string): Uint8Array | undefined {
    const found = this.#rows.byKey({ sort: "content", sha256 });
    if (found === undefined) return undefined;
    const { to } = this.#content.extentOf(found.id);
    const payload = this.slice({ row: found.id, offset: 0, length: to });
    if (sha256Hex(payload) !== sha256) {
      throw this.#rows.corrupt("a content chunk is not what its key says");
    }
    return payload;
  }

  /** All processes, by start. @throws {DiffKeeperError} `data_corrupt` */
  processes(): ProcessRow[] {
    const processes: ProcessRow[] = [];
    const stored = this.#journal.stored("processes");
    for (const row of this.#rows.all(rangeOf("process"))) {
      const { startNs, pid } = this.#rows.key(row.key, "process");
      if (row.value[4] === ValueKind.PACKED_JSON) processes.push(...this.#packedProcesses(row));
      else processes.push({ startNs, pid, info: this.#rows.json(row) });
    }
    if (stored !== undefined && stored !== processes.length) {
      throw this.#rows.corrupt("a process is missing");
    }
    return processes;
  }

  #packedProcesses(row: Row): ProcessRow[] {
    return this.#rows.check(() => decodePackedJson(row.value)).map((object) => {
      const { key, info } = object as { key?: unknown; info?: unknown };
      const isObject = typeof info === "object" && info !== null && !Array.isArray(info);
      if (typeof key !== "string" || !isObject) throw this.#rows.corrupt("a process is not whole");
      const { startNs, pid } = this.#rows.key(Buffer.from(key, "latin1"), "process");
      return { startNs, pid, info: info as JsonObject };
    });
  }

  /** All versions of a path (a binary string, as in its `m:` keys) in the order of their seq. @throws `data_corrupt` */
  versions(path: string): Version[] {
    const versions: Version[] = [];
    for (const row of this.#rows.all(versionRange(path))) {
      if (this.#rows.key(row.key, "version").path !== path) continue;
      for (const version of this.#rows.check(() => decodeVersions(row.value))) {
        versions.push(version);
      }
    }
    return versions;
  }

  /** How many rows of a sort there are. */
  count(sort: TraceKey["sort"]): number {
    const count = this.#rows.count(rangeOf(sort));
    assert(count >= 0, "a count must not be negative");
    return count;
  }

  /** All rows, as the table has them. */
  countAll(): number {
    return this.#rows.countAll();
  }

  /** What SQLite itself finds wrong; at most `max` lines. Reads the whole file, in one transaction. */
  integrity(max: number): string[] {
    return this.#rows.integrity(max);
  }

  /** The smallest key of a range, as the index has it. */
  keyFrom(range: KeyRange): Uint8Array | undefined {
    return this.#rows.firstKey(range);
  }

  /** The row with a key, its value not checked. @throws {DiffKeeperError} `data_corrupt`: index and table do not agree. */
  rowOf(key: Uint8Array): Row | undefined {
    return this.#rows.byKeyBytes(key);
  }

  /** Closes the database and forgets the cache; views that were given stay valid. */
  close(): void {
    this.#content.clear();
    this.#rows.close();
  }
}
