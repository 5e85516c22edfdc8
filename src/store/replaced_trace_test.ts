import { expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { cleanUpAfterEach, newFolder } from "./testing_folder.ts";
import { checkTrace, putFlush, putStart } from "./testing_trace.ts";
import { TraceReader } from "./trace_reader.ts";
import { TraceWriter } from "./trace_writer.ts";

cleanUpAfterEach();

/** A trace with so many flushes; how a recording ends is up to the caller. */
function begun(dir: string, flushes: number, overwrite = false): TraceWriter {
  const writer = TraceWriter.create(dir, { overwrite });
  putStart(writer);
  for (let i = 0; i < flushes; i++) putFlush(writer);
  return writer;
}

/** A trace as kill -9 leaves it: with its log. */
function cutTrace(dir: string, flushes: number): void {
  const from = join(newFolder(), "t");
  const writer = begun(from, flushes);
  mkdirSync(dir, { mode: 0o700 });
  for (const file of ["trace.db", "trace.db-wal"]) copyFileSync(join(from, file), join(dir, file));
  writer.abort();
}

function lastSeqOf(dir: string): number {
  const reader = TraceReader.open(dir);
  try {
    return checkTrace(reader);
  } finally {
    reader.close();
  }
}

test("a replaced trace comes back when the new one is discarded", () => {
  const dir = join(newFolder(), "t");
  begun(dir, 2).finish({ code: 0 });
  const before = lastSeqOf(dir);
  const files = readdirSync(dir);
  begun(dir, 1, true).discard();
  expect([lastSeqOf(dir), readdirSync(dir)]).toEqual([before, files]);
});

test("a replaced trace that was cut comes back with its log", () => {
  const dir = join(newFolder(), "t");
  cutTrace(dir, 3);
  const before = lastSeqOf(dir);
  begun(dir, 1, true).discard();
  expect(lastSeqOf(dir)).toBe(before);
});

test("a replaced trace goes when the new one is kept", () => {
  const dir = join(newFolder(), "t");
  cutTrace(dir, 3);
  const writer = begun(dir, 1, true);
  writer.keep();
  writer.finish({ code: 0 });
  expect(readdirSync(dir)).toEqual(["trace.db"]);
  const seq = lastSeqOf(dir);
  begun(dir, 0, true).discard();
  expect(lastSeqOf(dir)).toBe(seq);
});

test("without a trace before, a discarded one leaves nothing", () => {
  const dir = join(newFolder(), "t");
  begun(dir, 1).discard();
  expect(existsSync(dir)).toBe(false);
});

test("what a killed recorder had set aside is put back before anything else", () => {
  const dir = join(newFolder(), "t");
  cutTrace(dir, 2);
  const before = lastSeqOf(dir);
  for (const cut of ["both", "database only", "new one begun"]) {
    renameSync(join(dir, "trace.db"), join(dir, "trace.db.replaced"));
    if (cut !== "database only") {
      renameSync(join(dir, "trace.db-wal"), join(dir, "trace.db-wal.replaced"));
    }
    if (cut === "new one begun") writeFileSync(join(dir, "trace.db"), "half a database");
    expect(() => begun(dir, 1), cut).toThrow("it holds a trace");
    expect(lastSeqOf(dir), cut).toBe(before);
  }
});

test("a log that was left over is never joined to another trace", () => {
  const dir = join(newFolder(), "t");
  begun(dir, 1).finish({ code: 0 });
  const before = lastSeqOf(dir);
  writeFileSync(join(dir, "trace.db-wal.replaced"), "the log of a trace that is gone");
  begun(dir, 1, true).discard();
  expect(lastSeqOf(dir)).toBe(before);
});
