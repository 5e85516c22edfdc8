import { expect, test } from "bun:test";
import { DiffKeeperError, type ErrorCode } from "../base/error.ts";
import { storeError, type StorePlace } from "./store_error.ts";

const withCode = (code: string) => Object.assign(new Error("disk I/O error"), { code });
const codeOf = (code: string, path = "/") => storeError(withCode(code), "cannot x", path).code;

test("codes of SQLite and errno become ours", () => {
  const expected: Record<string, ErrorCode> = {
    SQLITE_FULL: "disk_full",
    SQLITE_CORRUPT_INDEX: "data_corrupt",
    SQLITE_NOTADB: "data_corrupt",
    SQLITE_IOERR_SHORT_READ: "truncated",
    SQLITE_IOERR_WRITE: "io",
    SQLITE_READONLY_DBMOVED: "not_writable",
    SQLITE_BUSY_RECOVERY: "in_use",
    SQLITE_CONSTRAINT_UNIQUE: "io",
    ENOSPC: "disk_full",
    EDQUOT: "disk_full",
    EROFS: "not_writable",
    ENOENT: "not_found",
    EIO: "io",
  };
  for (const [code, ours] of Object.entries(expected)) expect(codeOf(code), code).toBe(ours);
});

test("an I/O error where free space cannot be told stays an I/O error", () => {
  expect(codeOf("SQLITE_IOERR_SHMSIZE", "/proc")).toBe("io");
  expect(codeOf("SQLITE_IOERR_SHMSIZE", "/no/such/folder")).toBe("io");
});

test("the message has the action first, the cause is kept, our own errors pass", () => {
  const cause = withCode("ENOSPC");
  const error = storeError(cause, 'cannot write trace "x"', "/");
  expect(error.message).toBe('cannot write trace "x": no space left on the disk');
  expect(error.cause).toBe(cause);
  expect(error.hint).toBe("free some space, or choose another --state-dir");
  const hintAt = (place: StorePlace) => storeError(cause, "cannot x", { path: "/", place }).hint;
  expect(hintAt("state-dir")).toBe(error.hint);
  expect(hintAt("trace")).toBe("free some space on the disk that holds the trace");
  expect(hintAt("out")).toBe("free some space, or choose another --out");
  const ours = new DiffKeeperError("in_use", "cannot y");
  expect(storeError(ours, "cannot x", "/")).toBe(ours);
  expect(storeError("text", "cannot x", "/").message).toBe("cannot x: text");
});
