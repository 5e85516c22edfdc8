/**
 * The envelope: the 32 bytes every value of the trace begins with (docs/FORMAT.md, "Envelope").
 *
 * | offset | size | field                                     |
 * |--------|------|-------------------------------------------|
 * | 0      | 4    | magic "DKR1"                              |
 * | 4      | 2    | kind                                      |
 * | 6      | 2    | version, 1                                |
 * | 8      | 8    | length of what follows the envelope       |
 * | 16     | 8    | XXH3-64, seed 0, of what follows          |
 * | 24     | 8    | reserved, 0                               |
 *
 * All integers little-endian. Nothing in a value is used before `unwrap` has checked all six fields.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_VALUE_BYTES_MAX } from "../base/limits.ts";

/** What a value holds, as stored. */
export const ValueKind = {
  JSON: 1,
  EVENTS: 2,
  DATA: 3,
  VERSIONS: 4,
  PACKED_EVENTS: 5,
  PACKED_DATA: 6,
  PACKED_JSON: 7,
} as const;
export type ValueKindCode = (typeof ValueKind)[keyof typeof ValueKind];

/** Bytes of the envelope. */
export const ENVELOPE_BYTES = 32;
/** Version of the envelope and of the kinds in it. */
export const ENVELOPE_VERSION = 1;
/** "DKR1" read as a little-endian u32. */
export const ENVELOPE_MAGIC = 0x31524b44;

const U32 = 4_294_967_296;

/** A new value: envelope and a copy of the payload. The caller owns the result. */
export function wrap(kind: ValueKindCode, payload: Uint8Array): Uint8Array {
  const value = new Uint8Array(ENVELOPE_BYTES + payload.length);
  value.set(payload, ENVELOPE_BYTES);
  seal(value, kind);
  return value;
}

/** Writes the envelope into the first 32 bytes of `value`, whose payload stands behind them already. */
export function seal(value: Uint8Array, kind: ValueKindCode): void {
  assert(value.length >= ENVELOPE_BYTES, "a value must have room for its envelope");
  if (value.length > TRACE_VALUE_BYTES_MAX) {
    throw new DiffKeeperError(
      "limit_exceeded",
      `cannot store a value of ${value.length} bytes: the limit is ${TRACE_VALUE_BYTES_MAX} bytes`,
    );
  }
  const length = value.length - ENVELOPE_BYTES;
  const checksum = Bun.hash.xxHash3(value.subarray(ENVELOPE_BYTES));
  const view = new DataView(value.buffer, value.byteOffset, ENVELOPE_BYTES);
  view.setUint32(0, ENVELOPE_MAGIC, true);
  view.setUint16(4, kind, true);
  view.setUint16(6, ENVELOPE_VERSION, true);
  view.setUint32(8, length, true);
  view.setUint32(12, 0, true);
  view.setBigUint64(16, checksum, true);
  view.setUint32(24, 0, true);
  view.setUint32(28, 0, true);
}

/** A checked value: its kind and its payload, a view of the value's memory. */
export interface Unwrapped {
  kind: ValueKindCode;
  payload: Uint8Array;
}

/**
 * Checks every field of the envelope and gives the payload.
 * @throws {DiffKeeperError} `data_corrupt`: a field breaks a "must".
 */
export function unwrapAny(value: Uint8Array): Unwrapped {
  if (value.length < ENVELOPE_BYTES) {
    throw corrupt(`it has ${value.length} bytes, an envelope has ${ENVELOPE_BYTES}`);
  }
  const view = new DataView(value.buffer, value.byteOffset, ENVELOPE_BYTES);
  if (view.getUint32(0, true) !== ENVELOPE_MAGIC) throw corrupt("it does not begin with DKR1");
  const kind = view.getUint16(4, true);
  if (!isKind(kind)) throw corrupt(`its kind is ${kind}`);
  const version = view.getUint16(6, true);
  if (version !== ENVELOPE_VERSION) throw corrupt(`its version is ${version}`);
  const length = view.getUint32(8, true) + view.getUint32(12, true) * U32;
  if (length !== value.length - ENVELOPE_BYTES) {
    throw corrupt(`it says ${length} bytes, there are ${value.length - ENVELOPE_BYTES}`);
  }
  if (view.getUint32(24, true) !== 0 || view.getUint32(28, true) !== 0) {
    throw corrupt("its reserved field is not 0");
  }
  const payload = value.subarray(ENVELOPE_BYTES);
  if (view.getBigUint64(16, true) !== Bun.hash.xxHash3(payload)) {
    throw corrupt("its checksum does not match");
  }
  return { kind, payload };
}

/**
 * As `unwrapAny`, for a value that must be of one kind.
 * @throws {DiffKeeperError} `data_corrupt`: also when the kind is another.
 */
export function unwrap(value: Uint8Array, kind: ValueKindCode): Uint8Array {
  const { kind: found, payload } = unwrapAny(value);
  if (found !== kind) throw corrupt(`its kind is ${found}, not ${kind}`);
  return payload;
}

function isKind(kind: number): kind is ValueKindCode {
  return kind >= ValueKind.JSON && kind <= ValueKind.PACKED_JSON;
}

function corrupt(why: string): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", `cannot read a value of the trace: ${why}`);
}
