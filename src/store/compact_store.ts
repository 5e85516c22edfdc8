/**
 * A trace as the compactor sees it: reading as readers do, and, in short transactions, replacing rows by packed ones. Each
 * transaction carries the counts of `i:end` and the compactor's own progress (`i:compact`) along, so that a kill between any
 * two of them leaves a sound trace and a known place to go on from. Rows that it makes have ids from 2^31 on: the recorder, which may
 * be running, gives its own from 1 on.
 *
 * States: idle -> transaction (begin) -> idle (commit, rollback)* -> closed.
 */
import { Database, type SQLQueryBindings, type Statement } from "bun:sqlite";
import { renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { assert } from "../base/assert.ts";
import {
  COMPACT_CACHE_BYTES_MAX,
  READER_PAGE_ROWS_MAX,
  TRACE_BUSY_MS,
  TRACE_PACKED_PAGE_BYTES,
  TRACE_VACUUM_BYTES_MIN,
} from "../base/limits.ts";
import { ValueKind, wrap } from "../format/envelope.ts";
import { buildKey, type KeyRange, type TraceKey } from "../format/keys.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import { ContentReader } from "./content_reader.ts";
import { RecorderLock } from "./recorder_lock.ts";
import { INFO_COMPACT, INFO_END, type JsonObject, TRACE_VERSION, WAL_SUFFIX } from "./schema.ts";
import { storeError } from "./store_error.ts";
import { takeOver } from "./take_over.ts";
import { syncPath } from "./trace_create.ts";
import { findTraceFile, requireTrace } from "./trace_open.ts";
import { keyAfter, type Row, TraceRows } from "./trace_rows.ts";

/** What a transaction changes in the numbers of rows; as in `stored` of `i:end`. */
export interface CountChange {
  baseline?: number;
  journal?: number;
  data?: number;
  contents?: number;
  versions?: number;
  saved?: number;
  keyframes?: number;
}

interface RowHead {
  id: number;
  key: Uint8Array;
  bytes: number;
}

const SUFFIX_NEW = ".compact";
const utf8 = new TextEncoder();

/** See the head of the file. */
export class CompactStore {
  /** The state-dir, absolute. */
  readonly dir: string;
  readonly path: string;
  readonly rows: TraceRows;
  readonly content: ContentReader;
  readonly #db: Database;
  readonly #lock: RecorderLock | undefined;
  readonly #insert: Statement<unknown, SQLQueryBindings[]>;
  readonly #replace: Statement<unknown, SQLQueryBindings[]>;
  readonly #remove: Statement<unknown, SQLQueryBindings[]>;
  readonly #idOf: Statement<{ id: number }, SQLQueryBindings[]>;
  readonly #rename: Statement<unknown, SQLQueryBindings[]>;
  readonly #heads: Statement<RowHead, SQLQueryBindings[]>;
  readonly #size: Statement<{ bytes: number }, SQLQueryBindings[]>;
  readonly #idAfter: Statement<{ id: number }, SQLQueryBindings[]>;
  readonly #firstSize: Statement<{ bytes: number }, SQLQueryBindings[]>;
  #nextId: number;
  #change: CountChange = {};
  /** Told when the trace is about to be locked, and when it no longer is. */
  onLock: (isHeld: boolean) => void = () => undefined;
  #state: "idle" | "transaction" | "closed" = "idle";

  private constructor(path: string, db: Database, lock: RecorderLock | undefined) {
    this.path = path;
    this.dir = dirname(path);
    this.#db = db;
    this.#lock = lock;
    this.rows = new TraceRows({
      db,
      dir: this.dir,
      path,
      mode: "shared",
      isPackedFile: false,
      leftWal: false,
    });
    this.content = new ContentReader(this.rows, COMPACT_CACHE_BYTES_MAX);
    this.#insert = db.prepare("INSERT INTO kv (id, key, value) VALUES (?1, ?2, ?3)");
    this.#replace = db.prepare("UPDATE kv SET value = ?2 WHERE id = ?1");
    this.#remove = db.prepare("DELETE FROM kv WHERE id = ?1");
    this.#idOf = db.prepare("SELECT id FROM kv WHERE key = ?1");
    this.#rename = db.prepare("UPDATE kv SET key = ?2 WHERE id = ?1");
    this.#heads = db.prepare(
      "SELECT id, key, length(key) + length(value) AS bytes FROM kv " +
        `WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ${READER_PAGE_ROWS_MAX}`,
    );
    this.#size = db.prepare(
      "SELECT length(key) + length(value) AS bytes FROM kv WHERE id = ?1",
    );
    this.#idAfter = db.prepare("SELECT id FROM kv WHERE id > ?1 ORDER BY id LIMIT 1");
    this.#firstSize = db.prepare(
      "SELECT length(value) AS bytes FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT 1",
    );
    const last = db.query<{ id: number | null }, []>("SELECT max(id) AS id FROM kv").get();
    this.#nextId = Math.max(PACKED_POINTER, (last?.id ?? 0) + 1);
  }

  /**
   * Opens a trace that no recorder holds, for us alone, with its log on.
   * @throws {DiffKeeperError} `in_use`, `not_found`, `not_writable`, `disk_full`, `io`.
   */
  static openAlone(dirOrFile: string): CompactStore {
    const path = findTraceFile(dirOrFile);
    requireTrace(path, dirOrFile);
    const lock = RecorderLock.acquire(dirname(path), "change");
    try {
      rmSync(path + SUFFIX_NEW, { force: true });
      const db = openDatabase(path);
      // before the log is on, so that the file itself says which version it is
      db.run("PRAGMA synchronous = NORMAL");
      db.run("PRAGMA journal_mode = WAL");
      db.run(`PRAGMA user_version = ${TRACE_VERSION}`);
      db.run("PRAGMA wal_checkpoint(TRUNCATE)");
      return new CompactStore(path, db, lock);
    } catch (thrown) {
      lock.release();
      throw storeError(thrown, `cannot compact trace "${dirOrFile}"`, {
        path,
        place: "trace",
      });
    }
  }

  /** Opens a trace beside the recorder that writes it. @throws {DiffKeeperError} */
  static openBeside(dirOrFile: string): CompactStore {
    const path = findTraceFile(dirOrFile);
    return new CompactStore(path, openDatabase(path), undefined);
  }

  /** The row with the smallest key of a range. */
  first(range: KeyRange): Row | undefined {
    return this.rows.first(range);
  }

  /** The row with the next greater id. */
  rowAfter(id: number): Row | undefined {
    const next = this.#attempt("look into", () => this.#idAfter.get(id))?.id;
    return next === undefined ? undefined : this.rows.byId(next);
  }

  /** Bytes of its value, which is not read; 0: there is none. */
  firstBytes(range: KeyRange): number {
    return this.#attempt("look into", () => this.#firstSize.get(range.from, range.to))?.bytes ?? 0;
  }

  idOf(key: TraceKey): number | undefined {
    return this.#attempt("look into", () => this.#idOf.get(buildKey(key)))?.id;
  }

  /** An id for a row that will be put in this transaction or the next. */
  reserveId(): number {
    assert(this.#nextId < 2 * PACKED_POINTER, "row ids must fit in 32 bits");
    return this.#nextId++;
  }

  begin(): void {
    assert(this.#state === "idle", "a transaction must begin on an idle store");
    this.onLock(true);
    this.#attempt("begin to compact", () => this.#db.run("BEGIN IMMEDIATE"));
    this.#state = "transaction";
    this.#change = {};
  }

  insert(key: TraceKey, id: number, value: Uint8Array): void {
    this.#attempt("compact", () => this.#insert.run(id, buildKey(key), value));
  }

  replace(id: number, value: Uint8Array): void {
    this.#attempt("compact", () => this.#replace.run(id, value));
    this.content.forget(id);
  }

  remove(id: number): void {
    this.#attempt("compact", () => this.#remove.run(id));
    this.content.forget(id);
  }

  /** Gives a row another key. */
  rename(id: number, key: TraceKey): void {
    this.#attempt("compact", () => this.#rename.run(id, buildKey(key)));
    this.content.forget(id);
  }

  /** The rows of a range without their values, in order. */
  *heads(range: KeyRange): Generator<{ id: number; key: Uint8Array; bytes: number }> {
    let { from } = range;
    for (;;) {
      const page = this.#attempt("look into", () => this.#heads.all(from, range.to));
      yield* page;
      const last = page.at(-1);
      if (last === undefined || page.length < READER_PAGE_ROWS_MAX) return;
      from = keyAfter(last.key);
    }
  }

  /** Remembers how this transaction changes the numbers of rows. */
  count(change: CountChange): void {
    for (const [name, by] of Object.entries(change)) {
      const key = name as keyof CountChange;
      this.#change[key] = (this.#change[key] ?? 0) + by;
    }
  }

  /** The compactor's own row; undefined: it was never here. */
  progress(): JsonObject | undefined {
    return this.rows.info(INFO_COMPACT);
  }

  /** Commits, with the counts and the progress brought up to date. */
  commit(progress: JsonObject): void {
    assert(this.#state === "transaction", "a commit must end a transaction");
    const change = { ...this.#change };
    const end = this.rows.info(INFO_END);
    if (end === undefined) this.#putInfo(INFO_COMPACT, { ...progress, pending: this.#sum(change) });
    else {
      // a recording that ended has the changes so far in its end row
      const stored = end["stored"];
      assert(typeof stored === "object" && stored !== null && !Array.isArray(stored), "stored");
      this.#putInfo(INFO_END, { ...end, stored: added(stored, change) });
      this.#putInfo(INFO_COMPACT, { ...progress, pending: {} });
    }
    this.#attempt("compact", () => this.#db.run("COMMIT"));
    this.#state = "idle";
    this.onLock(false);
  }

  rollback(): void {
    this.onLock(false);
    if (this.#state !== "transaction") return;
    if (this.#db.inTransaction) this.#db.run("ROLLBACK");
    this.#state = "idle";
    this.content.clear();
  }

  /** Does work in one transaction; the compactor's progress stays as it is but for what `change` says. */
  transaction(work: () => void, change: JsonObject = {}): void {
    try {
      this.begin();
      work();
      const { pending: _, ...progress } = this.progress() ?? {};
      this.commit({ ...progress, ...change });
    } catch (thrown) {
      this.rollback();
      throw thrown;
    }
  }

  /** Bytes of the log on disk. */
  walBytes(): number {
    return statSync(this.path + WAL_SUFFIX, { throwIfNoEntry: false })?.size ?? 0;
  }

  /**
   * Moves the log into the file beside a recorder: most of it while that goes on writing, then what came meanwhile, so that the log
   * begins anew. A reader in between makes this do less.
   */
  trimLog(): void {
    for (const how of ["PASSIVE", "TRUNCATE"]) {
      this.#attempt("trim the log of", () => this.#db.run(`PRAGMA wal_checkpoint(${how})`));
    }
  }

  /** Moves the log into the file. */
  checkpoint(): void {
    this.#attempt("move the log into", () => this.#db.run("PRAGMA wal_checkpoint(TRUNCATE)"));
  }

  /** Bytes of a row; 0: there is none. */
  sizeOf(id: number): number {
    return this.#attempt("look into", () => this.#size.get(id))?.bytes ?? 0;
  }

  /** Bytes of pages that hold nothing any more. */
  freeBytes(): number {
    return this.#pragma("freelist_count") * this.#pragma("page_size");
  }

  /** Bytes of pages that hold something. */
  usedBytes(): number {
    return this.#pragma("page_count") * this.#pragma("page_size") - this.freeBytes();
  }

  #pragma(name: string): number {
    return this.#db.query<Record<string, number>, []>(`PRAGMA ${name}`).get()?.[name] ?? 0;
  }

  /**
   * Closes; a store opened alone first gives free pages back: the trace is written anew beside itself and renamed over, so that
   * a kill leaves one or the other.
   */
  close(options: { shrink: boolean; freeMin?: number } = { shrink: false }): void {
    if (this.#state === "closed") return;
    this.rollback();
    this.#state = "closed";
    try {
      for (
        const statement of [
          this.#insert,
          this.#replace,
          this.#remove,
          this.#idOf,
          this.#rename,
          this.#heads,
          this.#size,
          this.#firstSize,
          this.#idAfter,
        ]
      ) statement.finalize();
      const isEnded = this.#lock !== undefined && this.rows.info(INFO_END) !== undefined;
      if (this.#lock !== undefined) {
        this.#attempt("close", () => this.#leave(options, isEnded));
      }
      this.content.clear();
      this.rows.close();
      if (options.shrink && this.#lock !== undefined) this.#replaceFile();
    } finally {
      this.#lock?.release();
    }
  }

  #leave(options: { shrink: boolean; freeMin?: number }, isEnded: boolean): void {
    const { shrink, freeMin = TRACE_VACUUM_BYTES_MIN } = options;
    this.#db.run("PRAGMA wal_checkpoint(TRUNCATE)");
    // a recording that was cut stays in WAL mode: that is how readers know that its end is missing
    if (isEnded) this.#db.run("PRAGMA journal_mode = DELETE");
    if (!shrink || this.freeBytes() < freeMin) return;
    this.#db.run(`PRAGMA page_size = ${TRACE_PACKED_PAGE_BYTES}`);
    this.#db.query("VACUUM INTO ?1").run(this.path + SUFFIX_NEW);
    if (isEnded) return;
    const copy = new Database(this.path + SUFFIX_NEW);
    copy.run("PRAGMA journal_mode = WAL");
    copy.close();
  }

  #replaceFile(): void {
    const made = statSync(this.path + SUFFIX_NEW, { throwIfNoEntry: false });
    if (made === undefined) return;
    syncPath(this.path + SUFFIX_NEW);
    takeOver(this.path, this.path + SUFFIX_NEW);
    renameSync(this.path + SUFFIX_NEW, this.path);
    syncPath(this.dir);
  }

  /** Changes of earlier transactions that no end row has yet, and this one's. */
  #sum(change: CountChange): JsonObject {
    const pending = this.progress()?.["pending"];
    return added(
      typeof pending === "object" && pending !== null ? pending as JsonObject : {},
      change,
    );
  }

  #putInfo(name: string, info: JsonObject): void {
    const key = { sort: "info", name } as const;
    const value = wrap(ValueKind.JSON, utf8.encode(JSON.stringify(info)));
    const id = this.idOf(key);
    if (id === undefined) this.insert(key, this.reserveId(), value);
    else this.replace(id, value);
  }

  #attempt<T>(action: string, run: () => T): T {
    try {
      return run();
    } catch (thrown) {
      throw storeError(thrown, `cannot ${action} trace "${this.dir}"`, {
        path: this.path,
        place: "trace",
      });
    }
  }
}

function openDatabase(path: string): Database {
  const db = new Database(path, { readwrite: true, create: false });
  db.run(`PRAGMA busy_timeout = ${TRACE_BUSY_MS}`);
  db.run("PRAGMA wal_autocheckpoint = 0");
  db.run("PRAGMA cache_spill = OFF");
  // the recorder syncs the log for both
  db.run("PRAGMA synchronous = NORMAL");
  return db;
}

function added(counts: JsonObject, change: CountChange): JsonObject {
  const sum = { ...counts };
  for (const [name, by] of Object.entries(change)) {
    const before = sum[name];
    sum[name] = (typeof before === "number" ? before : 0) + by;
  }
  return sum;
}
