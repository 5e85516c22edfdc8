import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Op } from "../format/trace_event.ts";
import { attr, rootEvent, TraceBuilder } from "../../tests/trace_builder.ts";
import { compareContents } from "./compare.ts";

const dir = mkdtempSync(join(tmpdir(), "diffkeeper-compare-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("what there was no time to compare is counted, whenever the time was over", () => {
  const work = join(dir, "work");
  mkdirSync(work);
  const builder = new TraceBuilder(join(dir, "trace"), { rootPaths: [work] });
  builder.baseline(rootEvent());
  for (const [node, name] of [[2, "same"], [3, "other"]] as const) {
    writeFileSync(join(work, name), name);
    builder.event({ op: Op.CREATE, node, parent: 1, name, attr: attr(0o100644) });
    builder.write(node, 0, { op: Op.WRITE, bytes: "same" });
  }
  builder.finish();
  const touched = Uint32Array.of(2, 3);
  const compared = compareContents(builder.dir, { touched, timeMs: 60_000 });
  expect(compared).toEqual({ contents: 2, written: 2, wrong: [3] });
  const hurried = compareContents(builder.dir, { touched, timeMs: -1 });
  expect(hurried).toEqual({ contents: 0, written: 2, wrong: [] });
});
