/**
 * A small oracle for every run of the tests: 24 random moments of three random workloads, each restored and compared with the
 * real tree of that moment. `npm run prove oracle` does 200 and more. The seeds are new each day and stand in the failure.
 */
import { expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { MODES } from "../oracle/oracle.ts";
import { oracleObstacle, runSeries, totalLine } from "../oracle/oracle_run.ts";

const POINTS_PER_MODE = 8;
const DAY_MS = 86_400_000;
const reason = oracleObstacle();
const seed = Math.floor(Date.now() / DAY_MS);

for (const mode of MODES) {
  const name = `exports of ${POINTS_PER_MODE} random moments are the real tree: ${mode}`;
  test.skipIf(reason !== "")(reason === "" ? name : `${name} (skipped: ${reason})`, async () => {
    const lines: string[] = [];
    const series = { points: POINTS_PER_MODE, pointsPerRun: POINTS_PER_MODE, modes: [mode], seed };
    const total = await runSeries({ ...series, folder: tmpdir(), options: {} }, (line) => {
      lines.push(line);
    });
    if (total.differences > 0) console.error(lines.join("\n"));
    expect(totalLine(total)).toContain(`${POINTS_PER_MODE} points, 0 differences, 0 events lost`);
  });
}
