/** Damages a trace that has ended, by SQL. */
import { Database } from "bun:sqlite";
import { join } from "node:path";

/** Runs SQL on the trace in a state-dir and gives how many rows it changed. */
export function changeRows(dir: string, sql: string, values: readonly Uint8Array[] = []): number {
  const db = new Database(join(dir, "trace.db"));
  try {
    return db.run(sql, [...values]).changes;
  } finally {
    db.close();
  }
}
