/**
 * Deltas: what turns a base into a target, as sections of compressed streams (docs/FORMAT.md, "Delta"). Encoding goes through
 * the WebAssembly module window by window; applying is copies and additions, which TypeScript does in place faster than a
 * module that must be given the base first. Applying trusts nothing: any bytes give the target or `data_corrupt`.
 */
import { DiffKeeperError } from "../src/base/error.ts";
import {
  DELTA_BASE_WINDOW_BYTES,
  DELTA_CONTROL_BYTES_MAX,
  DELTA_INPUT_BYTES_MAX,
  DELTA_SECTION_BYTES_MAX,
} from "../src/base/limits.ts";
import {
  ControlCursor,
  corrupt,
  type DeltaStreams,
  NumberReader,
  takeColumns,
  toColumns,
} from "./delta_streams.ts";
import { BaseWindow } from "./delta_window.ts";
import { WindowChoice } from "./window_choice.ts";
import { zstdDecode, zstdEncode } from "../src/format/zstd.ts";

const VERSION = 1;
/** Bodies shorter than this are never smaller as a frame. */
const FRAME_BYTES_MIN = 12;
/** Copies and regions below this are moved byte by byte: a call costs more. */
const CALL_BYTES_MIN = 48;

/** How to encode a delta. */
export interface DeltaEncodeOptions {
  /** zstd level of the streams, 1 to 19. */
  readonly level?: number;
}

/** How to apply a delta. */
export interface DeltaApplyOptions {
  /** Bytes that may come out; a delta that says more is `data_corrupt`. */
  readonly maxBytes: number;
}

/** One section of a difference: the part of the target it makes, where in the base it begins, its streams. */
export interface DeltaSection {
  readonly at: number;
  readonly bytes: number;
  readonly baseStart: number;
  readonly streams: DeltaStreams;
}

/** The same as it is read from a delta, with the entries of control in columns. */
interface StoredSection {
  readonly at: number;
  readonly bytes: number;
  readonly baseStart: number;
  readonly entries: ControlCursor;
  readonly diff: Uint8Array;
  readonly extra: Uint8Array;
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
  const parts: Uint8Array[] = [Uint8Array.of(VERSION, ...number(target.length))];
  for (const { bytes, baseStart, streams } of diffSections(base, target)) {
    const { diff, extra } = streams;
    const { columns, entries } = toColumns(streams.control);
    const head = [bytes, baseStart, entries, diff.length, extra.length].flatMap(number);
    const body = Buffer.concat([columns, diff, extra]);
    parts.push(Uint8Array.from(head), ...stored(body, options.level ?? 19));
  }
  return Buffer.concat(parts);
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

/** Reads the sections of a delta of unknown origin. @throws {DiffKeeperError} `data_corrupt`, also from the generator. */
function readDelta(
  delta: Uint8Array,
  options: DeltaApplyOptions,
): { bytes: number; sections: Generator<StoredSection> } {
  const numbers = new NumberReader(delta);
  if (delta[numbers.at++] !== VERSION) throw corrupt("it has an unknown version");
  const bytes = numbers.next();
  if (bytes > Math.min(options.maxBytes, DELTA_INPUT_BYTES_MAX)) {
    throw corrupt(`it says ${bytes} bytes, ${options.maxBytes} are allowed`);
  }
  return { bytes, sections: readSections(numbers, bytes) };
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

function readBody(numbers: NumberReader, maxBytes: number): Uint8Array {
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
  const { bytes, sections } = readDelta(delta, options);
  const target = new Uint8Array(bytes);
  for (const section of sections) applySection(base, target, section);
  return target;
}

function applySection(base: Uint8Array, target: Uint8Array, section: StoredSection): void {
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
    move(target, at, base.subarray(from, from + entry.copy));
    at += entry.copy;
    from += entry.copy;
    for (let i = 0; i < entry.diff; i++) {
      target[at + i] = (base[from + i] ?? 0) + (diff[diffAt + i] ?? 0);
    }
    at += entry.diff;
    diffAt += entry.diff;
    from += entry.diff + entry.seek;
    move(target, at, extra.subarray(extraAt, extraAt + entry.extra));
    at += entry.extra;
    extraAt += entry.extra;
  }
  const isWhole = at === end && diffAt === diff.length && extraAt === extra.length;
  if (!isWhole) throw corrupt("a section is not filled by its streams");
}

function move(target: Uint8Array, at: number, bytes: Uint8Array): void {
  if (bytes.length >= CALL_BYTES_MIN) target.set(bytes, at);
  else for (let i = 0; i < bytes.length; i++) target[at + i] = bytes[i] ?? 0;
}
