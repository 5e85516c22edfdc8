/** A trace of version 1 that was made when the version was fixed is read by every later build, and written alike. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Op } from "../../src/format/trace_event.ts";
import { TraceReader } from "../../src/store/trace_reader.ts";
import { dumpTrace, makeTraceV1 } from "./make_trace_v1.ts";

const GOLDEN = join(import.meta.dir, "trace_v1");

function withFolder(run: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "diffkeeper-golden-"));
  try {
    run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function rows(dir: string): unknown[] {
  const db = new Database(`file:${join(dir, "trace.db")}?immutable=1`, 0x41);
  try {
    return db.query("SELECT id, hex(key), hex(value) FROM kv ORDER BY id").all();
  } finally {
    db.close();
  }
}

test("the golden trace of version 1 gives what it gave", () => {
  const reader = TraceReader.open(GOLDEN);
  expect(dumpTrace(reader)).toBe(readFileSync(join(import.meta.dir, "trace_v1.json"), "utf8"));
  reader.close();
});

/** Ops from here on came with version 2. */
const OPS_OF_VERSION_1 = 23;

test("the golden trace has every op of version 1", () => {
  const reader = TraceReader.open(GOLDEN);
  const seen = new Set<number>();
  const cursors = [...reader.baselineBatches(), ...reader.journalBatches()];
  for (const { cursor } of cursors) while (cursor.next()) seen.add(cursor.op);
  expect([...seen].sort((a, b) => a - b)).toEqual(
    Object.values(Op).filter((op) => op <= OPS_OF_VERSION_1).sort((a, b) => a - b),
  );
  reader.close();
});

test("this build writes the rows of version 1 byte by byte as they were", () => {
  withFolder((folder) => {
    makeTraceV1(join(folder, "new"));
    cpSync(GOLDEN, join(folder, "golden"), { recursive: true });
    expect(rows(join(folder, "new"))).toEqual(rows(join(folder, "golden")));
  });
});
