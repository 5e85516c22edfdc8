import { expect, test } from "bun:test";
import { counted, formatBytes, formatCount, formatDurationNs } from "./units.ts";

test.each([
  [0, "0B"],
  [15, "15B"],
  [999, "999B"],
  [1_000, "1.0KB"],
  [1_299, "1.2KB"],
  [999_999, "999.9KB"],
  [4_294_967_296n, "4.2GB"],
  [18_446_744_073_709_551_615n, "18.4EB"],
])("formatBytes(%p) is %s", (size, text) => {
  expect(formatBytes(size)).toBe(text);
});

test.each([[0, "0"], [999, "999"], [1_000, "1,000"], [2_000_000n, "2,000,000"]])(
  "formatCount(%p) is %s",
  (count, text) => {
    expect(formatCount(count)).toBe(text);
  },
);

test.each([
  [0n, "0ns"],
  [999n, "999ns"],
  [12_345n, "12us"],
  [3_490_000n, "3.4ms"],
  [1_209_000_000n, "1.20s"],
  [59_999_999_999n, "59.99s"],
  [60_000_000_000n, "1m00.0s"],
  [134_500_000_000n, "2m14.5s"],
  [3_723_000_000_000n, "1h02m03s"],
])("formatDurationNs(%p) is %s", (duration, text) => {
  expect(formatDurationNs(duration)).toBe(text);
});

test("a count agrees with its noun", () => {
  expect(counted(1, "content")).toBe("1 content");
  expect(counted(0, "file")).toBe("0 files");
  expect(counted(2_000, "process", "processes")).toBe("2,000 processes");
});

test("negative values are a defect", () => {
  expect(() => formatBytes(-1)).toThrow("not negative");
  expect(() => formatDurationNs(-1n)).toThrow("not negative");
});
