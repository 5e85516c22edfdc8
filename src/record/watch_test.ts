import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WatchSet } from "./watch.ts";

let top = "";

beforeEach(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), "diffkeeper-watch-")));
  for (const path of ["a/b", "ab", "state/in", "caf\u00e9"]) {
    mkdirSync(join(top, path), { recursive: true });
  }
  writeFileSync(join(top, "file"), "");
  symlinkSync("a", join(top, "link"));
});

afterEach(() => rmSync(top, { recursive: true, force: true }));

function watch(folders: string[], more: { include?: string[]; exclude?: string[] } = {}): WatchSet {
  return new WatchSet({ folders, cwd: top, stateDir: "state", ...more });
}

function paths(set: WatchSet): string[] {
  return set.roots.map(({ path }) => Buffer.from(path, "latin1").toString().slice(top.length));
}

test("folders are real, once, and the outer ones only", () => {
  const set = watch(["link", "a/b", "./a", join(top, "ab"), "caf\u00e9"]);
  expect(paths(set)).toEqual(["/a", "/ab", "/caf\u00e9"]);
  expect(set.notes).toEqual([
    `folder "${top}/a/b" lies in "${top}/a", which is watched as a whole`,
  ]);
  expect(set.roots.map(({ index }) => index)).toEqual([0, 1, 2]);
});

test("what cannot be watched is one clear error", () => {
  expect(() => watch(["none"])).toThrow('cannot watch "none": no such folder');
  expect(() => watch(["file"])).toThrow('cannot watch "file": it is a file, not a folder');
  expect(() => watch(["file/"])).toThrow('cannot watch "file/": it is a file, not a folder');
  expect(() => watch(["file/x"])).toThrow('cannot watch "file/x": no such folder');
  expect(() => watch([""])).toThrow('cannot watch "": no folder is named');
  expect(() => watch(["/proc"])).toThrow('cannot watch "/proc": it is a proc file system');
  expect(() => watch(["state/in"])).toThrow("it lies in the state-dir");
  expect(() => watch(["state"])).toThrow("it lies in the state-dir");
});

test("the state-dir is left out by path and by inode, its neighbours are not", () => {
  const set = watch(["."]);
  expect(set.excluded("state", true)).toBe(true);
  expect(set.excluded("state/in/x", false)).toBe(true);
  expect(set.excluded("state2", true)).toBe(false);
  expect(set.excluded("", true)).toBe(false);
});

test("an excluded folder takes everything below it along", () => {
  const set = watch(["."], { exclude: ["node_modules", "*.o", "a/b/**"] });
  expect(set.excluded("node_modules", true)).toBe(true);
  expect(set.excluded("x/node_modules/y/z.c", false)).toBe(true);
  expect(set.excluded("x/main.o", false)).toBe(true);
  expect(set.excluded("x/main.c", false)).toBe(false);
  expect(set.excluded("a/b/c", false)).toBe(true);
  expect(set.excluded("a/b", true)).toBe(false);
});

test("--include limits files, folders stay; --exclude is stronger", () => {
  const set = watch(["."], { include: ["*.c", "doc"], exclude: ["old"] });
  expect(set.excluded("src", true)).toBe(false);
  expect(set.excluded("src/a.c", false)).toBe(false);
  expect(set.excluded("src/a.o", false)).toBe(true);
  expect(set.excluded("doc/deep/any", false)).toBe(false);
  expect(set.excluded("old/a.c", false)).toBe(true);
});

test("absolute patterns count from the root of the file system", () => {
  const set = watch(["a", "ab"], { exclude: [join(top, "a/b")] });
  expect(set.excluded("b/x", false, 0)).toBe(true);
  expect(set.excluded("b/x", false, 1)).toBe(false);
});
