/**
 * The bytes that pointers name, whatever form the rows have that hold them: raw, or packed as blobs that may be differences
 * from others (docs/FORMAT.md, "Packed rows"). A chain of differences is followed in a loop and is bounded; each blob's checksum is
 * compared whenever it is unpacked. Rows and unpacked blobs are kept up to a bound in bytes; callers must not change them.
 */
import { assert } from "../base/assert.ts";
import { BLOB_CHAIN_MAX, READER_CACHE_BYTES_MAX } from "../base/limits.ts";
import { unwrapAny, ValueKind } from "../format/envelope.ts";
import { decodeLines } from "../format/lines_decoder.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import {
  type Blob,
  blobAt,
  Codec,
  corruptRow,
  type PackedRow,
  parsePackedRow,
} from "../format/packed_row.ts";
import { zstdDecode, zstdDecodeExact } from "../format/zstd.ts";
import { RowCache } from "./row_cache.ts";
import type { TraceRows } from "./trace_rows.ts";

/** A run of content: `bytes[0]` is what a pointer with the offset `start` names. */
export interface Piece {
  bytes: Uint8Array;
  start: number;
}

/** A row, opened: its payload, or its blobs. */
interface OpenRow {
  payload: Uint8Array;
  packed?: PackedRow;
  /** Added to offsets in the content, to get those of pointers. */
  pointerBase: number;
}

/** A blob on the way down a chain. */
interface Link {
  key: number;
  blob: Blob;
  /** Where its base begins in the next link's bytes. */
  from: number;
}

/** A key of the cache for a blob: rows have ids below 2^32. */
const BLOBS_PER_ROW = 1 << 20;

/** See the head of the file. */
export class ContentReader {
  readonly #rows: TraceRows;
  readonly #blobs: RowCache;
  readonly #open = new Map<number, OpenRow>();
  #openBytes = 0;
  readonly #openBytesMax: number;

  /** @param bytesMax of what is kept, rows and blobs together. */
  constructor(rows: TraceRows, bytesMax: number = READER_CACHE_BYTES_MAX) {
    this.#rows = rows;
    this.#blobs = new RowCache(bytesMax / 2);
    this.#openBytesMax = bytesMax / 2;
  }

  /** Takes over a raw row that was read anyway. */
  keep(row: number, payload: Uint8Array): void {
    this.#keep(row, { payload, pointerBase: 0 });
  }

  /** The run of content in which a pointer lies. @throws {DiffKeeperError} `data_corrupt` */
  piece(row: number, offset: number): Piece {
    const open = this.#row(row);
    if (open.packed === undefined) return { bytes: open.payload, start: 0 };
    return this.#rows.check(() => {
      const { index, start } = place(open, offset);
      return { bytes: this.#unpack(row, index), start };
    });
  }

  /** Bytes that pointers into a row may reach to. @throws {DiffKeeperError} `data_corrupt` */
  extentOf(row: number): { from: number; to: number } {
    const { payload, packed, pointerBase } = this.#row(row);
    const length = packed === undefined ? payload.length : packed.starts.at(-1) ?? 0;
    return { from: pointerBase, to: pointerBase + length };
  }

  /** The blobs of a packed row; undefined: it is raw. @throws {DiffKeeperError} `data_corrupt` */
  packed(row: number): PackedRow | undefined {
    return this.#row(row).packed;
  }

  /** The blob in which a pointer lies, wherever it is stored; undefined: its row is raw. @throws `data_corrupt` */
  blobOf(row: number, offset: number): Blob | undefined {
    const open = this.#row(row);
    if (open.packed === undefined) return undefined;
    const blob = open.packed.blobs[place(open, offset).index];
    return blob?.codec === Codec.CONTENT ? this.#row(blob.row ?? 0).packed?.blobs[0] : blob;
  }

  /** Forgets a row that was replaced. */
  forget(row: number): void {
    const open = this.#open.get(row);
    if (open === undefined) return;
    this.#openBytes -= open.payload.length;
    this.#open.delete(row);
  }

  clear(): void {
    this.#open.clear();
    this.#openBytes = 0;
    this.#blobs.clear();
  }

  #row(id: number): OpenRow {
    const known = this.#open.get(id);
    if (known !== undefined) {
      this.#open.delete(id);
      this.#open.set(id, known);
      return known;
    }
    const found = this.#rows.byId(id);
    if (found === undefined) throw this.#rows.corrupt(`row ${id}, named by an event, is missing`);
    const open = this.#rows.check(() => openRow(found.value));
    if (open === undefined) {
      throw this.#rows.corrupt(`row ${id}, named by an event, holds no content`);
    }
    this.#keep(id, open);
    return open;
  }

  #keep(id: number, open: OpenRow): void {
    this.forget(id);
    if (open.payload.length > this.#openBytesMax) return;
    this.#open.set(id, open);
    this.#openBytes += open.payload.length;
    for (const oldest of this.#open.keys()) {
      if (this.#openBytes <= this.#openBytesMax) break;
      this.forget(oldest);
    }
  }

  /** Goes down the chain to a blob that needs no other, then unpacks upwards. */
  #unpack(row: number, index: number): Uint8Array {
    const links: Link[] = [];
    let bytes: Uint8Array | undefined;
    let at = { row, index };
    while (bytes === undefined) {
      const key = at.row * BLOBS_PER_ROW + at.index;
      bytes = this.#blobs.get(key);
      if (bytes !== undefined) break;
      const blob = this.#row(at.row).packed?.blobs[at.index];
      assert(blob !== undefined, "a blob must be asked for by its index");
      if (links.length >= BLOB_CHAIN_MAX) throw corruptRow("a chain of differences is too long");
      const base = blob.codec === Codec.CONTENT
        ? { row: blob.row ?? 0, offset: 0, length: blob.length }
        : blob.base;
      if (base === undefined) {
        bytes = this.#decode(key, blob, undefined);
        break;
      }
      const open = this.#row(base.row);
      const found = open.packed === undefined ? undefined : place(open, base.offset);
      links.push({ key, blob, from: base.offset - (found?.start ?? 0) });
      if (found === undefined) bytes = open.payload;
      else at = { row: base.row, index: found.index };
    }
    for (let link = links.pop(); link !== undefined; link = links.pop()) {
      const { key, blob, from } = link;
      const length = blob.base?.length ?? blob.length;
      if (from + length > bytes.length) throw corruptRow("a base is cut");
      bytes = this.#decode(key, blob, bytes.subarray(from, from + length));
    }
    return bytes;
  }

  #decode(key: number, blob: Blob, base: Uint8Array | undefined): Uint8Array {
    const bytes = decodeBlob(blob, base);
    if (blob.codec === Codec.CONTENT) return bytes;
    if (Bun.hash.xxHash3(bytes) !== blob.checksum) {
      throw corruptRow("the checksum of a blob does not match");
    }
    this.#blobs.set(key, bytes);
    return bytes;
  }
}

/** What a blob holds. @throws {DiffKeeperError} `data_corrupt`; the checksum is the caller's. */
export function decodeBlob(blob: Blob, base: Uint8Array | undefined): Uint8Array {
  switch (blob.codec) {
    case Codec.RAW:
      return blob.stored;
    case Codec.ZSTD:
      return zstdDecodeExact(blob.stored, blob.length);
    case Codec.LINES:
      return decodeLines(zstdDecode(blob.stored, { maxBytes: blob.length }), blob.length);
    case Codec.PREFIX:
      return zstdDecodeExact(blob.stored, blob.length, base);
    case Codec.GONE:
      throw corruptRow("a pointer leads to content that was dropped");
    case Codec.CONTENT:
      assert(base !== undefined, "a blob elsewhere must have been found");
      return base;
    default:
      throw corruptRow("a blob has an unknown codec");
  }
}

/** The blob that a pointer's offset lies in, and the offset at which pointers into it begin. */
function place(open: OpenRow, offset: number): { index: number; start: number } {
  const { packed, pointerBase } = open;
  assert(packed !== undefined, "only packed rows have blobs");
  const index = blobAt(packed, offset - pointerBase);
  return { index, start: pointerBase + (packed.starts[index] ?? 0) };
}

function openRow(value: Uint8Array): OpenRow | undefined {
  const { kind, payload } = unwrapAny(value);
  if (kind === ValueKind.DATA || kind === ValueKind.EVENTS) return { payload, pointerBase: 0 };
  if (kind === ValueKind.PACKED_DATA) {
    return { payload, packed: parsePackedRow(payload), pointerBase: 0 };
  }
  if (kind !== ValueKind.PACKED_EVENTS) return undefined;
  return { payload, packed: parsePackedRow(payload), pointerBase: PACKED_POINTER };
}
