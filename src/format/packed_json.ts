/**
 * Many JSON objects in one value (docs/FORMAT.md, "Packed processes"): a u32 with the length, then a zstd frame with a JSON array.
 */
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_VALUE_BYTES_MAX } from "../base/limits.ts";
import { ENVELOPE_BYTES, seal, unwrap, ValueKind } from "./envelope.ts";
import { zstdDecodeExact, zstdEncode } from "./zstd.ts";

const LENGTH_BYTES = 4;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** A value with these objects. */
export function encodePackedJson(objects: readonly object[], level: number): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(objects));
  const frame = zstdEncode(text, { level });
  const value = new Uint8Array(ENVELOPE_BYTES + LENGTH_BYTES + frame.length);
  new DataView(value.buffer).setUint32(ENVELOPE_BYTES, text.length, true);
  value.set(frame, ENVELOPE_BYTES + LENGTH_BYTES);
  seal(value, ValueKind.PACKED_JSON);
  return value;
}

/** The objects of a value. @throws {DiffKeeperError} `data_corrupt` */
export function decodePackedJson(value: Uint8Array): object[] {
  const payload = unwrap(value, ValueKind.PACKED_JSON);
  if (payload.length < LENGTH_BYTES) throw corrupt();
  const length = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
  if (length > TRACE_VALUE_BYTES_MAX) throw corrupt();
  const bytes = zstdDecodeExact(payload.subarray(LENGTH_BYTES), length);
  let found: unknown;
  try {
    found = JSON.parse(utf8.decode(bytes));
  } catch (thrown) {
    throw corrupt(thrown);
  }
  if (!Array.isArray(found) || found.length === 0) throw corrupt();
  const objects: unknown[] = found;
  return objects.map((one) => {
    if (typeof one !== "object" || one === null || Array.isArray(one)) throw corrupt();
    return one;
  });
}

function corrupt(cause?: unknown): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", "cannot read packed objects: they are no JSON array", {
    cause,
  });
}
