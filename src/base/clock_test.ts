import { expect, test } from "bun:test";
import { ManualClock, systemClock } from "./clock.ts";

test("the system clocks do not go back", () => {
  const first = systemClock.monotonicNs();
  expect(systemClock.monotonicNs()).toBeGreaterThanOrEqual(first);
  expect(systemClock.wallNs()).toBeGreaterThan(1_700_000_000_000_000_000n);
});

test("a manual clock moves only when told", () => {
  const clock = new ManualClock(5n, 7n);
  clock.advance(3n);
  expect([clock.monotonicNs(), clock.wallNs()]).toEqual([8n, 10n]);
});
