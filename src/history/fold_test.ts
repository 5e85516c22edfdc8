import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventFlag, Op } from "../format/trace_event.ts";
import { attr, rootEvent, TraceBuilder } from "../../tests/trace_builder.ts";
import { Materializer, unknownRanges } from "./content.ts";
import type { History } from "./fold.ts";
import { Trace } from "./trace.ts";

const END = { unit: "seq", from: 1e9, to: 1e9 } as const;
let dir = "";
let count = 0;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-fold-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Folds a trace to its end. */
function folded(
  make: (builder: TraceBuilder) => void,
): { history: History; text: (node: number) => string } {
  const builder = new TraceBuilder(join(dir, String(count++)), { batchEvents: 2 });
  builder.baseline(rootEvent());
  make(builder);
  builder.cut();
  const trace = Trace.open(builder.dir);
  const history = trace.foldTo(END);
  const materializer = new Materializer(history.content, trace);
  return { history, text: (node) => Buffer.from(materializer.read(node)).toString("latin1") };
}

describe("where content comes from", () => {
  test("baseline, with a hole between extents", () => {
    const { text } = folded((builder) => {
      const row = builder.data(Buffer.from("helloworld"));
      builder.baseline({
        op: Op.BASELINE,
        node: 2,
        parent: 1,
        name: "f",
        attr: attr(0o100644, { size: 13 }),
        extents: [{ row, offset: 0, length: 5, at: 0 }, { row, offset: 5, length: 5, at: 7 }],
      });
    });
    expect(text(2)).toBe("hello\0\0world\0");
  });
  test("a write with a hole and a read-back", () => {
    const { text } = folded((builder) => {
      builder.event({ op: Op.CREATE, node: 2, parent: 1, name: "f", attr: attr(0o100644) });
      builder.write(2, 0, { op: Op.WRITE, bytes: "abcdef" });
      const row = builder.data(Buffer.from("XY"));
      const extents = [{ row, offset: 1, length: 1, at: 2 }];
      builder.event({ op: Op.WRITE, node: 2, offset: 1, length: 4, extents });
      builder.event({ op: Op.CREATE, node: 3, parent: 1, name: "g", attr: attr(0o100644) });
      builder.write(3, 0, { op: Op.WRITE, bytes: "long before" });
      builder.event({ op: Op.RESYNC, node: 3, length: 5, inline: Buffer.from("new") });
    });
    expect(text(2)).toBe("a\0\0Y\0f");
    expect(text(3)).toBe("new\0\0");
  });
  test("what comes in from outside is unknown until it is read back", () => {
    const { history, text } = folded((builder) => {
      const came = {
        op: Op.RENAME,
        parent: 0,
        name: "",
        toParent: 1,
        attr: attr(0o100644, { size: 4 }),
      };
      builder.event({ ...came, node: 2, toName: "f" });
      builder.event({ ...came, node: 3, toName: "g" });
      builder.event({ op: Op.RESYNC, node: 3, length: 4, inline: Buffer.from("read") });
      builder.event({ op: Op.LINK, node: 3, parent: 1, name: "h" });
    });
    expect(unknownRanges(history.content, 2)).toEqual([{ from: 0, to: 4 }]);
    expect(unknownRanges(history.content, 3)).toEqual([]);
    expect(text(3)).toBe("read");
  });
});

test("gaps are kept, with the files they concern, until those are read back", () => {
  const { history } = folded((builder) => {
    builder.baseline({ op: Op.GAP, node: 1, path: "x", text: "no permission" });
    builder.event({ op: Op.CREATE, node: 2, parent: 1, name: "f", attr: attr(0o100644) });
    builder.event({ op: Op.GAP, node: 2, text: "unseen", loss: { events: 3, bytes: 4 } });
    builder.event({ op: Op.GAP, text: "ring full", loss: { events: 1, bytes: 0 } });
    builder.event({ op: Op.WRITE, node: 2, offset: 0, length: 9, flags: EventFlag.UNREAD });
    builder.event({ op: Op.RESYNC, node: 2, length: 1, inline: Buffer.from("!") });
  });
  expect(history.gapCount).toBe(3);
  expect(history.gaps.map(({ seq, events }) => [seq, events])).toEqual([[0, 0], [2, 3], [3, 1]]);
  expect([...history.doubted.keys()]).toEqual([1]);
  expect(unknownRanges(history.content, 2)).toEqual([]);
});

test("a folder that was moved in is no file touched", () => {
  const builder = new TraceBuilder(join(dir, "moved-in"));
  builder.baseline(rootEvent());
  const came = { op: Op.RENAME, parent: 0, toParent: 1 } as const;
  builder.event({ ...came, node: 2, toName: "d", attr: attr(0o040755) });
  builder.event({ ...came, node: 3, toName: "f", attr: attr(0o100644) });
  builder.cut();
  const trace = Trace.open(builder.dir);
  expect(trace.totals()).toMatchObject({ events: 2, files: 1 });
  trace.close();
});

test("totals of a cut recording are counted from its events", () => {
  const builder = new TraceBuilder(join(dir, "totals"));
  builder.baseline(rootEvent());
  builder.event({ op: Op.CREATE, node: 2, parent: 1, name: "f", attr: attr(0o100644) });
  builder.write(2, 0, { op: Op.WRITE, bytes: "12345", tNs: 1_500_000_000 });
  builder.event({ op: Op.GAP, text: "ring full", loss: { events: 7, bytes: 70 } });
  builder.cut();
  const trace = Trace.open(builder.dir);
  expect(trace.totals()).toEqual({ events: 3, bytes: 5, files: 1, lostEvents: 7, lostBytes: 70 });
  expect(trace.range()).toMatchObject({ lastSeq: 3, endNs: 1_500_000_000 });
  expect(trace.cutText()).toContain("recording was cut at 00m:01.500s: ");
  trace.close();
});
