/**
 * A segment: event batches that follow each other and become one packed row. Says where the payload of each file goes: files with an
 * earlier version one by one, each a difference from it, all others together, so that small files that resemble each other
 * are compressed together.
 */
import { SOLID_BYTES_MAX, SOLID_FILE_BYTES_MAX } from "../base/limits.ts";
import type { EventPacker } from "../format/event_packer.ts";
import type { Blob, BlobBase } from "../format/packed_row.ts";
import type { Bases } from "./bases.ts";
import type { BlobMaker } from "./blob_maker.ts";

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
  baseAt: (offset: number) => BlobBase | undefined;
}

const none = () => undefined;

/** Places the payload of the batches in the packer, and stores it. */
export function layOut(packer: EventPacker, bases: Bases, maker: BlobMaker): Laid {
  const starts: number[] = new Array(packer.streams.length).fill(0);
  const runs: Run[] = [];
  let next = 0;
  let solid: Run | undefined;
  for (const withBase of [true, false]) {
    for (const [index, { key, bytes, at }] of packer.streams.entries()) {
      const hasBase = key >= 0 && bases.find(key, at) !== undefined;
      if (hasBase !== withBase) continue;
      starts[index] = next;
      const joins = !hasBase && bytes <= SOLID_FILE_BYTES_MAX;
      if (joins && solid !== undefined && solid.length + bytes <= SOLID_BYTES_MAX) {
        solid.length += bytes;
      } else {
        const baseAt = hasBase ? (offset: number) => bases.find(key, at + offset) : none;
        const cut = !joins && !bases.isAppended(key, at);
        const run = { start: next, length: bytes, cut, baseAt };
        runs.push(run);
        solid = joins ? run : undefined;
      }
      next += bytes;
    }
  }
  const content = new Uint8Array(packer.payloadBytes);
  packer.place(content, starts);
  const blobs = runs.flatMap(({ start, length, cut, baseAt }) =>
    maker.make(content.subarray(start, start + length), baseAt, cut)
  );
  return { content, blobs };
}
