import { describe, expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import {
  formatTime,
  isAfterSpan,
  isBeforeSpan,
  parseTime,
  resolveTime,
  type TimeRange,
} from "./time_expr.ts";

const S = 1_000_000_000;
const range: TimeRange = {
  lastSeq: 1042,
  endNs: 3725.5 * S,
  startEpochNs: BigInt(Date.UTC(2025, 0, 31, 12)) * 1_000_000n + 250_000_000n,
};

function span(text: string): [string, number, number] {
  const { unit, from, to } = resolveTime(parseTime(text), range);
  return [unit, from, to];
}

function failure(text: string): DiffKeeperError {
  try {
    span(text);
  } catch (thrown) {
    if (thrown instanceof DiffKeeperError) return thrown;
  }
  throw new Error(`"${text}" did not fail`);
}

describe("a time includes everything printed under it", () => {
  const cases: [string, number, number][] = [
    ["2m14s", 134 * S, 135 * S - 1],
    ["02m:14s", 134 * S, 135 * S - 1],
    ["2m14.5s", 134.5 * S, 134.6 * S - 1],
    ["2m14.50s", 134.5 * S, 134_510_000_000 - 1],
    ["1h2m", 3720 * S, 3721 * S - 1],
    ["90s", 90 * S, 91 * S - 1],
    ["250ms", 0.25 * S, 0.251 * S - 1],
    ["1s250ms", 1.25 * S, 1.251 * S - 1],
    ["00m:01.203s", 1.203 * S, 1.204 * S - 1],
    ["[00m:01.203s]", 1.203 * S, 1.204 * S - 1],
    ["61m:02.000s", 3662 * S, 3662.001 * S - 1],
    ["203456789ns", 203456789, 203456789],
    ["before:2m14s", 134 * S, 134 * S - 1],
    ["end-5s", 3720.5 * S, 3720.501 * S - 1],
    ["2025-01-31T12:00:01Z", 0.75 * S, 1.75 * S - 1],
    ["2025-01-31T13:00:01.5+01:00", 1.25 * S, 1.35 * S - 1],
  ];
  for (const [text, from, to] of cases) {
    test(text, () => expect(span(text)).toEqual(["ns", from, to]));
  }
});

test("event numbers, start and end", () => {
  expect(span("#1042")).toEqual(["seq", 1042, 1042]);
  expect(span("before:#1042")).toEqual(["seq", 1042, 1041]);
  expect(span("start")).toEqual(["seq", 0, 0]);
  expect(span("end")).toEqual(["seq", 1042, 1042]);
  expect(isAfterSpan(resolveTime(parseTime("before:#7"), range), 7, 0)).toBe(true);
  expect(isBeforeSpan(resolveTime(parseTime("2s"), range), 1, 2 * S - 1)).toBe(true);
});

test("an instant in the same second as the start is inside", () => {
  expect(span("2025-01-31T12:00:00Z")).toEqual(["ns", -0.25 * S, 0.75 * S - 1]);
});

describe("out of range names the range", () => {
  for (
    const text of ["1043m", "#1043", "end-2h", "2025-01-31T11:59:59Z", "#0", "2030-01-01T00:00:00Z"]
  ) {
    test(text, () => {
      const error = failure(text);
      expect(error.code).toBe("out_of_range");
      expect(error.hint).toContain("00m:00.000s to 62m:05.500s, #1 to #1042");
    });
  }
  test("a running recording has no end yet", () => {
    expect(resolveTime(parseTime("#2000"), range, { open: true }).to).toBe(2000);
  });
});

describe("what is not a time is a usage error with a hint", () => {
  // deno-fmt-ignore
  const bad = [
    "", "x", "12", "-5s", "1.5.2s", "2m1.5s5ms", "#", "#-1", "#1x", "before:", "end+1s", "end-", "2s1m",
    "2025-01-31", "2025-13-31T00:00:00Z", "2025-01-31T12:00:00", "1.1234567891s", "99999999999999999s",
  ];
  for (const text of bad) {
    test(`"${text}"`, () => {
      const error = failure(text);
      expect(error.code).toBe("usage");
      expect(error.hint?.length).toBeGreaterThan(5);
    });
  }
});

test.each([
  [0, "00m:00.000s"],
  [1_203_999_999, "00m:01.203s"],
  [134_999_999_999, "02m:14.999s"],
  [6_000_000_000_000, "100m:00.000s"],
])("formatTime(%p) is %s", (tNs, text) => {
  expect(formatTime(tNs)).toBe(text);
});

test("what is printed can be read", () => {
  for (const tNs of [0, 999_999, 1_203_999_999, 134 * S, 6000 * S + 1]) {
    const { from, to } = resolveTime(parseTime(formatTime(tNs)), { ...range, endNs: 7000 * S });
    expect(tNs >= from && tNs <= to).toBe(true);
  }
});
