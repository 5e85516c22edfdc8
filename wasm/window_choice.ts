/**
 * Which window of a large base a section of a target is compared with: the one that shares the most sampled strings with
 * the section. Strings of 32 bytes are sampled by their content (the upper bits of a gear hash are zero), about one in 4096
 * bytes, so that insertions and moves do not matter. A choice is never wrong, only better or worse.
 */
import {
  DELTA_BASE_WINDOW_BYTES,
  DELTA_SECTION_BYTES_MAX,
  DELTA_WINDOW_STEP_BYTES,
} from "../src/base/limits.ts";
import { gearTable } from "./chunks_twin.ts";

/** Where the upper bits of the hash are zero: one position in 4096. */
const SAMPLE_MASK = 0xfff0_0000;
const SAMPLE_BYTES = 32;
/** Samples kept of a base: one for each 4096 bytes of the largest one, and as many again. */
const SAMPLES_MAX = 1 << 19;
const WINDOW_STEPS = DELTA_BASE_WINDOW_BYTES / DELTA_WINDOW_STEP_BYTES;
/** A target is looked at in pieces of this size. */
const PIECE_BYTES = DELTA_SECTION_BYTES_MAX / 8;
/** A piece joins a section if so much of what both share with the base is in one window. */
const KEPT_SHARE = 0.9;

/** A part of a target, [from, to), where its window of base begins, and where in that window the part seems to begin. */
export interface ChosenSection {
  readonly from: number;
  readonly to: number;
  readonly windowStart: number;
  readonly start: number;
}

/** The samples of one base. */
export class WindowChoice {
  readonly #baseBytes: number;
  readonly #steps: number;
  readonly #samples = new Map<number, number>();

  constructor(base: Uint8Array) {
    this.#baseBytes = base.length;
    this.#steps = Math.ceil(base.length / DELTA_WINDOW_STEP_BYTES);
    if (base.length <= DELTA_BASE_WINDOW_BYTES) return;
    eachSample(base, (key, at) => {
      if (!this.#samples.has(key)) this.#samples.set(key, at);
      return this.#samples.size < SAMPLES_MAX;
    });
  }

  /**
   * Cuts a target into sections of at most DELTA_SECTION_BYTES_MAX, each with the window of base that shares most with it.
   * A section ends early where one window would lose what the next piece shares with another.
   */
  *sections(target: Uint8Array): Generator<ChosenSection> {
    let open: { from: number; hits: Uint32Array; apart: number } | undefined;
    for (let at = 0; at < target.length; at += PIECE_BYTES) {
      const hits = this.#hits(target.subarray(at, at + PIECE_BYTES));
      const apart = this.#best(hits, at).hits;
      if (open !== undefined) {
        const both = open.hits.map((count, step) => count + (hits[step] ?? 0));
        const together = this.#best(both, at).hits;
        const fits = at - open.from < DELTA_SECTION_BYTES_MAX;
        if (fits && together >= KEPT_SHARE * (open.apart + apart)) {
          open = { from: open.from, hits: both, apart: open.apart + apart };
          continue;
        }
        yield this.#section(target.subarray(open.from, at), open.from, open.hits);
      }
      open = { from: at, hits, apart };
    }
    if (open !== undefined) yield this.#section(target.subarray(open.from), open.from, open.hits);
  }

  #section(section: Uint8Array, from: number, hits: Uint32Array): ChosenSection {
    const to = from + section.length;
    const { step } = this.#best(hits, (from + to) / 2);
    const windowStart = step * DELTA_WINDOW_STEP_BYTES;
    const windowEnd = Math.min(this.#baseBytes, windowStart + DELTA_BASE_WINDOW_BYTES);
    let start = from;
    if (this.#samples.size > 0) {
      eachSample(section.subarray(0, PIECE_BYTES), (key, at) => {
        const position = this.#samples.get(key);
        if (position === undefined || position < windowStart || position >= windowEnd) return true;
        start = position - at;
        return false;
      });
    }
    start = Math.min(windowEnd, Math.max(windowStart, start)) - windowStart;
    return { from, to, windowStart, start };
  }

  /** How many samples of the piece stand in each step of the base. */
  #hits(piece: Uint8Array): Uint32Array {
    const hits = new Uint32Array(Math.max(this.#steps, WINDOW_STEPS));
    if (this.#samples.size === 0) return hits;
    eachSample(piece, (key) => {
      const position = this.#samples.get(key);
      if (position === undefined) return true;
      const step = Math.floor(position / DELTA_WINDOW_STEP_BYTES);
      hits[step] = (hits[step] ?? 0) + 1;
      return true;
    });
    return hits;
  }

  /** The window with most hits; of equal ones that around the same place as in the target. */
  #best(hits: Uint32Array, at: number): { step: number; hits: number } {
    const last = Math.max(0, this.#steps - WINDOW_STEPS);
    const middle = Math.round((at - DELTA_BASE_WINDOW_BYTES / 2) / DELTA_WINDOW_STEP_BYTES);
    const natural = Math.min(last, Math.max(0, middle));
    const best = { step: natural, hits: sum(hits, natural) };
    for (let step = 0; step <= last; step++) {
      const found = sum(hits, step);
      if (found > best.hits) [best.step, best.hits] = [step, found];
    }
    return best;
  }
}

function sum(hits: Uint32Array, step: number): number {
  let total = 0;
  for (let i = 0; i < WINDOW_STEPS; i++) total += hits[step + i] ?? 0;
  return total;
}

/** Calls `visit` with 52 bits that stand for each sampled string and where it ends, as long as it returns true. */
function eachSample(bytes: Uint8Array, visit: (key: number, at: number) => boolean): void {
  const table = gearTable();
  let hash = 0;
  for (let at = 0; at < bytes.length; at++) {
    hash = ((hash << 1) + (table[bytes[at] ?? 0] ?? 0)) | 0;
    if ((hash & SAMPLE_MASK) !== 0 || at < SAMPLE_BYTES) continue;
    // The mask leaves 20 bits of the gear hash, too few to tell 500,000 samples apart.
    let key = 0;
    for (let i = at - SAMPLE_BYTES + 1; i <= at; i++) {
      key = Math.imul(key ^ (bytes[i] ?? 0), 0x0100_0193);
    }
    if (!visit((key >>> 0) * 2 ** 20 + (hash & ~SAMPLE_MASK), at)) return;
  }
}
