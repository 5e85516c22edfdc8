/**
 * Turns failures of SQLite and of the file system into DiffKeeperErrors: one table from SQLite's code to ours, one from errno.
 * Every message says what was tried first; the original error is the cause.
 */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { DiffKeeperError, type ErrorCode } from "../base/error.ts";
import { DISK_FREE_BYTES_MIN } from "../base/limits.ts";

const COPY_HINT = "copy the trace again from where it was recorded, all files of its folder";

const HINTS: Partial<Record<ErrorCode, string>> = {
  data_corrupt: COPY_HINT,
  truncated: COPY_HINT,
  in_use: "wait until the other program has finished, or end it",
};

/** What was to be written: a new recording, a trace that is there, or a file made of one. Each has its own way out. */
export type StorePlace = "state-dir" | "trace" | "out";

const PLACE_HINTS: Readonly<Record<StorePlace, Partial<Record<ErrorCode, string>>>> = {
  "state-dir": {
    disk_full: "free some space, or choose another --state-dir",
    not_writable: "choose another --state-dir, or change its permissions",
  },
  trace: {
    disk_full: "free some space on the disk that holds the trace",
    not_writable: "run this as the owner of the trace, or as root",
  },
  out: {
    disk_full: "free some space, or choose another --out",
    not_writable: "choose another --out, or change the permissions of its folder",
  },
};

/** SQLite's result codes by the beginning of their name (https://sqlite.org/rescode.html). First match wins. */
const SQLITE_CODES: readonly (readonly [string, ErrorCode])[] = [
  ["SQLITE_FULL", "disk_full"],
  ["SQLITE_CORRUPT", "data_corrupt"],
  ["SQLITE_NOTADB", "data_corrupt"],
  ["SQLITE_MISMATCH", "data_corrupt"],
  ["SQLITE_IOERR_SHORT_READ", "truncated"],
  ["SQLITE_READONLY", "not_writable"],
  ["SQLITE_PERM", "not_writable"],
  ["SQLITE_BUSY", "in_use"],
  ["SQLITE_LOCKED", "in_use"],
];

const ERRNO_CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: "disk_full",
  EDQUOT: "disk_full",
  EROFS: "not_writable",
  EACCES: "not_writable",
  EPERM: "not_writable",
  ENOENT: "not_found",
  ENOTDIR: "exists",
  EEXIST: "exists",
};

/**
 * The error for something that SQLite or node:fs threw.
 * @param action what was tried, as the beginning of a sentence: `cannot write trace "x"`.
 * @param at the file or folder concerned, of a state-dir unless it says another place; asked for free space where SQLite only says
 *   "I/O error".
 */
export function storeError(
  thrown: unknown,
  action: string,
  at: string | { path: string; place: StorePlace },
): DiffKeeperError {
  if (thrown instanceof DiffKeeperError) return thrown;
  const { path, place } = typeof at === "string" ? { path: at, place: "state-dir" as const } : at;
  const code = codeOf(thrown, path);
  const hint = HINTS[code] ?? PLACE_HINTS[place][code];
  return new DiffKeeperError(code, `${action}: ${reasonOf(thrown, code)}`, {
    ...(hint === undefined ? {} : { hint }),
    cause: thrown,
  });
}

/** The `code` property of a thrown value: "ENOSPC", "SQLITE_FULL"; empty if it has none. */
export function thrownCode(thrown: unknown): string {
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return "";
  return typeof thrown.code === "string" ? thrown.code : "";
}

function codeOf(thrown: unknown, path: string): ErrorCode {
  const name = thrownCode(thrown);
  const errno = ERRNO_CODES[name];
  if (errno !== undefined) return errno;
  for (const [prefix, code] of SQLITE_CODES) {
    if (name.startsWith(prefix)) return code;
  }
  // SQLite says only "I/O error" when it cannot extend -shm or sync on a full disk.
  if (name.startsWith("SQLITE_IOERR") && freeBytes(path) < DISK_FREE_BYTES_MIN) return "disk_full";
  return "io";
}

function reasonOf(thrown: unknown, code: ErrorCode): string {
  if (code === "disk_full") return "no space left on the disk";
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  // node:fs says "EACCES: permission denied, mkdir '/x'"; the caller has said what was tried, and where
  return /^E[A-Z0-9]+: ([^,]+), /.exec(text)?.[1] ?? text;
}

/** Bytes a process without privilege can still write; Infinity if that cannot be asked. */
function freeBytes(path: string): number {
  for (const at of [path, dirname(path)]) {
    try {
      const stat = statfsSync(at);
      // Some file systems count no blocks at all: that says nothing.
      return stat.blocks === 0 ? Infinity : stat.bavail * stat.bsize;
    } catch {
      continue;
    }
  }
  return Infinity;
}
