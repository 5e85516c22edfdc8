/**
 * Applies deltas (docs/FORMAT.md, "Delta"): copies and additions, which TypeScript does in place faster than a WebAssembly module that
 * must be given the base first. Trusts nothing: any bytes give the target or `data_corrupt`. wasm/delta.ts encodes.
 */
import {
  DELTA_CONTROL_BYTES_MAX,
  DELTA_INPUT_BYTES_MAX,
  DELTA_SECTION_BYTES_MAX,
} from "../base/limits.ts";
import { ControlCursor, corrupt, NumberReader, takeColumns } from "./delta_streams.ts";
import { zstdDecode } from "./zstd.ts";

/** What a delta begins with: differences are those of bytes, or of words where the base has them. */
export const DELTA_BYTES = 1;
export const DELTA_WORDS = 2;
/** Bytes of a word. */
const WORD_BYTES = 4;
/** Copies and regions below this are moved byte by byte: a call costs more. */
const CALL_BYTES_MIN = 48;

/** How to apply a delta. */
export interface DeltaApplyOptions {
  /** Bytes that may come out; a delta that says more is `data_corrupt`. */
  readonly maxBytes: number;
}

/** One section as it is read, with the entries of control in columns. */
interface StoredSection {
  readonly at: number;
  readonly bytes: number;
  readonly baseStart: number;
  readonly entries: ControlCursor;
  readonly diff: Uint8Array;
  readonly extra: Uint8Array;
}

/** Reads the sections of a delta of unknown origin. @throws {DiffKeeperError} `data_corrupt`, also from the generator. */
function readDelta(
  delta: Uint8Array,
  options: DeltaApplyOptions,
): { bytes: number; add: typeof addBytes; sections: Generator<StoredSection> } {
  const numbers = new NumberReader(delta);
  const version = delta[numbers.at++];
  if (version !== DELTA_BYTES && version !== DELTA_WORDS) {
    throw corrupt("it has an unknown version");
  }
  const bytes = numbers.next();
  if (bytes > Math.min(options.maxBytes, DELTA_INPUT_BYTES_MAX)) {
    throw corrupt(`it says ${bytes} bytes, ${options.maxBytes} are allowed`);
  }
  const add = version === DELTA_WORDS ? addWords : addBytes;
  return { bytes, add, sections: readSections(numbers, bytes) };
}

function* readSections(numbers: NumberReader, total: number): Generator<StoredSection> {
  let at = 0;
  while (at < total) {
    const bytes = numbers.next();
    if (bytes === 0 || bytes > Math.min(DELTA_SECTION_BYTES_MAX, total - at)) {
      throw corrupt("a section has an impossible length");
    }
    const [baseStart, count] = [numbers.next(), numbers.next()];
    const [diffBytes, extraBytes] = [numbers.next(), numbers.next()];
    if (diffBytes + extraBytes > bytes) throw corrupt("a section has too much in it");
    const body = new NumberReader(readBody(numbers, DELTA_CONTROL_BYTES_MAX + bytes));
    const entries = new ControlCursor(takeColumns(body, count));
    const [diff, extra] = [body.take(diffBytes), body.take(extraBytes)];
    if (!body.atEnd) throw corrupt("a section has other bytes at its end");
    yield { at, bytes, baseStart, entries, diff, extra };
    at += bytes;
  }
  if (!numbers.atEnd) throw corrupt("other bytes follow it");
}

/** The streams of a section as they are, of which at most so many bytes may come. @throws {DiffKeeperError} `data_corrupt`. */
export function readBody(numbers: NumberReader, maxBytes: number): Uint8Array {
  const word = numbers.next();
  const body = numbers.take(Math.floor(word / 2));
  return word % 2 === 1 ? zstdDecode(body, { maxBytes }) : body;
}

/**
 * The target of a delta. The result is owned by the caller; base and delta are only read.
 * @throws {DiffKeeperError} `data_corrupt` for any bytes that are no delta, one for another base, or over `maxBytes`.
 */
export function deltaApply(
  base: Uint8Array,
  delta: Uint8Array,
  options: DeltaApplyOptions,
): Uint8Array {
  const { bytes, add, sections } = readDelta(delta, options);
  const target = new Uint8Array(bytes);
  for (const section of sections) applySection({ base, target, add }, section);
  return target;
}

/** A part of a target that is told by differences: where it begins there, in the base and among the differences. */
interface Region {
  at: number;
  from: number;
  diffAt: number;
  length: number;
}

interface Sides {
  base: Uint8Array;
  target: Uint8Array;
}

function addBytes({ base, target }: Sides, diff: Uint8Array, region: Region): void {
  const { at, from, diffAt, length } = region;
  for (let i = 0; i < length; i++) {
    target[at + i] = (base[from + i] ?? 0) + (diff[diffAt + i] ?? 0);
  }
}

function addWords({ base, target }: Sides, diff: Uint8Array, region: Region): void {
  const { at, from, diffAt, length } = region;
  for (let i = 0; i < length;) {
    const end = (from + i) % WORD_BYTES === 0 && i + WORD_BYTES <= length ? i + WORD_BYTES : i + 1;
    // the sum of a byte, and what the byte before it carries over
    for (let sum = 0; i < end; i++) {
      sum = (sum >> 8) + (base[from + i] ?? 0) + (diff[diffAt + i] ?? 0);
      target[at + i] = sum;
    }
  }
}

function applySection(how: Sides & { add: typeof addBytes }, section: StoredSection): void {
  const { base, target, add } = how;
  const { diff, extra, entries: entry } = section;
  const end = section.at + section.bytes;
  let at = section.at;
  let from = section.baseStart;
  let diffAt = 0;
  let extraAt = 0;
  while (entry.next()) {
    const region = entry.copy + entry.diff;
    if (region + entry.extra > end - at) throw corrupt("an entry leaves its section");
    if (from < 0 || from + region > base.length) throw corrupt("an entry leaves the base");
    if (entry.diff > diff.length - diffAt || entry.extra > extra.length - extraAt) {
      throw corrupt("a stream ends too early");
    }
    move(target, at, { bytes: base, from, length: entry.copy });
    at += entry.copy;
    from += entry.copy;
    add(how, diff, { at, from, diffAt, length: entry.diff });
    at += entry.diff;
    diffAt += entry.diff;
    from += entry.diff + entry.seek;
    move(target, at, { bytes: extra, from: extraAt, length: entry.extra });
    at += entry.extra;
    extraAt += entry.extra;
  }
  const isWhole = at === end && diffAt === diff.length && extraAt === extra.length;
  if (!isWhole) throw corrupt("a section is not filled by its streams");
}

function move(
  target: Uint8Array,
  at: number,
  { bytes, from, length }: { bytes: Uint8Array; from: number; length: number },
): void {
  if (length >= CALL_BYTES_MIN) target.set(bytes.subarray(from, from + length), at);
  else for (let i = 0; i < length; i++) target[at + i] = bytes[from + i] ?? 0;
}
