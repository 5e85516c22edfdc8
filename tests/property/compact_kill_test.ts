/** A compaction that is killed loses nothing and repeats nothing (tests/proofs/compact_kill.ts has the checks). */
import { afterAll, expect, test } from "bun:test";
import { Checks, removeScratch } from "../proofs/_kit.ts";
import { checkKills } from "../proofs/compact_kill.ts";

afterAll(removeScratch);

test("a compaction that is killed is finished by the next", async () => {
  const checks = new Checks({ quiet: true });
  await checkKills(checks, 4, 7);
  expect(checks.failures).toEqual([]);
}, 60_000);
