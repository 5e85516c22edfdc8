import { expect, test } from "bun:test";
import { closeSync, ftruncateSync } from "node:fs";
import { BaseState, BaseTable, makeTableMemory } from "./base_table.ts";

function shared(table: BaseTable): BaseTable {
  const fd = makeTableMemory();
  table.share(fd, 7);
  const other = BaseTable.open(fd);
  closeSync(fd);
  return other;
}

const find = (table: BaseTable, dev: number, ino: number) =>
  table.find(ino % 2 ** 32, Math.floor(ino / 2 ** 32), () => dev);

test("every inode is found again, in this thread's table and in another's over the same memory", () => {
  const table = new BaseTable();
  const count = 20_000;
  for (let node = 1; node <= count; node++) table.add(node, node % 3, 2 ** 32 + node * 7);
  const other = shared(table);
  for (const one of [table, other]) {
    for (let node = 1; node <= count; node++) {
      expect(find(one, node % 3, 2 ** 32 + node * 7)).toBe(node);
    }
    expect(find(one, 4, 2 ** 32 + 7)).toBe(0);
    expect(find(one, 1, 7)).toBe(0);
  }
  expect(table.count).toBe(count);
});

test("a state set in one thread's table is seen in the other's", () => {
  const table = new BaseTable();
  table.add(5, 1, 50);
  const other = shared(table);
  expect([...other.nodes(BaseState.LAZY)]).toEqual([5]);
  other.setState(5, BaseState.SAVED);
  expect(table.state(5)).toBe(BaseState.SAVED);
  expect(table.state(1_000_000)).toBe(BaseState.NONE);
});

test("a memory file that the recorder was killed before it filled is an empty table", () => {
  const fd = makeTableMemory();
  for (const size of [0, 4096, 8192]) {
    ftruncateSync(fd, size);
    const table = BaseTable.open(fd);
    expect([find(table, 1, 7), table.state(1), table.count]).toEqual([0, BaseState.NONE, 0]);
  }
  closeSync(fd);
});
