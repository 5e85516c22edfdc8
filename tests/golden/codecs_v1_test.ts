/** What the first version of each codec wrote is read for ever, and chunks are cut where they always were. */
import { expect, test } from "bun:test";
import { chunkBorders, deltaApply, zstdDecode } from "../../wasm/codecs.ts";
import golden from "./codecs_v1.json" with { type: "json" };
import { goldenBase, goldenTarget } from "./make_codecs_v1.ts";

// deno-fmt-ignore
const BORDERS = [
  36810, 51505, 81430, 115275, 130868, 143420, 181304, 234876, 271345, 307744, 359448, 394899,
  441388, 480881, 516414, 551701, 615212, 653313, 700621, 733445, 773254, 808389, 839148,
  874908, 908540,
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
  const copies = Array.from({ length: 20 }, (_, i) => prefix.map((byte) => byte ^ i));
  expect(chunkBorders(Buffer.concat(copies))).toEqual(BORDERS);
});
