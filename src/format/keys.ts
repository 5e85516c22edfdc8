/**
 * Keys of the trace (docs/FORMAT.md, "Rows"): building, parsing, and the ranges that hold all keys of one sort.
 *
 * A key is bytes: a letter, a colon, fields. Numbers are 16 lower-case hex digits, so that byte order is numeric order. The
 * path in an `m:` key is any bytes (here a binary string, one char per byte); it ends 17 bytes before the end of the key.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_PATH_BYTES_MAX } from "../base/limits.ts";

/** Digits of a number in a key. */
const HEX_DIGITS = 16;
const SHA256_DIGITS = 64;
const NUMBER = /^[0-9a-f]{16}$/;
const SHA256 = /^[0-9a-f]{64}$/;

/** A parsed key. */
export type TraceKey =
  | { sort: "info"; name: string }
  | { sort: "baseline"; n: number }
  | { sort: "saved"; n: number }
  | { sort: "journal"; tNs: number; seq: number }
  | { sort: "data"; n: number }
  | { sort: "version"; path: string; tNs: number }
  | { sort: "process"; startNs: number; pid: number }
  | { sort: "content"; sha256: string }
  | { sort: "keyframe"; tNs: number; seq: number; part: number };

/** First letter of each sort of key. */
export const KEY_LETTERS = {
  info: "i",
  baseline: "b",
  saved: "s",
  journal: "l",
  data: "d",
  version: "m",
  process: "p",
  content: "c",
  keyframe: "k",
} as const satisfies Record<TraceKey["sort"], string>;

/** A half-open range of keys: `from` <= key < `to`, bytewise. */
export interface KeyRange {
  from: Uint8Array;
  to: Uint8Array;
}

/** The bytes of a key. */
export function buildKey(key: TraceKey): Uint8Array {
  return Buffer.from(`${KEY_LETTERS[key.sort]}:${fieldsOf(key)}`, "latin1");
}

function fieldsOf(key: TraceKey): string {
  switch (key.sort) {
    case "info":
      return key.name;
    case "baseline":
    case "saved":
    case "data":
      return hex(key.n);
    case "journal":
      return `${hex(key.tNs)}:${hex(key.seq)}`;
    case "process":
      return `${hex(key.startNs)}:${hex(key.pid)}`;
    case "version":
      checkPath(key.path);
      return `${key.path}:${hex(key.tNs)}`;
    case "keyframe":
      return `${hex(key.tNs)}:${hex(key.seq)}:${hex(key.part)}`;
    case "content":
      assert(SHA256.test(key.sha256), "a content key must be 64 hex digits");
      return key.sha256;
  }
}

/**
 * Parses a key read from a trace.
 * @throws {DiffKeeperError} `data_corrupt`: it is not one of the sorts or not in its canonical form.
 */
export function parseKey(bytes: Uint8Array): TraceKey {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  const fields = text.slice(2);
  if (text[1] !== ":") throw corrupt(text);
  switch (text[0]) {
    case "i":
      return { sort: "info", name: fields };
    case "b":
      return { sort: "baseline", n: parseHex(fields, text) };
    case "s":
      return { sort: "saved", n: parseHex(fields, text) };
    case "d":
      return { sort: "data", n: parseHex(fields, text) };
    case "l": {
      const [tNs, seq] = parsePair(fields, text);
      return { sort: "journal", tNs, seq };
    }
    case "p": {
      const [startNs, pid] = parsePair(fields, text);
      return { sort: "process", startNs, pid };
    }
    case "m": {
      const end = fields.length - HEX_DIGITS - 1;
      if (end < 0 || fields[end] !== ":") throw corrupt(text);
      const tNs = parseHex(fields.slice(end + 1), text);
      return { sort: "version", path: fields.slice(0, end), tNs };
    }
    case "k": {
      const end = fields.length - HEX_DIGITS - 1;
      if (end < 0 || fields[end] !== ":") throw corrupt(text);
      const [tNs, seq] = parsePair(fields.slice(0, end), text);
      return { sort: "keyframe", tNs, seq, part: parseHex(fields.slice(end + 1), text) };
    }
    case "c":
      if (!SHA256.test(fields)) throw corrupt(text);
      return { sort: "content", sha256: fields };
    default:
      throw corrupt(text);
  }
}

/** The range of all keys of one sort. */
export function rangeOf(sort: TraceKey["sort"]): KeyRange {
  const letter = KEY_LETTERS[sort];
  return { from: Buffer.from(`${letter}:`, "latin1"), to: Buffer.from(`${letter};`, "latin1") };
}

/**
 * The range that holds all versions of `path`. It may also hold versions of longer paths that begin with it and a colon, so
 * a reader must compare the path of each key.
 */
export function versionRange(path: string): KeyRange {
  checkPath(path);
  return {
    from: Buffer.from(`m:${path}:`, "latin1"),
    to: Buffer.from(`m:${path};`, "latin1"),
  };
}

/** The range of journal keys from a time on: `from` is the first key a batch of that time can have. */
export function journalRange(fromNs: number): KeyRange {
  return { from: Buffer.from(`l:${hex(fromNs)}`, "latin1"), to: rangeOf("journal").to };
}

/** The lower-case hex digest in the form of a content key. */
export function sha256Hex(bytes: Uint8Array): string {
  const digest = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  assert(digest.length === SHA256_DIGITS, "a SHA-256 must have 64 digits");
  return digest;
}

function hex(value: number): string {
  assert(Number.isSafeInteger(value) && value >= 0, "a number in a key must be a whole number");
  return value.toString(16).padStart(HEX_DIGITS, "0");
}

function checkPath(path: string): void {
  if (path.length <= TRACE_PATH_BYTES_MAX) return;
  throw new DiffKeeperError(
    "limit_exceeded",
    `cannot index a path of ${path.length} bytes: the limit is ${TRACE_PATH_BYTES_MAX} bytes`,
  );
}

function parsePair(fields: string, key: string): [number, number] {
  if (fields.length !== 2 * HEX_DIGITS + 1 || fields[HEX_DIGITS] !== ":") throw corrupt(key);
  return [parseHex(fields.slice(0, HEX_DIGITS), key), parseHex(fields.slice(HEX_DIGITS + 1), key)];
}

function parseHex(digits: string, key: string): number {
  const value = NUMBER.test(digits) ? Number.parseInt(digits, 16) : -1;
  if (!Number.isSafeInteger(value) || value < 0) throw corrupt(key);
  return value;
}

function corrupt(key: string): DiffKeeperError {
  const shown = JSON.stringify(key.slice(0, 80));
  return new DiffKeeperError("data_corrupt", `cannot read the trace: ${shown} is not a key`);
}
