/** A packed trace that was made when version 4 was fixed is read by every later build: each line, each tree, each codec. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Codec } from "../../src/format/packed_row.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { codecsOfPacked } from "./_packed.ts";
import { digestsOf } from "./make_trace_v2.ts";

const GOLDEN = join(import.meta.dir, "trace_v4");

test("the golden trace of version 4 gives what it gave", () => {
  const wanted: unknown = JSON.parse(readFileSync(`${GOLDEN}.json`, "utf8"));
  expect(digestsOf(GOLDEN)).toEqual(wanted as ReturnType<typeof digestsOf>);
  expect(verifyTrace(GOLDEN).problems).toEqual([]);
}, 60_000);

test("the golden trace has every codec, keyframes, and packed rows of every sort", () => {
  expect(codecsOfPacked(GOLDEN)).toEqual([
    Codec.RAW,
    Codec.ZSTD,
    Codec.PREFIX,
    Codec.DELTA,
    Codec.CONTENT,
    Codec.LINES,
  ]);
});
