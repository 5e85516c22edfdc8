/**
 * A row of content of which only a part is needed any more: the rest becomes blobs that are gone, which take no space, and every
 * pointer to what stays leads where it led. Blobs that stay are copied as they are stored, and none changes its number, because a
 * reader that is at work may know them by it.
 */
import { unwrapAny, ValueKind } from "../format/envelope.ts";
import { type Blob, Codec, encodePackedRow, parsePackedRow } from "../format/packed_row.ts";
import { joinedRanges, type RowNeed } from "./needs.ts";

/** Bytes below which it is not worth writing a row of content again. */
const THIN_BYTES_MIN = 512;
const NOTHING = new Uint8Array(0);

/**
 * The new value of a row; undefined: nothing of it would go.
 * @param must it must become a row of content whatever it saves, because it was one of events.
 */
export function thinned(value: Uint8Array, need: RowNeed, must: boolean): Uint8Array | undefined {
  const { kind, payload } = unwrapAny(value);
  const isPacked = kind === ValueKind.PACKED_EVENTS || kind === ValueKind.PACKED_DATA;
  const blobs = isPacked ? keptBlobs(payload, need) : rawBlobs(payload, need);
  const goneBytes = blobs.reduce((sum, blob) => sum + blob.goneBytes, 0);
  // what a blob stands on goes with it: it must not stay then
  const stands = blobs.some((one) => one.stands);
  if (goneBytes < THIN_BYTES_MIN && !must && !stands) return undefined;
  const made = isPacked ? kind : ValueKind.PACKED_DATA;
  return encodePackedRow(made, blobs.map(({ blob }) => blob));
}

/** A blob of the new row, and how many stored bytes went with it. */
interface Made {
  blob: Blob;
  goneBytes: number;
  /** It is gone, and stood on another row. */
  stands?: boolean;
}

function gone(length: number): Blob {
  return { length, codec: Codec.GONE, index: 0, checksum: 0n, stored: NOTHING };
}

function keptBlobs(payload: Uint8Array, need: RowNeed): Made[] {
  return parsePackedRow(payload).blobs.map((blob, index) => {
    if (need.blobs?.[index] === 1) return { blob, goneBytes: 0 };
    const stands = blob.base !== undefined || blob.row !== undefined;
    return { blob: gone(blob.length), goneBytes: blob.stored.length, stands };
  });
}

function rawBlobs(payload: Uint8Array, need: RowNeed): Made[] {
  const made: Made[] = [];
  let next = 0;
  for (const { from, to } of joinedRanges(need.ranges)) {
    if (from > next) made.push({ blob: gone(from - next), goneBytes: from - next });
    const stored = payload.subarray(from, to);
    const checksum = Bun.hash.xxHash3(stored);
    made.push({
      blob: { length: to - from, codec: Codec.RAW, index: 0, checksum, stored },
      goneBytes: 0,
    });
    next = to;
  }
  const rest = payload.length - next;
  if (rest > 0) made.push({ blob: gone(rest), goneBytes: rest });
  return made;
}
