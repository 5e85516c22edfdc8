/** What is no trace of this build is refused before a byte of it is changed. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CompactStore } from "./compact_store.ts";
import { APPLICATION_ID, TRACE_VERSION } from "./schema.ts";

function refused(make: (path: string) => void): string {
  const folder = mkdtempSync(join(tmpdir(), "diffkeeper-refuse-"));
  try {
    const path = join(folder, "f.db");
    make(path);
    const before = readFileSync(path);
    let message = "";
    try {
      CompactStore.openAlone(path).close();
    } catch (thrown) {
      message = (thrown as Error).message.replaceAll(folder, "");
    }
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(readdirSync(folder)).toEqual(["f.db"]);
    return message;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function database(path: string, sql: string): void {
  const db = new Database(path);
  db.run("CREATE TABLE kv (id INTEGER PRIMARY KEY, key BLOB, value BLOB)");
  for (const one of sql.split(";")) db.run(one);
  db.close();
}

test("somebody else's database", () => {
  expect(refused((path) => database(path, "PRAGMA user_version = 7")))
    .toBe('cannot open trace "/f.db": it is a SQLite database, but not a trace');
});

test("a trace of a newer version", () => {
  const newer = `PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${
    TRACE_VERSION + 1
  }`;
  expect(refused((path) => database(path, newer))).toBe(
    `cannot open trace "/f.db": it is version ${
      TRACE_VERSION + 1
    }, this build reads up to ${TRACE_VERSION}`,
  );
});

test("an empty file, and text", () => {
  expect(refused((path) => writeFileSync(path, ""))).toContain("it ends after 0 bytes");
  expect(refused((path) => writeFileSync(path, "a log\n".repeat(100)))).toContain(
    "not a DiffKeeper",
  );
});
