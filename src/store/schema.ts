/**
 * The names, the schema and the header of a trace (docs/FORMAT.md). The writer and the reader of the trace both start here.
 * A trace is a folder, the state-dir, with `trace.db` (a SQLite database), beside it SQLite's `-wal` and `-shm` while it is
 * recorded or after a cut, and `recorder.lock` while a recorder runs.
 */

/** Version of the trace format, SQLite's user_version. A reader refuses a greater one. */
export const TRACE_VERSION = 4;

/** "DKTR": SQLite's application_id. */
export const APPLICATION_ID = 0x444b_5452;

/** Files of a state-dir. */
export const TRACE_FILE = "trace.db";
export const LOCK_FILE = "recorder.lock";
export const WAL_SUFFIX = "-wal";
export const SHM_SUFFIX = "-shm";
/** Behind the names of a trace that is being replaced (replaced_trace.ts). */
export const REPLACED_SUFFIX = ".replaced";

/** Everything a state-dir may hold; `overwrite` removes these and nothing else. */
export const STATE_DIR_FILES: readonly string[] = [
  TRACE_FILE,
  TRACE_FILE + WAL_SUFFIX,
  TRACE_FILE + SHM_SUFFIX,
  `${TRACE_FILE}-journal`,
  `${TRACE_FILE}.compact`,
  LOCK_FILE,
];

/** The one table. `id` is never given twice and never changes: pointers into payload are (id, offset, length). */
export const SCHEMA_SQL =
  "CREATE TABLE kv (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL)";

/** Names of the `i:` rows. */
export const INFO_RECORDING = "recording";
export const INFO_END = "end";
/** Why recording stopped before the command did. */
export const INFO_CUT = "cut";
export const INFO_COMPACT = "compact";
export const INFO_FOLD = "fold";

/** A JSON value and object, as stored in `i:` and `p:` rows. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

/** Rows of each sort and the last seq; in `i:end` as `stored`, so that a reader can tell that none is missing. */
export interface StoredCounts {
  lastSeq: number;
  baseline: number;
  journal: number;
  data: number;
  versions: number;
  processes: number;
  contents: number;
  /** Absent in traces of version 1. */
  keyframes?: number;
  /** Absent in traces made before there were `s:` rows. */
  saved?: number;
}
