/** What the first version of each codec wrote is read for ever, and chunks are cut where they always were. */
import { expect, test } from "bun:test";
import { chunkBorders, deltaApply, zstdDecode } from "../../wasm/codecs.ts";
import golden from "./codecs_v1.json" with { type: "json" };
import { goldenBase, goldenTarget } from "./make_codecs_v1.ts";

// deno-fmt-ignore
const BORDERS = [
  69562, 135135, 234876, 307744, 384484, 457375, 525436, 629980, 700621, 801646, 874908, 946856, 1027317, 1094102, 1213499,
  1231932, 1263802, 1368381, 1447059, 1537614, 1629738, 1730233, 1803942, 1817080,
];
const target = goldenTarget();
const prefix = goldenBase();
const maxBytes = target.length;
const bytes = (value: string) => new Uint8Array(Buffer.from(value, "base64"));
const sha256 = (value: Uint8Array) => new Bun.CryptoHasher("sha256").update(value).digest("hex");

test("the target is the one that was encoded", () => {
  expect(sha256(target)).toBe(golden.sha256);
});

test("a delta of version 1", () => {
  expect(sha256(deltaApply(prefix, bytes(golden.delta), { maxBytes }))).toBe(golden.sha256);
});

test("zstd frames, with and without a prefix", () => {
  expect(sha256(zstdDecode(bytes(golden.zstd), { maxBytes }))).toBe(golden.sha256);
  const back = zstdDecode(bytes(golden.zstd_prefix), { maxBytes, prefix });
  expect(sha256(back)).toBe(golden.sha256);
});

test("borders of chunks", () => {
  const copies = Array.from({ length: 40 }, (_, i) => prefix.map((byte) => byte ^ i));
  expect(chunkBorders(Buffer.concat(copies))).toEqual(BORDERS);
});
