/**
 * Copies a trace into one file, without a log beside it, whatever state it is in: SQLite writes the pages anew, so that the copy is one
 * moment of a trace that may be going on. A recording without its end stays recognisable as cut.
 */
import { Database } from "bun:sqlite";
import { existsSync, rmSync } from "node:fs";
import { DiffKeeperError } from "../base/error.ts";
import { INFO_END } from "./schema.ts";
import { storeError } from "./store_error.ts";
import { takeOver } from "./take_over.ts";
import { openTrace } from "./trace_open.ts";
import { TraceRows } from "./trace_rows.ts";

/**
 * @param to a file that is not there.
 * @throws {DiffKeeperError} `exists`; as `openTrace`; `disk_full`, `not_writable`, `io`.
 */
export function copyTrace(from: string, to: string): void {
  if (existsSync(to)) {
    throw new DiffKeeperError("exists", `cannot pack into "${to}": it is there`, {
      hint: "choose another --out",
    });
  }
  const opened = openTrace(from);
  const rows = new TraceRows(opened);
  try {
    const isEnded = rows.info(INFO_END) !== undefined;
    opened.db.run("PRAGMA query_only = OFF");
    opened.db.query("VACUUM INTO ?1").run(to);
    if (!isEnded) markCut(to);
    takeOver(opened.path, to);
  } catch (thrown) {
    rmSync(to, { force: true });
    throw storeError(thrown, `cannot pack trace "${from}"`, {
      path: to,
      place: "out",
    });
  } finally {
    rows.close();
  }
}

/** A file in WAL mode without an end row is a recording that was cut. */
function markCut(path: string): void {
  const db = new Database(path, { readwrite: true, create: false });
  db.run("PRAGMA journal_mode = WAL");
  db.close();
}
