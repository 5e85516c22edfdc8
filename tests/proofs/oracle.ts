/**
 * 200 random moments of random workloads: the exported tree is the real one. `npm run prove oracle [POINTS] [SEED]`
 * Three ways for processes and threads to meet; see tests/oracle/oracle_run.ts for one run at a time and for --all operations.
 */
import { tmpdir } from "node:os";
import { MODES } from "../oracle/oracle.ts";
import { oracleObstacle, runSeries, totalLine } from "../oracle/oracle_run.ts";
import { machine } from "./_kit.ts";

const POINTS_PER_RUN = 20;

const reason = oracleObstacle();
if (reason !== "") {
  console.error(`proof: error: cannot run here: ${reason}`);
  process.exit(1);
}
const points = Number(process.argv[2] ?? 200);
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
const series = { points, seed, modes: MODES, pointsPerRun: POINTS_PER_RUN, folder: tmpdir() };
const total = await runSeries({ ...series, options: {} }, (line) => console.log(line));
console.log(`${totalLine(total)} (${machine()})`);
process.exit(total.differences === 0 && total.lost === 0 && total.points >= points ? 0 : 1);
