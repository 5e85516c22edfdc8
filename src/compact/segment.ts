/**
 * A segment: event batches that follow each other and become one packed row. Says where the payload of each file goes: most of it
 * together, one file behind the other, compressed in large blobs that each have an earlier one as prefix, so that whatever comes
 * again within some megabytes costs next to nothing, wherever it stands. Alone go files whose earlier version is farther away, as
 * a difference from it, and large ones that may come again as a whole.
 */
import {
  ALONE_BYTES_MIN,
  ALONE_COST_BYTES,
  ALONE_PIECES_BYTES_MAX,
  CHUNKED_BYTES_MIN,
  LINES_BYTES_MIN,
  LOG_PIECE_BYTES_MAX,
  SOLID_BYTES_MAX,
  SOLID_FILE_BYTES_MAX,
} from "../base/limits.ts";
import type { EventPacker, PayloadStream } from "../format/event_packer.ts";
import { encodeLines } from "../format/lines_encoder.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import type { Blob, BlobBase, PackedRow } from "../format/packed_row.ts";
import type { Bases } from "./bases.ts";
import type { BlobMaker, LocalContent } from "./blob_maker.ts";
import type { NearRange } from "./file_runs.ts";

/** Where the payload of a segment goes: its bytes, and the blobs that they become. */
export interface Laid {
  content: Uint8Array;
  blobs: Blob[];
}

/** What a segment is laid out with. */
export interface LayOutOptions {
  bases: Bases;
  maker: BlobMaker;
  /** Id that the packed row will have. */
  row: number;
  /** The last blob before that others were put together in. */
  solid: BlobBase | undefined;
  /** Whether more time may be taken. */
  deep: boolean;
}

interface Run {
  start: number;
  length: number;
  /** Undefined: it has no earlier version. */
  baseAt: ((offset: number) => BlobBase | undefined) | undefined;
  /** What large parts of it are likely to resemble. */
  nearAt: ((offset: number) => NearRange | undefined) | undefined;
  blobs: Blob[];
}

/** How a stream is stored: with others, or alone, as a difference from the stream `before` in the segment if that is not -1. */
interface Lot {
  alone: boolean;
  before: number;
}

const none = () => undefined;
/** What compression makes of text at the least, as a part; to weigh a first version against many differences. */
const TEXT_PART = 1 / 4;

/** Places the payload of the batches in the packer, and stores it. */
export function layOut(packer: EventPacker, options: LayOutOptions): Laid {
  const { bases, maker, row } = options;
  const { streams } = packer;
  const lots = draw(streams, options);
  const starts: number[] = new Array(streams.length).fill(0);
  const runs: Run[] = [];
  let next = 0;
  for (const [index, { key, bytes, at, isRun }] of streams.entries()) {
    const lot = lots[index];
    if (lot?.alone !== true) continue;
    const length = streams[lot.before]?.bytes ?? 0;
    const local = { row, offset: PACKED_POINTER + (starts[lot.before] ?? 0), length };
    const hasBase = lot.before >= 0 || (key >= 0 && bases.find(key, at) !== undefined);
    const baseAt = !hasBase
      ? undefined
      : lot.before >= 0
      ? () => local
      : (offset: number) => bases.find(key, at + offset);
    starts[index] = next;
    const nearAt = hasBase && lot.before < 0 && isRun
      ? (offset: number) => bases.findRun(key, at + offset, bytes - offset)
      : undefined;
    runs.push({ start: next, length: bytes, baseAt, nearAt, blobs: [] });
    next += bytes;
  }
  const together = next;
  const content = new Uint8Array(packer.payloadBytes);
  const texts = placeTogether(packer, { content, starts, from: together, lots });
  store(runs, maker, { row, content, blobAt: (offset) => blobIn(runs, offset) });
  storeTogether(runs, { from: together, texts }, options);
  return { content, blobs: runs.flatMap((run) => run.blobs) };
}

/** The pointer to a row's last blob that others may have as prefix; undefined: none is large enough to be worth it. */
export function solidOf(row: number, packed: PackedRow, bytesMin: number): BlobBase | undefined {
  for (let index = packed.blobs.length - 1; index >= 0; index--) {
    const length = packed.blobs[index]?.length ?? 0;
    const offset = PACKED_POINTER + (packed.starts[index] ?? 0);
    if (length >= bytesMin) return { row, offset, length };
  }
  return undefined;
}

/** Decides for each stream how it is stored. */
function draw(streams: readonly PayloadStream[], options: LayOutOptions): Lot[] {
  const { bases, maker, solid } = options;
  const prefix = solid === undefined ? undefined : maker.baseOf(solid)?.base;
  const counts = new Map<string, number>();
  const names = streams.map(({ key, at }) => {
    const name = key < 0 || at !== 0 ? undefined : bases.nameOf(key);
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
    return name;
  });
  const last = new Map<string, number>();
  const lots: Lot[] = [];
  for (const [index, stream] of streams.entries()) {
    const name = names[index];
    const before = name === undefined ? -1 : last.get(name) ?? -1;
    const versions = name === undefined ? 1 : counts.get(name) ?? 1;
    const alone = before >= 0
      ? lots[before]?.alone === true
      : isAlone(stream, { bases, prefix, versions });
    // what is cut into chunks is no base
    const isCut = alone && stream.bytes >= CHUNKED_BYTES_MIN;
    if (name !== undefined && isCut) last.delete(name);
    else if (name !== undefined) last.set(name, index);
    lots.push({ alone, before: alone ? before : -1 });
  }
  return lots;
}

/** Whether a stream, the first of its file in the segment, is better stored alone. */
function isAlone(
  { key, bytes, pieces, at, isRun }: PayloadStream,
  known: { bases: Bases; prefix: BlobBase | undefined; versions: number },
): boolean {
  const { bases, prefix, versions } = known;
  if (key < 0 || bases.isAppended(key, at)) return false;
  const base = bases.find(key, at);
  if (base === undefined) {
    return isRun && bytes > SOLID_FILE_BYTES_MAX && bytes > pieces * LOG_PIECE_BYTES_MAX;
  }
  const isNear = prefix !== undefined && base.row === prefix.row && base.offset >= prefix.offset &&
    base.offset + base.length <= prefix.offset + prefix.length;
  if (isNear || bytes < ALONE_BYTES_MIN) return false;
  // one whole version with those that follow, against a difference for each
  if (versions * ALONE_COST_BYTES > bytes * TEXT_PART) return false;
  return isRun || bytes <= ALONE_PIECES_BYTES_MAX;
}

/** What has no earlier version first: it may itself be one. */
function store(runs: readonly Run[], maker: BlobMaker, local: LocalContent): void {
  maker.local = local;
  for (const withBase of [false, true]) {
    for (const run of runs) {
      if ((run.baseAt !== undefined) !== withBase) continue;
      const bytes = local.content.subarray(run.start, run.start + run.length);
      run.blobs = maker.make(bytes, run.baseAt ?? none, run.nearAt);
    }
  }
}

/** Text that is lines with numbers. */
interface TextPart {
  start: number;
  end: number;
  columns: Uint8Array;
}

/** Places all streams, those that are not alone in their order but for texts that are lines with numbers, which come first. */
function placeTogether(
  packer: EventPacker,
  to: { content: Uint8Array; starts: number[]; from: number; lots: readonly Lot[] },
): TextPart[] {
  const { content, starts, lots } = to;
  const columns = new Map<number, Uint8Array>();
  const order = () => {
    let next = to.from;
    for (const isText of [true, false]) {
      for (const [index, { bytes }] of packer.streams.entries()) {
        if (lots[index]?.alone === true || columns.has(index) !== isText) continue;
        starts[index] = next;
        next += bytes;
      }
    }
    packer.place(content, starts);
  };
  order();
  for (const [index, stream] of packer.streams.entries()) {
    if (lots[index]?.alone === true || !mayBeLines(stream)) continue;
    const start = starts[index] ?? 0;
    const found = encodeLines(content.subarray(start, start + stream.bytes));
    if (found !== undefined) columns.set(index, found);
  }
  if (columns.size > 0) order();
  return [...columns].map(([index, columns]) => {
    const start = starts[index] ?? 0;
    return { start, end: start + (packer.streams[index]?.bytes ?? 0), columns };
  });
}

/** A log, or what a command printed: large, and written one behind the other. */
function mayBeLines({ bytes, isRun }: PayloadStream): boolean {
  return isRun && bytes >= LINES_BYTES_MIN && bytes <= SOLID_BYTES_MAX;
}

/** All that follows in the content: texts that are lines with numbers as such, what is between and behind them as it is. */
function storeTogether(
  runs: Run[],
  where: { from: number; texts: readonly TextPart[] },
  options: LayOutOptions,
): void {
  const { maker } = options;
  const content = maker.local?.content ?? new Uint8Array(0);
  let { from } = where;
  let near = options.solid;
  for (const { start, end, columns } of where.texts) {
    const bytes = content.subarray(start, end);
    const blob = maker.lines(bytes, columns, near === undefined ? undefined : maker.baseOf(near));
    near = storeSolid(runs, { from, to: start, near }, options);
    runs.push({ start, length: bytes.length, baseAt: undefined, nearAt: undefined, blobs: [blob] });
    from = end;
  }
  storeSolid(runs, { from, to: content.length, near }, options);
}

/** A part of the content in blobs of about one size, each with one before it as prefix; gives the prefix for the next. */
function storeSolid(
  runs: Run[],
  part: { from: number; to: number; near: BlobBase | undefined },
  options: LayOutOptions,
): BlobBase | undefined {
  const { maker, row, deep } = options;
  const content = maker.local?.content ?? new Uint8Array(0);
  const length = part.to - part.from;
  const size = Math.ceil(length / Math.ceil(length / SOLID_BYTES_MAX));
  let { near } = part;
  for (let start = part.from; start < part.to; start += size) {
    const bytes = content.subarray(start, Math.min(part.to, start + size));
    const blob = maker.solid(bytes, near === undefined ? undefined : maker.baseOf(near), deep);
    runs.push({ start, length: bytes.length, baseAt: undefined, nearAt: undefined, blobs: [blob] });
    near = { row, offset: PACKED_POINTER + start, length: bytes.length };
  }
  return near;
}

function blobIn(runs: readonly Run[], offset: number): Blob | undefined {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((runs[middle]?.start ?? 0) <= offset) low = middle + 1;
    else high = middle;
  }
  const run = runs[low - 1];
  let end = run?.start ?? 0;
  return run?.blobs.find((blob) => (end += blob.length) > offset);
}
