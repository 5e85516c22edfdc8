import { expect, test } from "bun:test";
import { RowLengths } from "./row_lengths.ts";

test("lengths are kept by id, near and far", () => {
  const lengths = new RowLengths();
  for (const id of [0, 1, 4095, 4096, 2 ** 32, 2 ** 52]) lengths.set(id, id % 7);
  for (const id of [0, 1, 4095, 4096, 2 ** 32, 2 ** 52]) expect(lengths.get(id)).toBe(id % 7);
  expect(lengths.get(2)).toBeUndefined();
  expect(lengths.get(2 ** 40)).toBeUndefined();
  lengths.set(2, 0);
  expect(lengths.get(2)).toBe(0);
});
