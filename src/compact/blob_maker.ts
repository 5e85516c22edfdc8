/**
 * Stores runs of content as blobs: content that is there already by reference, else as whichever is smallest of whole,
 * compressed, and a difference from an earlier version. What was made is unpacked again and compared before it is given out:
 * a recorder must not lose evidence to a compressor.
 *
 * Versions of a file form a series with numbers from 0 on. Each is a difference from the one before, but every 16th, the n-th of
 * these, from the (n & (n - 1))-th of them, as Subversion's skip-deltas: near enough to be small, and a chain has at most 15
 * links and as many as n has bits.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import {
  CHUNKED_BYTES_MIN,
  CONTENT_ROW_BYTES_MIN,
  DELTA_ANCHOR_CHAIN_MAX,
  DELTA_BASE_WINDOW_BYTES,
  DELTA_CHAIN_MAX,
  DELTA_EXTRA_PART_MAX,
  DELTA_PART_MAX,
  DELTA_RECENT_BYTES_MAX,
  DELTA_SECTION_BYTES_MAX,
  SERIES_INDEX_MAX,
  SERIES_STRIDE,
  SOLID_BYTES_MAX,
} from "../base/limits.ts";
import { releaseBytes } from "../base/release.ts";
import { ENVELOPE_BYTES, ValueKind } from "../format/envelope.ts";
import { sha256Hex, type TraceKey } from "../format/keys.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import { type Blob, blobAt, type BlobBase, Codec, encodePackedRow } from "../format/packed_row.ts";
import { zstdEncode, type ZstdEncodeOptions } from "../format/zstd.ts";
import type { CompactStore } from "../store/compact_store.ts";
import { decodeBlob } from "../store/content_reader.ts";
import { chunkBorders, deltaEncodeFast } from "../../wasm/codecs.ts";
import type { NearRange } from "./file_runs.ts";

/** How hard to try: how zstd encodes, at levels from 1 to 19. */
export interface Effort {
  /** Less time, larger: `compact` packs it once more. */
  isFast: boolean;
  /** For content below `SMALL_BYTES`, where a high level costs little time. */
  small: ZstdEncodeOptions;
  large: ZstdEncodeOptions;
  /** For content that was put together. */
  solid: ZstdEncodeOptions;
  /** And for the first COMPACT_DEEP_BYTES of a trace: a small one may take its time. */
  deep: ZstdEncodeOptions;
  /** For columns: those of events, and of differences. */
  events: ZstdEncodeOptions;
}

/** Fast enough to keep up with a recorder. Tables of 2^19 see most of 16 MiB; those of the level forget it. */
export const EFFORT_FAST: Effort = {
  isFast: true,
  small: { level: 3 },
  large: { level: 1 },
  solid: { level: 1, tableLog: 19 },
  deep: { level: 3, tableLog: 19 },
  events: { level: 3 },
};
/** For a trace that is compacted when nobody waits. Tables by the level would take 200 MB, for the same result. */
export const EFFORT_SMALL: Effort = {
  isFast: false,
  small: { level: 12 },
  large: { level: 9 },
  solid: { level: 9, tableLog: 20 },
  deep: { level: 19, tableLog: 22 },
  events: { level: 12 },
};

/** A row of content that a transaction must put. */
export interface NewContent {
  id: number;
  key: TraceKey;
  value: Uint8Array;
}

/** Content below has the effort `small`. */
export const SMALL_BYTES = 1 << 16;
const NOTHING = new Uint8Array(0);
/** A difference larger than this part of the content is compared with the content compressed alone. */
const POOR_PART = 0.4;
/** A prefix must save so much of what was put together, as a part of it alone. */
const WORTH_PART = 0.9;

/** Lines that take less than this part of the text are taken without a look at what else they could be. */
const LINES_PART = 1 / 32;

/** What a version is a difference from, and its place in its series. */
export interface SeriesBase {
  base: BlobBase;
  index: number;
}

/** Content that is being packed: bases may lie in it. */
export interface LocalContent {
  /** Id of its row; pointers into it begin at PACKED_POINTER. */
  row: number;
  content: Uint8Array;
  /** The blob at an offset of the content; it must have been made. */
  blobAt(offset: number): Blob | undefined;
}

/** See the head of the file. */
export class BlobMaker {
  readonly #store: CompactStore;
  readonly #effort: Effort;
  readonly #pending = new Map<string, number>();
  /** Blobs of the rows that are pending. */
  readonly #made = new Map<number, Blob>();
  /** Values of rows of content that were packed last, the oldest first, with their envelope. */
  readonly #recent = new Map<number, Uint8Array>();
  #recentBytes = 0;
  /** Where bases may lie beside what is stored. */
  local: LocalContent | undefined;
  /** What was `local` last and is stored: most bases lie in it, and need not be unpacked. */
  #before: LocalContent | undefined;
  /** Rows that the blobs given out since `reset` need. */
  readonly contents: NewContent[] = [];

  constructor(store: CompactStore, effort: Effort) {
    this.#store = store;
    this.#effort = effort;
  }

  /** Forgets the rows that were put, or will not be. */
  reset(): void {
    this.#pending.clear();
    this.#made.clear();
    this.local = undefined;
    this.contents.length = 0;
  }

  /** The content that was packed is stored; that of the one before is not kept any longer. */
  settle(): void {
    const before = this.#before;
    this.#before = this.local;
    if (before !== undefined && before !== this.local) releaseBytes(before.content);
  }

  /**
   * Stores a run of content. `baseAt` names what the bytes from an offset on are likely to resemble, `nearAt` what a large part of them. Large
   * content that differs from it in more than a few places is cut where its bytes say so: it may come again, in parts.
   */
  make(
    bytes: Uint8Array,
    baseAt: (offset: number) => BlobBase | undefined,
    nearAt?: (offset: number) => NearRange | undefined,
  ): Blob[] {
    const blobs: Blob[] = [];
    for (let start = 0; start < bytes.length;) {
      const near = nearAt?.(start);
      const part = bytes.subarray(start, start + (near?.length ?? bytes.length));
      const difference = near === undefined ? undefined : this.#difference(part, near);
      const from = start;
      if (difference !== undefined) blobs.push(difference);
      else blobs.push(...this.#chunks(part, (offset) => baseAt(from + offset)));
      start += part.length;
    }
    return blobs;
  }

  #chunks(bytes: Uint8Array, baseAt: (offset: number) => BlobBase | undefined): Blob[] {
    if (bytes.length < CHUNKED_BYTES_MIN) return [this.#one(bytes, baseAt(0))];
    const blobs: Blob[] = [];
    let start = 0;
    for (const end of chunkBorders(bytes)) {
      blobs.push(this.#one(bytes.subarray(start, end), baseAt(start)));
      start = end;
    }
    return blobs;
  }

  /**
   * Stores content of many files, or of many versions of one, in one piece: repetitions are found wherever in it they stand, and in
   * `prefix`. Up to SOLID_BYTES_MAX.
   */
  solid(bytes: Uint8Array, prefix: SeriesBase | undefined, deep: boolean): Blob {
    assert(bytes.length <= SOLID_BYTES_MAX, "solid content has a limit");
    const how = deep ? this.#effort.deep : this.#effort.solid;
    let blob = this.#encoded(bytes, prefix, how);
    if (blob.codec === Codec.PREFIX && blob.stored.length > bytes.length * POOR_PART) {
      // what was before hardly helps: then it need not be unpacked, nor kept, for this
      const alone = this.#encoded(bytes, undefined, how);
      if (alone.stored.length * WORTH_PART < blob.stored.length) blob = alone;
    }
    return this.#put(bytes, blob);
  }

  /** Stores text that is lines with numbers, which are these columns. Up to SOLID_BYTES_MAX. */
  lines(bytes: Uint8Array, columns: Uint8Array, prefix: SeriesBase | undefined): Blob {
    const checksum = Bun.hash.xxHash3(bytes);
    const stored = zstdEncode(columns, this.#effort.events);
    const { length } = bytes;
    const blob: Blob = { length, codec: Codec.LINES, index: 0, checksum, stored };
    // text that was there before is smaller as what it is
    if (stored.length <= length * LINES_PART) return this.#put(bytes, blob);
    const other = this.#encoded(bytes, prefix, this.#effort.solid);
    return this.#put(bytes, other.stored.length < stored.length ? other : blob);
  }

  /** A row of content was packed; what follows is likely to be a difference from it. Takes over its value. */
  keep(id: number, value: Uint8Array): void {
    this.#recentBytes += value.length - (this.#recent.get(id)?.length ?? 0);
    this.#recent.set(id, value);
    for (const [oldest, bytes] of this.#recent) {
      if (this.#recentBytes <= DELTA_RECENT_BYTES_MAX) break;
      this.#recent.delete(oldest);
      this.#recentBytes -= bytes.length;
      releaseBytes(bytes);
    }
  }

  /** Large content as a difference from a range of earlier content; undefined: it would take too much for that. */
  #difference(bytes: Uint8Array, near: NearRange): Blob | undefined {
    if (bytes.length > DELTA_SECTION_BYTES_MAX) return undefined;
    const series = this.#chainOf(near.range);
    if (series === undefined) return undefined;
    const base = this.#bytesOf(series.base);
    const stored = deltaEncodeFast(base, bytes, {
      level: this.#effort.events.level,
      start: series.base === near.range ? near.start : 0,
      extraMax: bytes.length * DELTA_EXTRA_PART_MAX,
    });
    if (stored === undefined || stored.length > bytes.length * DELTA_PART_MAX) return undefined;
    const checksum = Bun.hash.xxHash3(bytes);
    const { length } = bytes;
    return this.#put(bytes, { length, codec: Codec.DELTA, checksum, stored, ...series }, base);
  }

  /** A range, or what it is a difference from itself if its chain is too long for one more. */
  #chainOf(range: BlobBase): SeriesBase | undefined {
    let base: BlobBase | undefined = range;
    let most = DELTA_CHAIN_MAX;
    for (let steps = 0; base !== undefined && steps <= SERIES_INDEX_MAX; steps++) {
      if (base.length > DELTA_BASE_WINDOW_BYTES) return undefined;
      const blobs = this.#blobsOf(base);
      const index = 1 + blobs.reduce((max, blob) => Math.max(max, blob.index), 0);
      if (index <= most) return { base, index };
      most = DELTA_ANCHOR_CHAIN_MAX;
      base = olderRange(blobs);
    }
    return undefined;
  }

  /** The blobs of stored content that a range goes over, wherever they are stored; none of a raw row. */
  #blobsOf({ row, offset, length }: BlobBase): Blob[] {
    const { content } = this.#store;
    const packed = content.packed(row);
    if (packed === undefined) return [];
    const from = offset - (offset >= PACKED_POINTER ? PACKED_POINTER : 0);
    const [first, last] = [blobAt(packed, from), blobAt(packed, from + length - 1)];
    return packed.blobs.slice(first, last + 1).map((blob) =>
      blob.codec === Codec.CONTENT ? content.blobOf(blob.row ?? 0, 0) ?? blob : blob
    );
  }

  /** Checks a blob, and gives it a row of its own if it is large. */
  #put(bytes: Uint8Array, blob: Blob, base?: Uint8Array): Blob {
    this.#check(bytes, blob, base);
    if (blob.stored.length < CONTENT_ROW_BYTES_MIN) return blob;
    const id = this.#store.reserveId();
    return this.#elsewhere(blob, id, { sort: "data", n: id });
  }

  #one(bytes: Uint8Array, base: BlobBase | undefined): Blob {
    assert(bytes.length > 0, "a blob must have bytes");
    const isSmall = bytes.length <= CONTENT_ROW_BYTES_MIN;
    const sha256 = isSmall ? "" : sha256Hex(bytes);
    const known = isSmall ? undefined : this.#known(sha256);
    if (known !== undefined) return elsewhere(bytes.length, known);
    const blob = this.#smallest(bytes, base);
    this.#check(bytes, blob);
    if (isSmall || blob.stored.length < CONTENT_ROW_BYTES_MIN) return blob;
    const id = this.#store.reserveId();
    this.#pending.set(sha256, id);
    return this.#elsewhere(blob, id, { sort: "content", sha256 });
  }

  /** Gives a blob a row of its own. */
  #elsewhere(blob: Blob, id: number, key: TraceKey): Blob {
    this.contents.push({ id, key, value: encodePackedRow(ValueKind.PACKED_DATA, [blob]) });
    this.#made.set(id, blob);
    return elsewhere(blob.length, id);
  }

  /** One compressed blob for a row of content that is there already; undefined: it would not be smaller. */
  recompress(bytes: Uint8Array): Uint8Array | undefined {
    const blob = this.#smallest(bytes, undefined);
    if (blob.codec === Codec.RAW) return undefined;
    this.#check(bytes, blob);
    return encodePackedRow(ValueKind.PACKED_DATA, [blob]);
  }

  #known(sha256: string): number | undefined {
    return this.#pending.get(sha256) ?? this.#store.idOf({ sort: "content", sha256 });
  }

  #smallest(bytes: Uint8Array, near: BlobBase | undefined): Blob {
    const how = bytes.length < SMALL_BYTES ? this.#effort.small : this.#effort.large;
    const blob = this.#encoded(bytes, near === undefined ? undefined : this.baseOf(near), how);
    if (blob.codec !== Codec.PREFIX || blob.stored.length < bytes.length * POOR_PART) return blob;
    const alone = this.#encoded(bytes, undefined, how);
    return alone.stored.length < blob.stored.length ? alone : blob;
  }

  /** Compressed in one way, or whole where that is not smaller. */
  #encoded(bytes: Uint8Array, series: SeriesBase | undefined, how: ZstdEncodeOptions): Blob {
    const blob: Blob = {
      length: bytes.length,
      codec: Codec.RAW,
      index: 0,
      checksum: Bun.hash.xxHash3(bytes),
      stored: bytes,
    };
    const prefix = series === undefined ? {} : { prefix: this.#bytesOf(series.base) };
    const stored = zstdEncode(bytes, { ...how, ...prefix });
    if (stored.length >= bytes.length) return blob;
    if (series === undefined) return { ...blob, codec: Codec.ZSTD, stored };
    return { ...blob, codec: Codec.PREFIX, stored, ...series };
  }

  /**
   * The version that the next one of a series is a difference from, when `near` is the one before it; undefined: a new series
   * begins.
   */
  baseOf(near: BlobBase): SeriesBase | undefined {
    const whole = this.#blobOf(near);
    // a part of what was put together is no version of a series
    const isKnown = whole?.length === near.length || whole?.codec === Codec.DELTA;
    const index = (isKnown ? whole.index : 0) + 1;
    if (index > SERIES_INDEX_MAX) return undefined;
    const wanted = baseIndex(index);
    let base = near;
    for (let steps = 0; steps <= SERIES_INDEX_MAX; steps++) {
      const blob = this.#blobOf(base);
      const isWhole = blob?.length === base.length;
      if (!isWhole || blob.base === undefined || blob.index <= wanted) return { base, index };
      base = blob.base;
    }
    return undefined;
  }

  /** The blob that a base lies in, wherever it is stored or will be; undefined: a raw row. */
  #blobOf(base: BlobBase): Blob | undefined {
    const { content } = this.#store;
    if (base.row !== this.local?.row) return content.blobOf(base.row, base.offset);
    const blob = this.local.blobAt(base.offset - PACKED_POINTER);
    if (blob?.row === undefined) return blob;
    return this.#made.get(blob.row) ?? content.blobOf(blob.row, 0);
  }

  #bytesOf(base: BlobBase): Uint8Array {
    const known = [this.local, this.#before].find((one) => one?.row === base.row);
    if (known !== undefined) {
      const start = base.offset - PACKED_POINTER;
      return known.content.subarray(start, start + base.length);
    }
    const recent = this.#recent.get(base.row);
    if (recent === undefined) return this.#store.content.range(base);
    this.#recent.delete(base.row);
    this.#recent.set(base.row, recent);
    const start = ENVELOPE_BYTES + base.offset;
    return recent.subarray(start, start + base.length);
  }

  #check(bytes: Uint8Array, blob: Blob, known?: Uint8Array): void {
    if (blob.codec === Codec.RAW) return;
    const base = blob.base === undefined ? undefined : known ?? this.#bytesOf(blob.base);
    const again = decodeBlob(blob, base);
    assert(Buffer.compare(again, bytes) === 0, "what was compressed must come back");
    releaseBytes(again);
  }
}

/** The range that differences are made from, where they are more than one that which most of them are. */
function olderRange(blobs: readonly Blob[]): BlobBase | undefined {
  const ranges = new Map<number, { bytes: number; from: number; to: number }>();
  for (const { base, length } of blobs) {
    if (base === undefined) continue;
    const [from, to] = [base.offset, base.offset + base.length];
    const known = ranges.get(base.row) ?? { bytes: 0, from, to };
    ranges.set(base.row, {
      bytes: known.bytes + length,
      from: Math.min(known.from, from),
      to: Math.max(known.to, to),
    });
  }
  let [best, bytes]: [BlobBase | undefined, number] = [undefined, 0];
  for (const [row, range] of ranges) {
    if (range.bytes <= bytes) continue;
    bytes = range.bytes;
    best = { row, offset: range.from, length: range.to - range.from };
  }
  return best;
}

/** The version that version `index` of a series is a difference from. */
function baseIndex(index: number): number {
  if (index % SERIES_STRIDE !== 0) return index - 1;
  const anchor = index / SERIES_STRIDE;
  return (anchor & (anchor - 1)) * SERIES_STRIDE;
}

function elsewhere(length: number, row: number): Blob {
  return { length, codec: Codec.CONTENT, index: 0, row, checksum: 0n, stored: NOTHING };
}
