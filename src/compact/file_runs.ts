/**
 * Where the large runs of a file's content are stored, by their place in the file: what the next version of a large file is a
 * difference from. Programs write such files in any order, a linker section by section, so runs are kept in the order of the file, and a
 * younger one takes the place of those that it lies over.
 */
import { BASE_PARTS_MAX, DELTA_BYTES_MIN } from "../base/limits.ts";
import type { BlobBase } from "../format/packed_row.ts";
import type { Part } from "./bases.ts";

/** By so much a run may stand elsewhere than before. */
const MOVED_BYTES_MAX = DELTA_BYTES_MIN / 2;

/** A range of stored content that new bytes are likely to resemble. */
export interface NearRange {
  range: BlobBase;
  /** Where in the range their first byte is likely to be. */
  start: number;
  /** How many of the bytes these are. */
  length: number;
}

/** See the head of the file. */
export class FileRuns {
  /** In the order of the file; none lies over another. */
  #runs: Part[] = [];

  get isEmpty(): boolean {
    return this.#runs.length === 0;
  }

  /** Runs of the file were stored, the younger ones last; those below DELTA_BYTES_MIN are not remembered. */
  learn(runs: readonly Part[]): void {
    for (const run of runs) {
      if (run.length < DELTA_BYTES_MIN) continue;
      const first = this.#firstBehind(run.at);
      let last = first;
      while ((this.#runs[last]?.at ?? Number.POSITIVE_INFINITY) < run.at + run.length) last++;
      this.#runs.splice(first, last - first, run);
    }
    if (this.#runs.length > BASE_PARTS_MAX) {
      this.#runs.splice(0, this.#runs.length - BASE_PARTS_MAX);
    }
  }

  /**
   * The run that stands where bytes go to, or what of it lies within their length on either side. Of the bytes only those that
   * lie over it, but for some before its beginning and behind its end, because it may have moved.
   */
  find(at: number, length: number): NearRange | undefined {
    const place = at + Math.min(Math.floor(length / 2), MOVED_BYTES_MAX);
    const run = this.#runs[this.#firstBehind(place)];
    if (run === undefined || run.at > place) return undefined;
    const end = run.at + run.length;
    const given = at + length - end > MOVED_BYTES_MAX ? end - at : length;
    const from = Math.max(0, at - given - run.at);
    const to = Math.min(run.length, at + 2 * given - run.at);
    const range = { row: run.row, offset: run.offset + from, length: to - from };
    // a whole run begins where the bytes begin, even if what stands before it in the file has grown
    const isBehind = at - run.at > MOVED_BYTES_MAX;
    return { range, start: isBehind ? at - run.at - from : 0, length: given };
  }

  /** The index of the first run that ends behind a place. */
  #firstBehind(at: number): number {
    let [low, high] = [0, this.#runs.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const run = this.#runs[middle];
      if (run !== undefined && run.at + run.length <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
