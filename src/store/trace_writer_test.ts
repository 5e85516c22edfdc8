import { expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_PAGE_BYTES } from "../base/limits.ts";
import { canRunAsNobody, cleanUpAfterEach, newFolder, TestRecorder } from "./testing_folder.ts";
import { checkTrace, FLUSH_EVENTS, putFlush, putStart } from "./testing_trace.ts";
import { TraceReader } from "./trace_reader.ts";
import { TraceWriter } from "./trace_writer.ts";

cleanUpAfterEach();

function codeOf(run: () => unknown): string {
  try {
    run();
    return "nothing was thrown";
  } catch (thrown) {
    if (!(thrown instanceof DiffKeeperError)) throw thrown;
    expect(thrown.hint, thrown.message).toBeDefined();
    expect(thrown.message).toStartWith("cannot ");
    return thrown.code;
  }
}

function finishedTrace(dir: string): void {
  const writer = TraceWriter.create(dir);
  putStart(writer);
  putFlush(writer);
  writer.finish({ code: 0 });
}

test("a state-dir is private and holds only the trace when it ends", () => {
  const dir = join(newFolder(), "deep/er/trace");
  const writer = TraceWriter.create(dir);
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  for (const file of ["trace.db", "trace.db-wal", "trace.db-shm", "recorder.lock"]) {
    expect(statSync(join(dir, file)).mode & 0o777, file).toBe(0o600);
  }
  putStart(writer);
  writer.finish({ code: 0 });
  expect(readdirSync(dir)).toEqual(["trace.db"]);
});

test("the header of trace.db is that of docs/FORMAT.md, before the first flush too", () => {
  const dir = newFolder();
  const writer = TraceWriter.create(dir);
  const header = readFileSync(join(dir, "trace.db"));
  expect(header.toString("latin1", 0, 16)).toBe("SQLite format 3\0");
  expect([header.readUInt16BE(16), header.readUInt32BE(60)]).toEqual([TRACE_PAGE_BYTES, 4]);
  expect(header.toString("latin1", 68, 72)).toBe("DKTR");
  writer.abort();
});

test("an empty folder is used, a folder with something else is not", () => {
  const dir = newFolder();
  finishedTrace(dir);
  const other = newFolder();
  writeFileSync(join(other, "notes.txt"), "mine");
  expect(codeOf(() => TraceWriter.create(other))).toBe("exists");
  expect(codeOf(() => TraceWriter.create(other, { overwrite: true }))).toBe("exists");
  expect(readdirSync(other)).toEqual(["notes.txt"]);
  expect(codeOf(() => TraceWriter.create(join(other, "notes.txt")))).toBe("exists");
  expect(codeOf(() => TraceWriter.create(join(other, "notes.txt/trace")))).toBe("exists");
  mkdirSync(join(other, "inner/trace.db"), { recursive: true });
  expect(codeOf(() => TraceWriter.create(join(other, "inner"), { overwrite: true }))).toBe(
    "exists",
  );
});

test("a trace is only replaced when that is asked for", () => {
  const dir = newFolder();
  finishedTrace(dir);
  const before = readFileSync(join(dir, "trace.db"));
  expect(codeOf(() => TraceWriter.create(dir))).toBe("exists");
  expect(readFileSync(join(dir, "trace.db")).equals(before)).toBe(true);
  expect(readdirSync(dir)).toEqual(["trace.db"]);
  const writer = TraceWriter.create(dir, { overwrite: true });
  putStart(writer);
  writer.finish({ code: 0 });
  const reader = TraceReader.open(dir);
  expect(reader.lastEvent().seq).toBe(0);
  reader.close();
});

test("a state-dir in use is refused, by another process and by this one", async () => {
  const dir = join(newFolder(), "trace");
  const recorder = new TestRecorder(dir, { what: "hold" });
  await recorder.until((line) => line === "0");
  expect(codeOf(() => TraceWriter.create(dir))).toBe("in_use");
  expect(codeOf(() => TraceWriter.create(dir, { overwrite: true }))).toBe("in_use");
  await recorder.kill();
  expect(codeOf(() => TraceWriter.create(dir))).toBe("exists");
  const writer = TraceWriter.create(dir, { overwrite: true });
  expect(codeOf(() => TraceWriter.create(dir, { overwrite: true }))).toBe("in_use");
  writer.abort();
  expect(existsSync(join(dir, "recorder.lock"))).toBe(false);
});

test("of many recorders that start at once on a leftover lock, one gets the state-dir", async () => {
  const dir = join(newFolder(), "trace");
  mkdirSync(dir);
  writeFileSync(join(dir, "recorder.lock"), "1 0 another-boot pid:[1]\n");
  const recorders = Array.from({ length: 6 }, () => new TestRecorder(dir, { what: "once" }));
  const codes = await Promise.all(recorders.map((recorder) => recorder.end()));
  expect(codes.filter((code) => code === 0).length).toBe(1);
  const failed = recorders.flatMap(({ lines }) => lines).filter((line) => line.startsWith("error"));
  for (const line of failed) expect(line).toMatch(/^error (in_use|exists) cannot record into /);
  const reader = TraceReader.open(dir);
  expect(checkTrace(reader)).toBe(5 * FLUSH_EVENTS);
  reader.close();
});

test.skipIf(!canRunAsNobody())(
  "a folder that may not be written is refused with a hint",
  async () => {
    const folder = newFolder();
    const wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const recorder = new TestRecorder(join(folder, "trace"), { what: "once", wrapper });
    expect(await recorder.end()).toBe(1);
    expect(recorder.lines.join("\n")).toMatch(
      /^error not_writable cannot make the state-dir .*\| ch/,
    );
  },
);

test("a rollback takes back a flush, and ids and seqs go on", () => {
  const dir = newFolder();
  const writer = TraceWriter.create(dir);
  putStart(writer);
  const first = putFlush(writer);
  putFlush(writer, { stop: true });
  const row = writer.reserveRow();
  writer.rollback();
  expect(writer.lastSeq).toBe(first);
  expect(writer.reserveRow()).toBe(row + 1);
  putFlush(writer);
  writer.syncNow();
  writer.syncNow();
  expect(writer.walBytes).toBeGreaterThan(0);
  writer.finish({ code: 0 });
  const reader = TraceReader.open(dir);
  expect(checkTrace(reader)).toBe(2 * FLUSH_EVENTS);
  expect(reader.info().end?.["stored"]).toEqual({
    lastSeq: 2 * FLUSH_EVENTS,
    baseline: 1,
    journal: 2,
    data: 2,
    versions: 2,
    processes: 1,
    contents: 1,
  });
  reader.close();
});

test("a trimmed log is used again, and nothing is lost", () => {
  const dir = newFolder();
  const writer = TraceWriter.create(dir);
  putStart(writer);
  const reader = TraceReader.open(dir);
  for (let flush = 0; flush < 10; flush++) putFlush(writer);
  const before = writer.walBytes;
  writer.trimLog();
  for (let flush = 0; flush < 5; flush++) putFlush(writer);
  expect(writer.walBytes).toBe(before);
  expect(checkTrace(reader)).toBe(15 * FLUSH_EVENTS);
  reader.close();
  writer.abort();
});

test("a reader that stays open does not keep the writer from ending", () => {
  const dir = newFolder();
  const writer = TraceWriter.create(dir);
  putStart(writer);
  const reader = TraceReader.open(dir);
  expect(checkTrace(reader)).toBe(0);
  putFlush(writer);
  writer.finish({ code: 0 });
  expect(checkTrace(reader)).toBe(FLUSH_EVENTS);
  expect(reader.info().state).toBe("ended");
  reader.close();
  const again = TraceReader.open(dir);
  expect([again.mode, checkTrace(again)]).toEqual(["immutable", FLUSH_EVENTS]);
  again.close();
});

test("a database locked by somebody else is in_use", () => {
  const dir = newFolder();
  const writer = TraceWriter.create(dir, { busyMs: 20 });
  const other = new Database(join(dir, "trace.db"));
  other.run("BEGIN IMMEDIATE");
  expect(codeOf(() => writer.begin())).toBe("in_use");
  other.run("ROLLBACK");
  other.close();
  putStart(writer);
  writer.abort();
});

test("mistakes of the caller are defects", () => {
  const writer = TraceWriter.create(newFolder());
  expect(() => writer.commit()).toThrow("must end a transaction");
  expect(() => writer.putData([], writer.reserveRow())).toThrow("in a transaction");
  writer.begin();
  expect(() => writer.putData([], 1_000)).toThrow("must come from reserveRow");
  writer.abort();
  writer.abort();
  expect(() => writer.begin()).toThrow("idle");
});
