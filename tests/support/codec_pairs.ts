/**
 * Pairs of byte strings for the tests of the codecs: the base and target of each shape that programs leave behind when they
 * change a file (edits, moves, repeats, appends, cuts) and of each that is hard for a suffix sort (zeros, periods, few letters).
 */
import type { Random } from "../property/model.ts";

/** One pair; `shape` names how it was made. */
export interface Pair {
  readonly shape: string;
  readonly base: Uint8Array;
  readonly target: Uint8Array;
}

type Maker = (random: Random, bytesMax: number) => [Uint8Array, Uint8Array];

function letters(random: Random, length: number, alphabet: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(alphabet));
}

function some(random: Random, bytesMax: number): Uint8Array {
  return letters(random, random.below(bytesMax + 1), random.pick([2, 4, 30, 256]) ?? 256);
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** A piece of `bytes`, perhaps empty. */
function piece(random: Random, bytes: Uint8Array): Uint8Array {
  const from = random.below(bytes.length + 1);
  return bytes.subarray(from, from + random.below(bytes.length + 1));
}

function edited(random: Random, bytes: Uint8Array): Uint8Array {
  let result = bytes;
  for (let edits = 1 + random.below(12); edits > 0; edits--) {
    const at = random.below(result.length + 1);
    const gone = random.below(2) * random.below(40);
    const come = some(random, random.below(40));
    result = joined(result.subarray(0, at), come, result.subarray(at + gone));
  }
  return result;
}

/** Changes single bytes in place, as a new link of a program changes addresses. */
function relinked(random: Random, bytes: Uint8Array): Uint8Array {
  const result = bytes.slice();
  const every = 5 + random.below(200);
  for (let at = random.below(every); at < result.length; at += every) {
    result[at] = (result[at] ?? 0) + 1 + random.below(3);
  }
  return result;
}

function moved(random: Random, bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let i = random.below(8); i >= 0; i--) parts.push(piece(random, bytes));
  return joined(...parts).subarray(0, 4 * bytes.length);
}

function periodic(random: Random, length: number): Uint8Array {
  const period = 1 + random.below(40);
  const pattern = letters(random, period, 256);
  return Uint8Array.from({ length }, (_, i) => pattern[i % period] ?? 0);
}

const MAKERS: Readonly<Record<string, Maker>> = {
  "edited": (random, max) => {
    const base = some(random, max);
    return [base, edited(random, base)];
  },
  "relinked": (random, max) => {
    const base = some(random, max);
    return [base, relinked(random, base)];
  },
  "moved": (random, max) => {
    const base = some(random, max);
    return [base, moved(random, base)];
  },
  "moved and edited": (random, max) => {
    const base = some(random, max);
    return [base, relinked(random, edited(random, moved(random, base)))];
  },
  "unrelated": (random, max) => [some(random, max), some(random, max)],
  "equal": (random, max) => {
    const base = some(random, max);
    return [base, base.slice()];
  },
  "base empty": (random, max) => [new Uint8Array(0), some(random, max)],
  "target empty": (random, max) => [some(random, max), new Uint8Array(0)],
  "appended": (random, max) => {
    const base = some(random, max);
    return [base, joined(base, some(random, 300))];
  },
  "cut": (random, max) => {
    const base = some(random, max);
    return [base, base.subarray(0, random.below(base.length + 1))];
  },
  "beginning lost": (random, max) => {
    const base = some(random, max);
    return [base, base.subarray(random.below(base.length + 1))];
  },
  "zeros": (random, max) => [
    new Uint8Array(random.below(max + 1)),
    relinked(random, new Uint8Array(random.below(max + 1))),
  ],
  "holes of zeros": (random, max) => {
    const base = joined(some(random, max >> 2), new Uint8Array(max >> 1), some(random, max >> 2));
    return [base, edited(random, base)];
  },
  "one period": (random, max) => {
    const base = periodic(random, random.below(max + 1));
    return [base, edited(random, base)];
  },
  "periods": (random, max) => [periodic(random, max), periodic(random, random.below(max + 1))],
  "repeated": (random, max) => {
    const base = some(random, max >> 2);
    return [base, edited(random, joined(base, base, base))];
  },
  "reversed": (random, max) => {
    const base = some(random, max);
    return [base, base.slice().reverse()];
  },
};

/** The shapes, in a fixed order. */
export const SHAPES: readonly string[] = Object.keys(MAKERS);

/** The n-th pair of a run; shapes take turns. Base and target are views with an offset, as they are in a trace. */
export function randomPair(random: Random, options: { n: number; bytesMax: number }): Pair {
  const shape = SHAPES[options.n % SHAPES.length] ?? "";
  const maker = MAKERS[shape];
  if (maker === undefined) throw new Error(`no shape ${shape}`);
  const [base, target] = maker(random, options.bytesMax);
  return { shape, base: shifted(random, base), target: shifted(random, target) };
}

function shifted(random: Random, bytes: Uint8Array): Uint8Array {
  const offset = random.below(9);
  const whole = new Uint8Array(offset + bytes.length + random.below(9));
  whole.set(bytes, offset);
  return whole.subarray(offset, offset + bytes.length);
}
