/**
 * Settings for tests alone, from the environment: they make the recorder slow or short of room, so that a test can force each sort of
 * loss. They only take away; a recording made with one says so in its notes. docs/PROOFS.md lists them.
 */
import { DiffKeeperError } from "../base/error.ts";
import type { TestSettings } from "../record/messages.ts";

const PREFIX = "DIFFKEEPER_TEST_";
/** The name behind the prefix, and its bounds. */
const SETTINGS = [
  ["DRAIN_DELAY_MS", "drainDelayMs", 1, 10_000],
  ["INODES", "inodes", 1, 1 << 20],
  ["SCRATCH_SLOTS", "scratchSlots", 1, 1 << 10],
] as const;

/** What the environment asks for. @throws {DiffKeeperError} `usage` when it is not a number in its bounds. */
export function testSettings(env: Record<string, string | undefined>): TestSettings {
  const settings: TestSettings = {};
  for (const [name, field, min, max] of SETTINGS) {
    const text = env[PREFIX + name];
    if (text === undefined) continue;
    const value = /^\d{1,8}$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) {
      const message = `cannot use ${PREFIX}${name}="${text}": it must be from ${min} to ${max}`;
      throw new DiffKeeperError("usage", message);
    }
    settings[field] = value;
  }
  return settings;
}
