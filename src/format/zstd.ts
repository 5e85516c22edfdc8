/**
 * zstd frames (RFC 8878), with or without a prefix: bytes that the reader has already, in which the compressor may find
 * matches. The runtime's own zstd is used; a prefix is what zstd calls a raw content dictionary, without an id in the frame.
 * Decompression is bounded: the caller says how long the result must be.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { DiffKeeperError } from "../base/error.ts";

/** A prefix that begins so would be taken for a dictionary of zstd's own making (docs/FORMAT.md, "zstd with a prefix"). */
const DICTIONARY_MAGIC = 0xec30_a437;
const ROOM_BYTES_MIN = 1 << 10;
const ROOM_BYTES_MAX = 1 << 20;
/** A shorter prefix is none. */
const PREFIX_BYTES_MIN = 9;

function usable(prefix: Uint8Array | undefined): Uint8Array | undefined {
  if (prefix === undefined || prefix.length < PREFIX_BYTES_MIN) return undefined;
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.length);
  return view.getUint32(0, true) === DICTIONARY_MAGIC ? prefix.subarray(1) : prefix;
}

/** Bytes that are made at once: mostly all of them. */
function roomFor(bytes: number): number {
  return Math.min(Math.max(bytes, ROOM_BYTES_MIN), ROOM_BYTES_MAX);
}

/** Compresses; the result is a frame of its own memory. `level` is 1 to 19. */
export function zstdEncode(bytes: Uint8Array, level: number, prefix?: Uint8Array): Uint8Array {
  const params = { [constants.ZSTD_c_compressionLevel]: level };
  return zstdCompressSync(
    bytes,
    prefix === undefined ? { params } : { params, dictionary: prefix },
  );
}

/**
 * Decompresses a frame that was made with the same prefix.
 * @param length of the result, in bytes.
 * @throws {DiffKeeperError} `data_corrupt`: it is no frame, or its content has another length.
 */
export function zstdDecode(frame: Uint8Array, length: number, prefix?: Uint8Array): Uint8Array {
  // a bound of 0 would mean none; one more than needed shows a result that is too long
  const bound = { maxOutputLength: length + 1, chunkSize: roomFor(length + 1) };
  const dictionary = usable(prefix);
  let bytes: Uint8Array;
  try {
    bytes = zstdDecompressSync(frame, dictionary === undefined ? bound : { ...bound, dictionary });
  } catch (thrown) {
    throw new DiffKeeperError("data_corrupt", "cannot read a compressed part: it is damaged", {
      cause: thrown,
    });
  }
  if (bytes.length === length) return bytes;
  throw new DiffKeeperError(
    "data_corrupt",
    `cannot read a compressed part: it has ${bytes.length} bytes, not ${length}`,
  );
}
