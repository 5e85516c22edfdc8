/**
 * Opens the database of a trace for reading, in whatever state it was left, without writing to it:
 * - a recorder may be running: shared, through SQLite's -shm, which disturbs neither side;
 * - cut, with a write-ahead log left: the log is indexed in memory (locking_mode EXCLUSIVE on the VFS without locks), so it
 *   works in a read-only folder and leaves no -shm behind;
 * - ended, no log: immutable, no locks and no other files.
 * The file's own header is checked first, so that errors say what is wrong in the user's words.
 */
import { constants, Database } from "bun:sqlite";
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_BUSY_MS } from "../base/limits.ts";
import { lockState } from "./recorder_lock.ts";
import { APPLICATION_ID, TRACE_FILE, TRACE_VERSION, WAL_SUFFIX } from "./schema.ts";
import { storeError } from "./store_error.ts";

/** SQLite's header (https://sqlite.org/fileformat2.html, section 1.3). Integers are big-endian. */
const HEADER_BYTES = 100;
const HEADER_MAGIC = "SQLite format 3\0";
const HEADER = {
  PAGE_SIZE: 16,
  /** 1 rollback journal, 2 write-ahead log. */
  WRITE_MODE: 18,
  CHANGE_COUNTER: 24,
  PAGES: 28,
  USER_VERSION: 60,
  APPLICATION_ID: 68,
  VALID_FOR: 92,
} as const;
const COPY_HINT = "copy the trace again from where it was recorded, all files of its folder";
const NOT_TRACE_HINT = "`diffkeeper record -- CMD` makes a trace";

/** How the database was opened; see the head of the file. */
export type OpenMode = "shared" | "log" | "immutable";

/** An open database. */
export interface OpenTrace {
  db: Database;
  dir: string;
  path: string;
  mode: OpenMode;
  /** A packed trace: one file by any name, whose folder is no state-dir. */
  isPackedFile: boolean;
  /** The file left WAL mode: it was loaded or ended, not cut while events came. */
  leftWal: boolean;
}

/**
 * Opens the trace in a state-dir, or a trace.db by its name.
 * @throws {DiffKeeperError} `not_found`, `version_too_new`, `data_corrupt`, `truncated`, `in_use`, `io`.
 */
export function openTrace(dirOrFile: string): OpenTrace {
  const path = findTraceFile(dirOrFile);
  const dir = dirname(path);
  const walBytes = walSize(path);
  const header = checkHeader(path, { shown: dirOrFile, hasWal: walBytes > 0 });
  const leftWal = walBytes === 0 && header.getUint8(HEADER.WRITE_MODE) === 1;
  const isPackedFile = basename(path) !== TRACE_FILE;
  const lock = isPackedFile ? "free" : lockState(dir);
  const running = lock === "held" || lock === "unknown";
  const modes: OpenMode[] = walBytes > 0 ? ["log", "shared"] : ["immutable"];
  if (running) modes.unshift("shared");
  let failure: unknown;
  for (const mode of modes) {
    try {
      return { db: openDatabase(path, mode), dir, path, mode, isPackedFile, leftWal };
    } catch (thrown) {
      failure ??= thrown;
    }
  }
  throw readError(failure, { shown: dirOrFile, path });
}

/** The database of the trace in a state-dir, or the file that is named. @throws {DiffKeeperError} `not_found`, `io` */
export function findTraceFile(dirOrFile: string): string {
  const path = resolve(dirOrFile);
  try {
    const stat = statSync(path);
    if (stat.isFile()) return path;
    const file = join(path, TRACE_FILE);
    if (statSync(file).isFile()) return file;
  } catch (thrown) {
    const error = readError(thrown, { shown: dirOrFile, path });
    if (error.code !== "not_found" && error.code !== "exists") throw error;
  }
  const what = basename(path) === TRACE_FILE ? "there is no such file" : "there is no trace";
  throw new DiffKeeperError("not_found", `cannot open trace "${dirOrFile}": ${what}`, {
    hint: NOT_TRACE_HINT,
  });
}

function walSize(path: string): number {
  return statSync(path + WAL_SUFFIX, { throwIfNoEntry: false })?.size ?? 0;
}

/**
 * Refuses what is no trace of this build, before anything is written to it.
 * @throws {DiffKeeperError} `data_corrupt`, `truncated`, `version_too_new`, `no_privilege`
 */
export function requireTrace(path: string, shown: string): void {
  checkHeader(path, { shown, hasWal: walSize(path) > 0 });
}

/** Gives the header when it is sound. @throws {DiffKeeperError} `data_corrupt`, `truncated`, `version_too_new` */
function checkHeader(path: string, options: { shown: string; hasWal: boolean }): DataView {
  const { header, sizeBytes } = readHeader(path, options.shown);
  const fail = (code: "data_corrupt" | "truncated", why: string, hint = COPY_HINT) =>
    new DiffKeeperError(code, `cannot open trace "${options.shown}": ${why}`, { hint });
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const magic = new TextDecoder("latin1").decode(header.subarray(0, HEADER_MAGIC.length));
  if (!HEADER_MAGIC.startsWith(magic)) {
    throw fail("data_corrupt", "it is not a DiffKeeper trace", NOT_TRACE_HINT);
  }
  if (sizeBytes < HEADER_BYTES) {
    throw fail("truncated", `it ends after ${sizeBytes} bytes, in the middle of its header`);
  }
  if (view.getUint32(HEADER.APPLICATION_ID) !== APPLICATION_ID) {
    throw fail("data_corrupt", "it is a SQLite database, but not a trace", NOT_TRACE_HINT);
  }
  const version = view.getUint32(HEADER.USER_VERSION);
  if (version > TRACE_VERSION) {
    throw new DiffKeeperError(
      "version_too_new",
      `cannot open trace "${options.shown}": it is version ${version}, this build reads up to ${TRACE_VERSION}`,
      { hint: "use a newer diffkeeper" },
    );
  }
  if (version === 0) throw fail("data_corrupt", "its version is 0");
  const pageSize = view.getUint16(HEADER.PAGE_SIZE);
  const pages = view.getUint32(HEADER.PAGES);
  const needBytes = pages * (pageSize === 1 ? 65_536 : pageSize);
  // The page count holds only if no older SQLite wrote since, and while a log is there the log has the last word.
  const known = view.getUint32(HEADER.CHANGE_COUNTER) === view.getUint32(HEADER.VALID_FOR);
  if (known && !options.hasWal && sizeBytes < needBytes) {
    throw fail("truncated", `it ends after ${sizeBytes} of ${needBytes} bytes`);
  }
  return view;
}

function readHeader(path: string, shown: string): { header: Uint8Array; sizeBytes: number } {
  try {
    const fd = openSync(path, "r");
    try {
      const header = new Uint8Array(HEADER_BYTES);
      const count = readSync(fd, header, 0, HEADER_BYTES, 0);
      return { header: header.subarray(0, count), sizeBytes: fstatSync(fd).size };
    } finally {
      closeSync(fd);
    }
  } catch (thrown) {
    throw readError(thrown, { shown, path });
  }
}

/** As `storeError`, but permission is missing to read, not to write. */
function readError(thrown: unknown, at: { shown: string; path: string }): DiffKeeperError {
  const error = storeError(thrown, `cannot open trace "${at.shown}"`, at.path);
  if (error.code !== "not_writable") return error;
  return new DiffKeeperError("no_privilege", error.message, {
    hint: "run this as the owner of the trace, or as root",
    cause: thrown,
  });
}

function openDatabase(path: string, mode: OpenMode): Database {
  const query = { shared: "", log: "?vfs=unix-none", immutable: "?immutable=1" }[mode];
  const name = `file:${encodeURI(path).replaceAll("?", "%3F").replaceAll("#", "%23")}${query}`;
  const db = new Database(name, constants.SQLITE_OPEN_READONLY | constants.SQLITE_OPEN_URI);
  try {
    if (mode === "log") db.run("PRAGMA locking_mode = EXCLUSIVE");
    if (mode === "shared") db.run(`PRAGMA busy_timeout = ${TRACE_BUSY_MS}`);
    db.run("PRAGMA query_only = ON");
    // Reads the first page and the log: what cannot be opened fails here and not later.
    const row = db.query<{ rows: number }, []>(
      "SELECT count(*) AS rows FROM sqlite_schema WHERE type = 'table' AND name = 'kv'",
    ).get();
    assert(row !== null, "a count must give a row");
    if (row.rows === 1) return db;
    throw new DiffKeeperError("data_corrupt", `cannot open trace "${path}": it has no table kv`, {
      hint: COPY_HINT,
    });
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}
