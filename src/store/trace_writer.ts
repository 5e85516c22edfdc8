/**
 * Writes a trace (docs/FORMAT.md) while it is recorded: one SQLite database in WAL mode, one transaction per flush. Row ids are
 * given here, before insertion, because batches point to data rows and versions point to batches; an id is never given twice,
 * not even after a rollback.
 *
 * States: idle -> transaction (begin) -> idle (commit, rollback)* -> closed (finish, abort). After a failed put or commit
 * the caller must roll back; what was committed before stays. Nothing is synced until `syncNow` or `finish`: kill -9 loses
 * nothing that was committed, a power cut what came after the last sync.
 */
import { closeSync, fdatasyncSync, openSync, rmdirSync, statSync } from "node:fs";
import { assert } from "../base/assert.ts";
import { asDiffKeeperError } from "../base/error.ts";
import { CONTENT_CHUNK_BYTES_MAX, TRACE_BUSY_MS } from "../base/limits.ts";
import { ENVELOPE_BYTES, seal, unwrap, ValueKind, wrap } from "../format/envelope.ts";
import { BATCH_HEADER_BYTES } from "../format/event_layout.ts";
import type { TraceKey } from "../format/keys.ts";
import { decodeVersions, encodeVersions } from "../format/versions_codec.ts";
import type { RecorderLock } from "./recorder_lock.ts";
import { forget, putBack, removeFiles } from "./replaced_trace.ts";
import { RowWriter } from "./row_writer.ts";
import {
  INFO_COMPACT,
  INFO_END,
  INFO_RECORDING,
  type JsonObject,
  type StoredCounts,
  WAL_SUFFIX,
} from "./schema.ts";
import { makeStateDir, type StateDirOptions } from "./state_dir.ts";
import { storeError } from "./store_error.ts";
import { createDatabase, syncPath } from "./trace_create.ts";

/** How `TraceWriter.create` makes a trace. */
export interface TraceWriterOptions extends StateDirOptions {
  /** How long to wait for a lock that a reader holds, in milliseconds. */
  busyMs?: number;
  /** Load first, without the log (fast, and lost if killed), until `startLog`. Default: the log is on from the start. */
  bulk?: boolean;
}

/** A batch for `putBatch`. */
export interface BatchRow {
  /** Id from `reserveRow`; without it the next one. */
  row?: number;
  /** Time of the first event, `EventBatchEncoder.firstNs`. */
  tNs: number;
  /** Seq of the first event: one more than the last of the batch before. */
  seq: number;
  /** The sealed value, as `EventBatchEncoder.finish` gives it. */
  value: Uint8Array;
}

const utf8 = new TextEncoder();

/** See the head of the file. */
export class TraceWriter {
  /** The state-dir, absolute. */
  readonly dir: string;
  readonly #path: string;
  readonly #rows: RowWriter;
  readonly #lock: RecorderLock;
  #state: "idle" | "transaction" | "closed" = "idle";
  #nextRow = 1;
  #counts: StoredCounts = emptyCounts();
  #committed: StoredCounts = emptyCounts();
  #scratch = new Uint8Array(ENVELOPE_BYTES + CONTENT_CHUNK_BYTES_MAX);
  #walFd: number | undefined;

  private constructor(state: { dir: string; path: string; rows: RowWriter; lock: RecorderLock }) {
    this.dir = state.dir;
    this.#path = state.path;
    this.#rows = state.rows;
    this.#lock = state.lock;
  }

  /**
   * Makes the state-dir and an empty trace in it, and takes the recorder's lock.
   * @throws {DiffKeeperError} `exists`, `in_use`, `not_writable`, `disk_full`, `io`.
   */
  static create(dir: string, options: TraceWriterOptions = {}): TraceWriter {
    const { path, databasePath, lock } = makeStateDir(dir, options);
    try {
      const db = createDatabase(databasePath, options.busyMs ?? TRACE_BUSY_MS);
      const rows = new RowWriter(db, path);
      const writer = new TraceWriter({ dir: path, path: databasePath, rows, lock });
      if (options.bulk !== true) writer.startLog();
      return writer;
    } catch (thrown) {
      putBack(path);
      lock.release();
      throw storeError(thrown, `cannot make a trace in "${path}"`, path);
    }
  }

  /** Seq of the last event that was put. */
  get lastSeq(): number {
    return this.#counts.lastSeq;
  }

  /** Bytes of the write-ahead log on disk. */
  get walBytes(): number {
    return statSync(this.#path + WAL_SUFFIX, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** An id for a row that will be put later. */
  reserveRow(): number {
    return this.#nextRow++;
  }

  /** Ends loading in bulk: from here on a kill takes nothing that was committed. */
  startLog(): void {
    assert(this.#state === "idle", "the log must be started between transactions");
    this.#rows.startLog();
  }

  /** Begins the transaction of one flush. */
  begin(): void {
    assert(this.#state === "idle", "a transaction must begin on an idle writer");
    this.#rows.execute("begin a flush of", "BEGIN IMMEDIATE");
    this.#state = "transaction";
  }

  /** Commits it: from here on readers see it and kill -9 cannot take it. */
  commit(): void {
    assert(this.#state === "transaction", "a commit must end a transaction");
    this.#rows.execute("write", "COMMIT");
    this.#state = "idle";
    this.#committed = { ...this.#counts };
  }

  /** Forgets everything since `begin`; the ids given stay given. Never throws for a full disk. */
  rollback(): void {
    assert(this.#state === "transaction", "a rollback must end a transaction");
    // SQLite may have rolled back by itself when the disk was full.
    if (this.#rows.inTransaction) this.#rows.execute("roll back", "ROLLBACK");
    this.#state = "idle";
    this.#counts = { ...this.#committed };
  }

  /** Puts `i:recording`. Must be the first row of a trace. */
  putRecording(info: JsonObject): number {
    return this.#putJson({ sort: "info", name: INFO_RECORDING }, info);
  }

  /** Puts or replaces `i:{name}`. */
  putInfo(name: string, info: JsonObject): number {
    assert(name !== INFO_END, "the end row must be put by finish");
    return this.#putJson({ sort: "info", name }, info);
  }

  /** Puts or replaces a process. */
  putProcess(key: { startNs: number; pid: number }, info: JsonObject): number {
    const processKey = { sort: "process", ...key } as const;
    if (this.#rows.idOf(processKey) === undefined) this.#counts.processes++;
    return this.#putJson(processKey, info);
  }

  /** Puts the n-th baseline batch, counted from 0; the value as `EventBatchEncoder.finish(0)` gives it. */
  putBaseline(n: number, value: Uint8Array): number {
    assert(n === this.#counts.baseline, "baseline batches must be put in order");
    this.#counts.baseline++;
    return this.#put({ sort: "baseline", n }, value, this.reserveRow());
  }

  /** Puts the n-th batch of saved contents, counted from 0; the value as `EventBatchEncoder.finish(0)` gives it. */
  putSaved(value: Uint8Array): number {
    const n = this.#counts.saved ?? 0;
    this.#counts.saved = n + 1;
    return this.#put({ sort: "saved", n }, value, this.reserveRow());
  }

  /** Puts a journal batch. */
  putBatch(batch: BatchRow): number {
    const { value, seq } = batch;
    const count = countOf(value);
    assert(seq === this.#counts.lastSeq + 1, "batches must follow each other without a gap");
    assert(count > 0, "a batch must have an event");
    const row = batch.row ?? this.reserveRow();
    this.#put({ sort: "journal", tNs: batch.tNs, seq }, value, row);
    this.#counts.lastSeq = seq + count - 1;
    this.#counts.journal++;
    return row;
  }

  /** Puts payload, the pieces back to back. The first piece has offset 0 in the row. */
  putData(pieces: readonly Uint8Array[], row: number = this.reserveRow()): number {
    let length = ENVELOPE_BYTES;
    for (const piece of pieces) length += piece.length;
    if (this.#scratch.length < length) this.#scratch = new Uint8Array(length * 2);
    let at = ENVELOPE_BYTES;
    for (const piece of pieces) {
      this.#scratch.set(piece, at);
      at += piece.length;
    }
    assert(at === length, "the pieces of a data row must fill it");
    const value = this.#scratch.subarray(0, length);
    seal(value, ValueKind.DATA);
    this.#counts.data++;
    return this.#put({ sort: "data", n: row }, value, row);
  }

  /** Puts a content chunk unless it is there. @returns its row id, new or old. */
  putContent(sha256: string, bytes: Uint8Array): number {
    assert(bytes.length <= CONTENT_CHUNK_BYTES_MAX, "a content chunk must not exceed its limit");
    const found = this.contentRow(sha256);
    if (found !== undefined) return found;
    this.#counts.contents++;
    return this.#put({ sort: "content", sha256 }, wrap(ValueKind.DATA, bytes), this.reserveRow());
  }

  /** The row id of a content chunk that is stored. */
  contentRow(sha256: string): number | undefined {
    return this.#rows.idOf({ sort: "content", sha256 });
  }

  /**
   * Puts versions of one path; the value as `encodeVersions` gives it. Where the key is there already (two flushes of versions
   * that begin at the same nanosecond) the new ones are added behind the old.
   */
  putVersions(key: { path: string; tNs: number }, value: Uint8Array): number {
    const versionKey = { sort: "version", ...key } as const;
    const found = this.#rows.find(versionKey);
    if (found === undefined) {
      this.#counts.versions++;
      return this.#put(versionKey, value, this.reserveRow());
    }
    const both = encodeVersions([...decodeVersions(found.value), ...decodeVersions(value)]);
    this.#rows.replace(versionKey, { id: found.id, value: both });
    return found.id;
  }

  /** Makes everything committed so far survive a power cut (fdatasync of the write-ahead log). */
  syncNow(): void {
    assert(this.#state !== "closed", "a closed writer must not be synced");
    this.#rows.attempt("sync", () => {
      if (this.#walFd === undefined) {
        this.#walFd = openSync(this.#path + WAL_SUFFIX, "r");
        syncPath(this.#path);
        syncPath(this.dir);
      }
      fdatasyncSync(this.#walFd);
    });
  }

  /**
   * Moves the log into trace.db as far as readers allow, so that it is used again from its start. For long recordings, while
   * nothing happens: it takes a second per GB. A copy of both files taken meanwhile may not open.
   */
  trimLog(): void {
    assert(this.#state === "idle", "a log must be trimmed between transactions");
    this.#rows.execute("trim the log of", "PRAGMA wal_checkpoint(PASSIVE)");
  }

  /**
   * Ends the trace in order: writes `i:end` (with `stored`, the count of rows), moves everything into trace.db, closes it and
   * gives the lock back. Where only the move fails (disk full, a reader in between) the trace stays complete in its log.
   * @throws {DiffKeeperError} the end row could not be written; the trace is closed and counts as cut.
   */
  finish(end: JsonObject): void {
    assert(this.#state === "idle", "a writer must finish between transactions");
    try {
      this.begin();
      const stored = this.#withPending();
      this.#putJson({ sort: "info", name: INFO_END }, { ...end, stored });
      this.commit();
      this.#leaveWal();
    } finally {
      this.#close();
    }
  }

  /** The counts with what the compactor changed so far; from now on it changes the end row itself. */
  #withPending(): JsonObject {
    const stored: JsonObject = { ...this.#counts };
    const found = this.#rows.find({ sort: "info", name: INFO_COMPACT });
    if (found === undefined) return stored;
    const progress: JsonObject = JSON.parse(
      new TextDecoder().decode(unwrap(found.value, ValueKind.JSON)),
    );
    const { pending } = progress;
    assert(typeof pending === "object" && pending !== null && !Array.isArray(pending), "pending");
    for (const [name, by] of Object.entries(pending)) {
      const before = stored[name];
      stored[name] = (typeof before === "number" ? before : 0) + (typeof by === "number" ? by : 0);
    }
    this.#putJson({ sort: "info", name: INFO_COMPACT }, { ...progress, pending: {} });
    return stored;
  }

  /** Closes without an end row: the trace counts as cut. For failures; never throws for a full disk. */
  abort(): void {
    if (this.#state !== "closed") this.#close();
  }

  /** The command has started: a trace that this one replaces is not needed any more. */
  keep(): void {
    forget(this.dir);
  }

  /**
   * Closes and removes the trace, because its command never started. A trace that it would have replaced is put back; without one
   * the folder goes too, if nothing else is in it.
   */
  discard(): void {
    assert(this.#state !== "closed", "a closed trace must not be discarded");
    // the lock last: until then the folder is ours
    this.#closeRows();
    if (!putBack(this.dir)) removeFiles(this.dir);
    this.#lock.release();
    try {
      rmdirSync(this.dir);
    } catch {
      // not empty, or not ours to remove
    }
  }

  #putJson(key: TraceKey, object: JsonObject): number {
    assert(this.#state === "transaction", "a row must be put in a transaction");
    const value = wrap(ValueKind.JSON, utf8.encode(JSON.stringify(object)));
    const row = this.reserveRow();
    this.#rows.replace(key, { id: row, value });
    return row;
  }

  #put(key: TraceKey, value: Uint8Array, row: number): number {
    assert(this.#state === "transaction", "a row must be put in a transaction");
    assert(row > 0 && row < this.#nextRow, "a row id must come from reserveRow");
    this.#rows.insert(key, { id: row, value });
    return row;
  }

  /** Best effort: a trace in its log is complete too. */
  #leaveWal(): void {
    try {
      const action = "move the log into";
      this.#rows.execute(action, "PRAGMA busy_timeout = 0");
      this.#rows.execute(action, "PRAGMA wal_checkpoint(TRUNCATE)");
      // The header alone changes, within one sector: no journal, and no sync, because with either header the file is whole.
      this.#rows.execute(action, "PRAGMA synchronous = OFF");
      this.#rows.execute(action, "PRAGMA journal_mode = MEMORY");
    } catch (thrown) {
      const { code } = asDiffKeeperError(thrown);
      if (code !== "in_use" && code !== "disk_full" && code !== "io") throw thrown;
    }
  }

  #close(): void {
    this.#closeRows();
    this.#lock.release();
  }

  #closeRows(): void {
    if (this.#state === "transaction" && this.#rows.inTransaction) this.rollback();
    this.#state = "closed";
    if (this.#walFd !== undefined) closeSync(this.#walFd);
    this.#rows.close();
  }
}

function countOf(value: Uint8Array): number {
  assert(value.length >= ENVELOPE_BYTES + BATCH_HEADER_BYTES, "a batch must have its header");
  return new DataView(value.buffer, value.byteOffset).getUint32(ENVELOPE_BYTES, true);
}

function emptyCounts(): StoredCounts {
  return {
    lastSeq: 0,
    baseline: 0,
    journal: 0,
    data: 0,
    versions: 0,
    processes: 0,
    contents: 0,
  };
}
