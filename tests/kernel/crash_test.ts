/** However a recording ends, its trace opens and the command is free (tests/proofs/crash.ts has the checks). */
import { afterAll, expect, test } from "bun:test";
import { Checks, named, obstacle, removeScratch } from "../proofs/_kit.ts";
import { checkCrashes } from "../proofs/crash.ts";

afterAll(removeScratch);

test.skipIf(obstacle() !== "")(named("a recording that ends badly opens"), async () => {
  const checks = new Checks({ quiet: true });
  await checkCrashes(checks, 1);
  expect(checks.failures).toEqual([]);
});
