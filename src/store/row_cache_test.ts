import { expect, test } from "bun:test";
import { RowCache } from "./row_cache.ts";

test("the least recently used rows go first, and the bound holds", () => {
  const cache = new RowCache(100);
  const row = () => new Uint8Array(40);
  cache.set(1, row());
  cache.set(2, row());
  expect(cache.get(1)?.length).toBe(40);
  cache.set(3, row());
  expect([cache.get(2), cache.get(1)?.length, cache.get(3)?.length]).toEqual([undefined, 40, 40]);
  cache.set(1, new Uint8Array(10));
  expect(cache.bytes).toBe(50);
  cache.set(4, new Uint8Array(101));
  expect([cache.get(4), cache.bytes]).toEqual([undefined, 50]);
  cache.clear();
  expect([cache.get(1), cache.bytes]).toEqual([undefined, 0]);
});
