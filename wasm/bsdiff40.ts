/**
 * The classic patch format of bsdiff 4 ("BSDIFF40"), which every `bspatch` applies: 32 bytes of header, then control, diff and
 * extra streams, each compressed with bzip2. For exchange with other tools, not for traces: a delta of delta.ts is smaller
 * and bounded. bzip2 comes from the caller, because only tests and tools need it.
 */
import { DELTA_INPUT_BYTES_MAX } from "../src/base/limits.ts";
import { type DeltaSection, diffSections } from "./delta.ts";
import { ControlCursor, corrupt } from "../src/format/delta_streams.ts";

const MAGIC = "BSDIFF40";
const HEADER_BYTES = 32;
const ENTRY_BYTES = 24;

/** bzip2 or its inverse, on whole buffers. The inverse must throw on unsound input. */
export type Bzip2 = (bytes: Uint8Array) => Uint8Array;

/** A classic entry: `diff` bytes to add, `extra` bytes to insert, then a step in the base. */
interface Entry {
  diff: number;
  extra: number;
  seek: number;
}

/** The classic streams before compression. */
class ClassicStreams {
  readonly entries: Entry[] = [];
  readonly diff: Uint8Array[] = [];
  readonly extra: Uint8Array[] = [];
  /** Where the base stands for a reader of what is there so far, and where the writer wants it. */
  #reader = 0;
  #wanted = 0;

  add(section: DeltaSection): void {
    const { diff, extra, control } = section.streams;
    const cursor = new ControlCursor(control);
    let diffAt = 0;
    this.#wanted = section.baseStart;
    while (cursor.next()) {
      this.diff.push(new Uint8Array(cursor.copy), diff.subarray(diffAt, diffAt + cursor.diff));
      diffAt += cursor.diff;
      this.#entry(cursor.copy + cursor.diff, cursor.extra);
      this.#wanted = this.#reader + cursor.seek;
    }
    this.extra.push(extra);
  }

  /** Copies of one region become one entry, a step in the base the end of the entry before. */
  #entry(diff: number, extra: number): void {
    const last = this.entries.at(-1);
    const step = this.#wanted - this.#reader;
    if (last !== undefined && last.extra === 0 && step === 0) {
      last.diff += diff;
      last.extra = extra;
    } else {
      if (last !== undefined) last.seek = step;
      else if (step !== 0) this.entries.push({ diff: 0, extra: 0, seek: step });
      this.entries.push({ diff, extra, seek: 0 });
    }
    this.#reader = this.#wanted + diff;
  }

  control(): Uint8Array {
    const bytes = new Uint8Array(this.entries.length * ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    this.entries.forEach((entry, i) => {
      putNumber(view, i * ENTRY_BYTES, entry.diff);
      putNumber(view, i * ENTRY_BYTES + 8, entry.extra);
      putNumber(view, i * ENTRY_BYTES + 16, entry.seek);
    });
    return bytes;
  }
}

/** A patch in the format BSDIFF40. Takes memory of three times the target. @throws {DiffKeeperError} `limit_exceeded`. */
export function bsdiff40Encode(
  base: Uint8Array,
  target: Uint8Array,
  options: { compress: Bzip2 },
): Uint8Array {
  const streams = new ClassicStreams();
  for (const section of diffSections(base, target)) streams.add(section);
  const control = options.compress(streams.control());
  const diff = options.compress(Buffer.concat(streams.diff));
  const extra = options.compress(Buffer.concat(streams.extra));
  const header = new Uint8Array(HEADER_BYTES);
  header.set(Buffer.from(MAGIC));
  const view = new DataView(header.buffer);
  putNumber(view, 8, control.length);
  putNumber(view, 16, diff.length);
  putNumber(view, 24, target.length);
  return Buffer.concat([header, control, diff, extra]);
}

/**
 * What a patch in the format BSDIFF40 makes of `base`. As in bspatch, bytes outside the base count as zero.
 * @throws {DiffKeeperError} `data_corrupt`.
 */
export function bsdiff40Apply(
  base: Uint8Array,
  patch: Uint8Array,
  options: { decompress: Bzip2; maxBytes: number },
): Uint8Array {
  const view = new DataView(patch.buffer, patch.byteOffset, patch.byteLength);
  if (patch.length < HEADER_BYTES || Buffer.from(patch.subarray(0, 8)).toString() !== MAGIC) {
    throw corrupt("it is no BSDIFF40 patch");
  }
  const controlEnd = HEADER_BYTES + getNumber(view, 8);
  const diffEnd = controlEnd + getNumber(view, 16);
  const bytes = getNumber(view, 24);
  const isPossible = controlEnd >= HEADER_BYTES && diffEnd >= controlEnd &&
    diffEnd <= patch.length && bytes >= 0 &&
    bytes <= Math.min(options.maxBytes, DELTA_INPUT_BYTES_MAX);
  if (!isPossible) throw corrupt("its header is not possible");
  const part = (from: number, to: number) => {
    try {
      return options.decompress(patch.subarray(from, to));
    } catch (error) {
      throw corrupt("a stream is not sound", error);
    }
  };
  return applyClassic(base, new Uint8Array(bytes), {
    control: part(HEADER_BYTES, controlEnd),
    diff: part(controlEnd, diffEnd),
    extra: part(diffEnd, patch.length),
  });
}

function applyClassic(
  base: Uint8Array,
  target: Uint8Array,
  streams: { control: Uint8Array; diff: Uint8Array; extra: Uint8Array },
): Uint8Array {
  const { control, diff, extra } = streams;
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  let [at, from, diffAt, extraAt] = [0, 0, 0, 0];
  for (let entry = 0; at < target.length; entry += ENTRY_BYTES) {
    if (entry + ENTRY_BYTES > control.length) throw corrupt("its control stream is cut");
    const added = getNumber(view, entry);
    const inserted = getNumber(view, entry + 8);
    if (added < 0 || inserted < 0 || added + inserted > target.length - at) {
      throw corrupt("an entry leaves the target");
    }
    if (added > diff.length - diffAt || inserted > extra.length - extraAt) {
      throw corrupt("a stream ends too early");
    }
    for (let i = 0; i < added; i++) {
      target[at + i] = (base[from + i] ?? 0) + (diff[diffAt + i] ?? 0);
    }
    target.set(extra.subarray(extraAt, extraAt + inserted), at + added);
    at += added + inserted;
    diffAt += added;
    extraAt += inserted;
    from += added + getNumber(view, entry + 16);
  }
  return target;
}

/** 8 bytes: the magnitude, little-endian, with the sign in the highest bit. */
function putNumber(view: DataView, at: number, value: number): void {
  view.setBigUint64(at, BigInt(Math.abs(value)) | (value < 0 ? 1n << 63n : 0n), true);
}

function getNumber(view: DataView, at: number): number {
  const word = view.getBigUint64(at, true);
  const magnitude = Number(word & ~(1n << 63n));
  if (!Number.isSafeInteger(magnitude)) throw corrupt("a number is too large");
  return word >> 63n === 1n ? -magnitude : magnitude;
}
