import { expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import { LINE_BYTES_MAX, LINE_TEMPLATES_MAX } from "../base/limits.ts";
import { ColumnWriter } from "./columns.ts";
import { decodeLines } from "./lines_decoder.ts";
import { encodeLines } from "./lines_encoder.ts";
import { SeededRandom } from "./testing_events.ts";

const utf8 = new TextEncoder();

/** The text through columns and back; undefined: it is not of that sort. */
function again(text: string | Uint8Array): string | undefined {
  const bytes = typeof text === "string" ? utf8.encode(text) : text;
  const columns = encodeLines(bytes);
  if (columns === undefined) return undefined;
  expect(columns.length).toBeLessThan(bytes.length);
  return Buffer.from(decodeLines(columns, bytes.length)).toString("latin1");
}

function log(lines: number): string {
  let text = "";
  for (let i = 0; i < lines; i++) {
    const ms = String(i % 1000).padStart(3, "0");
    text += `2026-11-21T13:00:${ms} request ${i * 17} took ${(i * 7919) % 1000} ms\n`;
  }
  return text;
}

test("a log comes back, as a few bytes for a thousand lines", () => {
  const text = log(5_000);
  expect(again(text)).toBe(text);
  const columns = encodeLines(utf8.encode(text)) ?? new Uint8Array(0);
  expect(Bun.zstdCompressSync(columns, { level: 3 }).length).toBeLessThan(text.length / 100);
});

test.each([
  ["zeros before numbers", "a007 b0\na07 b00\na7 b000\n"],
  ["more digits than a word holds", "id 12345678901234567890123 0000000000000000\n"],
  ["the end of the text is not the end of a line", "n 1 of 9\nn 2 of 9\nn 3"],
  ["a number at the end", "x 999999999"],
  ["empty lines and other ends", "\n\n4\r\n\n5\r\n"],
  ["bytes that are no letters", "\u00ff\u0001 77\t\u0080\n"],
])("%s", (_, part) => {
  // often enough that columns are smaller
  const text = part.endsWith("\n")
    ? part.repeat(300)
    : "long enough to count: 1\n".repeat(99) + part;
  expect(again(Buffer.from(text, "latin1"))).toBe(text);
});

test("random text of a few templates comes back", () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = new SeededRandom(seed);
    const words = ["a", "\n", " ", "%", "\t", "\u00e9", "-", "=", "error", ":"];
    const templates = Array.from({ length: 1 + random.below(30) }, () => {
      const parts = Array.from({ length: 1 + random.below(8) }, () => {
        return random.chance(40) ? "#" : words[random.below(words.length)] ?? "";
      });
      return parts.join("") + (random.chance(95) ? "\n" : "");
    });
    let text = "";
    for (let line = random.below(3_000); line >= 0; line--) {
      text += (templates[random.below(templates.length)] ?? "").replaceAll("#", () => {
        const digits = String(random.below(10 ** (1 + random.below(9))));
        return random.chance(20) ? digits.padStart(random.below(14), "0") : digits;
      });
    }
    const bytes = Buffer.from(text, "latin1");
    const columns = encodeLines(bytes);
    if (columns === undefined) continue;
    expect(Buffer.compare(decodeLines(columns, bytes.length), bytes)).toBe(0);
  }
});

test("what is no text of lines is refused", () => {
  expect(again(log(500) + "\0")).toBeUndefined();
  expect(again(log(500) + "x".repeat(LINE_BYTES_MAX + 1))).toBeUndefined();
  let words = "";
  for (let i = 0; i < LINE_TEMPLATES_MAX; i++) {
    words += `${i.toString(26).replaceAll(/\d/g, "z")}\n`;
  }
  expect(again(words)).toBeUndefined();
  expect(again("1\n2\n3\n")).toBeUndefined();
});

test("a line may be as long as the limit", () => {
  const text = log(500) + "x".repeat(LINE_BYTES_MAX - 1) + "\n";
  expect(again(text)).toBe(text);
});

/** A length that came out, or undefined for `data_corrupt`; anything else is thrown. */
function outcome(columns: Uint8Array, length: number): number | undefined {
  try {
    return decodeLines(columns, length).length;
  } catch (error) {
    if (error instanceof DiffKeeperError && error.code === "data_corrupt") return undefined;
    throw error;
  }
}

test("any bytes give as many as they must, or data_corrupt", () => {
  const bytes = utf8.encode(log(300));
  const columns = encodeLines(bytes) ?? new Uint8Array(0);
  let refused = 0;
  for (let seed = 1; seed <= 3_000; seed++) {
    const random = new SeededRandom(seed);
    const damaged = random.chance(10)
      ? columns.slice(0, random.below(columns.length))
      : columns.slice();
    for (let flips = random.below(4); flips >= 0 && damaged.length > 0; flips--) {
      // mostly where counts and modes stand
      const at = random.below(random.chance(50) ? Math.min(80, damaged.length) : damaged.length);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << random.below(8));
    }
    const length = random.chance(20) ? random.below(bytes.length * 2) : bytes.length;
    const out = outcome(damaged, length);
    if (out === undefined) refused++;
    else expect(out).toBe(length);
  }
  expect(refused).toBeGreaterThan(500);
});

test("counts that would take much memory are refused before it is taken", () => {
  const out = new ColumnWriter(1 << 20);
  const text = new Uint8Array(4_000);
  out.number(1);
  out.number(100_000);
  out.words(Uint32Array.of(text.length), 1);
  out.raw(text);
  out.words(new Uint32Array(100_000), 100_000);
  for (let field = 0; field < text.length; field++) {
    out.number(2);
    out.words(Uint32Array.of(7, 7), 2);
  }
  // 400 million numbers of one digit, in 60 KB
  expect(() => decodeLines(out.bytes.slice(), 1 << 20)).toThrow("too many numbers");
});
