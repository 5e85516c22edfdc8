import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Glob } from "../format/glob.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { attr, rootEvent, TraceBuilder } from "../../tests/trace_builder.ts";
import { type Burst, BURST_FILES_MAX, BURST_PAUSE_NS, foldBursts } from "./bursts.ts";
import { around, limited, Timeline, type TimelineEntry, type TimelineFilter } from "./timeline.ts";
import { Trace } from "./trace.ts";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-timeline-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let count = 0;
/** Makes a trace with the watched folder and opens it. */
function traceOf(make: (builder: TraceBuilder) => void): Trace {
  const builder = new TraceBuilder(join(dir, String(count++)), { batchEvents: 3 });
  builder.baseline(rootEvent());
  make(builder);
  builder.finish();
  return Trace.open(builder.dir);
}

function paths(trace: Trace, filter: TimelineFilter = {}): (string | undefined)[] {
  return [...new Timeline(trace, filter).entries()].map(({ place }) => place.path);
}

describe("paths are those of the moment", () => {
  const trace = () =>
    traceOf((builder) => {
      builder.event({ op: Op.MKDIR, node: 2, parent: 1, name: "d", attr: attr(0o40755) });
      builder.event({ op: Op.CREATE, node: 3, parent: 2, name: "f", attr: attr(0o100644) });
      builder.write(3, 0, { op: Op.WRITE, bytes: "1" });
      builder.event({ op: Op.RENAME, node: 2, parent: 1, name: "d", toParent: 1, toName: "e" });
      builder.write(3, 1, { op: Op.WRITE, bytes: "2" });
      builder.event({ op: Op.LINK, node: 3, parent: 1, name: "g" });
      builder.event({ op: Op.UNLINK, node: 3, parent: 2, name: "f" });
      builder.write(3, 2, { op: Op.WRITE, bytes: "3" });
      builder.event({ op: Op.UNLINK, node: 3, parent: 1, name: "g" });
      builder.write(3, 3, { op: Op.WRITE, bytes: "4" });
    });
  test("through renames, links and unlinks", () => {
    const entries = [...new Timeline(trace(), {}).entries()];
    const seen = entries.map(({ place }) => `${place.path}${place.unlinked ? " gone" : ""}`);
    expect(seen).toEqual(["d", "d/f", "d/f", "d", "e/f", "g", "e/f", "g", "g", "g gone"]);
    expect(entries[3]?.place.to).toBe("e");
    expect(entries[5]?.place.of).toBe("e/f");
  });
  test("filters ask for the path of the moment", () => {
    // the rename that made the path is listed, as it is for the folder itself
    expect(paths(trace(), { glob: new Glob("e/**") })).toEqual(["d", "e/f", "e/f"]);
    expect(paths(trace(), { glob: new Glob("e/f") })).toEqual(["d", "e/f", "e/f"]);
    expect(paths(trace(), { glob: new Glob("d/f") })).toEqual(["d/f", "d/f", "d"]);
    expect(paths(trace(), { glob: new Glob("f") })).toEqual(["d/f", "d/f", "d", "e/f", "e/f"]);
    expect(paths(trace(), { glob: new Glob("*/f") })).toEqual(["d/f", "d/f", "d", "e/f", "e/f"]);
    expect(paths(trace(), { glob: new Glob("/work/e/f") })).toEqual(["d", "e/f", "e/f"]);
    expect(paths(trace(), { glob: new Glob("d/x") })).toEqual([]);
    // A folder that is renamed to the name counts too.
    expect(paths(trace(), { glob: new Glob("e") })).toEqual(["d", "e/f", "e/f"]);
    expect(paths(trace(), { ops: new Set([Op.WRITE]), pids: new Set([1]) })).toEqual([]);
    const from = { unit: "seq", from: 9, to: 9 } as const;
    expect(paths(trace(), { from, to: from })).toEqual(["g"]);
  });
});

test("folders that change places, and those that come from elsewhere or go there", () => {
  const trace = traceOf((builder) => {
    for (const [node, name] of [[2, "a"], [3, "b"]] as const) {
      builder.event({ op: Op.MKDIR, node, parent: 1, name, attr: attr(0o40755) });
    }
    builder.event({ op: Op.CREATE, node: 4, parent: 2, name: "x", attr: attr(0o100644) });
    builder.event({ op: Op.CREATE, node: 5, parent: 3, name: "y", attr: attr(0o100644) });
    const names = { parent: 1, name: "a", toParent: 1, toName: "b" };
    const flags = EventFlag.EXCHANGE;
    builder.event({ op: Op.RENAME, node: 2, victim: 3, flags, ...names });
    builder.event({ op: Op.RENAME, node: 2, parent: 1, name: "b", toParent: 0, toName: "" });
  });
  const seqs = (pattern: string) => {
    const glob = new Glob(pattern);
    return [...new Timeline(trace, { glob }).entries()].map(({ seq }) => seq);
  };
  expect(seqs("a/x")).toEqual([3, 5]);
  expect(seqs("b/x")).toEqual([5, 6]);
  expect(seqs("a/y")).toEqual([5]);
  expect(seqs("b/y")).toEqual([4, 5]);
});

test("a timeline goes on where it was when more is written", () => {
  const builder = new TraceBuilder(join(dir, "live"));
  builder.baseline(rootEvent());
  builder.event({ op: Op.CREATE, node: 2, parent: 1, name: "f", attr: attr(0o100644) });
  builder.flush();
  const trace = Trace.open(builder.dir);
  const timeline = new Timeline(trace, {});
  expect([...timeline.entries()].map(({ seq }) => seq)).toEqual([1]);
  expect([...timeline.entries()]).toEqual([]);
  expect(trace.state()).toBe("recording");
  builder.write(2, 0, { op: Op.WRITE, bytes: "x" });
  builder.finish();
  expect([...timeline.entries()].map(({ seq, place }) => [seq, place.path])).toEqual([[2, "f"]]);
  expect(trace.state()).toBe("ended");
  trace.close();
});

/** An entry as bursts look at it. */
function entry(seq: number, node: number, parts: Partial<TimelineEntry> = {}): TimelineEntry {
  const place = { root: 0, path: `f${node}`, unlinked: false };
  const base = { flags: 0, pid: 1, comm: "c", node, place, offset: 0, length: 10 };
  return { seq, tNs: seq, op: Op.WRITE, ...base, ...parts };
}

function told(bursts: Iterable<Burst>): string[] {
  return [...bursts].map(({ firstSeq, last, count, bytes }) =>
    `${firstSeq}-${last.seq} ${count} ${bytes}`
  );
}

describe("bursts", () => {
  test("writes in turns to two files are two lines, by their last writes", () => {
    const entries = [1, 2, 3, 4, 5].map((seq) => entry(seq, seq % 2));
    expect(told(foldBursts(entries))).toEqual(["2-4 2 20", "1-5 3 30"]);
  });
  test("anything else in between ends a burst, and so does another process", () => {
    const other = entry(2, 1, { op: Op.TRUNCATE });
    expect(told(foldBursts([entry(1, 1), other, entry(3, 1), entry(4, 1, { pid: 2 })])))
      .toEqual(["1-1 1 10", "2-2 1 10", "3-3 1 10", "4-4 1 10"]);
  });
  test("a pause ends a burst", () => {
    const late = entry(2, 1, { tNs: BURST_PAUSE_NS + 1 });
    expect(told(foldBursts([entry(1, 1), late]))).toEqual(["1-1 1 10", "2-2 1 10"]);
  });
  test("as many files as the limit fold, one more does not", () => {
    const twice = (files: number) =>
      Array.from({ length: 2 * files }, (_, i) => entry(i + 1, 1 + i % files));
    expect(told(foldBursts(twice(BURST_FILES_MAX))).length).toBe(BURST_FILES_MAX);
    expect(told(foldBursts(twice(BURST_FILES_MAX + 1))).length).toBeGreaterThan(
      BURST_FILES_MAX + 1,
    );
  });
  test("the lines are in the order of their numbers", () => {
    const entries = Array.from({ length: 500 }, (_, i) => entry(i + 1, (i * 7) % 23));
    const numbers = [...foldBursts(entries)].map(({ last }) => last.seq);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  });
});

test("around and limited", () => {
  const items = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  expect([...around(items, 2, (n) => n < 5)]).toEqual([3, 4, 5, 6]);
  expect([...around(items, 2, (n) => n < 1)]).toEqual([1, 2]);
  expect([...around(items, 2, (n) => n < 99)]).toEqual([8, 9]);
  expect([...limited(items, 3)]).toEqual([1, 2, 3]);
  expect([...limited(items, 0)]).toEqual([]);
});
