/**
 * Deltas: what turns a base into a target, as sections of compressed streams (docs/FORMAT.md, "Delta"). Encoding goes through
 * the WebAssembly module window by window; src/format/delta_decoder.ts applies them.
 */
import { DiffKeeperError } from "../src/base/error.ts";
import {
  DELTA_BASE_WINDOW_BYTES,
  DELTA_CONTROL_BYTES_MAX,
  DELTA_FAST_COPY_BYTES_MIN,
  DELTA_INPUT_BYTES_MAX,
  DELTA_SECTION_BYTES_MAX,
} from "../src/base/limits.ts";
import { releaseBytes } from "../src/base/release.ts";
import { DELTA_BYTES, DELTA_WORDS, readBody } from "../src/format/delta_decoder.ts";
import { type DeltaStreams, NumberReader, toColumns } from "../src/format/delta_streams.ts";
import { BaseWindow } from "./delta_window.ts";
import { WindowChoice } from "./window_choice.ts";
import { zstdEncode } from "../src/format/zstd.ts";

/** Bodies shorter than this are never smaller as a frame. */
const FRAME_BYTES_MIN = 12;
/** A delta of bytes below this is not tried with words too. */
const WORDS_TRIED_BYTES_MIN = 1024;

/** How to encode a delta. */
export interface DeltaEncodeOptions {
  /** zstd level of the streams, 1 to 19. */
  readonly level?: number;
}

/** How to encode a delta in little time. */
export interface DeltaFastOptions {
  /** zstd level of the streams, 1 to 19. */
  readonly level: number;
  /** Where in the base the target is thought to begin. */
  readonly start: number;
  /** Bytes of the target that may be new. */
  readonly extraMax: number;
}

/** One section of a difference: the part of the target it makes, where in the base it begins, its streams. */
export interface DeltaSection {
  readonly at: number;
  readonly bytes: number;
  readonly baseStart: number;
  readonly streams: DeltaStreams;
}

/** The sections that turn base into target, uncompressed, one at a time. @throws {DiffKeeperError} `limit_exceeded`. */
export function* diffSections(base: Uint8Array, target: Uint8Array): Generator<DeltaSection> {
  for (const { length } of [base, target]) {
    if (length <= DELTA_INPUT_BYTES_MAX) continue;
    const text = `cannot encode a delta of ${length} bytes: the limit is ${DELTA_INPUT_BYTES_MAX}`;
    throw new DiffKeeperError("limit_exceeded", text);
  }
  const sectionBytes = Math.min(DELTA_SECTION_BYTES_MAX, target.length);
  let window: BaseWindow | undefined;
  let present = -1;
  for (const { from, to, windowStart, start } of new WindowChoice(base).sections(target)) {
    if (window === undefined || windowStart !== present) {
      present = windowStart;
      const bytes = base.subarray(windowStart, windowStart + DELTA_BASE_WINDOW_BYTES);
      window = new BaseWindow(bytes, sectionBytes);
    }
    const streams = window.compare(target.subarray(from, to), start);
    yield { at: from, bytes: to - from, baseStart: windowStart + start, streams };
  }
}

/**
 * The delta that makes `target` of `base`. Memory beside both: CODEC_MEMORY_BYTES_MAX, the result, and what zstd takes for 8 MiB.
 * @throws {DiffKeeperError} `limit_exceeded` beyond DELTA_INPUT_BYTES_MAX.
 */
export function deltaEncode(
  base: Uint8Array,
  target: Uint8Array,
  options: DeltaEncodeOptions = {},
): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(DELTA_BYTES, ...number(target.length))];
  for (const section of diffSections(base, target)) {
    parts.push(...sectionParts(section, options.level ?? 19));
  }
  return Buffer.concat(parts);
}

/**
 * As `deltaEncode`, in a twentieth of the time: what moved is found by strings of 16 bytes, and by where the target begins and ends.
 * Undefined: more than `extraMax` bytes of the target are new. The base has at most DELTA_BASE_WINDOW_BYTES, the target
 * DELTA_SECTION_BYTES_MAX.
 */
export function deltaEncodeFast(
  base: Uint8Array,
  target: Uint8Array,
  options: DeltaFastOptions,
): Uint8Array | undefined {
  const { level, start, extraMax } = options;
  const how = { fast: true, copyMin: DELTA_FAST_COPY_BYTES_MIN };
  const window = new BaseWindow(base, target.length, how);
  const streams = window.compare(target, start);
  if (streams.extra.length > extraMax) return undefined;
  const as = (version: number, diff: Uint8Array) => {
    const section = { at: 0, bytes: target.length, baseStart: start };
    const parts = sectionParts({ ...section, streams: { ...streams, diff } }, level);
    return Buffer.concat([Uint8Array.of(version, ...number(target.length)), ...parts]);
  };
  let best = as(DELTA_BYTES, streams.diff);
  if (best.length >= WORDS_TRIED_BYTES_MIN) {
    const words = window.words(streams.diff.length);
    const other = as(DELTA_WORDS, words);
    if (other.length < best.length) best = other;
    releaseBytes(words);
  }
  releaseBytes(streams.diff);
  return best;
}

/** The same delta with its streams compressed anew. @throws {DiffKeeperError} `data_corrupt`. */
export function deltaRecompress(delta: Uint8Array, options: { level: number }): Uint8Array {
  const numbers = new NumberReader(delta);
  const parts: Uint8Array[] = [numbers.take(1), Uint8Array.from(number(numbers.next()))];
  while (!numbers.atEnd) {
    const head = [numbers.next(), numbers.next(), numbers.next(), numbers.next(), numbers.next()];
    const [bytes = 0] = head;
    const body = readBody(numbers, DELTA_CONTROL_BYTES_MAX + bytes);
    parts.push(Uint8Array.from(head.flatMap(number)), ...stored(body, options.level));
  }
  return Buffer.concat(parts);
}

function sectionParts({ bytes, baseStart, streams }: DeltaSection, level: number): Uint8Array[] {
  const { diff, extra } = streams;
  const { columns, entries } = toColumns(streams.control);
  const head = [bytes, baseStart, entries, diff.length, extra.length].flatMap(number);
  const body = Buffer.concat([columns, diff, extra]);
  const parts = stored(body, level);
  if (!parts.includes(body)) releaseBytes(body);
  return [Uint8Array.from(head), ...parts];
}

function number(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return bytes;
}

/** A body as it is or as a frame, whichever is smaller. */
function stored(body: Uint8Array, level: number): Uint8Array[] {
  if (body.length >= FRAME_BYTES_MIN) {
    const frame = zstdEncode(body, { level });
    if (frame.length < body.length) {
      return [Uint8Array.from(number(frame.length * 2 + 1)), frame];
    }
  }
  return [Uint8Array.from(number(body.length * 2)), body];
}
