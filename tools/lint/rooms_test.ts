import { expect, test } from "bun:test";
import { importedPath, importProblem, roomEdges, roomOf } from "./rooms.ts";

test("a path has the room of its top folder", () => {
  expect(roomOf("main.ts")).toBe("main");
  expect(roomOf("src/capture/ebpf/ring.ts")).toBe("capture");
  expect(roomOf("ffi/libc.ts")).toBe("ffi");
  expect(roomOf("tools/build.ts")).toBeUndefined();
});

test("relative imports resolve against the importer", () => {
  expect(importedPath("src/record/record.ts", "../base/error.ts")).toBe("src/base/error.ts");
  expect(importedPath("src/record/record.ts", "./drain.ts")).toBe("src/record/drain.ts");
  expect(importedPath("src/record/record.ts", "commander")).toBeUndefined();
});

const ALLOWED = [
  ["main.ts", "./src/cli/run.ts"],
  ["src/cli/record.ts", "../record/record.ts"],
  ["src/record/record.ts", "../../ffi/libc.ts"],
  ["src/history/diff.ts", "../../wasm/diff.ts"],
  ["src/history/target.ts", "../../ffi/libc_tree.ts"],
  ["src/history/timeline.ts", "../resolve/resolver.ts"],
  ["src/store/sqlite.ts", "bun:sqlite"],
  ["tests/kernel/x_test.ts", "../../src/record/record.ts"],
] as const;

test.each(ALLOWED)("%s may import %s", (importer, specifier) => {
  expect(importProblem(importer, specifier)).toBeUndefined();
});

const BANNED = [
  ["src/base/error.ts", "../format/key.ts"],
  ["src/record/record.ts", "../history/timeline.ts"],
  ["src/history/timeline.ts", "../record/record.ts"],
  ["src/resolve/resolver.ts", "../store/sqlite.ts"],
  ["src/resolve/resolver.ts", "node:fs"],
  ["src/store/sqlite.ts", "../capture/source.ts"],
  ["src/capture/source.ts", "../../wasm/diff.ts"],
  ["src/history/timeline.ts", "bun:sqlite"],
  ["src/record/record.ts", "commander"],
  ["src/cli/record.ts", "../../ffi/libc.ts"],
  ["src/helpers/x.ts", "../base/error.ts"],
] as const;

test.each(BANNED)("%s must not import %s", (importer, specifier) => {
  expect(importProblem(importer, specifier)).toContain(":");
});

test("the rooms have no cycle", () => {
  const edges = roomEdges();
  const placed = new Set<string>();
  for (let round = 0; round < edges.size; round++) {
    for (const [room, may] of edges) if (may.every((other) => placed.has(other))) placed.add(room);
  }
  expect([...edges.keys()].filter((room) => !placed.has(room))).toEqual([]);
});
