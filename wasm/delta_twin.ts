/**
 * The twin of c/suffix.c and c/delta.c: the same streams in TypeScript, for tests. The suffix array is sorted naively, matches are
 * looked up without the tables of pairs and strings, and nothing is shared with the C code but the method; so it is slow
 * (inputs of some kilobytes) and simple.
 */
import { DELTA_COPY_BYTES_MIN, DELTA_FAST_COPY_BYTES_MIN } from "../src/base/limits.ts";
import type { DeltaStreams } from "../src/format/delta_streams.ts";

const MATCH_MIN = 8;
const MATCH_SURE = 64;
const GAP_MAX = 8;
const GAIN_MIN = 8;

/** The positions of all suffixes in ascending order, by comparing them. */
export function suffixesTwin(text: Uint8Array): number[] {
  const suffix = (at: number) => text.subarray(at);
  const positions = Array.from(text, (_, at) => at);
  return positions.sort((a, b) => Buffer.compare(suffix(a), suffix(b)));
}

/** Where a search ended. */
interface Match {
  length: number;
  position: number;
}

class Scan {
  readonly base: Uint8Array;
  readonly target: Uint8Array;
  #suffixes: readonly number[] | undefined;
  readonly copyMin: number = DELTA_COPY_BYTES_MIN;
  at = 0;
  match: Match = { length: 0, position: 0 };
  told = 0;
  toldBase = 0;
  shift = 0;
  readonly control: number[] = [];
  readonly diff: number[] = [];
  readonly extra: number[] = [];

  constructor(base: Uint8Array, target: Uint8Array, start: number) {
    this.base = base;
    this.target = target;
    this.toldBase = this.shift = start;
  }

  equalRun(base: number, target: number, max = Infinity): number {
    let run = 0;
    while (run < max && base + run < this.base.length && target + run < this.target.length) {
      if (this.base[base + run] !== this.target[target + run]) break;
      run++;
    }
    return run;
  }

  isAligned(at: number): boolean {
    const position = at + this.shift;
    return position >= 0 && position < this.base.length &&
      this.base[position] === this.target[at];
  }

  /** The longer match of the two suffixes around the rest of the target, the lower one if they are equal. */
  search(): Match {
    const text = this.target.subarray(this.at);
    const suffixes = this.#suffixes ??= suffixesTwin(this.base);
    let [low, high] = [0, suffixes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const suffix = this.base.subarray(suffixes[middle] ?? 0);
      if (Buffer.compare(suffix, text) < 0) low = middle + 1;
      else high = middle;
    }
    let best: Match = { length: 0, position: 0 };
    for (const position of [suffixes[low - 1], suffixes[low]]) {
      if (position === undefined) continue;
      const length = this.equalRun(position, this.at);
      if (length > best.length) best = { length, position };
    }
    return best;
  }

  longest(): void {
    const { length, position } = this.match;
    this.match = { length: 0, position };
    if (this.target.length - this.at < MATCH_MIN) return;
    const aligned = this.at + this.shift;
    const run = aligned < 0 ? 0 : this.equalRun(aligned, this.at);
    const beyond = aligned < 0 ? 0 : this.equalRun(aligned + GAP_MAX, this.at + GAP_MAX);
    if (run >= MATCH_SURE) this.match = { length: run, position: aligned };
    else if (beyond >= MATCH_SURE) return;
    else if (length > MATCH_SURE) this.match = { length: length - 1, position: position + 1 };
    else {
      const found = this.search();
      if (found.length >= MATCH_MIN) this.match = found;
    }
  }

  /** The step at which equal bytes outnumber different ones most, going one way over at most `max` bytes. */
  extend(base: number, target: number, way: { step: 1 | -1; max: number }): number {
    let [score, best, length] = [0, 0, 0];
    for (let i = 1; i <= way.max; i++) {
      const offset = way.step === 1 ? i - 1 : -i;
      score += this.base[base + offset] === this.target[target + offset] ? 1 : -1;
      if (score > best) [best, length] = [score, i];
    }
    return length;
  }

  tellUpTo(): void {
    const isEnd = this.at >= this.target.length;
    const untold = this.at - this.told;
    const { position } = this.match;
    const ahead = Math.min(untold, this.base.length - this.toldBase);
    let forwards = this.extend(this.toldBase, this.told, { step: 1, max: ahead });
    const behind = { step: -1, max: Math.min(untold, position) } as const;
    let backwards = isEnd ? 0 : this.extend(position, this.at, behind);
    const overlap = forwards + backwards - untold;
    let [score, best, share] = [0, 0, 0];
    for (let i = 0; i < overlap; i++) {
      const byte = this.target[this.told + forwards - overlap + i];
      score += byte === this.base[this.toldBase + forwards - overlap + i] ? 1 : 0;
      score -= byte === this.base[position - backwards + i] ? 1 : 0;
      if (score > best) [best, share] = [score, i + 1];
    }
    if (overlap > 0) [forwards, backwards] = [forwards + share - overlap, backwards - share];
    const extra = untold - backwards - forwards;
    const seek = isEnd ? 0 : position - backwards - (this.toldBase + forwards);
    this.tell(forwards, extra, seek);
    this.told = this.at - backwards;
    this.toldBase = position - backwards;
    this.shift = position - this.at;
  }

  streams(): DeltaStreams {
    return {
      control: Uint8Array.from(this.control),
      diff: Uint8Array.from(this.diff),
      extra: Uint8Array.from(this.extra),
    };
  }

  tell(length: number, extra: number, seek: number): void {
    const [t, b] = [this.told, this.toldBase];
    let i = 0;
    do {
      let copy = this.equalRun(b + i, t + i, length - i);
      if (copy < this.copyMin && i + copy < length) copy = 0;
      let to = i + copy;
      while (to < length && this.equalRun(b + to, t + to, length - to) < this.copyMin) to++;
      // A run that ends the region is no copy if it is too short, so the loop above went through it.
      for (let j = i + copy; j < to; j++) {
        this.diff.push(((this.target[t + j] ?? 0) - (this.base[b + j] ?? 0)) & 255);
      }
      const rest = to === length ? [extra, (seek << 1) ^ (seek >> 31)] : [0, 0];
      this.control.push(...[copy, to - i - copy, ...rest].flatMap(numberTwin));
      i = to;
    } while (i < length);
    const from = t + length;
    this.extra.push(...this.target.subarray(from, from + extra));
  }
}

function numberTwin(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  return [...bytes, rest];
}

/** Of the fast scan: c/delta.c names what these are for. */
const HASH_BYTES = 16;
const HASH_STEP = 8;
const FOLLOW_MIN = 6;
const AGAIN_MIN = 10;
const TABLE = { LOOK: 64, GOOD: 56, GAIN: 6, STEP: 4, REACH: 512, GAP: 1024 } as const;

/** The fast scan; its table of strings is as the module's, because which string stays where two share a place decides. */
class FastScan extends Scan {
  readonly #places = new Map<number, number>();
  readonly #log: number;
  override readonly copyMin: number = DELTA_FAST_COPY_BYTES_MIN;

  constructor(base: Uint8Array, target: Uint8Array, start: number) {
    super(base, target, start);
    this.#log = Math.max(8, Math.ceil(Math.log2(2 * base.length / HASH_STEP + 1)));
    for (let i = 0; i + HASH_BYTES <= base.length; i += HASH_STEP) {
      const slot = this.#slot(base, i);
      if (!this.#places.has(slot)) this.#places.set(slot, i);
    }
  }

  #slot(bytes: Uint8Array, at: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const factor = 0x9E3779B97F4A7C15n;
    const u64 = (value: bigint) => BigInt.asUintN(64, value);
    const sum = u64(view.getBigUint64(at, true) * factor + view.getBigUint64(at + 8, true));
    return Number(u64((sum ^ sum >> 29n) * factor) >> BigInt(64 - this.#log));
  }

  /** Equal ones of so many bytes; 0 where they do not all lie in base and target. */
  equalOf(at: number, shift: number, bytes: number): number {
    const from = at + shift;
    if (from < 0 || from + bytes > this.base.length || at + bytes > this.target.length) return 0;
    let sum = 0;
    for (let i = 0; i < bytes; i++) sum += this.base[from + i] === this.target[at + i] ? 1 : 0;
    return sum;
  }

  better(at: number, shift: number): number {
    const own = this.equalOf(at, shift, TABLE.LOOK);
    if (own >= TABLE.GOOD) return shift;
    let [best, found] = [own + TABLE.GAIN, shift];
    for (let by = TABLE.STEP; by <= TABLE.REACH; by += TABLE.STEP) {
      for (const other of [shift - by, shift + by]) {
        const equal = this.equalOf(at, other, TABLE.LOOK);
        if (equal > best) [best, found] = [equal, other];
      }
    }
    const far = (one: number) => this.equalOf(at, one, 4 * TABLE.LOOK);
    return found !== shift && far(found) > far(shift) + 2 * TABLE.GAIN ? found : shift;
  }

  follow(): { at: number; shift: number } {
    let [at, gap] = [this.at, TABLE.LOOK as number];
    const { shift } = this;
    for (let look = at + TABLE.LOOK;; at += 8) {
      if (at + shift >= 0) at += this.equalRun(at + shift, at);
      if (this.equalOf(at, shift, HASH_BYTES) < FOLLOW_MIN) return { at, shift };
      if (at < look) continue;
      gap = Math.min(2 * gap, TABLE.GAP);
      look = at + gap;
      const found = this.better(at, shift);
      if (found !== shift) return { at, shift: found };
    }
  }

  /** The shift of what the table knows at a place of the target. */
  known(at: number): number | undefined {
    const position = this.#places.get(this.#slot(this.target, at));
    if (position === undefined || this.equalRun(position, at) < HASH_BYTES) return undefined;
    return position - at;
  }

  run(): void {
    let before = this.base.length - this.target.length;
    while (this.at < this.target.length) {
      let { at, shift } = this.follow();
      for (; shift === this.shift; at++) {
        if (at + HASH_BYTES > this.target.length) {
          at = this.target.length;
          break;
        }
        if (this.equalOf(at, shift, HASH_BYTES) >= AGAIN_MIN) break;
        if (this.equalOf(at, before, HASH_BYTES) >= AGAIN_MIN) {
          shift = before;
          break;
        }
        const found = this.known(at);
        if (found === undefined) continue;
        shift = found;
        break;
      }
      if (shift !== this.shift && at < this.target.length) {
        before = this.shift;
        this.at = at;
        this.match = { length: 0, position: at + shift };
        this.tellUpTo();
      }
      this.at = at;
    }
    this.tellUpTo();
  }
}

/** The same of a fast window. */
export function compareFastTwin(base: Uint8Array, target: Uint8Array, start = 0): DeltaStreams {
  const scan = new FastScan(base, target, start);
  scan.run();
  return scan.streams();
}

/** The streams of one section, as BaseWindow.compare makes them. */
export function compareTwin(base: Uint8Array, target: Uint8Array, start = 0): DeltaStreams {
  const scan = new Scan(base, target, start);
  while (scan.at < target.length) {
    scan.at += scan.match.length;
    let [score, seen] = [0, scan.at];
    scan.match = { length: 0, position: scan.match.position };
    for (; scan.at < target.length; scan.at++) {
      scan.longest();
      const { length } = scan.match;
      for (; seen < scan.at + length; seen++) score += scan.isAligned(seen) ? 1 : 0;
      if (length > 0 && (length === score || length > score + GAIN_MIN)) break;
      if (seen > scan.at) score -= scan.isAligned(scan.at) ? 1 : 0;
      else seen = scan.at + 1;
    }
    if (scan.at >= target.length || scan.match.length !== score) scan.tellUpTo();
  }
  return scan.streams();
}
