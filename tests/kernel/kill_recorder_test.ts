/** A recorder killed with -9 leaves a trace that is exact up to its last event (tests/proofs/kill_recorder.ts has the checks). */
import { afterAll, expect, test } from "bun:test";
import { Checks, named, obstacle, removeScratch } from "../proofs/_kit.ts";
import { checkKills } from "../proofs/kill_recorder.ts";

afterAll(removeScratch);

test.skipIf(obstacle() !== "")(named("killed recorders leave exact traces"), async () => {
  const checks = new Checks({ quiet: true });
  const { kept } = await checkKills(checks, { count: 3, seed: 1 });
  expect(checks.failures).toEqual([]);
  expect(kept).toBeGreaterThan(10);
});
