/**
 * Differences of windows through the WebAssembly module. A window of base up to DELTA_BASE_WINDOW_BYTES stays in the
 * module's memory with its suffix array, which is made only when first needed and serves all sections of a target that
 * use the same window. Memory: base 1, suffix array 4, work 2.25 (the table of 8-byte strings takes the same place after
 * the sort) bytes for each byte of base; target 1, streams 1 and control 1.3 for each byte of a section.
 */
import { assert } from "../src/base/assert.ts";
import {
  DELTA_BASE_WINDOW_BYTES,
  DELTA_COPY_BYTES_MIN,
  DELTA_SECTION_BYTES_MAX,
} from "../src/base/limits.ts";
import type { DeltaStreams } from "../src/format/delta_streams.ts";
import { type CodecExports, codecModule, Layout } from "./module.ts";

/** Words of `struct delta` in c/delta.c, in its order. */
const Field = {
  BASE: 0,
  BASE_BYTES: 1,
  TARGET: 2,
  TARGET_BYTES: 3,
  SUFFIXES: 4,
  PAIRS: 5,
  GRAMS: 6,
  GRAMS_LOG: 7,
  READY: 8,
  COPY_MIN: 9,
  START: 10,
  HASHES: 11,
  HASHES_LOG: 12,
  CONTROL: 13,
  CONTROL_BYTES: 14,
  BYTES: 15,
  DIFF_BYTES: 16,
  EXTRA_BYTES: 17,
  WORDS: 18,
} as const;
const FIELDS = 19;
const PAIR_WORDS = 65_537;
/** An alignment lasts so many bytes at least (c/delta.c: more than GAIN_MIN for a match, the step of `follow` in the fast scan). */
const MATCH_BYTES_MIN = 8;
const GRAMS_LOG_MIN = 10;
/** A table of strings has twice as many entries as strings, one for each 8 bytes of base. */
const HASH_STEP = 8;
const HASHES_LOG_MIN = 8;

/** Options of the scan. */
export interface WindowOptions {
  /** Equal bytes that become a copy of their own; at least 8. */
  readonly copyMin?: number;
  /** Matches come from a table of some strings of the base, not from its suffix array: less is found, in a tenth of the time. */
  readonly fast?: boolean;
}

/** One window of base, ready to be compared with sections of a target, until the next object of this class is made. */
export class BaseWindow {
  readonly #exports: CodecExports;
  readonly #base: Uint8Array;
  readonly #copyMin: number;
  readonly #isFast: boolean;
  readonly #sectionBytes: number;
  readonly #at: Readonly<Record<"delta" | "base" | "suffixes" | "work" | "types", number>>;
  readonly #to: Readonly<Record<"pairs" | "target" | "bytes" | "words" | "control", number>>;
  #isSorted = false;

  /** `sectionBytes`: the longest section that `compare` will get. */
  constructor(base: Uint8Array, sectionBytes: number, options: WindowOptions = {}) {
    assert(base.length <= DELTA_BASE_WINDOW_BYTES, "a window of base has its limit");
    assert(sectionBytes <= DELTA_SECTION_BYTES_MAX, "a section of a delta has its limit");
    this.#exports = codecModule();
    this.#base = base;
    this.#copyMin = options.copyMin ?? DELTA_COPY_BYTES_MIN;
    assert(this.#copyMin >= 8, "a copy has at least 8 bytes");
    this.#sectionBytes = sectionBytes;
    this.#isFast = options.fast ?? false;
    const n = base.length;
    const layout = new Layout(this.#exports);
    const work = Math.max(bucketBytes(n), 2 ** (gramsLog(n) - 3));
    this.#at = {
      delta: layout.take(4 * FIELDS),
      base: layout.take(n),
      suffixes: layout.take(this.#isFast ? 0 : 4 * n),
      work: layout.take(this.#isFast ? 2 ** (hashesLog(n) + 2) : work),
      types: layout.take(this.#isFast ? 0 : typeBytes(n)),
    };
    this.#to = {
      pairs: layout.take(this.#isFast ? 0 : 4 * PAIR_WORDS),
      target: layout.take(sectionBytes),
      bytes: layout.take(sectionBytes),
      words: layout.take(this.#isFast ? sectionBytes : 0),
      control: layout.take(controlBytes(sectionBytes, this.#copyMin)),
    };
    layout.commit();
    const { buffer } = this.#exports.memory;
    new Uint8Array(buffer, this.#at.base, n).set(base);
    new Int32Array(buffer, this.#at.delta, FIELDS).fill(0);
  }

  /**
   * What turns the base into `target`, told from the place `start` of the base on (0 to its length): where the target is
   * thought to begin. The streams are copies, owned by the caller.
   */
  compare(target: Uint8Array, start = 0): DeltaStreams {
    assert(start >= 0 && start <= this.#base.length, "a section begins inside its window");
    assert(target.length <= this.#sectionBytes, "a section is not longer than was said");
    const { memory } = this.#exports;
    new Uint8Array(memory.buffer, this.#to.target, target.length).set(target);
    const fields = new Int32Array(memory.buffer, this.#at.delta, FIELDS);
    this.#fill(fields, target.length);
    fields[Field.START] = start;
    if (this.#isFast) this.#exports.delta_run_fast(this.#at.delta);
    else if (this.#exports.delta_run(this.#at.delta) === 0) {
      const { base, suffixes, work, types } = this.#at;
      this.#exports.suffix_sort(base, this.#base.length, suffixes, work, types);
      this.#isSorted = true;
      fields[Field.SUFFIXES] = suffixes;
      // The sort worked where the tables are.
      fields[Field.READY] = 0;
      const done = this.#exports.delta_run(this.#at.delta);
      assert(done === 1, "with a suffix array the scan goes to its end");
    }
    const control = fields[Field.CONTROL_BYTES] ?? 0;
    const most = controlBytes(target.length, this.#copyMin);
    assert(control <= most, "control takes no more than was reserved");
    const diffBytes = fields[Field.DIFF_BYTES] ?? 0;
    const extraBytes = fields[Field.EXTRA_BYTES] ?? 0;
    const view = (at: number, length: number) => new Uint8Array(memory.buffer, at, length).slice();
    const extraAt = this.#to.bytes + target.length - extraBytes;
    return {
      control: view(this.#to.control, control),
      diff: view(this.#to.bytes, diffBytes),
      extra: view(extraAt, extraBytes).reverse(),
    };
  }

  /** The differences that `compare` found last, `bytes` of them, as those of words; a copy. Only of a fast window. */
  words(bytes: number): Uint8Array {
    assert(this.#isFast, "a window is fast or has no words");
    return new Uint8Array(this.#exports.memory.buffer, this.#to.words, bytes).slice();
  }

  #fill(fields: Int32Array, targetBytes: number): void {
    fields[Field.BASE] = this.#at.base;
    fields[Field.BASE_BYTES] = this.#base.length;
    fields[Field.TARGET] = this.#to.target;
    fields[Field.TARGET_BYTES] = targetBytes;
    fields[Field.SUFFIXES] = this.#isSorted ? this.#at.suffixes : 0;
    fields[Field.PAIRS] = this.#to.pairs;
    fields[Field.GRAMS] = this.#at.work;
    fields[Field.GRAMS_LOG] = gramsLog(this.#base.length);
    fields[Field.HASHES] = this.#isFast ? this.#at.work : 0;
    fields[Field.HASHES_LOG] = hashesLog(this.#base.length);
    fields[Field.COPY_MIN] = this.#copyMin;
    fields[Field.CONTROL] = this.#to.control;
    fields[Field.BYTES] = this.#to.bytes;
    fields[Field.WORDS] = this.#isFast ? this.#to.words : 0;
  }
}

/** The suffix array of `text`, at most DELTA_BASE_WINDOW_BYTES: positions in ascending order of what begins there. A copy. */
export function sortSuffixes(text: Uint8Array): Int32Array {
  assert(text.length <= DELTA_BASE_WINDOW_BYTES, "a window of base has its limit");
  if (text.length === 0) return new Int32Array(0);
  const exports = codecModule();
  const layout = new Layout(exports);
  const at = layout.take(text.length);
  const suffixes = layout.take(4 * text.length);
  const work = layout.take(bucketBytes(text.length));
  const types = layout.take(typeBytes(text.length));
  layout.commit();
  new Uint8Array(exports.memory.buffer, at, text.length).set(text);
  exports.suffix_sort(at, text.length, suffixes, work, types);
  return new Int32Array(exports.memory.buffer, suffixes, text.length).slice();
}

/**
 * The most that control can take. Each alignment has an entry with a seek of 4 bytes at most, each copy beyond the first of
 * an alignment one with a seek of 0; the other numbers add up to the section, so that their second bytes are few.
 */
function controlBytes(sectionBytes: number, copyMin: number): number {
  const alignments = sectionBytes / MATCH_BYTES_MIN + 2;
  const copies = sectionBytes / copyMin + 1;
  return Math.ceil(alignments * 7 + copies * 4 + sectionBytes / 128);
}

/** Work memory of the sort, as c/suffix.c asks for it. */
function bucketBytes(n: number): number {
  return 4 * Math.max(256, (n >> 1) + 1);
}

function typeBytes(n: number): number {
  return (n >> 2) + 64;
}

/** Bits of the table of 8-byte strings: 8 to 16 for each byte of base. */
function gramsLog(baseBytes: number): number {
  return Math.max(GRAMS_LOG_MIN, Math.ceil(Math.log2(8 * baseBytes + 1)));
}

function hashesLog(baseBytes: number): number {
  return Math.max(HASHES_LOG_MIN, Math.ceil(Math.log2(2 * baseBytes / HASH_STEP + 1)));
}
