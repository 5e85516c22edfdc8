/** A trace packed into one file says what it said; statistics add up to what is stored. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compactTrace } from "../../src/compact/compact_trace.ts";
import { traceStats } from "../../src/history/stats.ts";
import { Trace } from "../../src/history/trace.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { copyTrace } from "../../src/store/trace_copy.ts";
import { makeTrace } from "../support/bit_flips.ts";
import { timelineOf } from "../support/trace_states.ts";
import { TraceBuilder } from "../trace_builder.ts";
import { Model, Random } from "./model.ts";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-pack-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function storedBytes(path: string): number {
  const db = new Database(path, { readonly: true });
  const sum = db.query<{ sum: number }, []>(
    "SELECT sum(length(key) + length(value)) AS sum FROM kv",
  ).get()?.sum;
  db.close();
  return sum ?? 0;
}

/** Bytes of all kinds, of content, and of all files. */
function sumsOf(path: string): { all: number; content: number; files: number } {
  const trace = Trace.open(path);
  const { kinds, files, forms } = traceStats(trace);
  const parts = Object.values(forms).map((form) => form.rawBytes);
  expect(parts.reduce((a, b) => a + b, 0)).toBe(kinds.content.rawBytes);
  expect(Math.min(...parts)).toBeGreaterThanOrEqual(0);
  trace.close();
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
  return {
    all: sum(Object.values(kinds).map((kind) => kind.storedBytes)),
    content: kinds.content.storedBytes,
    files: sum(files.map((file) => file.storedBytes)),
  };
}

test("one file has all of an ended trace, and every byte is accounted for", () => {
  const raw = join(dir, "raw");
  const file = join(dir, "one.dktrace");
  makeTrace(raw, 3);
  copyTrace(raw, file);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(sumsOf(raw).all).toBe(storedBytes(join(raw, "trace.db")));
  compactTrace(file);
  const wanted = timelineOf(raw);
  expect(timelineOf(file)).toEqual(wanted);
  expect(verifyTrace(file).problems).toEqual([]);
  const { all, content, files } = sumsOf(file);
  expect(all).toBe(storedBytes(file));
  expect(files).toBeLessThanOrEqual(content);
  expect(files).toBeGreaterThan(content * 0.9);
  expect(() => copyTrace(raw, file)).toThrow("it is there");
}, 60_000);

test("a recording that was cut stays one", () => {
  const raw = join(dir, "cut");
  const file = join(dir, "cut.dktrace");
  const builder = new TraceBuilder(raw);
  const model = new Model(new Random(1), (event) => builder.event(event));
  builder.baseline(model.rootEvent());
  for (let step = 0; step < 50; step++) model.step();
  builder.cut();
  copyTrace(raw, file);
  compactTrace(file);
  const trace = Trace.open(file);
  expect(trace.state()).toBe("cut");
  trace.close();
  expect(timelineOf(file)).toEqual(timelineOf(raw));
});
