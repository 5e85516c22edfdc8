/** The plan's bytes, one by one. src/record/launcher_test.ts compares them with the program that reads them. */
import { expect, test } from "bun:test";
import { candidates, decodeReply, encodeFilter, encodeGo, encodePlan } from "./launch_plan.ts";

test("a plan, word by word", () => {
  const plan = encodePlan({
    ...{ argv: ["a", "\xff"], env: ["PATH=/x:", "E="], fds: [7, 300] },
    ...{ user: { uid: 5, gid: 6, groups: [6, 9] }, ignoredSignals: [1, 31], blockedSignals: [2] },
    ...{ nonBlocking: [1], openFilesMax: 1024 },
  });
  const strings = "a\0\xff\0PATH=/x:\0E=\0/x/a\0./a\0";
  const words = new BigUint64Array(plan.buffer.slice(plan.byteOffset, plan.byteOffset + 17 * 8));
  expect([...words].map(Number)).toEqual([
    ...[4 * 8 + strings.length, 2, 2, 2, 2, 2, 1, 5, 6],
    ...[1 + 2 ** 30, 2, 0b101, 1024, 6, 9, 7, 300],
  ]);
  expect(Buffer.from(plan.subarray(17 * 8)).toString("latin1")).toBe(strings);
});

test("commands and replies", () => {
  expect([...encodeGo()]).toEqual([1, ...Array<number>(15).fill(0)]);
  const filter = encodeFilter(0x28, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  expect([...filter.subarray(0, 9)]).toEqual([2, 0, 0, 0, 0x28, 0, 0, 0, 8]);
  expect(filter.length).toBe(24);
  const reply = new Uint8Array(new BigInt64Array([1n, -22n]).buffer);
  expect(decodeReply(reply)).toEqual({ kind: 1, value: -22 });
});

test("where a command may stand", () => {
  expect(candidates("dir/a", ["PATH=/x"])).toEqual(["dir/a"]);
  expect(candidates("", ["PATH=/x"])).toEqual([""]);
  expect(candidates("a", [])).toEqual(["/usr/local/bin/a", "/usr/bin/a", "/bin/a"]);
});
