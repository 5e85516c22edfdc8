/**
 * Makes the database of a new trace: header and schema, and, when the baseline is loaded, WAL mode. The header fields are written in
 * rollback mode, so that trace.db alone says what it is and which version, whatever becomes of its log.
 */
import { Database } from "bun:sqlite";
import { closeSync, fsyncSync, openSync } from "node:fs";
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_PAGE_BYTES } from "../base/limits.ts";
import { APPLICATION_ID, SCHEMA_SQL, TRACE_VERSION } from "./schema.ts";

/**
 * Turns an empty file into an open, empty trace.
 * @param busyMs how long to wait for locks of readers.
 * @throws what SQLite throws; {DiffKeeperError} `io`: the file system has no shared memory.
 */
export function createDatabase(path: string, busyMs: number): Database {
  const db = new Database(path, { create: true, readwrite: true });
  try {
    prepareDatabase(db, busyMs);
    enterWal(db);
    leaveWal(db);
    return db;
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

function prepareDatabase(db: Database, busyMs: number): void {
  db.run(`PRAGMA page_size = ${TRACE_PAGE_BYTES}`);
  db.run("PRAGMA synchronous = OFF");
  db.run("PRAGMA journal_mode = MEMORY");
  db.run("BEGIN");
  db.run(`PRAGMA application_id = ${APPLICATION_ID}`);
  db.run(`PRAGMA user_version = ${TRACE_VERSION}`);
  db.run(SCHEMA_SQL);
  db.run("COMMIT");
  db.run("PRAGMA cache_spill = OFF");
  db.run(`PRAGMA busy_timeout = ${busyMs}`);
}

function enterWal(db: Database): void {
  const mode = db.query<{ journal_mode: string }, []>("PRAGMA journal_mode = WAL").get();
  if (mode?.journal_mode !== "wal") {
    throw new DiffKeeperError("io", "cannot make a trace: its file system cannot share memory", {
      hint: "choose another --state-dir, on a local disk",
    });
  }
}

/** Back to a rollback journal in memory: what is written now goes straight into the database, once. */
function leaveWal(db: Database): void {
  db.run("PRAGMA journal_mode = MEMORY");
  db.run("PRAGMA synchronous = OFF");
}

/** From here on everything goes through the write-ahead log: a kill takes nothing that was committed. */
export function startLog(db: Database): void {
  enterWal(db);
  db.run("PRAGMA synchronous = NORMAL");
  db.run("PRAGMA wal_autocheckpoint = 0");
  // The log is made at the first access: now, so that readers and `syncNow` find it.
  db.run("SELECT count(*) FROM sqlite_schema");
}

/** fsync of a file or folder that was made without. */
export function syncPath(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
