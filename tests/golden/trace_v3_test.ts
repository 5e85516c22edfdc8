/** A trace whose history was folded when version 3 was fixed is read by every later build: each line, each tree, and what is refused. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { rangeOf } from "../../src/format/keys.ts";
import { Codec } from "../../src/format/packed_row.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { Trace } from "../../src/history/trace.ts";
import { keyAfter, TraceReader } from "../../src/store/trace_reader.ts";
import { treeAt } from "../support/trace_states.ts";
import { digestsOf } from "./make_trace_v2.ts";
import { FOLDED } from "./make_trace_v3.ts";

const GOLDEN = join(import.meta.dir, "trace_v3");

test("the golden trace of version 3 gives what it gave", () => {
  const wanted: unknown = JSON.parse(readFileSync(`${GOLDEN}.json`, "utf8"));
  expect(digestsOf(GOLDEN)).toEqual(wanted as ReturnType<typeof digestsOf>);
  expect(verifyTrace(GOLDEN).problems).toEqual([]);
  const trace = Trace.open(GOLDEN);
  expect(trace.range().first?.seq).toBe(FOLDED);
  expect(() => treeAt(trace, FOLDED - 1)).toThrow("was dropped");
  trace.close();
}, 60_000);

test("it has content that is gone, and rows that were rows of events", () => {
  const reader = TraceReader.open(GOLDEN);
  const codecs = new Set<number>();
  let folded = 0;
  const range = rangeOf("data");
  for (let key = reader.keyFrom(range); key !== undefined;) {
    const row = reader.rowOf(key);
    if (row?.value[4] === 5) folded++;
    const packed = row === undefined ? undefined : reader.packedRow(row.id);
    for (const blob of packed?.blobs ?? []) codecs.add(blob.codec);
    key = reader.keyFrom({ from: keyAfter(key), to: range.to });
  }
  expect(folded).toBeGreaterThan(0);
  expect(codecs).toContain(Codec.GONE);
  expect(reader.count("keyframe")).toBeGreaterThan(1);
  reader.close();
});
