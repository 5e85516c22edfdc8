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
/** In runs, as a packed row has them, so that operations lie across borders. */
const RUN_BYTES = 7_777;
const payloads = {
  piece(_: number, offset: number) {
    const start = Math.floor(offset / RUN_BYTES) * RUN_BYTES;
    return { bytes: row.subarray(start, start + RUN_BYTES), start };
  },
};

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

/** Copies, cuts and insertions, on two files that copy from each other. */
function shuffle(seed: number): void {
  const next = random(seed);
  const log = new ContentLog();
  let models = [new Uint8Array(0), new Uint8Array(0), new Uint8Array(0)];
  const change = (node: number, bytes: Uint8Array<ArrayBuffer>) =>
    models = models.map((old, i) => i === node ? bytes : old);
  const put = (node: number, at: number, bytes: Uint8Array) => {
    const old = models[node] ?? new Uint8Array(0);
    const fresh = new Uint8Array(Math.max(old.length, at + bytes.length));
    fresh.set(old);
    fresh.set(bytes, at);
    change(node, fresh);
  };
  for (let step = 0; step < 80; step++) {
    const node = 1 + next(2);
    const model = models[node] ?? new Uint8Array(0);
    const at = next(2000);
    const length = 1 + next(600);
    const kind = next(6);
    if (kind <= 1) {
      const rowOffset = next(row.length - length);
      log.data(node, at, { row: 1, rowOffset, length });
      put(node, at, row.subarray(rowOffset, rowOffset + length));
    } else if (kind === 2) {
      const from = 1 + next(2);
      const offset = next(1500);
      const bytes = new Uint8Array(length);
      bytes.set((models[from] ?? new Uint8Array(0)).subarray(offset, offset + length));
      log.copy(node, at, { node: from, offset, length });
      put(node, at, bytes);
    } else if (kind === 3) {
      log.truncate(node, at);
      const fresh = new Uint8Array(at);
      fresh.set(model.subarray(0, at));
      change(node, fresh);
    } else if (at < model.length) {
      const insert = kind === 4;
      if (insert) log.insert(node, at, length);
      else log.collapse(node, at, length);
      const middle = new Uint8Array(insert ? length : 0);
      const behind = model.subarray(insert ? at : at + length);
      change(node, new Uint8Array(Buffer.concat([model.subarray(0, at), middle, behind])));
    }
  }
  for (const node of [1, 2]) {
    const actual = new Materializer(log, payloads).read(node);
    if (Buffer.compare(actual, models[node] ?? new Uint8Array(0)) !== 0) {
      throw new Error(`seed ${seed}: file ${node} differs`);
    }
  }
}

test("copies, collapsed and inserted ranges equal plain arrays", () => {
  for (let seed = 1; seed <= 200; seed++) shuffle(seed);
});

/** What the file of a node held at the start: it repeats itself after a prime number of bytes. */
const PERIOD = 65_521;
const pattern = Uint8Array.from({ length: 2 * PERIOD }, (_, i) => 1 + (i % PERIOD) * 7 % 251);
const start = {
  read: (node: number, at: number, into: Uint8Array) => {
    for (let done = 0; done < into.length;) {
      const from = (node * 31 + at + done) % PERIOD;
      const part = pattern.subarray(from, from + into.length - done);
      into.set(part, done);
      done += part.length;
    }
  },
  nextData: (_: number, at: number) => at,
};

/** Changes around the borders of windows, of a file that takes four; `ascending`: none of them goes back. */
function acrossWindows(seed: number, ascending: boolean): void {
  const next = random(seed);
  const log = new ContentLog();
  const size = 3 * CONTENT_WINDOW_BYTES + 50_000;
  const model = new Uint8Array(size);
  if (seed % 2 === 0) {
    const length = CONTENT_WINDOW_BYTES + next(40_000) - 20_000;
    log.base(1, length);
    start.read(1, 0, model.subarray(0, length));
  }
  log.truncate(1, size);
  let end = ascending ? log.shape(1).end : 0;
  for (let step = 0; step < 300; step++) {
    const length = 1 + next(next(4) === 0 ? 40_000 : 50);
    const near = next(4) * CONTENT_WINDOW_BYTES + next(40_000) - 20_000;
    const at = ascending ? end + next(300_000) : Math.max(0, near);
    if (at + length > size) continue;
    end = at + length;
    if (next(4) === 0) {
      if (next(2) === 0) log.zero(1, at, length);
      else log.unknown(1, at, length);
      model.fill(0, at, end);
    } else {
      const rowOffset = next(row.length - length);
      log.data(1, at, { row: 1, rowOffset, length });
      model.set(row.subarray(rowOffset, rowOffset + length), at);
    }
  }
  expect(log.shape(1).isAscending).toBe(ascending);
  const actual = new Uint8Array(size);
  let behind = 0;
  new Materializer(log, payloads, start).write(1, (at, bytes) => {
    expect(at).toBeGreaterThanOrEqual(behind);
    behind = at + bytes.length;
    actual.set(bytes, at);
  });
  if (Buffer.compare(actual, model) !== 0) throw new Error(`seed ${seed} differs`);
}

test("files of several windows equal a plain array", () => {
  for (let seed = 1; seed <= 6; seed++) acrossWindows(seed, false);
  for (let seed = 7; seed <= 12; seed++) acrossWindows(seed, true);
}, 60_000);

test("what a file held at the start goes where it is copied, also when the file is overwritten", () => {
  const log = new ContentLog();
  log.base(1, 1000);
  log.copy(2, 0, { node: 1, offset: 100, length: 300 });
  log.collapse(2, 100, 100);
  log.data(1, 0, { row: 1, rowOffset: 0, length: 1000 });
  expect(log.startSize(1)).toBe(1000);
  expect(log.bases(1)).toEqual([]);
  const wanted = new Uint8Array(200);
  start.read(1, 100, wanted.subarray(0, 100));
  start.read(1, 300, wanted.subarray(100));
  expect(new Materializer(log, payloads, start).read(2)).toEqual(wanted);
  const pieces = log.pieces(2, 0, log.size(2));
  expect(pieces.map(({ at, rowOffset, length }) => [at, rowOffset, length])).toEqual([
    [0, 100, 100],
    [100, 300, 100],
  ]);
  expect(log.pieces(1, 0, log.size(1)).length).toBe(1);
});

test("an overwritten file does not remember what it held", () => {
  const log = new ContentLog();
  for (let i = 0; i < 100_000; i++) {
    for (let at = 0; at < 100; at += 10) log.data(1, at, { row: i, rowOffset: at * 7, length: 10 });
    log.data(1, 0, { row: i, rowOffset: 0, length: 100 });
  }
  expect(log.shape(1).count).toBe(1);
  expect(log.bytes).toBe(1 << 20);
});

test("a copy of content nobody captured is not known either", () => {
  const log = new ContentLog();
  log.unknown(1, 100, 100);
  log.copy(2, 10, { node: 1, offset: 150, length: 100 });
  expect(unknownRanges(log, 2)).toEqual([{ from: 10, to: 60 }]);
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

test("two million writes of 32 bytes", () => {
  const log = new ContentLog();
  for (let i = 0; i < 2_000_000; i++) {
    log.data(1, i * 32, { row: 1, rowOffset: i % 1000, length: 32 });
  }
  let total = 0;
  new Materializer(log, payloads).write(1, (_, bytes) => total += bytes.length);
  expect(total).toBe(64_000_000);
});

test("pieces of a part of a file are what the last writes left there", () => {
  let state = 1;
  const below = (limit: number) => (state = state * 48271 % 0x7fffffff) % limit;
  for (let round = 0; round < 200; round++) {
    const log = new ContentLog();
    const bytes: number[] = [];
    for (let i = 0; i < 1 + below(12); i++) {
      const [at, length, isZero] = [below(60), 1 + below(20), below(4) === 0];
      if (isZero) log.zero(1, at, length);
      else log.data(1, at, { row: 2, rowOffset: 1000 * i, length });
      for (let k = 0; k < length; k++) bytes[at + k] = isZero ? -1 : 1000 * i + k;
    }
    const from = below(50);
    const to = from + below(50);
    const found: number[] = [];
    let end = from;
    for (const { at, length, rowOffset } of log.pieces(1, from, to)) {
      expect(at).toBeGreaterThanOrEqual(end);
      end = at + length;
      expect(end).toBeLessThanOrEqual(to);
      for (let k = 0; k < length; k++) found[at + k] = rowOffset + k;
    }
    for (let at = from; at < to; at++) expect(found[at] ?? -1).toBe(bytes[at] ?? -1);
  }
});

test("a file that was written at 40,000 places in any order is copied at once", () => {
  const log = new ContentLog();
  const count = 40_000;
  for (let i = 0; i < count; i++) {
    log.data(1, i * 48271 % (count * 4) * 8192, { row: 5, rowOffset: i * 8192, length: 4096 });
  }
  const start = performance.now();
  log.copy(2, 0, { node: 1, offset: 0, length: log.size(1) });
  // in steps that grow with the square it took 38 s
  expect(performance.now() - start).toBeLessThan(4000);
  expect(log.pieces(2, 0, log.size(2))).toEqual(log.pieces(1, 0, log.size(1)));
});
