import { expect, test } from "bun:test";
import { DELTA_BASE_WINDOW_BYTES } from "../src/base/limits.ts";
import { WindowChoice } from "./window_choice.ts";

const MIB = 1 << 20;

function random(bytes: number): Uint8Array {
  const result = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) {
    crypto.getRandomValues(result.subarray(at, at + 65_536));
  }
  return result;
}

test("a small base is one window, and sections have their limit", () => {
  const sections = [...new WindowChoice(new Uint8Array(5)).sections(new Uint8Array(20 * MIB))];
  expect(sections.map(({ from, to }) => [from / MIB, to / MIB])).toEqual([[0, 8], [8, 16], [
    16,
    20,
  ]]);
  expect(sections.every(({ windowStart }) => windowStart === 0)).toBe(true);
});

test("an empty target has no sections", () => {
  expect([...new WindowChoice(new Uint8Array(5)).sections(new Uint8Array(0))]).toEqual([]);
});

test("sections follow content that changed places", () => {
  const base = random(40 * MIB);
  const swapped = Buffer.concat([base.subarray(20 * MIB), base.subarray(0, 20 * MIB)]);
  for (const { from, to, windowStart, start } of new WindowChoice(base).sections(swapped)) {
    const origin = (from + 20 * MIB) % base.length;
    expect(windowStart + start).toBe(origin);
    expect(origin + to - from).toBeLessThanOrEqual(windowStart + DELTA_BASE_WINDOW_BYTES);
  }
});

test("unrelated content is compared with the same place", () => {
  const starts = [...new WindowChoice(random(40 * MIB)).sections(random(40 * MIB))].map(
    ({ windowStart }) => windowStart,
  );
  expect(starts).toEqual([...starts].sort((a, b) => a - b));
  expect(starts[0]).toBe(0);
  expect((starts.at(-1) ?? 0) + DELTA_BASE_WINDOW_BYTES).toBeGreaterThanOrEqual(40 * MIB);
});
