import { expect, test } from "bun:test";
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_WANTED } from "../src/base/limits.ts";
import { chunkBorders } from "./chunks.ts";
import { chunkBordersTwin, gearTable } from "./chunks_twin.ts";

/** Bytes that depend on the seed alone, without a pattern that a gear hash sees. */
function noise(bytes: number, seed: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(bytes / 4));
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    words[i] = Math.imul(state ^ (state >>> 15), 0x2c1b_3c6d);
  }
  return new Uint8Array(words.buffer, 0, bytes);
}

test("borders are those of the twin", () => {
  const bytes = noise(5_000_000, 1);
  for (const length of [0, 1, CHUNK_BYTES_MIN, CHUNK_BYTES_MIN + 1, CHUNK_BYTES_MAX, 5_000_000]) {
    const part = bytes.subarray(3, 3 + length);
    expect(chunkBorders(part), `${length} bytes`).toEqual(chunkBordersTwin(part));
  }
});

test("chunks keep their bounds and come near the wanted size", () => {
  const borders = chunkBorders(noise(20_000_000, 2));
  let start = 0;
  for (const end of borders.slice(0, -1)) {
    expect(end - start).toBeGreaterThan(CHUNK_BYTES_MIN);
    expect(end - start).toBeLessThanOrEqual(CHUNK_BYTES_MAX);
    start = end;
  }
  expect(borders.at(-1)).toBe(20_000_000);
  const mean = 20_000_000 / borders.length;
  expect(mean).toBeGreaterThan(CHUNK_BYTES_WANTED / 2);
  expect(mean).toBeLessThan(CHUNK_BYTES_WANTED * 2);
});

test("bytes without a border are cut at the limit", () => {
  // Equal bytes give a hash that does not change after 32 of them.
  expect(chunkBorders(new Uint8Array(2 * CHUNK_BYTES_MAX + 5))).toEqual([
    CHUNK_BYTES_MAX,
    2 * CHUNK_BYTES_MAX,
    2 * CHUNK_BYTES_MAX + 5,
  ]);
});

test("an insertion moves few borders", () => {
  const bytes = noise(10_000_000, 3);
  const inserted = Buffer.concat([
    bytes.subarray(0, 1_000_000),
    Uint8Array.of(1),
    bytes.subarray(1_000_000),
  ]);
  const before = new Set(chunkBorders(bytes));
  const lost = chunkBorders(inserted).filter((border) =>
    !before.has(border > 1_000_000 ? border - 1 : border)
  );
  expect(lost.length).toBeLessThanOrEqual(3);
});

test("the table is the one of docs/FORMAT.md", () => {
  const words = [0, 1, 255].map((byte) => ((gearTable()[byte] ?? 0) >>> 0).toString(16));
  expect(words).toEqual(["92ca2f0e", "3cd6e3f3", "7970d887"]);
});
