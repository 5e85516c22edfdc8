/**
 * Packed rows (docs/FORMAT.md, "Packed rows"): content as blobs, each stored whole, compressed, as a difference from other
 * content, or in a row of its own, or not any more, and, in rows of events, the events as a compressed frame before them. Pointers into such a
 * row count in its content: the raw bytes of its blobs, one behind the other.
 *
 * | offset | size | field                                                       |
 * |--------|------|-------------------------------------------------------------|
 * | 0      | 4    | blobs                                                       |
 * | 4      | 4    | bytes of the directory                                      |
 * | 8      | 4    | bytes of the events when unpacked, 0 in rows without events |
 * | 12     | 4    | bytes of the frame of the events                            |
 * | 16     |      | directory, frame of the events, the blobs as stored         |
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_VALUE_BYTES_MAX } from "../base/limits.ts";
import { ENVELOPE_BYTES, seal, type ValueKindCode } from "./envelope.ts";
import { U32 } from "./event_layout.ts";
import { PACKED_POINTER } from "./packed_layout.ts";
import { ByteReader, ByteWriter } from "./varint.ts";

/** How a blob is stored. */
export const Codec = {
  RAW: 0,
  ZSTD: 1,
  PREFIX: 2,
  DELTA: 3,
  CONTENT: 4,
  GONE: 5,
  LINES: 6,
} as const;
export type CodecCode = (typeof Codec)[keyof typeof Codec];

/** Content that a blob is a difference from. It lies inside one blob, or in one row of content that is not packed. */
export interface BlobBase {
  row: number;
  /** As pointers have it: from PACKED_POINTER on in packed rows of events. */
  offset: number;
  length: number;
}

/** One blob. */
export interface Blob {
  /** Bytes when unpacked. */
  length: number;
  codec: CodecCode;
  /** PREFIX, DELTA: its place in the series of versions, from 1 on; others begin a series: 0. */
  index: number;
  base?: BlobBase;
  /** CONTENT: the `c:` row that has the bytes. */
  row?: number;
  /** XXH3-64 of the bytes when unpacked; not of CONTENT, whose row has it. */
  checksum: bigint;
  /** As stored; empty for CONTENT. */
  stored: Uint8Array;
}

/** A packed row, parsed; its byte arrays are views of the value. */
export interface PackedRow {
  blobs: Blob[];
  /** Where each blob begins in the content, and at the end where the last one ends. */
  starts: Float64Array;
  events?: { length: number; frame: Uint8Array };
}

const HEADER_BYTES = 16;
const BLOBS_MAX = 1 << 20;

/** The value of a packed row with its envelope. */
export function encodePackedRow(
  kind: ValueKindCode,
  blobs: readonly Blob[],
  events?: { length: number; frame: Uint8Array },
): Uint8Array {
  const directory = new ByteWriter();
  let storedBytes = 0;
  for (const blob of blobs) {
    putBlob(directory, blob);
    storedBytes += blob.stored.length;
  }
  const frame = events?.frame ?? new Uint8Array(0);
  const head = ENVELOPE_BYTES + HEADER_BYTES;
  const value = new Uint8Array(head + directory.bytes.length + frame.length + storedBytes);
  const view = new DataView(value.buffer);
  const header = [blobs.length, directory.bytes.length, events?.length ?? 0, frame.length];
  for (const [index, word] of header.entries()) {
    view.setUint32(ENVELOPE_BYTES + index * 4, word, true);
  }
  let at = head;
  for (const part of [directory.bytes, frame, ...blobs.map((blob) => blob.stored)]) {
    value.set(part, at);
    at += part.length;
  }
  assert(at === value.length, "the parts of a packed row must fill it");
  seal(value, kind);
  return value;
}

/**
 * Parses what stands behind the envelope of a packed row.
 * @throws {DiffKeeperError} `data_corrupt`
 */
export function parsePackedRow(payload: Uint8Array): PackedRow {
  if (payload.length < HEADER_BYTES) throw corruptRow("its header is cut");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const count = view.getUint32(0, true);
  const directoryEnd = HEADER_BYTES + view.getUint32(4, true);
  const length = view.getUint32(8, true);
  let at = directoryEnd + view.getUint32(12, true);
  if (count > BLOBS_MAX || at > payload.length) throw corruptRow("its parts do not fit");
  if (length > TRACE_VALUE_BYTES_MAX) throw corruptRow("its events are too large");
  const directory = new ByteReader(payload.subarray(HEADER_BYTES, directoryEnd));
  const blobs: Blob[] = [];
  const starts = new Float64Array(count + 1);
  for (let index = 0; index < count; index++) {
    const { blob, storedBytes } = getBlob(directory);
    if (at + storedBytes > payload.length) throw corruptRow("a blob is cut");
    blob.stored = payload.subarray(at, at + storedBytes);
    blobs.push(blob);
    at += storedBytes;
    starts[index + 1] = (starts[index] ?? 0) + blob.length;
  }
  directory.end();
  if (at !== payload.length) throw corruptRow("there are bytes after its last blob");
  if ((starts[count] ?? 0) > TRACE_VALUE_BYTES_MAX) throw corruptRow("its content is too large");
  const frame = payload.subarray(directoryEnd, directoryEnd + view.getUint32(12, true));
  return { blobs, starts, ...(length === 0 ? {} : { events: { length, frame } }) };
}

/** The blob in which an offset of the content lies. @throws {DiffKeeperError} `data_corrupt`: in none. */
export function blobAt(row: PackedRow, offset: number): number {
  const { starts } = row;
  let [low, high] = [0, starts.length - 1];
  if (offset < 0 || offset >= (starts[high] ?? 0)) throw corruptRow("a pointer lies outside it");
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if ((starts[middle] ?? 0) <= offset) low = middle;
    else high = middle;
  }
  return low;
}

function putBlob(out: ByteWriter, blob: Blob): void {
  out.byte(blob.codec);
  out.varint(blob.length);
  if (blob.codec === Codec.CONTENT) {
    assert(blob.row !== undefined && blob.stored.length === 0, "a blob elsewhere names its row");
    out.varint(foldHigh(blob.row));
    return;
  }
  if (blob.codec === Codec.GONE) return;
  out.u64(blob.checksum);
  if (blob.codec === Codec.RAW) return;
  out.varint(blob.stored.length);
  if (blob.codec === Codec.ZSTD || blob.codec === Codec.LINES) return;
  assert(blob.base !== undefined && blob.index > 0, "a difference names its base");
  out.byte(blob.index);
  out.varint(foldHigh(blob.base.row));
  out.varint(foldHigh(blob.base.offset));
  out.varint(blob.base.length);
}

function getBlob(from: ByteReader): { blob: Blob; storedBytes: number } {
  const codec = from.byte();
  if (!isCodec(codec)) throw corruptRow("a blob has an unknown codec");
  const length = from.varint();
  if (length === 0) throw corruptRow("a blob is empty");
  const blob: Blob = { length, codec, index: 0, checksum: 0n, stored: new Uint8Array(0) };
  if (codec === Codec.CONTENT) {
    blob.row = unfoldHigh(from.varint());
    return { blob, storedBytes: 0 };
  }
  if (codec === Codec.GONE) return { blob, storedBytes: 0 };
  blob.checksum = from.u64();
  if (codec === Codec.RAW) return { blob, storedBytes: length };
  const storedBytes = from.varint();
  if (codec === Codec.ZSTD || codec === Codec.LINES) return { blob, storedBytes };
  blob.index = from.byte();
  blob.base = {
    row: unfoldHigh(from.varint()),
    offset: unfoldHigh(from.varint()),
    length: from.varint(),
  };
  if (blob.index === 0 || blob.base.length === 0) throw corruptRow("a base is empty");
  return { blob, storedBytes };
}

/** Ids of the compactor's rows and pointers into packed batches begin at 2^31: small numbers again. */
function foldHigh(value: number): number {
  return value >= PACKED_POINTER ? (value - PACKED_POINTER) * 2 + 1 : value * 2;
}

function unfoldHigh(folded: number): number {
  const value = Math.floor(folded / 2) + (folded % 2) * PACKED_POINTER;
  if (value >= U32) throw corruptRow("a number is too large");
  return value;
}

function isCodec(codec: number): codec is CodecCode {
  return codec >= Codec.RAW && codec <= Codec.LINES;
}

/** A `data_corrupt` error about a packed row. The text is constant. */
export function corruptRow(why: string): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", `cannot read a packed row: ${why}`);
}
