import { describe, expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import {
  CONTENT_PAGE_BYTES,
  CONTENT_WINDOW_BYTES,
  Materializer,
  unknownRanges,
} from "./content.ts";
import { ContentLog } from "./content_log.ts";

/** A seeded generator (mulberry32), so that a failure can be repeated. */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  };
}

const row = new Uint8Array(70_000);
const fill = random(1);
for (let i = 0; i < row.length; i++) row[i] = 1 + fill(255);
const payloads = { body: () => row };

function holes(log: ContentLog): string {
  const runs: string[] = [];
  new Materializer(log, payloads).write(1, (at, bytes) => runs.push(`${at}+${bytes.length}`));
  return runs.join(" ");
}

test("random operations equal a plain array", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const next = random(seed);
    const log = new ContentLog();
    let model = new Uint8Array(0);
    const resize = (size: number) => {
      const old = model;
      model = new Uint8Array(size);
      model.set(old.subarray(0, size));
    };
    for (let step = 0; step < 60; step++) {
      const at = next(60_000);
      const length = 1 + next(next(4) === 0 ? 40_000 : 50);
      const kind = next(8);
      if (kind === 0) {
        const size = next(6) === 0 ? 0 : at;
        log.truncate(1, size);
        resize(size);
      } else if (kind === 1) {
        const keepSize = next(2) === 0;
        log.zero(1, at, length, keepSize);
        if (!keepSize) resize(Math.max(model.length, at + length));
        model.fill(0, at, at + length);
      } else {
        const rowOffset = next(row.length - length);
        log.data(1, at, { row: 1, rowOffset, length });
        resize(Math.max(model.length, at + length));
        model.set(row.subarray(rowOffset, rowOffset + length), at);
      }
    }
    const actual = new Materializer(log, payloads).read(1);
    if (Buffer.compare(actual, model) !== 0) throw new Error(`seed ${seed} differs`);
    expect(log.size(1)).toBe(model.length);
  }
});

describe("holes stay holes", () => {
  test("one byte at 5 GB", () => {
    const log = new ContentLog();
    log.truncate(1, 5_000_000_000);
    log.data(1, 4_999_999_999, { row: 1, rowOffset: 0, length: 1 });
    log.data(1, 1, { row: 1, rowOffset: 0, length: 2 });
    expect(holes(log)).toBe("0+4096 4999999488+512");
  });
  test("a page punched out", () => {
    const log = new ContentLog();
    log.data(1, 0, { row: 1, rowOffset: 0, length: 3 * CONTENT_PAGE_BYTES });
    log.zero(1, CONTENT_PAGE_BYTES, CONTENT_PAGE_BYTES);
    expect(holes(log)).toBe("0+4096 8192+4096");
  });
  test("a write across windows", () => {
    const log = new ContentLog();
    log.data(1, CONTENT_WINDOW_BYTES - 10, { row: 1, rowOffset: 5, length: 20 });
    log.data(1, CONTENT_WINDOW_BYTES - 1, { row: 1, rowOffset: 50, length: 2 });
    const bytes = new Materializer(log, payloads).read(1);
    expect(bytes.length).toBe(CONTENT_WINDOW_BYTES + 10);
    const wanted = [...row.subarray(13, 14), ...row.subarray(50, 52), ...row.subarray(16, 25)];
    expect([...bytes.subarray(-12)]).toEqual(wanted);
  });
});

test("content nobody captured is told until it is overwritten", () => {
  const log = new ContentLog();
  log.unknown(1, 100, 100);
  expect(log.size(1)).toBe(200);
  log.data(1, 120, { row: 1, rowOffset: 0, length: 30 });
  expect(unknownRanges(log, 1)).toEqual([{ from: 100, to: 120 }, { from: 150, to: 200 }]);
  log.truncate(1, 110);
  expect(unknownRanges(log, 1)).toEqual([{ from: 100, to: 110 }]);
  log.reset(1);
  expect(unknownRanges(log, 1)).toEqual([]);
});

test("a pointer outside its row is corrupt data", () => {
  const log = new ContentLog();
  log.data(1, 0, { row: 1, rowOffset: row.length - 1, length: 2 });
  expect(() => new Materializer(log, payloads).read(1)).toThrow(DiffKeeperError);
});

test("two million writes of 32 bytes take about a second", () => {
  const log = new ContentLog();
  for (let i = 0; i < 2_000_000; i++) {
    log.data(1, i * 32, { row: 1, rowOffset: i % 1000, length: 32 });
  }
  const started = performance.now();
  let total = 0;
  new Materializer(log, payloads).write(1, (_, bytes) => total += bytes.length);
  expect(total).toBe(64_000_000);
  expect(performance.now() - started).toBeLessThan(4000);
});
