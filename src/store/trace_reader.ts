/**
 * Reads a trace (docs/FORMAT.md): ended, cut, being recorded now, or copied. Everything is checked before it is given: the
 * envelope of each value, each key against its value, and that the journal has no gap. Each call sees what was committed when
 * it ran; no read transaction stays open between calls, so a running recorder is never held up.
 *
 * States: open -> closed (close). Payloads are cached up to `READER_CACHE_BYTES_MAX`; callers must not change them.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { READER_CACHE_BYTES_MAX } from "../base/limits.ts";
import { unwrap, unwrapAny, ValueKind } from "../format/envelope.ts";
import { type KeyRange, rangeOf, sha256Hex, type TraceKey, versionRange } from "../format/keys.ts";
import type { Extent } from "../format/trace_event.ts";
import { decodeVersions, type Version } from "../format/versions_codec.ts";
import { type BaselineBatch, type JournalBatch, JournalReader } from "./journal_reader.ts";
import { lockState } from "./recorder_lock.ts";
import { RowCache } from "./row_cache.ts";
import { INFO_END, INFO_RECORDING, type JsonObject } from "./schema.ts";
import { type OpenMode, type OpenTrace, openTrace } from "./trace_open.ts";
import { type Row, TraceRows } from "./trace_rows.ts";

export type { BaselineBatch, JournalBatch } from "./journal_reader.ts";
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
  /** How the database was opened; a trace opened as `log` or `immutable` does not change any more. */
  readonly mode: OpenMode;
  readonly #rows: TraceRows;
  readonly #journal: JournalReader;
  readonly #leftWal: boolean;
  readonly #cache = new RowCache(READER_CACHE_BYTES_MAX);

  private constructor(dir: string, state: { opened: OpenTrace; rows: TraceRows }) {
    this.dir = dir;
    this.mode = state.opened.mode;
    this.#leftWal = state.opened.leftWal;
    this.#rows = state.rows;
    this.#journal = new JournalReader(state.rows);
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
        hint: "the recorder stopped before its first flush; record again",
      });
    }
    // The lock before the end row: a recorder that ends in between has written the row by then.
    const running = ["held", "unknown"].includes(lockState(this.dir));
    const end = this.#rows.info(INFO_END);
    // Events come in WAL mode, and only a recorder that wrote its end row leaves it.
    if (end === undefined && this.#leftWal && this.lastEvent().seq > 0) {
      throw this.#rows.corrupt("its end row is missing");
    }
    return { recording, end, state: end !== undefined ? "ended" : running ? "recording" : "cut" };
  }

  /** Any other `i:` row; undefined if there is none. */
  extraInfo(name: string): JsonObject | undefined {
    return this.#rows.info(name);
  }

  /** The baseline, in order. @throws {DiffKeeperError} `data_corrupt` */
  *baselineBatches(): Generator<BaselineBatch> {
    for (const batch of this.#journal.baseline()) {
      this.#cache.set(batch.row, batch.cursor.bytes);
      yield batch;
    }
  }

  /**
   * The journal from the event `fromSeq` on, in order, without a gap; the cursor of the first batch has skipped what comes
   * before. Ends with what is stored now; while recording, call it again with the next seq.
   * @throws {DiffKeeperError} `data_corrupt`: also when a batch is missing.
   */
  *journalBatches(fromSeq = 1): Generator<JournalBatch> {
    for (const batch of this.#journal.journal(fromSeq)) {
      this.#cache.set(batch.row, batch.cursor.bytes);
      yield batch;
    }
  }

  /** For --follow: the batches with events after `afterSeq`; one short lookup when there is nothing new. */
  pollNewBatches(afterSeq: number): Generator<JournalBatch> {
    return this.journalBatches(afterSeq + 1);
  }

  /** Seq and time of the last event that is stored; both 0: there is none. */
  lastEvent(): { seq: number; tNs: number } {
    const batch = this.#journal.lastStored();
    if (batch === undefined) return { seq: 0, tNs: 0 };
    return { seq: batch.seq + batch.cursor.count - 1, tNs: batch.cursor.lastNs };
  }

  /** The checked payload of a row of content or events; pointers count in it. @throws {DiffKeeperError} `data_corrupt` */
  row(id: number): Uint8Array {
    const cached = this.#cache.get(id);
    if (cached !== undefined) return cached;
    const found = this.#rows.byId(id);
    if (found === undefined) throw this.#rows.corrupt(`row ${id}, named by an event, is missing`);
    const { kind, payload } = this.#rows.check(() => unwrapAny(found.value));
    if (kind !== ValueKind.DATA && kind !== ValueKind.EVENTS) {
      throw this.#rows.corrupt(`row ${id}, named by an event, holds no content`);
    }
    this.#cache.set(id, payload);
    return payload;
  }

  /** The bytes a pointer names, a view of the cached row. @throws {DiffKeeperError} `data_corrupt` */
  slice(pointer: Omit<Extent, "at">): Uint8Array {
    const { row, offset, length } = pointer;
    const payload = this.row(row);
    if (offset + length > payload.length) {
      throw this.#rows.corrupt(`an event points behind the end of row ${row}`);
    }
    return payload.subarray(offset, offset + length);
  }

  /** A content chunk by its digest, checked against it; undefined if it is not stored. @throws `data_corrupt` */
  content(sha256: string): Uint8Array | undefined {
    const found = this.#rows.byKey({ sort: "content", sha256 });
    if (found === undefined) return undefined;
    const payload = this.#rows.check(() => unwrap(found.value, ValueKind.DATA));
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
      processes.push({ startNs, pid, info: this.#rows.json(row) });
    }
    if (stored !== undefined && stored !== processes.length) {
      throw this.#rows.corrupt("a process is missing");
    }
    return processes;
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
    this.#cache.clear();
    this.#rows.close();
  }
}
