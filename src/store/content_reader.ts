/**
 * The bytes that pointers name, whatever form the rows have that hold them: raw, or packed as blobs that may be differences
 * from others (docs/FORMAT.md, "Packed rows"). A chain of differences is followed in a loop and is bounded; each blob's checksum is
 * compared whenever it is unpacked. Rows and unpacked blobs are kept up to a bound in bytes; callers must not change them.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import { BLOB_CHAIN_MAX, BLOB_SHARED_BYTES_MAX, READER_CACHE_BYTES_MAX } from "../base/limits.ts";
import { releaseBytes } from "../base/release.ts";
import { unwrapAny, ValueKind } from "../format/envelope.ts";
import { deltaApply } from "../format/delta_decoder.ts";
import { decodeLines } from "../format/lines_decoder.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import {
  type Blob,
  blobAt,
  type BlobBase,
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
  /** Nobody else keeps its bytes. */
  isOurs: boolean;
}

/** A blob on the way down, and the blobs that it is a difference from. */
interface Step {
  key: number;
  blob: Blob;
  base: Base | undefined;
}

/** A range of a row's content. */
interface Base {
  /** Of a raw row: all of it, the range begins at `from`. */
  payload?: Uint8Array;
  /** Of a packed one: the blobs that it goes over, the first one's start is `from` before the range. */
  row: number;
  first: number;
  last: number;
  from: number;
  length: number;
}

/**
 * What was unpacked on the way to a blob, and nobody else knows: a chain of large blobs would leave a hundred megabytes for the
 * collector, which comes when it likes.
 */
class OwnBytes {
  readonly #isKept: (key: number) => boolean;
  readonly #keys = new Map<Uint8Array, number>();

  /** @param isKept whether the cache has a blob. */
  constructor(isKept: (key: number) => boolean) {
    this.#isKept = isKept;
  }

  made({ key, blob }: Step, bytes: Uint8Array): void {
    // others are parts of a row, or another blob's bytes
    if (blob.codec !== Codec.RAW && blob.codec !== Codec.CONTENT) this.#keys.set(bytes, key);
  }

  /** Gives back all that the cache does not have, but for what is still needed. */
  release(needed: Uint8Array): void {
    for (const [bytes, key] of this.#keys) {
      // what is needed may be a view of what was unpacked
      if (bytes.buffer === needed.buffer || this.#isKept(key)) continue;
      this.#keys.delete(bytes);
      releaseBytes(bytes);
    }
  }
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
  /** Rows and blobs that were forgotten since the last piece was asked for; undefined: pieces are kept by those who asked. */
  #passed: Uint8Array[] | undefined;

  /** @param bytesMax of what is kept, rows and blobs together. */
  constructor(rows: TraceRows, bytesMax: number = READER_CACHE_BYTES_MAX) {
    this.#rows = rows;
    this.#blobs = new RowCache(bytesMax / 2);
    this.#openBytesMax = bytesMax / 2;
  }

  /** A raw row that was read anyway. */
  keep(row: number, payload: Uint8Array): void {
    this.#keep(row, { payload, pointerBase: 0, isOurs: false });
  }

  /** As `keep`, of bytes that nobody else keeps, unless others would have to go. Returns whether it did. */
  takeOver(row: number, payload: Uint8Array): boolean {
    const hasRoom = this.#openBytes + payload.length <= this.#openBytesMax;
    if (hasRoom) this.#keep(row, { payload, pointerBase: 0, isOurs: true });
    return hasRoom;
  }

  /** From now on a piece is good only until the next one is asked for. */
  passing(): void {
    if (this.#passed !== undefined) return;
    const passed: Uint8Array[] = [];
    this.#passed = passed;
    // some blobs may be views of a row
    this.#blobs.clear();
    this.#blobs.onGone = (bytes) => void passed.push(bytes);
  }

  /** The run of content in which a pointer lies. @throws {DiffKeeperError} `data_corrupt` */
  piece(row: number, offset: number): Piece {
    for (const payload of this.#passed?.splice(0) ?? []) releaseBytes(payload);
    const open = this.#row(row);
    if (open.packed === undefined) return { bytes: open.payload, start: 0 };
    return this.#rows.check(() => {
      const { index, start } = place(open, offset);
      return { bytes: this.#unpack(row, index), start };
    });
  }

  /** A range of a row's content, which may go over several blobs. @throws {DiffKeeperError} `data_corrupt` */
  range(range: BlobBase): Uint8Array {
    const open = this.#row(range.row);
    return this.#rows.check(() => {
      const base = this.#base(range);
      const parts = new Map<number, Uint8Array>();
      for (let index = base.first; open.packed !== undefined && index <= base.last; index++) {
        parts.set(keyOf(range.row, index), this.#unpack(range.row, index));
      }
      const bytes = gather(base, (key) => parts.get(key));
      assert(bytes !== undefined, "a range has bytes");
      return bytes;
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
    if (open.isOurs) this.#passed?.push(open.payload);
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

  /** Goes down to blobs that need no other, then unpacks upwards. */
  #unpack(row: number, index: number): Uint8Array {
    // what differences from several blobs need: others may need it too, and the cache may be too small for all of it
    const shared = new Map<number, Uint8Array>();
    let sharedBytes = 0;
    let last: { key: number; bytes: Uint8Array } | undefined;
    const own = new OwnBytes((key) => this.#blobs.has(key));
    const known = (key: number) =>
      shared.get(key) ?? (last?.key === key ? last.bytes : this.#blobs.get(key));
    const open: Step[] = [];
    for (let next: number | undefined = keyOf(row, index);;) {
      if (next !== undefined) {
        const bytes = open.length === 0 ? this.#blobs.get(next) : undefined;
        if (bytes !== undefined) return bytes;
        if (open.length >= BLOB_CHAIN_MAX) throw corruptRow("a chain of differences is too long");
        open.push(this.#step(next));
      }
      const step = open.at(-1);
      assert(step !== undefined, "what was asked for is the last to be done");
      next = missingIn(step.base, known);
      if (next !== undefined) continue;
      const bytes = this.#decode(step.key, step.blob, gather(step.base, known));
      own.made(step, bytes);
      open.pop();
      const above = open.at(-1);
      if (above === undefined) {
        own.release(bytes);
        return bytes;
      }
      if (above.base !== undefined && above.base.last > above.base.first) {
        shared.set(step.key, bytes);
        sharedBytes += bytes.length;
        if (sharedBytes > BLOB_SHARED_BYTES_MAX) throw corruptRow("a difference needs too much");
      } else if (shared.size === 0) own.release(bytes);
      last = { key: step.key, bytes };
    }
  }

  #step(key: number): Step {
    const blob = this.#row(Math.floor(key / BLOBS_PER_ROW)).packed?.blobs[key % BLOBS_PER_ROW];
    assert(blob !== undefined, "a blob must be asked for by its index");
    const base = blob.codec === Codec.CONTENT
      ? { row: blob.row ?? 0, offset: 0, length: blob.length }
      : blob.base;
    return { key, blob, base: base === undefined ? undefined : this.#base(base) };
  }

  #base({ row, offset, length }: BlobBase): Base {
    const { packed, payload, pointerBase } = this.#row(row);
    const from = offset - pointerBase;
    if (packed === undefined) return { payload, row, first: 0, last: 0, from, length };
    const first = blobAt(packed, from);
    const last = blobAt(packed, from + length - 1);
    return { row, first, last, from: from - (packed.starts[first] ?? 0), length };
  }

  #decode(key: number, blob: Blob, base: Uint8Array | undefined): Uint8Array {
    const bytes = decodeBlob(blob, base);
    if (blob.codec === Codec.CONTENT) return bytes;
    if (Bun.hash.xxHash3(bytes) !== blob.checksum) {
      throw corruptRow("the checksum of a blob does not match");
    }
    // a row must not be given back while a view of it is kept
    if (this.#passed === undefined || blob.codec !== Codec.RAW) this.#blobs.set(key, bytes);
    return bytes;
  }
}

function keyOf(row: number, index: number): number {
  return row * BLOBS_PER_ROW + index;
}

/** The first blob of a range that is not unpacked yet. */
function missingIn(
  base: Base | undefined,
  known: (key: number) => Uint8Array | undefined,
): number | undefined {
  if (base === undefined || base.payload !== undefined) return undefined;
  for (let index = base.first; index <= base.last; index++) {
    const key = keyOf(base.row, index);
    if (known(key) === undefined) return key;
  }
  return undefined;
}

/** The bytes of a range, in one piece: a view where they lie in one blob. */
function gather(
  base: Base | undefined,
  known: (key: number) => Uint8Array | undefined,
): Uint8Array | undefined {
  if (base === undefined) return undefined;
  const { payload, row, first, last, from, length } = base;
  const parts: Uint8Array[] = payload === undefined ? [] : [payload];
  if (payload === undefined) {
    for (let index = first; index <= last; index++) {
      const bytes = known(keyOf(row, index));
      assert(bytes !== undefined, "what a range goes over must be unpacked");
      parts.push(bytes);
    }
  }
  const [only] = parts;
  const whole = parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  if (from < 0 || from + length > whole.length) throw corruptRow("a base is cut");
  return whole.subarray(from, from + length);
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
    case Codec.DELTA:
      assert(base !== undefined, "a difference has a base");
      return deltaOf(base, blob);
    case Codec.GONE:
      throw corruptRow("a pointer leads to content that was dropped");
    case Codec.CONTENT:
      assert(base !== undefined, "a blob elsewhere must have been found");
      return base;
    default:
      throw corruptRow("a blob has an unknown codec");
  }
}

function deltaOf(base: Uint8Array, { stored, length }: Blob): Uint8Array {
  const bytes = deltaApply(base, stored, { maxBytes: length });
  if (bytes.length !== length) throw corruptRow("a difference makes fewer bytes than it must");
  return bytes;
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
  const open = { payload, pointerBase: 0, isOurs: true };
  if (kind === ValueKind.DATA || kind === ValueKind.EVENTS) return open;
  if (kind === ValueKind.PACKED_DATA) return { ...open, packed: parsePackedRow(payload) };
  if (kind !== ValueKind.PACKED_EVENTS) return undefined;
  return { ...open, packed: parsePackedRow(payload), pointerBase: PACKED_POINTER };
}
