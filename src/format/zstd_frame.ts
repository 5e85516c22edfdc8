/**
 * The outside of a zstd frame (RFC 8878, section 3.1.1), read before anything is decoded: how long it is and how much it says
 * it holds. Decoders stop at the first frame's end and some take a cut frame for its beginning; here both are errors.
 */
import { DiffKeeperError } from "../base/error.ts";

const MAGIC = 0xfd2f_b528;
const BLOCK_RESERVED = 3;
const BLOCK_RLE = 1;
const CHECKSUM_BYTES = 4;
/** Bytes of the field "frame content size" by its flag; the first is 1 in a single segment. */
const SIZE_BYTES = [0, 2, 4, 8] as const;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;

/** The error of everything that is not one whole frame of this sort. */
export function corruptFrame(why: string, cause?: unknown): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", `cannot decode a zstd frame: ${why}`, { cause });
}

/**
 * The bytes that a frame says it holds, after a walk over its blocks that must end where the bytes end.
 * @throws {DiffKeeperError} `data_corrupt` if this is not exactly one frame, or one without a size or with a dictionary id.
 */
export function frameContentBytes(frame: Uint8Array): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 6 || view.getUint32(0, true) !== MAGIC) {
    throw corruptFrame("no frame is there");
  }
  const descriptor = view.getUint8(4);
  const isSingle = (descriptor & 32) !== 0;
  if ((descriptor & 8) !== 0) throw corruptFrame("a reserved bit is set");
  if (DICTIONARY_ID_BYTES[descriptor & 3] !== 0) throw corruptFrame("it names a dictionary");
  const flag = descriptor >> 6;
  const sizeBytes = flag === 0 && isSingle ? 1 : SIZE_BYTES[flag] ?? 0;
  if (sizeBytes === 0) throw corruptFrame("it does not say its size");
  const sizeAt = isSingle ? 5 : 6;
  if (sizeAt + sizeBytes > frame.length) throw corruptFrame("it is cut");
  const end = blocksEnd(view, sizeAt + sizeBytes) + ((descriptor & 4) !== 0 ? CHECKSUM_BYTES : 0);
  if (end !== frame.length) throw corruptFrame("it is cut or followed by other bytes");
  return contentSize(view, sizeAt, sizeBytes);
}

function contentSize(view: DataView, at: number, sizeBytes: number): number {
  if (sizeBytes === 1) return view.getUint8(at);
  if (sizeBytes === 2) return view.getUint16(at, true) + 256;
  if (sizeBytes === 4) return view.getUint32(at, true);
  const size = Number(view.getBigUint64(at, true));
  if (!Number.isSafeInteger(size)) throw corruptFrame("its size is not possible");
  return size;
}

/** Where the last block ends; beyond the bytes if it is cut. Each block takes 3 bytes at least, so this ends. */
function blocksEnd(view: DataView, start: number): number {
  let at = start;
  while (at + 3 <= view.byteLength) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const type = (header >> 1) & 3;
    if (type === BLOCK_RESERVED) throw corruptFrame("a block has an unknown type");
    at += 3 + (type === BLOCK_RLE ? 1 : header >> 3);
    if ((header & 1) !== 0) return at;
  }
  return Infinity;
}
