/**
 * zstd, as Bun has it built in: measured 1.2 to 8 times as fast as the same code as WebAssembly (docs/decisions), the frames
 * are the same (RFC 8878). A prefix is an earlier version of the bytes, taken as raw content that matches may point into.
 * Every frame says its size, and nothing is decoded before that size is known to be allowed.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { DiffKeeperError } from "../base/error.ts";
import { ZSTD_PREFIX_BYTES_MAX, ZSTD_TABLE_LOG_MAX, ZSTD_WINDOW_LOG_MAX } from "../base/limits.ts";
import { releaseBytes } from "../base/release.ts";
import { corruptFrame, frameContentBytes } from "./zstd_frame.ts";

/** From this size of prefix and content together on, the tables are sized by us: the library sizes them by the level alone. */
const TABLES_BYTES_MIN = 1 << 19;
/** The smallest that the library takes. */
const TABLE_LOG_MIN = 6;
/** zstd ignores shorter prefixes when it encodes. */
const PREFIX_BYTES_MIN = 8;
/** A prefix that begins like this would be taken for a trained dictionary; its first byte is left out then. */
const DICTIONARY_MAGIC = [0x37, 0xa4, 0x30, 0xec] as const;
const OUTPUT_BYTES_MIN = 1 << 10;
/** For a frame's header, and what little content adds. */
const FRAME_ROOM_BYTES = 1 << 10;

/** How to encode. */
export interface ZstdEncodeOptions {
  /** 1 (fast) to 19 (small). */
  readonly level: number;
  /** Bytes that the decoder will have too: an earlier version. At most ZSTD_PREFIX_BYTES_MAX. */
  readonly prefix?: Uint8Array;
  /** Size of the match tables, as power of two; left out: by the level and the size of the prefix. */
  readonly tableLog?: number;
}

/** How to decode. */
export interface ZstdDecodeOptions {
  /** Bytes that may come out; a frame that says more is `data_corrupt`. */
  readonly maxBytes: number;
  /** The prefix it was encoded with, whole. */
  readonly prefix?: Uint8Array;
}

/** What node:zlib takes and the types of Bun do not say yet. */
interface ZlibOptions {
  dictionary: Uint8Array;
  pledgedSrcSize?: number;
  chunkSize?: number;
  maxOutputLength?: number;
  params: Record<number, number>;
}

/**
 * One zstd frame with its content size, without checksum. The result is owned by the caller.
 * @throws {DiffKeeperError} `limit_exceeded` if a prefix is given and it or the bytes exceed ZSTD_PREFIX_BYTES_MAX.
 */
export function zstdEncode(bytes: Uint8Array, options: ZstdEncodeOptions): Uint8Array {
  const { level, tableLog } = options;
  const prefix = usablePrefix(options.prefix);
  if (prefix === undefined) {
    if (tableLog === undefined) return Bun.zstdCompressSync(bytes, { level });
    const params = parameters(level, bytes.length, tableLog);
    const chunkSize = frameBytesMax(bytes.length);
    const given = { params, pledgedSrcSize: bytes.length, chunkSize };
    return whole(zstdCompressSync(bytes, given as object), bytes.length);
  }
  if (Math.max(prefix.length, bytes.length) > ZSTD_PREFIX_BYTES_MAX) {
    const text = `cannot encode ${bytes.length} bytes with a prefix of ${prefix.length}`;
    throw new DiffKeeperError("limit_exceeded", `${text}: the limit is ${ZSTD_PREFIX_BYTES_MAX}`);
  }
  const given: ZlibOptions = {
    dictionary: prefix,
    pledgedSrcSize: bytes.length,
    chunkSize: frameBytesMax(bytes.length),
    params: parameters(level, prefix.length + bytes.length, tableLog),
  };
  return whole(zstdCompressSync(bytes, given as object), bytes.length);
}

/**
 * What a frame holds. The result is owned by the caller.
 * @throws {DiffKeeperError} `data_corrupt` if it is not exactly one sound frame of at most `maxBytes`.
 */
export function zstdDecode(frame: Uint8Array, options: ZstdDecodeOptions): Uint8Array {
  const size = frameContentBytes(frame);
  if (size > options.maxBytes) {
    throw corruptFrame(`it says ${size} bytes, ${options.maxBytes} are allowed`);
  }
  const bytes = decode(frame, size, usablePrefix(options.prefix));
  if (bytes.length !== size) throw corruptFrame("it does not hold what it says");
  return bytes;
}

/**
 * As `zstdDecode`, of a frame that must hold exactly `length` bytes.
 * @throws {DiffKeeperError} `data_corrupt`
 */
export function zstdDecodeExact(
  frame: Uint8Array,
  length: number,
  prefix?: Uint8Array,
): Uint8Array {
  const given = prefix === undefined ? { maxBytes: length } : { maxBytes: length, prefix };
  const bytes = zstdDecode(frame, given);
  if (bytes.length !== length) throw corruptFrame("it holds fewer bytes than it must");
  return bytes;
}

function decode(frame: Uint8Array, size: number, prefix: Uint8Array | undefined): Uint8Array {
  try {
    if (prefix === undefined) return Bun.zstdDecompressSync(frame);
    const given: ZlibOptions = {
      dictionary: prefix,
      // in one piece, or they are put together in a copy
      chunkSize: Math.max(OUTPUT_BYTES_MIN, size + 1),
      maxOutputLength: Math.max(1, size),
      params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
    };
    return zstdDecompressSync(frame, given as object);
  } catch (error) {
    throw corruptFrame("its content is not sound", error);
  }
}

/** The window must reach over the prefix; beyond half a megabyte the tables must too, or most of it is forgotten. */
function parameters(
  level: number,
  bytes: number,
  tableLog: number | undefined,
): Record<number, number> {
  const log = Math.ceil(Math.log2(bytes + 1));
  const params: Record<number, number> = {
    [constants.ZSTD_c_compressionLevel]: level,
    [constants.ZSTD_c_windowLog]: Math.min(ZSTD_WINDOW_LOG_MAX, Math.max(10, log)),
  };
  if (tableLog !== undefined || bytes >= TABLES_BYTES_MIN) {
    const tables = Math.min(tableLog ?? ZSTD_TABLE_LOG_MAX, log);
    params[constants.ZSTD_c_hashLog] = Math.max(TABLE_LOG_MIN, Math.min(tables, log - 1));
    params[constants.ZSTD_c_chainLog] = Math.max(TABLE_LOG_MIN, tables);
  }
  return params;
}

function usablePrefix(prefix: Uint8Array | undefined): Uint8Array | undefined {
  if (prefix === undefined || prefix.length <= PREFIX_BYTES_MIN) return undefined;
  const isTrained = DICTIONARY_MAGIC.every((byte, i) => prefix[i] === byte);
  return isTrained ? prefix.subarray(1) : prefix;
}

/**
 * More than any frame of so many bytes takes (ZSTD_compressBound of zstd.h, and its header). The output must fit into one piece: Bun
 * 1.4.5 loses the end of a frame that fills its last piece to the byte.
 */
function frameBytesMax(bytes: number): number {
  return bytes + (bytes >> 8) + FRAME_ROOM_BYTES;
}

/** What could not be read again must not be stored; a small frame is given without the room that was made for a large one. */
function whole(frame: Uint8Array, bytes: number): Uint8Array {
  if (frameContentBytes(frame) !== bytes) {
    throw new DiffKeeperError("defect", "the encoder made a frame that is not whole");
  }
  if (frame.length > frame.buffer.byteLength / 2) return frame;
  const copy = new Uint8Array(frame);
  releaseBytes(frame);
  return copy;
}
