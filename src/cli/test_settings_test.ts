import { expect, test } from "bun:test";
import { testSettings } from "./test_settings.ts";

test("nothing is set where the environment does not ask", () => {
  expect(testSettings({ DRAIN_DELAY_MS: "5", HOME: "/" })).toEqual({});
});

test("each setting is taken, and refused beyond its bounds", () => {
  const all = {
    DIFFKEEPER_TEST_DRAIN_DELAY_MS: "200",
    DIFFKEEPER_TEST_INODES: "16",
    DIFFKEEPER_TEST_SCRATCH_SLOTS: "1",
  };
  expect(testSettings(all)).toEqual({ drainDelayMs: 200, inodes: 16, scratchSlots: 1 });
  for (const text of ["0", "x", "", "99999999"]) {
    expect(() => testSettings({ DIFFKEEPER_TEST_INODES: text })).toThrow("it must be from 1 to");
  }
});
