import { expect, test } from "bun:test";
import { join } from "node:path";
import { changeRows } from "../../tests/support/change_rows.ts";
import { attr, rootEvent, TraceBuilder } from "../../tests/trace_builder.ts";
import { wrap } from "../format/envelope.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { cleanUpAfterEach, newFolder } from "../store/testing_folder.ts";
import { VERIFY_PROBLEMS_MAX } from "./verify_report.ts";
import { verifyTrace } from "./verify.ts";

cleanUpAfterEach();

const FILE = 0o100644;

/** A trace with every sort of row; `more` adds what a test is about. */
function makeTrace(more: (builder: TraceBuilder) => void = () => undefined): string {
  const dir = join(newFolder(), "trace");
  const builder = new TraceBuilder(dir, { batchEvents: 4, index: true });
  builder.baseline(rootEvent());
  const row = builder.content(Buffer.from("old content"));
  builder.baseline({
    op: Op.BASELINE,
    node: 2,
    parent: 1,
    name: "old",
    attr: attr(FILE, { size: 11 }),
    extents: [{ row, offset: 0, length: 11, at: 0 }],
  });
  builder.process(5, 4711);
  builder.event({ op: Op.CREATE, node: 3, parent: 1, name: "a", attr: attr(FILE) });
  for (let i = 0; i < 6; i++) builder.write(3, i, { op: Op.WRITE, bytes: "x" });
  builder.write(2, 0, { op: Op.WRITE, bytes: new Uint8Array(5000) });
  builder.event({ op: Op.RENAME, node: 3, parent: 1, name: "a", toParent: 1, toName: "b" });
  builder.write(3, 9, { op: Op.WRITE, bytes: "y" });
  builder.event({ op: Op.UNLINK, node: 3, parent: 1, name: "b" });
  more(builder);
  builder.finish({ audit: { entries: 2, contents: 0, written: 0, differences: 1, left: 0 } });
  return dir;
}

/** What verify says of a trace after this SQL. */
function problemsAfter(sql: string, ...values: Uint8Array[]): string[] {
  const dir = makeTrace();
  expect(changeRows(dir, sql, values), sql).toBeGreaterThan(0);
  const { problems } = verifyTrace(dir);
  return problems.map(({ subject, text }) => `${subject.replaceAll(/0{8,}/g, "*")}: ${text}`);
}

const json = (value: unknown) => wrap(1, new TextEncoder().encode(JSON.stringify(value)));

test("a whole trace has no problem", () => {
  const report = verifyTrace(makeTrace());
  expect(report.problems).toEqual([]);
  const { state, events, files, rows, audit } = report;
  expect({ state, events, files, rows, audit }).toEqual({
    state: "ended",
    events: 11,
    files: 2,
    rows: 12,
    audit: { entries: 2, contents: 0, written: 0, differences: 1, left: 0 },
  });
});

test("versions are checked in as many walks as it takes", () => {
  const dir = makeTrace();
  for (const chunkEntries of [1, 2, 3, 100]) {
    expect(verifyTrace(dir, { chunkEntries }).problems).toEqual([]);
  }
});

test("what is missing is named", () => {
  expect(problemsAfter("DELETE FROM kv WHERE cast(key AS TEXT) LIKE 'l:%5'")).toEqual([
    "l:*:*9: it begins with event #9, not #5",
    "i:end: it says stored.journal is 3, there are 2",
    "i:end: it says events is 11, there are 7",
  ]);
  expect(problemsAfter("DELETE FROM kv WHERE cast(key AS TEXT) LIKE 'c:%'")).toEqual([
    "b:*: baseline node 2: its content is in row 2, which is not there",
    "i:end: it says stored.contents is 1, there are 0",
  ]);
  expect(problemsAfter("DELETE FROM kv WHERE cast(key AS TEXT) LIKE 'p:%'")).toEqual([
    "i:end: it says stored.processes is 1, there are 0",
  ]);
  expect(problemsAfter("DELETE FROM kv WHERE cast(key AS TEXT) LIKE 'm:old%'")).toEqual([
    "i:end: it says stored.versions is 3, there are 2",
  ]);
  expect(problemsAfter("DELETE FROM kv WHERE cast(key AS TEXT) = 'i:end'")[0])
    .toContain("its end row is missing");
});

test("what is wrong is named", () => {
  const value = wrap(3, new Uint8Array(5));
  const wrong: [string, Uint8Array[], string][] = [
    [
      "UPDATE kv SET value = ? WHERE cast(key AS TEXT) LIKE 'c:%'",
      [value],
      "not what its key says",
    ],
    [
      "UPDATE kv SET value = ? WHERE cast(key AS TEXT) LIKE 'c:%'",
      [value],
      "ends behind the end of",
    ],
    ["UPDATE kv SET value = x'00' WHERE cast(key AS TEXT) LIKE 'd:%'", [], "it has 1 bytes"],
    ["UPDATE kv SET value = 7 WHERE cast(key AS TEXT) LIKE 'd:%'", [], "of other types"],
    ["UPDATE kv SET value = ? WHERE cast(key AS TEXT) LIKE 'p:%'", [json({ pid: 3 })], "its pid"],
    ["UPDATE kv SET value = ? WHERE cast(key AS TEXT) LIKE 'p:%'", [json([])], "JSON object"],
    ["UPDATE kv SET value = ? WHERE key = CAST('i:end' AS BLOB)", [json({})], "how many rows"],
    ["UPDATE kv SET key = CAST('x:1' AS BLOB) WHERE cast(key AS TEXT) LIKE 'p:%'", [], "not a key"],
    ["UPDATE kv SET key = CAST('p:1' AS BLOB) WHERE cast(key AS TEXT) LIKE 'p:%'", [], "not a key"],
    ["UPDATE kv SET key = 'text' WHERE cast(key AS TEXT) LIKE 'p:%'", [], "found by their keys"],
    [
      "UPDATE kv SET value = (SELECT value FROM kv WHERE cast(key AS TEXT) LIKE 'm:old%') " +
      "WHERE cast(key AS TEXT) LIKE 'm:a:%'",
      [],
      "which is of another file",
    ],
    [
      "UPDATE kv SET id = 900 WHERE cast(key AS TEXT) LIKE 'l:%5'",
      [],
      "it stands in row 900, not",
    ],
  ];
  for (const [sql, values, text] of wrong) {
    const found = problemsAfter(sql, ...values);
    expect(found.some((line) => line.includes(text)), `${sql}: ${found.join(" | ")}`).toBe(true);
  }
});

test("an event that does not fold is named, and what follows is still read", () => {
  const dir = join(newFolder(), "trace");
  const builder = new TraceBuilder(dir);
  builder.baseline(rootEvent());
  builder.write(77, 0, { op: Op.WRITE, bytes: "nobody" });
  builder.event({ op: Op.MMAP, node: 78 });
  const extents = [{ row: 900, offset: 0, length: 1, at: 0 }];
  builder.event({ op: Op.WRITE, node: 1, offset: 0, length: 0, extents });
  builder.finish();
  expect(verifyTrace(dir).problems.map(({ text }) => text)).toEqual([
    "event #1: cannot apply an event: node 77 is not known; what follows is not folded",
    "event #3: its content is in row 900, which is not there",
    "event #3: it has more content than its length",
  ]);
});

test("of very many problems the first are kept and all counted", () => {
  const dir = join(newFolder(), "trace");
  const builder = new TraceBuilder(dir);
  builder.baseline(rootEvent());
  for (let i = 0; i < VERIFY_PROBLEMS_MAX + 5; i++) {
    const extents = [{ row: 900, offset: 0, length: 1, at: 0 }];
    builder.event({ op: Op.OUTPUT, offset: 1, length: 1, extents });
  }
  builder.finish();
  const { problems, problemCount } = verifyTrace(dir);
  expect(problems).toHaveLength(VERIFY_PROBLEMS_MAX);
  expect(problemCount).toBe(VERIFY_PROBLEMS_MAX + 5);
});

test("a cut trace is checked up to its end", () => {
  const dir = join(newFolder(), "trace");
  const builder = new TraceBuilder(dir);
  builder.baseline(rootEvent());
  builder.event({ op: Op.CHMOD, node: 1, attr: attr(0o40700), flags: EventFlag.SETTLED });
  builder.cut();
  const { state, problems, events } = verifyTrace(dir);
  expect({ state, problems, events }).toEqual({ state: "cut", problems: [], events: 1 });
});
