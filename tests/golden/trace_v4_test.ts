/** A packed trace that was made when version 4 was fixed is read by every later build: each line, each tree, each codec. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Codec } from "../../src/format/packed_row.ts";
import { rangeOf } from "../../src/format/keys.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { keyAfter, TraceReader } from "../../src/store/trace_reader.ts";
import { digestsOf } from "./make_trace_v2.ts";

const GOLDEN = join(import.meta.dir, "trace_v4");

test("the golden trace of version 4 gives what it gave", () => {
  const wanted: unknown = JSON.parse(readFileSync(`${GOLDEN}.json`, "utf8"));
  expect(digestsOf(GOLDEN)).toEqual(wanted as ReturnType<typeof digestsOf>);
  expect(verifyTrace(GOLDEN).problems).toEqual([]);
}, 60_000);

test("the golden trace has every codec, keyframes, and packed rows of every sort", () => {
  const reader = TraceReader.open(GOLDEN);
  const codecs = new Set<number>();
  for (const sort of ["baseline", "journal", "content", "data"] as const) {
    const range = rangeOf(sort);
    let packed = 0;
    for (let key = reader.keyFrom(range); key !== undefined;) {
      const row = reader.rowOf(key);
      const found = row === undefined ? undefined : reader.packedRow(row.id);
      for (const blob of found?.blobs ?? []) codecs.add(blob.codec);
      packed += found === undefined ? 0 : 1;
      key = reader.keyFrom({ from: keyAfter(key), to: range.to });
    }
    expect({ sort, packed: packed > 0 }).toEqual({ sort, packed: true });
  }
  expect([...codecs].sort()).toEqual([
    Codec.RAW,
    Codec.ZSTD,
    Codec.PREFIX,
    Codec.CONTENT,
    Codec.LINES,
  ]);
  expect(reader.count("keyframe")).toBeGreaterThan(1);
  reader.close();
});
