import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cString } from "../../ffi/libc.ts";
import { AT_FDCWD, InodeStat } from "./inode_stat.ts";
import { StatCache, statCachePath } from "./stat_cache.ts";

const top = mkdtempSync(join(tmpdir(), "diffkeeper-stat-cache-"));
afterAll(() => rmSync(top, { recursive: true, force: true }));

const FILES = 3_000;
const path = statCachePath(top, ["/a", "/b"]);
const stat = new InodeStat();

function look(i: number): InodeStat {
  expect(stat.readAt(AT_FDCWD, cString(join(top, `f${i}`)))).toBe(0);
  return stat;
}

function generation(cache: StatCache, i: number): number {
  const { words, dev } = look(i);
  return cache.generation(words, dev);
}

function learn(cache: StatCache, i: number): void {
  const { words, dev } = look(i);
  cache.learn(words, dev, i);
}

for (let i = 0; i < FILES; i++) writeFileSync(join(top, `f${i}`), "x");
await Bun.sleep(2_000);
const first = new StatCache(path);
for (let i = 0; i < FILES; i++) {
  expect(generation(first, i)).toBe(-1);
  learn(first, i);
}
first.save(path);

test("what was learned is known the next time, and the time after, but not of a file that changed", () => {
  const second = new StatCache(path);
  for (let i = 0; i < FILES; i++) expect(generation(second, i)).toBe(i);
  utimesSync(join(top, "f7"), 1, 1);
  expect(generation(new StatCache(path), 7)).toBe(-1);
  writeFileSync(join(top, "new"), "");
  learn(second, 8);
  second.save(path);
  const third = new StatCache(path);
  for (let i = 9; i < FILES; i++) expect(generation(third, i)).toBe(i);
});

test("a file that changed just now is not learned: it may change again in the same tick", () => {
  writeFileSync(join(top, "f3"), "y");
  const cache = new StatCache();
  learn(cache, 3);
  expect(cache.count).toBe(0);
});

test("a cache that is damaged or cut is as if it were not there", () => {
  const whole = readFileSync(path);
  const broken = join(top, "broken");
  for (const at of [0, 4, 8, 12, 16, 40, 1_000, whole.length - 1]) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    writeFileSync(broken, damaged);
    expect(generation(new StatCache(broken), 20)).toBe(-1);
  }
  for (const end of [0, 5, 32, 1_000, whole.length - 4]) {
    writeFileSync(broken, whole.subarray(0, end));
    expect(generation(new StatCache(broken), 20)).toBe(-1);
  }
});

test("where nothing can be written nothing is said", () => {
  const cache = new StatCache();
  learn(cache, 30);
  cache.save("/proc/nowhere/stat.bin");
  expect(cache.count).toBeGreaterThan(0);
});
