import { expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ByteKind, byteKinds } from "../../tests/support/sqlite_layout.ts";
import { DiffKeeperError } from "../base/error.ts";
import { canRunAsNobody, cleanUpAfterEach, newFolder, TestRecorder } from "./testing_folder.ts";
import { checkTrace, FLUSH_EVENTS, putFlush, putStart } from "./testing_trace.ts";
import { TraceReader } from "./trace_reader.ts";
import { TraceWriter } from "./trace_writer.ts";

cleanUpAfterEach();

function errorOf(run: () => unknown): DiffKeeperError {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof DiffKeeperError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}

/** Code, message (without the folder's name) and hint of what opening gives. */
function failure(path: string): string {
  const { code, message, hint } = errorOf(() => TraceReader.open(path));
  return `${code}: ${message.replaceAll(path, "X")} | ${hint}`;
}

function makeTrace(flushes: number): string {
  const dir = join(newFolder(), "trace");
  const writer = TraceWriter.create(dir);
  putStart(writer);
  for (let flush = 0; flush < flushes; flush++) putFlush(writer);
  writer.finish({ code: 0 });
  return dir;
}

test("what is not a trace is named, with a hint", () => {
  const folder = newFolder();
  const path = join(folder, "trace.db");
  const none = "`diffkeeper record -- CMD` makes a trace";
  expect(failure(join(folder, "x"))).toBe(
    `not_found: cannot open trace "X": there is no trace | ${none}`,
  );
  expect(failure(folder)).toBe(`not_found: cannot open trace "X": there is no trace | ${none}`);
  writeFileSync(path, "not a database, but long enough to be one".repeat(10));
  expect(failure(path)).toBe(
    `data_corrupt: cannot open trace "X": it is not a DiffKeeper trace | ${none}`,
  );
  writeFileSync(path, "");
  expect(failure(folder)).toStartWith('truncated: cannot open trace "X": it ends after 0 bytes');
  writeFileSync(path, "SQLite format 3\0");
  expect(failure(folder)).toStartWith('truncated: cannot open trace "X": it ends after 16 bytes');
  new Database(join(folder, "other.db")).run("CREATE TABLE t (x)");
  expect(failure(join(folder, "other.db"))).toBe(
    `data_corrupt: cannot open trace "X": it is a SQLite database, but not a trace | ${none}`,
  );
});

test("a newer version is refused with both numbers", () => {
  const dir = makeTrace(1);
  const db = new Database(join(dir, "trace.db"));
  db.run("PRAGMA user_version = 5");
  db.close();
  expect(failure(dir)).toBe(
    'version_too_new: cannot open trace "X": it is version 5, this build reads up to 4 | ' +
      "use a newer diffkeeper",
  );
});

test("a trace cut at any length is truncated or damaged, never misread", () => {
  const dir = makeTrace(20);
  const path = join(dir, "trace.db");
  const size = Bun.file(path).size;
  for (let length = size - 1; length > 0; length -= 1 + Math.floor(size / 40)) {
    truncateSync(path, length);
    const { code } = errorOf(() => {
      const reader = TraceReader.open(dir);
      checkTrace(reader);
    });
    expect(["truncated", "data_corrupt"], `length ${length}`).toContain(code);
  }
});

test("a trace without a first flush says so", () => {
  const dir = newFolder();
  TraceWriter.create(dir).abort();
  const reader = TraceReader.open(dir);
  expect(errorOf(() => reader.info()).code).toBe("truncated");
  expect([...reader.journalBatches()]).toEqual([]);
  reader.close();
});

test("missing, exchanged and wrong rows are noticed", () => {
  const damages: [string, string][] = [
    ["DELETE FROM kv WHERE cast(key AS TEXT) LIKE 'l:%:%51'", "missing"],
    ["DELETE FROM kv WHERE cast(key AS TEXT) LIKE 'l:%:%29'", "missing"],
    ["DELETE FROM kv WHERE cast(key AS TEXT) LIKE 'b:%'", "missing"],
    ["DELETE FROM kv WHERE cast(key AS TEXT) LIKE 'd:%'", "is missing"],
    ["DELETE FROM kv WHERE key = CAST('i:recording' AS BLOB)", "it is empty"],
    ["UPDATE kv SET value = x'00'", "a row is damaged"],
    ["UPDATE kv SET value = 7", "of other types"],
    ["UPDATE kv SET key = CAST('l:zz' AS BLOB) WHERE cast(key AS TEXT) LIKE 'l:%:%51'", "damaged"],
    [
      "UPDATE kv SET value = (SELECT value FROM kv WHERE cast(key AS TEXT) LIKE 'b:%') " +
      "WHERE cast(key AS TEXT) LIKE 'l:%:%51'",
      "does not agree with its key",
    ],
    ["UPDATE kv SET id = id + 1000", "is missing"],
  ];
  for (const [sql, message] of damages) {
    const dir = makeTrace(3);
    const db = new Database(join(dir, "trace.db"));
    expect(db.run(sql).changes, sql).toBeGreaterThan(0);
    db.close();
    const reader = TraceReader.open(dir);
    const error = errorOf(() => checkTrace(reader));
    expect(error.message, sql).toContain(message);
    expect(["data_corrupt", "truncated"]).toContain(error.code);
    reader.close();
  }
});

test("reading can begin at any event, and following finds what is new", () => {
  const dir = newFolder();
  const writer = TraceWriter.create(dir);
  putStart(writer);
  for (let flush = 0; flush < 6; flush++) putFlush(writer);
  const reader = TraceReader.open(dir);
  for (let seq = 1; seq <= 6 * FLUSH_EVENTS + 1; seq++) {
    const fresh = TraceReader.open(dir);
    const seen: number[] = [];
    for (const { cursor } of fresh.journalBatches(seq)) while (cursor.next()) seen.push(cursor.seq);
    expect(seen.length, `from ${seq}`).toBe(6 * FLUSH_EVENTS + 1 - seq);
    if (seen.length > 0) expect([seen[0], seen.at(-1)]).toEqual([seq, 6 * FLUSH_EVENTS]);
    fresh.close();
  }
  let last = 0;
  for (let flush = 7; flush < 12; flush++) {
    for (const { cursor } of reader.pollNewBatches(last)) {
      while (cursor.next()) expect(cursor.seq).toBe(++last);
    }
    expect(last).toBe((flush - 1) * FLUSH_EVENTS);
    expect([...reader.pollNewBatches(last)]).toEqual([]);
    putFlush(writer);
  }
  expect(reader.lastEvent().seq).toBe(11 * FLUSH_EVENTS);
  expect(reader.count("journal")).toBe(11);
  reader.close();
  writer.abort();
});

test("another process records: a reader follows it to its end", async () => {
  const dir = join(newFolder(), "trace");
  const recorder = new TestRecorder(dir, { what: "once" });
  await recorder.until((line) => line === "0");
  const reader = TraceReader.open(dir);
  let last = 0;
  for (let poll = 0; poll < 5_000 && reader.info().state !== "ended"; poll++) {
    for (const { cursor } of reader.pollNewBatches(last)) {
      while (cursor.next()) expect(cursor.seq).toBe(++last);
    }
    await Bun.sleep(1);
  }
  for (const { cursor } of reader.pollNewBatches(last)) while (cursor.next()) last++;
  expect(last).toBe(5 * FLUSH_EVENTS);
  expect(checkTrace(reader)).toBe(5 * FLUSH_EVENTS);
  expect(await recorder.end()).toBe(0);
  reader.close();
});

test.skipIf(!canRunAsNobody())(
  "a cut trace opens in a folder that may not be written",
  async () => {
    const dir = join(newFolder(), "trace");
    const recorder = new TestRecorder(dir, { what: "stop" });
    await recorder.until((line) => line === "stopped");
    await recorder.kill();
    const copy = join(newFolder(), "copy");
    mkdirSync(copy);
    for (const file of ["trace.db", "trace.db-wal"]) {
      copyFileSync(
        join(dir, file),
        join(copy, file),
      );
    }
    chmodSync(join(copy, ".."), 0o755);
    for (const file of readdirSync(copy)) chmodSync(join(copy, file), 0o444);
    chmodSync(copy, 0o555);
    const script = `import { TraceReader } from "${import.meta.dir}/trace_reader.ts";` +
      `const reader = TraceReader.open("${copy}");` +
      `console.log(reader.mode, reader.info().state, reader.lastEvent().seq);`;
    const argv = ["setpriv", "--reuid=65534", "--clear-groups", process.execPath, "-e", script];
    const child = Bun.spawnSync(argv, { stdio: ["ignore", "pipe", "inherit"] });
    expect(child.stdout.toString()).toBe(`log cut ${10 * FLUSH_EVENTS}\n`);
    expect(readdirSync(copy).sort()).toEqual(["trace.db", "trace.db-wal"]);
  },
);

test.skipIf(!canRunAsNobody())("a trace of somebody else is no_privilege, with a hint", () => {
  const dir = makeTrace(1);
  chmodSync(join(dir, ".."), 0o755);
  const script = `import { TraceReader } from "${import.meta.dir}/trace_reader.ts";` +
    `try { TraceReader.open("${dir}"); } catch (error) { console.log(error.code, error.hint); }`;
  const argv = ["setpriv", "--reuid=65534", "--clear-groups", process.execPath, "-e", script];
  const child = Bun.spawnSync(argv, { stdio: ["ignore", "pipe", "inherit"] });
  expect(child.stdout.toString()).toBe(
    "no_privilege run this as the owner of the trace, or as root\n",
  );
});

test("a copy of an ended trace, with leftovers of SQLite beside it, opens", () => {
  const dir = makeTrace(2);
  const copy = join(newFolder(), "copy");
  cpSync(dir, copy, { recursive: true });
  writeFileSync(join(copy, "trace.db-wal"), "");
  const reader = TraceReader.open(join(copy, "trace.db"));
  expect([reader.mode, reader.info().state]).toEqual(["immutable", "ended"]);
  expect(checkTrace(reader)).toBe(2 * FLUSH_EVENTS);
  reader.close();
});

test("rows that changed places in the table or in the index are noticed", () => {
  const dir = makeTrace(3);
  const path = join(dir, "trace.db");
  const db = new Database(path);
  const rows = db.query<{ id: number; key: string }, []>(
    "SELECT id, cast(key AS TEXT) AS key FROM kv WHERE cast(key AS TEXT) LIKE 'd:%'",
  ).all();
  db.close();
  expect(rows.length).toBeGreaterThan(1);
  const bytes = readFileSync(path);
  // Both keys of the first data row: one in the table, one in the index. Each is changed alone.
  const key = Buffer.from(rows.find((row) => row.key.startsWith("d:"))?.key ?? "none");
  const kinds = byteKinds(path);
  const places: number[] = [];
  for (let at = bytes.indexOf(key); at >= 0; at = bytes.indexOf(key, at + 1)) {
    // SQLite leaves copies behind where it moved a cell.
    if (kinds[at] !== ByteKind.OTHER) places.push(at);
  }
  expect(places).toHaveLength(2);
  for (const place of places) {
    const damaged = Buffer.from(bytes);
    damaged[place + 5] = 0x31;
    writeFileSync(path, damaged);
    const reader = TraceReader.open(dir);
    const error = errorOf(() => checkTrace(reader));
    expect(error.message).toMatch(/in the index than in the table|in the table or in its index/);
    reader.close();
  }
});

test("an ended trace without its end row is damaged, not cut", () => {
  const dir = makeTrace(1);
  const db = new Database(join(dir, "trace.db"));
  db.run("DELETE FROM kv WHERE key = CAST('i:end' AS BLOB)");
  db.close();
  const reader = TraceReader.open(dir);
  expect(errorOf(() => reader.info()).message).toContain("its end row is missing");
  reader.close();
});
