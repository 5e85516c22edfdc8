/** A collection that is killed leaves the old trace or the new one (tests/proofs/gc_kill.ts has the checks). */
import { afterAll, expect, test } from "bun:test";
import { checkGcKills } from "../proofs/gc_kill.ts";
import { Checks, removeScratch } from "../proofs/_kit.ts";

afterAll(removeScratch);

test("a collection that is killed is finished by the next", async () => {
  const checks = new Checks({ quiet: true });
  await checkGcKills(checks, 4, 7);
  expect(checks.failures).toEqual([]);
}, 60_000);
