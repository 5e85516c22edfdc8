/**
 * A segment: event batches that follow each other and become one packed row. Says where the payload of each file goes: files with an
 * earlier version one by one, each a difference from it, all others together, so that small files that resemble each other
 * are compressed together. The earlier version may stand in the segment itself.
 */
import { CHUNKED_BYTES_MIN, SOLID_BYTES_MAX, SOLID_FILE_BYTES_MAX } from "../base/limits.ts";
import type { EventPacker } from "../format/event_packer.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import type { Blob, BlobBase } from "../format/packed_row.ts";
import type { Bases } from "./bases.ts";
import type { BlobMaker, LocalContent } from "./blob_maker.ts";

/** Where the payload of a segment goes: its bytes, and the blobs that they become. */
export interface Laid {
  content: Uint8Array;
  blobs: Blob[];
}

interface Run {
  start: number;
  length: number;
  /** It may come again in parts: it is neither part of a file that only grows nor many small files. */
  cut: boolean;
  /** Undefined: it has no earlier version. */
  baseAt: ((offset: number) => BlobBase | undefined) | undefined;
  blobs: Blob[];
}

const none = () => undefined;

/** Places the payload of the batches in the packer, and stores it. `row` is the id that the packed row will have. */
export function layOut(
  packer: EventPacker,
  bases: Bases,
  maker: BlobMaker,
  row: number,
): Laid {
  const earlier = versionsWithin(packer, bases);
  const starts: number[] = new Array(packer.streams.length).fill(0);
  const runs: Run[] = [];
  let next = 0;
  let solid: Run | undefined;
  for (const withBase of [true, false]) {
    for (const [index, { key, bytes, at }] of packer.streams.entries()) {
      const before = earlier[index] ?? -1;
      const hasBase = before >= 0 || (key >= 0 && bases.find(key, at) !== undefined);
      if (hasBase !== withBase) continue;
      starts[index] = next;
      next += bytes;
      const joins = !hasBase && bytes <= SOLID_FILE_BYTES_MAX;
      if (joins && solid !== undefined && solid.length + bytes <= SOLID_BYTES_MAX) {
        solid.length += bytes;
        continue;
      }
      const cut = !joins && !bases.isAppended(key, at);
      const length = packer.streams[before]?.bytes ?? 0;
      const baseAt = !hasBase
        ? undefined
        : before >= 0
        ? () => ({ row, offset: PACKED_POINTER + (starts[before] ?? 0), length })
        : (offset: number) => bases.find(key, at + offset);
      const run: Run = { start: next - bytes, length: bytes, cut, baseAt, blobs: [] };
      runs.push(run);
      solid = joins ? run : undefined;
    }
  }
  const content = new Uint8Array(packer.payloadBytes);
  packer.place(content, starts);
  store(runs, maker, { row, content, blobAt: (offset) => blobIn(runs, offset) });
  return { content, blobs: runs.flatMap((run) => run.blobs) };
}

/** What has no earlier version first: it may itself be one. */
function store(runs: readonly Run[], maker: BlobMaker, local: LocalContent): void {
  maker.local = local;
  for (const withBase of [false, true]) {
    for (const run of runs) {
      if ((run.baseAt !== undefined) !== withBase) continue;
      const bytes = local.content.subarray(run.start, run.start + run.length);
      run.blobs = maker.make(bytes, run.baseAt ?? none, run.cut);
    }
  }
}

/** Of each stream the one before it that is an earlier version of the same file, by name; -1: none. It is never cut. */
function versionsWithin(packer: EventPacker, bases: Bases): number[] {
  const last = new Map<string, number>();
  return packer.streams.map(({ key, bytes, at }, index) => {
    const name = key < 0 || at !== 0 ? undefined : bases.nameOf(key);
    if (name === undefined) return -1;
    const before = last.get(name) ?? -1;
    if (bytes < CHUNKED_BYTES_MIN) last.set(name, index);
    else last.delete(name);
    return before;
  });
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
