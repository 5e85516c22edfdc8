/** Losses are shown where they happened and healed (tests/proofs/drop_injection.ts has the injections and the checks). */
import { afterAll, expect, test } from "bun:test";
import { Checks, named, obstacle, removeScratch } from "../proofs/_kit.ts";
import { checkDrops } from "../proofs/drop_injection.ts";

afterAll(removeScratch);

const NAMES = ["ring full of bytes", "goes away", "more links", "too few entries"];

for (const name of NAMES) {
  test.skipIf(obstacle() !== "")(named(`a loss is shown and healed: ${name}`), async () => {
    const checks = new Checks({ quiet: true });
    await checkDrops(checks, name);
    expect(checks.count).toBeGreaterThan(5);
    expect(checks.failures).toEqual([]);
  });
}
