/** Odd trees come back equal (tests/proofs/odd_tree.ts has the checks; `npm run prove odd_tree` does it with 100,000 files). */
import { afterAll, expect, test } from "bun:test";
import { Checks, named, obstacle, removeScratch } from "../proofs/_kit.ts";
import { checkOddTree } from "../proofs/odd_tree.ts";

afterAll(removeScratch);

test.skipIf(obstacle() !== "")(named("odd trees come back equal"), () => {
  const checks = new Checks({ quiet: true });
  checkOddTree(checks, 1_000);
  expect(checks.failures).toEqual([]);
});
