/**
 * Which stored content is still needed: from pointers that will stay, along the blobs they lie in and what these are differences
 * from, until nothing new is met. Counts by blob in packed rows, by range in raw ones. Everything else may go.
 */
import { PACKED_POINTER } from "../format/packed_layout.ts";
import { blobAt } from "../format/packed_row.ts";
import type { ContentReader } from "../store/content_reader.ts";

/** A run of a row's content, offsets as pointers have them. */
interface Pointer {
  row: number;
  offset: number;
  length: number;
}

/** Bytes [from, to) of a raw row. */
export interface NeededRange {
  from: number;
  to: number;
}

/** What of one row is needed. */
export interface RowNeed {
  /** Packed: 1 for each blob that is. */
  blobs?: Uint8Array;
  /** Raw: in no order, they may overlap. */
  ranges: NeededRange[];
}

/** See the head of the file. */
export class Needs {
  readonly #content: ContentReader;
  readonly #rows = new Map<number, RowNeed>();
  readonly #work: Pointer[] = [];

  constructor(content: ContentReader) {
    this.#content = content;
  }

  /** What of a row is needed; undefined: nothing. */
  of(row: number): RowNeed | undefined {
    return this.#rows.get(row);
  }

  /** A pointer that will stay. @throws {DiffKeeperError} `data_corrupt` */
  need(pointer: Pointer): void {
    if (pointer.length === 0) return;
    this.#work.push(pointer);
    for (let next = this.#work.pop(); next !== undefined; next = this.#work.pop()) {
      this.#follow(next);
    }
  }

  /** A packed row that will stay as it is: what its blobs stand on. */
  whole(row: number): void {
    const { from, to } = this.#content.extentOf(row);
    if (this.#content.packed(row) !== undefined) {
      this.need({ row, offset: from, length: to - from });
    }
  }

  #follow({ row, offset, length }: Pointer): void {
    let need = this.#rows.get(row);
    if (need === undefined) this.#rows.set(row, need = { ranges: [] });
    const packed = this.#content.packed(row);
    if (packed === undefined) {
      addRange(need.ranges, { from: offset, to: offset + length });
      return;
    }
    need.blobs ??= new Uint8Array(packed.blobs.length);
    const from = offset - (offset >= PACKED_POINTER ? PACKED_POINTER : 0);
    const last = blobAt(packed, from + length - 1);
    for (let index = blobAt(packed, from); index <= last; index++) {
      if (need.blobs[index] === 1) continue;
      need.blobs[index] = 1;
      const blob = packed.blobs[index];
      if (blob?.base !== undefined) this.#work.push(blob.base);
      if (blob?.row !== undefined) {
        this.#work.push({ row: blob.row, offset: 0, length: blob.length });
      }
    }
  }
}

/** Mostly one range goes on where the last one ended. */
function addRange(ranges: NeededRange[], range: NeededRange): void {
  const last = ranges.at(-1);
  if (last !== undefined && last.to === range.from) last.to = range.to;
  else ranges.push(range);
}

/** The ranges in order, those that touch each other as one. */
export function joinedRanges(ranges: readonly NeededRange[]): NeededRange[] {
  const joined: NeededRange[] = [];
  for (const { from, to } of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = joined.at(-1);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else joined.push({ from, to });
  }
  return joined;
}
