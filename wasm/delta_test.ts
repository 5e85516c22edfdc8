import { expect, test } from "bun:test";
import { DiffKeeperError } from "../src/base/error.ts";
import {
  CODEC_MEMORY_BYTES_MAX,
  DELTA_BASE_WINDOW_BYTES,
  DELTA_SECTION_BYTES_MAX,
} from "../src/base/limits.ts";
import { deltaApply } from "../src/format/delta_decoder.ts";
import { deltaEncode } from "./delta.ts";
import { BaseWindow } from "./delta_window.ts";
import { codecModule, moduleBytes, releaseModule } from "./module.ts";

const bytes = (text: string) => new Uint8Array(Buffer.from(text));

function codeOf(run: () => unknown): string {
  try {
    run();
    return "nothing thrown";
  } catch (error) {
    if (error instanceof DiffKeeperError) return error.code;
    throw error;
  }
}

const LINES = Array.from({ length: 400 }, (_, i) => `${i * i} = ${i} * ${i}\n`).join("");

test("one changed byte in five kilobytes takes a few bytes", () => {
  const base = bytes(LINES);
  const target = base.slice();
  target[3_000] = 0;
  const delta = deltaEncode(base, target);
  expect(delta.length).toBeLessThan(25);
  expect(deltaApply(base, delta, { maxBytes: target.length })).toEqual(target);
});

/** Version 1, 9 bytes; a section of 9 from base 1 on: 1 entry (copy 4, diff 1, extra 4, seek 0), diff "+1", extra "rest". */
const WHOLE = [1, 9, 9, 1, 1, 1, 4, 18, 4, 1, 4, 0, 1, ...bytes("rest")];

test("a delta is read to the byte", () => {
  const delta = Uint8Array.from(WHOLE);
  expect(deltaApply(bytes("xabcdefg"), delta, { maxBytes: 9 })).toEqual(bytes("abcdfrest"));
});

test("every broken rule of the format is data_corrupt", () => {
  const changed = (at: number, value: number) => WHOLE.map((old, i) => (i === at ? value : old));
  const broken: Record<string, number[]> = {
    "nothing": [],
    "version 0": changed(0, 0),
    "version 3": changed(0, 3),
    "more than allowed": changed(1, 10),
    "sections longer than the target": changed(1, 8),
    "a section of nothing": changed(2, 0),
    "a section longer than the target": changed(2, 10),
    "a base that ends": changed(3, 4),
    "a base beyond the end": changed(3, 100),
    "entries missing": changed(4, 0),
    "more entries than there are": changed(4, 9),
    "more differences than the section has bytes": changed(5, 6),
    "differences missing": changed(5, 0),
    "extra bytes missing": changed(6, 3),
    "a body that is no frame": changed(7, 19),
    "a body that is cut": changed(7, 16),
    "an entry that leaves its section": changed(8, 5),
    "an entry that fills too little": changed(8, 3),
    "more added than there is": changed(9, 2),
    "a cut number": WHOLE.slice(0, 5),
    "a cut body": WHOLE.slice(0, -1),
    "bytes after it": [...WHOLE, 0],
    "a number of 33 bits": [1, 255, 255, 255, 255, 31],
    "a number of 6 bytes": [1, 128, 128, 128, 128, 128, 0],
  };
  for (const [name, delta] of Object.entries(broken)) {
    const apply = () => deltaApply(bytes("xabcdefg"), Uint8Array.from(delta), { maxBytes: 9 });
    expect(codeOf(apply), name).toBe("data_corrupt");
  }
});

test("a step back before the base is refused", () => {
  // Two entries in columns: copies of 1 and 1, nothing else, seeks of -3 (5 in the delta) and 0.
  const delta = Uint8Array.of(1, 2, 2, 0, 2, 0, 0, 16, 1, 1, 0, 0, 0, 0, 5, 0);
  const apply = () => deltaApply(bytes("abc"), delta, { maxBytes: 2 });
  expect(codeOf(apply)).toBe("data_corrupt");
});

test("what cannot be compared is refused", () => {
  const huge = { length: 2 ** 31 } as Uint8Array;
  expect(codeOf(() => deltaEncode(huge, bytes("x")))).toBe("limit_exceeded");
});

test("the module starts in milliseconds and gives its memory back", () => {
  releaseModule();
  expect(moduleBytes()).toBe(0);
  const startedAt = performance.now();
  codecModule();
  expect(performance.now() - startedAt).toBeLessThan(50);
  expect(moduleBytes()).toBeLessThan(1 << 18);
  deltaEncode(bytes(LINES), bytes(LINES));
  expect(moduleBytes()).toBeGreaterThan(1 << 18);
});

test("many short matches and many short copies fit in what is reserved for them", () => {
  const base = new Uint8Array(65_536);
  crypto.getRandomValues(base);
  const pieces = Array.from({ length: 20_000 }, (_, i) => {
    const at = (i * 40_503) % (base.length - 9);
    return base.subarray(at, at + 9);
  });
  const everyNinth = base.map((byte, at) => (at % 9 === 0 ? byte + 1 : byte));
  for (const target of [Buffer.concat(pieces), everyNinth]) {
    const window = new BaseWindow(base, target.length);
    // Over one entry of 4 numbers for 10 bytes of target; compare() asserts that there was room.
    expect(window.compare(target).control.length).toBeGreaterThan(target.length * 0.4);
    const back = deltaApply(base, deltaEncode(base, target), { maxBytes: target.length });
    expect(Buffer.compare(back, target)).toBe(0);
  }
});

test("the largest windows stay within the memory of the module", () => {
  const window = new BaseWindow(
    new Uint8Array(DELTA_BASE_WINDOW_BYTES),
    DELTA_SECTION_BYTES_MAX,
    { copyMin: 8 },
  );
  expect(window.compare(new Uint8Array(100)).control.length).toBeGreaterThan(0);
  expect(moduleBytes()).toBeLessThanOrEqual(CODEC_MEMORY_BYTES_MAX);
  releaseModule();
});
