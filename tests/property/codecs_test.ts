/** Random pairs of every shape: all codecs give back what they got, and the WebAssembly module agrees with its twin. */
import { expect, test } from "bun:test";
import {
  DELTA_BASE_WINDOW_BYTES,
  DELTA_FAST_COPY_BYTES_MIN,
  DELTA_WINDOW_STEP_BYTES,
} from "../../src/base/limits.ts";
import { DELTA_WORDS } from "../../src/format/delta_decoder.ts";
import { compareFastTwin, compareTwin, suffixesTwin } from "../../wasm/delta_twin.ts";
import { BaseWindow, sortSuffixes } from "../../wasm/delta_window.ts";
import {
  deltaApply,
  deltaEncode,
  deltaEncodeFast,
  deltaRecompress,
  zstdDecode,
  zstdEncode,
} from "../../wasm/codecs.ts";
import { randomPair, SHAPES } from "../support/codec_pairs.ts";
import { ProgramVersions } from "../support/program_versions.ts";
import { Random } from "./model.ts";

const TRIES = Number(process.env["DIFFKEEPER_TRIES"] ?? 340);
const seed = Number(process.env["DIFFKEEPER_SEED"] ?? Date.now() % 1_000_000);
const BYTES_MAX = 20_000;
const TWIN_BYTES_MAX = 1_500;

test(`deltas and frames of ${TRIES} pairs, seed ${seed}`, () => {
  const random = new Random(seed);
  for (let n = 0; n < TRIES; n++) {
    const { shape, base, target } = randomPair(random, { n, bytesMax: BYTES_MAX });
    const name = `pair ${n}, ${shape}`;
    const level = random.pick([1, 3, 9, 19]) ?? 3;
    const maxBytes = target.length;
    const delta = deltaEncode(base, target, { level });
    expect(Buffer.compare(deltaApply(base, delta, { maxBytes }), target), name).toBe(0);
    const frame = zstdEncode(target, { level, prefix: base });
    const back = zstdDecode(frame, { prefix: base, maxBytes });
    expect(Buffer.compare(back, target), name).toBe(0);
    const plain = zstdDecode(zstdEncode(target, { level }), { maxBytes });
    expect(Buffer.compare(plain, target), name).toBe(0);
  }
});

test(`streams and suffix arrays are those of the twin, seed ${seed}`, () => {
  const random = new Random(seed);
  for (let n = 0; n < 20 * SHAPES.length; n++) {
    const pair = randomPair(random, { n, bytesMax: TWIN_BYTES_MAX });
    const { base } = pair;
    const target = pair.target.subarray(0, 3 * TWIN_BYTES_MAX);
    const name = `pair ${n}, ${pair.shape}`;
    expect([...sortSuffixes(base)], name).toEqual(suffixesTwin(base));
    const start = n % 3 === 0 ? random.below(base.length + 1) : 0;
    const found = new BaseWindow(base, target.length).compare(target, start);
    expect(found, name).toEqual(compareTwin(base, target, start));
  }
});

test(`a fast scan is that of the twin and comes back, seed ${seed}`, () => {
  const random = new Random(seed);
  const how = { fast: true, copyMin: DELTA_FAST_COPY_BYTES_MIN };
  for (let n = 0; n < 20 * SHAPES.length; n++) {
    const { shape, base, target } = randomPair(random, { n, bytesMax: TWIN_BYTES_MAX });
    const name = `pair ${n}, ${shape}`;
    const start = n % 3 === 0 ? random.below(base.length + 1) : 0;
    const found = new BaseWindow(base, target.length, how).compare(target, start);
    expect(found, name).toEqual(compareFastTwin(base, target, start));
  }
});

test(`relinked code and tables of addresses take little, seed ${seed}`, () => {
  const program = new ProgramVersions(new Random(seed));
  const [before, after] = [program.next(), program.next()];
  for (const [section, base] of before.entries()) {
    const target = after[section] ?? new Uint8Array(0);
    const how = { fast: true, copyMin: DELTA_FAST_COPY_BYTES_MIN };
    const found = new BaseWindow(base, target.length, how).compare(target, 0);
    expect(found).toEqual(compareFastTwin(base, target, 0));
    const delta = deltaEncodeFast(base, target, { level: 9, start: 0, extraMax: 1_000 });
    if (section === 1) expect(delta?.[0]).toBe(DELTA_WORDS);
    expect(delta?.length).toBeLessThan(target.length / 100);
    for (const one of [delta, deltaRecompress(delta ?? base, { level: 19 })]) {
      const back = deltaApply(base, one ?? base, { maxBytes: target.length });
      expect(Buffer.compare(back, target)).toBe(0);
    }
  }
  const other = new Random(seed + 1).bytes(100_000);
  const [base = other] = before;
  expect(deltaEncodeFast(base, other, { level: 9, start: 0, extraMax: 1_000 })).toBeUndefined();
});

test(`a base of more than one window, seed ${seed}`, () => {
  const random = new Random(seed);
  const base = new Uint8Array(DELTA_BASE_WINDOW_BYTES + DELTA_WINDOW_STEP_BYTES);
  for (let at = 0; at < base.length; at += 65_536) {
    crypto.getRandomValues(base.subarray(at, at + 65_536));
  }
  // The end of the base, which the first window does not hold, moved to the beginning of the target.
  const end = base.subarray(base.length - 100_000);
  const target = Buffer.concat([end, random.bytes(1000), end]);
  const delta = deltaEncode(base, target, { level: 1 });
  const back = deltaApply(base, delta, { maxBytes: target.length });
  expect(Buffer.compare(back, target)).toBe(0);
  expect(delta.length).toBeLessThan(1_100);
}, 60_000);
