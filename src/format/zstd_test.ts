import { expect, test } from "bun:test";
import { zstdCompressSync } from "node:zlib";
import { DiffKeeperError } from "../base/error.ts";
import { ZSTD_PREFIX_BYTES_MAX } from "../base/limits.ts";
import { zstdDecode, zstdEncode } from "./zstd.ts";

const text = (seed: number, lines: number) =>
  Buffer.from(
    Array.from({ length: lines }, (_, i) => `line ${Math.imul(i + seed, 2_654_435_761)}\n`).join(
      "",
    ),
  );

function codeOf(run: () => unknown): string {
  try {
    run();
    return "nothing thrown";
  } catch (error) {
    if (error instanceof DiffKeeperError) return error.code;
    throw error;
  }
}

test("a prefix makes small what repeats it, at every size and level", () => {
  for (const lines of [20, 2_000, 200_000]) {
    const prefix = text(1, lines);
    const bytes = Buffer.concat([prefix.subarray(10), Buffer.from("end"), prefix.subarray(0, 10)]);
    for (const level of [3, 9]) {
      const frame = zstdEncode(bytes, { level, prefix });
      expect(frame.length, `${lines} lines, level ${level}`).toBeLessThan(bytes.length / 50 + 60);
      const back = zstdDecode(frame, { prefix, maxBytes: bytes.length });
      expect(Buffer.compare(back, bytes)).toBe(0);
    }
  }
});

test("a prefix that looks like a trained dictionary is raw content all the same", () => {
  const prefix = Buffer.concat([Uint8Array.of(0x37, 0xa4, 0x30, 0xec), text(2, 100)]);
  const frame = zstdEncode(prefix, { level: 3, prefix });
  expect(frame.length).toBeLessThan(40);
  const back = zstdDecode(frame, { prefix, maxBytes: prefix.length });
  expect(Buffer.compare(back, prefix)).toBe(0);
});

test("a frame is exactly one, whole, with a size that is allowed", () => {
  const bytes = text(3, 100);
  const frame = Buffer.from(zstdEncode(bytes, { level: 3 }));
  const options = { maxBytes: bytes.length };
  const damaged: Record<string, Uint8Array> = {
    nothing: new Uint8Array(0),
    cut: frame.subarray(0, -1),
    "cut to the header": frame.subarray(0, 6),
    followed: Buffer.concat([frame, Uint8Array.of(0)]),
    twice: Buffer.concat([frame, frame]),
    "without size": new Uint8Array(
      zstdCompressSync(bytes, { params: { 200: 0 } } as object),
    ),
  };
  for (const [name, value] of Object.entries(damaged)) {
    expect(codeOf(() => zstdDecode(value, options)), name).toBe("data_corrupt");
  }
  expect(codeOf(() => zstdDecode(frame, { maxBytes: bytes.length - 1 }))).toBe("data_corrupt");
  expect(zstdDecode(frame, options).length).toBe(bytes.length);
});

test("a frame with a prefix needs that prefix", () => {
  const prefix = text(4, 100);
  const frame = zstdEncode(prefix, { level: 3, prefix });
  expect(codeOf(() => zstdDecode(frame, { maxBytes: prefix.length }))).toBe("data_corrupt");
});

test("nothing, and prefixes of few bytes", () => {
  const bytes = text(5, 3);
  for (const length of [0, 1, 7, 8, 9, 12]) {
    const prefix = bytes.subarray(0, length);
    for (const value of [bytes, new Uint8Array(0)]) {
      const frame = zstdEncode(value, { level: 3, prefix });
      const back = zstdDecode(frame, { prefix, maxBytes: bytes.length });
      expect(Buffer.compare(back, value), `${length}`).toBe(0);
    }
  }
});

test("a prefix has its limit", () => {
  const prefix = new Uint8Array(ZSTD_PREFIX_BYTES_MAX + 1);
  const encode = () => zstdEncode(Uint8Array.of(1), { level: 1, prefix });
  expect(codeOf(encode)).toBe("limit_exceeded");
});
