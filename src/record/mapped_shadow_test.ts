/** What a shadow finds is what was stored behind its back, and nothing else: random changes against a plain copy. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MAPPED_CHUNK_BYTES as CHUNK } from "../base/limits.ts";
import { MappedShadow } from "./mapped_shadow.ts";

const SIZE = 3 * CHUNK + 777;
const ROUNDS = 150;
let folder = "";
let number = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "diffkeeper-shadow-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(size: number): number {
  const fd = openSync(join(folder, String(number++)), "w+");
  ftruncateSync(fd, size);
  return fd;
}

function shadowOf(fd: number, size: number): MappedShadow {
  const shadow = new MappedShadow(fd, size, () => true);
  expect(shadow.load()).toBe(true);
  return shadow;
}

/** A small generator of numbers below `end`, so that a failure can be repeated. */
function numbers(seed: number): (end: number) => number {
  let state = seed;
  return (end) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * end);
  };
}

const found = (shadow: MappedShadow) =>
  [...shadow.changes()].map(({ offset, bytes }) => [offset, [...bytes]]);

test("exactly the changed bytes are found, once", () => {
  const fd = file(SIZE);
  writeSync(fd, "before", 100);
  const shadow = shadowOf(fd, SIZE);
  expect(found(shadow)).toEqual([]);
  writeSync(fd, "X", 102);
  writeSync(fd, "far", 2 * CHUNK - 1);
  expect(found(shadow)).toEqual([
    [102, [88]],
    [2 * CHUNK - 1, [102]],
    [2 * CHUNK, [97, 114]],
  ]);
  expect(found(shadow)).toEqual([]);
});

test("what is told is not found, what lies beyond the known size neither", () => {
  const fd = file(1000);
  const shadow = shadowOf(fd, 1000);
  writeSync(fd, "told", 10);
  shadow.wrote(10, Buffer.from("told"));
  writeSync(fd, "later", 2000);
  expect(found(shadow)).toEqual([]);
  shadow.resized(2005);
  expect(found(shadow)).toEqual([[2000, [...Buffer.from("later")]]]);
});

test("bytes of the call at hand count as unchanged", () => {
  const fd = file(1000);
  const shadow = shadowOf(fd, 1000);
  writeSync(fd, "aXXb", 10);
  const ranges = [...shadow.changes({ offset: 11, length: 2 })];
  // a range may hold bytes between two changes: they must be the known ones
  expect(ranges.map(({ offset, bytes }) => [offset, [...bytes]])).toEqual([[10, [97, 0, 0, 98]]]);
});

test("a look gives only what nobody told or compared meanwhile", () => {
  const fd = file(SIZE);
  const shadow = shadowOf(fd, SIZE);
  writeSync(fd, "a", 5);
  writeSync(fd, "b", CHUNK + 5);
  const seen = shadow.look(1 << 20);
  expect(seen.length).toBe(2);
  shadow.wrote(6, Buffer.from("w"));
  expect(shadow.wasTold).toBe(true);
  expect(shadow.take(seen).map(({ offset }) => offset)).toEqual([CHUNK + 5]);
  const again = shadow.look(1 << 20);
  expect([...shadow.changes()].length).toBeGreaterThan(0);
  expect(shadow.take(again)).toEqual([]);
});

test("without memory the shadow is lost, not wrong", () => {
  const fd = file(SIZE);
  const shadow = new MappedShadow(fd, SIZE, () => false);
  expect(shadow.load()).toBe(true); // all zeros need none
  writeSync(fd, "x", 0);
  const ranges = [...shadow.changes()];
  expect([ranges.length, shadow.isLost]).toEqual([1, true]);
});

for (const seed of [1, 2, 3]) {
  test(`random changes, seed ${seed}`, () => {
    const next = numbers(seed);
    const fd = file(SIZE);
    const shadow = shadowOf(fd, SIZE);
    let real = Buffer.alloc(SIZE); // what the file holds
    let known = Buffer.alloc(SIZE); // what a reader of the trace has
    for (let round = 0; round < ROUNDS; round++) {
      const offset = next(real.length - 300);
      const bytes = Buffer.alloc(1 + next(300), next(256));
      const sort = next(4);
      if (sort < 3) {
        writeSync(fd, bytes, 0, bytes.length, offset);
        bytes.copy(real, offset);
      }
      if (sort === 2) {
        shadow.wrote(offset, bytes);
        bytes.copy(known, offset);
      }
      if (sort === 3) {
        const size = 1000 + next(SIZE);
        ftruncateSync(fd, size);
        shadow.resized(size);
        real = Buffer.concat([real, Buffer.alloc(SIZE + 1000)]).subarray(0, size);
        known = Buffer.concat([known, Buffer.alloc(SIZE + 1000)]).subarray(0, size);
      }
      for (const range of shadow.changes()) known.set(range.bytes, range.offset);
      expect(known.equals(real)).toBe(true);
    }
  });
}
