/**
 * Two real programs for every run of the tests: git and tar under record, exported at random events and compared at frozen
 * moments. `npm run prove programs` does nine, PostgreSQL among them. The seed is new each day and stands in the failure.
 */
import { expect, test } from "bun:test";
import { freezerObstacle } from "../oracle/frozen.ts";
import { obstacle } from "../proofs/_kit.ts";
import { missingOf, prove } from "../proofs/programs/_prove.ts";
import { GIT } from "../proofs/programs/git.ts";
import { TAR } from "../proofs/programs/tar.ts";

const EVENTS = 4;
const MOMENTS = 3;
const DAY_MS = 86_400_000;
const TEST_MS_MAX = 120_000;
const seed = Math.floor(Date.now() / DAY_MS);

for (const program of [GIT, TAR]) {
  const missing = missingOf(program).map((name) => `needs ${name}`).join(", ");
  const reason = obstacle() || freezerObstacle() || missing;
  const name = `exports of ${program.name} under record are of use to it`;
  test.skipIf(reason !== "")(
    reason === "" ? name : `${name} (skipped: ${reason})`,
    async () => {
      const lines: string[] = [`seed ${seed}`];
      const options = { seed, events: EVENTS, moments: MOMENTS };
      const differences = await prove(program, options, (line) => lines.push(line));
      expect(differences === 0 ? "" : lines.join("\n")).toBe("");
    },
    TEST_MS_MAX,
  );
}
