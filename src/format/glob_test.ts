import { describe, expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import { Glob } from "./glob.ts";

/** Text as a binary string, one char per UTF-8 byte. */
function binary(text: string): string {
  return Buffer.from(text).toString("latin1");
}

const YES: [string, string][] = [
  ["*.log", "a.log"],
  ["*.log", "deep/er/a.log"],
  ["*", "a/b"],
  ["status.log", "var/status.log"],
  ["src/*.ts", "src/a.ts"],
  ["src/**", "src/a/b/c.ts"],
  ["src/**/c.ts", "src/c.ts"],
  ["src/**/c.ts", "src/a/b/c.ts"],
  ["**/c.ts", "c.ts"],
  ["**/c.ts", "x/y/c.ts"],
  ["**", "any/thing"],
  ["a**b", "axxb"],
  ["./src/a", "src/a"],
  ["src/a/", "src/a"],
  ["?.txt", binary("é.txt")],
  ["?.txt", "\xff.txt"],
  ["[a-c]x", "bx"],
  ["[!a-c]x", "dx"],
  ["[^a-c]x", "dx"],
  ["[é-ü]x", binary("öx")],
  ["[]]x", "]x"],
  ["[a\\-z]x", "-x"],
  ["[x", "[x"],
  ["\\*x", "*x"],
  ["{a,b/*}.c", "b/z.c"],
  ["{a,b{c,d}}e", "bde"],
  ["x{,y}z", "xz"],
  ["x\\{a,b\\}", "x{a,b}"],
  ["/w/src/*", "src/a"],
  ["日*", binary("日本")],
];
const NO: [string, string][] = [
  ["*.log", "a.logs"],
  ["src/*.ts", "src/a/b.ts"],
  ["src/*.ts", "x/src/a.ts"],
  ["src/**", "src"],
  ["src/**/c.ts", "src/xc.ts"],
  ["**/c.ts", "xc.ts"],
  ["a**b", "a/b"],
  ["?", "ab"],
  ["?", "/"],
  ["[a-c]x", "dx"],
  ["[!a]", "/"],
  ["\\*x", "ax"],
  ["/src/a", "src/a"],
  ["", ""],
];

test.each([
  ["p/a.log", "a.log", "/w/p"],
  ["p/**", "x/a.log", "/w/p"],
  ["p", "x/a.log", "/w/p"],
  ["./p/a.log", "a.log", "/w/p"],
  ["../v/*.log", "a.log", "/v"],
  ["..", "w/a.log", "/"],
  ["p/{a,b}.log", "b.log", "/w/p"],
  ["a.log", "a.log", "/w/p"],
])("from /w, %j covers %j in %j", (pattern, path, root) => {
  expect(new Glob(pattern, "/w").covers(path, root)).toBe(true);
});

test("a folder's own name is never a pattern", () => {
  expect(new Glob("p/a", "/w*[x]").covers("a", "/w*[x]/p")).toBe(true);
  expect(new Glob("p/a", "/w*[x]").covers("a", "/wide[x]/p")).toBe(false);
  expect(new Glob("p/a", "/w").covers("a", "/other/p")).toBe(false);
  expect(new Glob("p/a").covers("a", "/w/p")).toBe(false);
});

describe("matches", () => {
  for (const [pattern, path] of YES) {
    test(`${pattern} takes ${path}`, () => {
      expect(new Glob(pattern).matches(path, "/w")).toBe(true);
    });
  }
  for (const [pattern, path] of NO.slice(0, -1)) {
    test(`${pattern} leaves ${path}`, () => {
      expect(new Glob(pattern).matches(path, "/w")).toBe(false);
    });
  }
});

test("a pattern that names a folder covers what is in it", () => {
  expect(new Glob("node_modules").covers("a/node_modules/b/c")).toBe(true);
  expect(new Glob("src/a").covers("src/a/b")).toBe(true);
  expect(new Glob("src/a").covers("src/ab")).toBe(false);
  expect(new Glob("/w").covers("x/y", "/w")).toBe(true);
  expect(new Glob("/v").covers("x/y", "/w")).toBe(false);
});

test("no pattern makes the matcher slow", () => {
  const path = "a".repeat(4000);
  const started = performance.now();
  expect(new Glob(`${"*a".repeat(100)}*b`).matches(path)).toBe(false);
  expect(new Glob(`${"**/".repeat(100)}b`).matches(path)).toBe(false);
  expect(performance.now() - started).toBeLessThan(1000);
});

test("patterns that cannot be read are usage errors", () => {
  for (const pattern of ["", "a{b", "a\\", "[z-a]", "{a,b}".repeat(9), "x".repeat(5000), "{,a}"]) {
    let code = "none";
    try {
      new Glob(pattern);
    } catch (thrown) {
      if (thrown instanceof DiffKeeperError) code = thrown.code;
    }
    expect([pattern.slice(0, 20), code]).toEqual([pattern.slice(0, 20), "usage"]);
  }
});
