import { expect, test } from "bun:test";
import { Glob } from "./glob.ts";
import { codePoints, LONE_BYTE, printedPath } from "./path_chars.ts";

const utf8 = (text: string) => Buffer.from(text).toString("latin1");

test.each([
  ["plain-1.txt", "plain-1.txt"],
  [utf8("é€😀"), "é€😀"],
  ["\x1b[31mred\n", "\\x1b[31mred\\x0a"],
  ["q\xffz", "q\\xffz"],
  ["\x7f", "\\x7f"],
  [utf8("\u0085"), "\\xc2\\x85"],
  ["a\\x41", "a\\\\x41"],
  ["\xc3a", "\\xc3a"],
])("%j is printed as %s", (path, text) => {
  expect(printedPath(path)).toBe(text);
});

test("what is no UTF-8 is single bytes, as other programs see it", () => {
  // longer than need be, a surrogate, beyond the last code, cut short
  for (const path of ["\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"]) {
    expect(codePoints(path)).toEqual([...path].map((char) => LONE_BYTE + char.charCodeAt(0)));
    expect(Buffer.from(path, "latin1").toString("utf8")).toStartWith("\ufffd");
  }
});

test("a path as it is printed is a pattern for it, and for no other of its kind", () => {
  const bytes = ["\x01", "\n", "\x1b", "\\", "x", "4", "1", "[", "]", "{", "}", "*", "?", ",", "!"];
  const more = ["\x80", "\x85", "\xc2", "\xc3", "\xa9", "\xff", "-", "a", " ", "^"];
  const all = [...bytes, ...more];
  let seed = 7;
  const next = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % below;
  const paths = Array.from({ length: 3_000 }, () => {
    return Array.from({ length: 1 + next(6) }, () => all[next(all.length)]).join("");
  });
  let patterns = 0;
  for (const path of paths) {
    const printed = printedPath(path);
    let glob: Glob;
    try {
      glob = new Glob(printed, undefined, { printed: true });
    } catch {
      // a { without its }: the error says how to write it
      expect(printed).toMatch(/[{]/);
      continue;
    }
    patterns++;
    expect([path, glob.matches(path)]).toEqual([path, true]);
    if (/[*?[{]/.test(path)) continue;
    const wrong = paths.find((other) => other !== path && glob.matches(other));
    expect([path, wrong]).toEqual([path, undefined]);
  }
  expect(patterns).toBeGreaterThan(2_000);
});
