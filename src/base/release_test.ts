import { expect, test } from "bun:test";
import { RELEASE_BYTES_MIN } from "./limits.ts";
import { releaseBytes } from "./release.ts";

test("a released buffer is gone at once, with all of its views", () => {
  const bytes = new Uint8Array(RELEASE_BYTES_MIN).fill(7);
  const view = bytes.subarray(10, 20);
  releaseBytes(view);
  expect([bytes.length, view.length, bytes.buffer.byteLength]).toEqual([0, 0, 0]);
});

test("a small one stays: others may use its buffer", () => {
  const bytes = new Uint8Array(RELEASE_BYTES_MIN - 1).fill(7);
  releaseBytes(bytes);
  expect(bytes[RELEASE_BYTES_MIN - 2]).toBe(7);
});

test("releasing keeps the memory of many large buffers small", () => {
  const before = process.memoryUsage.rss();
  let most = 0;
  for (let i = 0; i < 64; i++) {
    const bytes = new Uint8Array(1 << 23).fill(i + 1);
    most = Math.max(most, process.memoryUsage.rss() - before);
    releaseBytes(bytes);
  }
  // 512 MB were made; what the allocator keeps for itself is a few of them
  expect(most).toBeLessThan(1 << 27);
});
