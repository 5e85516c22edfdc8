import { expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_VALUE_BYTES_MAX } from "../base/limits.ts";
import { ENVELOPE_BYTES, seal, unwrap, unwrapAny, ValueKind, wrap } from "./envelope.ts";

const PAYLOAD = new TextEncoder().encode("hello");

test("the bytes of an envelope are those of docs/FORMAT.md", () => {
  const value = wrap(ValueKind.DATA, PAYLOAD);
  expect(Buffer.from(value.subarray(0, 16)).toString("hex")).toBe(
    "444b5231" + "0300" + "0100" + "0500000000000000",
  );
  // XXH3-64 of "hello" with seed 0, as xxhsum -H3 prints it, in little-endian order.
  expect(Buffer.from(value.subarray(16, 24)).reverse().toString("hex")).toBe("9555e8555c62dcfd");
  expect([...value.subarray(24, 32)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  expect(value.subarray(ENVELOPE_BYTES)).toEqual(PAYLOAD);
});

test("every kind comes back, empty payload too", () => {
  for (const kind of Object.values(ValueKind)) {
    for (const payload of [PAYLOAD, new Uint8Array(0)]) {
      expect(unwrapAny(wrap(kind, payload))).toEqual({ kind, payload });
      expect(unwrap(wrap(kind, payload), kind)).toEqual(payload);
    }
  }
});

test("every flipped bit, every cut and another kind are data_corrupt", () => {
  const value = wrap(ValueKind.JSON, PAYLOAD);
  for (let bit = 0; bit < value.length * 8; bit++) {
    const bad = value.slice();
    bad[bit >>> 3] = (bad[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    expect(() => unwrap(bad, ValueKind.JSON), `bit ${bit}`).toThrow(DiffKeeperError);
  }
  for (let length = 0; length < value.length; length++) {
    expect(() => unwrapAny(value.subarray(0, length))).toThrow("cannot read a value");
  }
  expect(() => unwrapAny(Uint8Array.of(...value, 0))).toThrow("cannot read a value");
  expect(() => unwrap(value, ValueKind.DATA)).toThrow("its kind is 1, not 3");
});

test("a value above the limit is refused", () => {
  const value = new Uint8Array(TRACE_VALUE_BYTES_MAX + 1);
  expect(() => seal(value, ValueKind.DATA)).toThrow(`the limit is ${TRACE_VALUE_BYTES_MAX} bytes`);
});
