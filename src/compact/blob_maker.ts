/**
 * Stores runs of content as blobs: content that is there already by reference, else as whichever is smallest of whole,
 * compressed, and a difference from an earlier version. What was made is unpacked again and compared before it is given out:
 * a recorder must not lose evidence to a compressor.
 *
 * Versions of a file form a series with numbers from 0 on. Version n is a difference from version n & (n - 1), as Subversion's
 * skip-deltas: near enough to be small, and a chain has as many links as n has bits.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import {
  CHUNKED_BYTES_MIN,
  CONTENT_CHUNK_BYTES_MAX,
  CONTENT_ROW_BYTES_MIN,
  SERIES_INDEX_MAX,
} from "../base/limits.ts";
import { ValueKind } from "../format/envelope.ts";
import { sha256Hex } from "../format/keys.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import { type Blob, type BlobBase, Codec, encodePackedRow } from "../format/packed_row.ts";
import { zstdDecode, zstdEncode } from "../format/zstd.ts";
import type { CompactStore } from "../store/compact_store.ts";
import { chunkBorders } from "../../wasm/codecs.ts";

/** How hard to try: levels of zstd (1 to 19). */
export interface Effort {
  /** For content below `SMALL_BYTES`, where a high level costs little time. */
  small: number;
  large: number;
  /** For the columns of events. */
  events: number;
}

/** Fast enough to keep up with a recorder. */
export const EFFORT_FAST: Effort = { small: 3, large: 1, events: 3 };
/** For a trace that is compacted when nobody waits. */
export const EFFORT_SMALL: Effort = { small: 12, large: 9, events: 3 };

/** A row of content that a transaction must put. */
export interface NewContent {
  id: number;
  sha256: string;
  value: Uint8Array;
}

const SMALL_BYTES = 1 << 16;
const NOTHING = new Uint8Array(0);
/** A difference larger than this part of the content is compared with the content compressed alone. */
const POOR_PART = 0.4;

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
  /** Where bases may lie beside what is stored. */
  local: LocalContent | undefined;
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

  /**
   * Stores a run of content. `baseAt` names what the bytes from an offset on are likely to resemble. `cut`: large content may come
   * again, in parts.
   */
  make(bytes: Uint8Array, baseAt: (offset: number) => BlobBase | undefined, cut = true): Blob[] {
    const wholeMax = cut ? CHUNKED_BYTES_MIN : CONTENT_CHUNK_BYTES_MAX + 1;
    if (bytes.length < wholeMax) return [this.#one(bytes, baseAt(0))];
    const blobs: Blob[] = [];
    let start = 0;
    for (const end of chunkBorders(bytes)) {
      blobs.push(this.#one(bytes.subarray(start, end), baseAt(start)));
      start = end;
    }
    return blobs;
  }

  #one(bytes: Uint8Array, base: BlobBase | undefined): Blob {
    assert(bytes.length > 0, "a blob must have bytes");
    const isSmall = bytes.length <= CONTENT_ROW_BYTES_MIN;
    const sha256 = isSmall ? "" : sha256Hex(bytes);
    const known = isSmall ? undefined : this.#known(sha256);
    if (known !== undefined) return elsewhere(bytes.length, known);
    const blob = this.#smallest(bytes, base);
    this.#check(bytes, blob);
    if (blob.stored.length < CONTENT_ROW_BYTES_MIN || isSmall) return blob;
    const id = this.#store.reserveId();
    const value = encodePackedRow(ValueKind.PACKED_DATA, [blob]);
    this.contents.push({ id, sha256, value });
    this.#pending.set(sha256, id);
    this.#made.set(id, blob);
    return elsewhere(bytes.length, id);
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
    const level = bytes.length < SMALL_BYTES ? this.#effort.small : this.#effort.large;
    const checksum = Bun.hash.xxHash3(bytes);
    const blob: Blob = {
      length: bytes.length,
      codec: Codec.RAW,
      index: 0,
      checksum,
      stored: bytes,
    };
    const found = near === undefined ? undefined : this.#baseOf(near);
    if (found !== undefined) {
      const { base, index } = found;
      const stored = zstdEncode(bytes, level, this.#bytesOf(base));
      if (stored.length < bytes.length) {
        Object.assign(blob, { codec: Codec.PREFIX, index, base, stored });
      }
      if (stored.length < bytes.length * POOR_PART) return blob;
    }
    const alone = zstdEncode(bytes, level);
    if (alone.length >= blob.stored.length) return blob;
    return { length: bytes.length, codec: Codec.ZSTD, index: 0, checksum, stored: alone };
  }

  /** The version that the next one of a series is a difference from; undefined: a new series begins. */
  #baseOf(near: BlobBase): { base: BlobBase; index: number } | undefined {
    const index = (this.#blobOf(near)?.index ?? 0) + 1;
    if (index > SERIES_INDEX_MAX) return undefined;
    const wanted = index & (index - 1);
    let base = near;
    for (let steps = 0; steps <= SERIES_INDEX_MAX; steps++) {
      const blob = this.#blobOf(base);
      if (blob?.base === undefined || blob.index <= wanted) return { base, index };
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
    if (base.row === this.local?.row) {
      const start = base.offset - PACKED_POINTER;
      return this.local.content.subarray(start, start + base.length);
    }
    const { bytes, start } = this.#store.content.piece(base.row, base.offset);
    const from = base.offset - start;
    assert(from + base.length <= bytes.length, "a base must lie in one blob");
    return bytes.subarray(from, from + base.length);
  }

  #check(bytes: Uint8Array, blob: Blob): void {
    if (blob.codec === Codec.RAW) return;
    const base = blob.base === undefined ? undefined : this.#bytesOf(blob.base);
    const again = zstdDecode(blob.stored, blob.length, base);
    assert(Buffer.compare(again, bytes) === 0, "what was compressed must come back");
  }
}

function elsewhere(length: number, row: number): Blob {
  return { length, codec: Codec.CONTENT, index: 0, row, checksum: 0n, stored: NOTHING };
}
