/** The plan's bytes, and that native/starter.c reads the same fields in the same order. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { candidates, decodeReply, encodeFilter, encodeGo, encodePlan } from "./launch_plan.ts";

const SOURCE = readFileSync(new URL("../../native/starter.c", import.meta.url), "utf8");
const FIELDS = [
  ...["bytes", "argc", "envc", "pathc", "groupc", "fdc"],
  ...["has_user", "uid", "gid", "ignored", "blocked", "blocking", "files_max"],
];

test("the struct has the fields of the words, in their order", () => {
  const body = /struct plan \{([^}]*)\}/.exec(SOURCE)?.[1] ?? "";
  const names = [...body.replaceAll(/\/\*.*?\*\//g, "").matchAll(/\bu64 ([^;]*);/g)]
    .flatMap(([, list = ""]) => list.split(",").map((name) => name.trim()));
  expect(names).toEqual(FIELDS);
  expect(SOURCE).toContain("enum { COMMAND_GO = 1, COMMAND_FILTER = 2 };");
  expect(SOURCE).toContain("enum { REPLY_FILTER = 1, REPLY_EXEC = 2, REPLY_USER = 3 };");
});

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
