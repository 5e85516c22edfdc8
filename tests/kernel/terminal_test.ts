/** The command cannot tell that it is recorded (tests/proofs/terminal.ts has the checks). */
import { afterAll, expect, test } from "bun:test";
import { Checks, named, obstacle, removeScratch } from "../proofs/_kit.ts";
import { checkTerminal } from "../proofs/terminal.ts";

afterAll(removeScratch);

test.skipIf(obstacle() !== "")(named("the command cannot tell that it is recorded"), async () => {
  const checks = new Checks({ quiet: true });
  await checkTerminal(checks);
  expect(checks.failures).toEqual([]);
});
