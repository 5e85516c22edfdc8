/**
 * Runs the oracle from the command line: `bun tests/oracle/oracle_run.ts [--points 200] [--seed N] [--mode M]... [--all] [--only
 * OPS] [--procs N] [--threads N] [--per-run 20] [--folder DIR] [--log] [--bin PATH] [--keep]`. Without --mode the three modes
 * take turns. Prints one line a run and at the end `oracle: N points, M differences, seeds ...`; exit code 1 when something differs.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { obstacle } from "../proofs/_kit.ts";
import { freezerObstacle } from "./frozen.ts";
import { type Mode, MODES, type OracleOptions, runOracle } from "./oracle.ts";

/** What the runs came to. */
export interface OracleTotal {
  points: number;
  differences: number;
  lost: number;
  events: number;
  seeds: string[];
}

/** A set of runs. */
export interface Series {
  points: number;
  seed: number;
  modes: readonly Mode[];
  pointsPerRun: number;
  /** Where the run's folders are made. */
  folder: string;
  /** Folders of runs without differences stay too. */
  keep?: boolean;
  options: Partial<OracleOptions>;
}

/** Why the oracle cannot run here; empty: it can. */
export function oracleObstacle(): string {
  if (Bun.which("cc") === null) return "needs cc";
  return obstacle() || freezerObstacle();
}

/** Runs with seed, seed + 1, ... until there are enough points. `say` gets a line a run. */
export async function runSeries(series: Series, say: (line: string) => void): Promise<OracleTotal> {
  const total: OracleTotal = { points: 0, differences: 0, lost: 0, events: 0, seeds: [] };
  const runsMax = Math.ceil(series.points / series.pointsPerRun) + series.modes.length;
  for (let i = 0; total.points < series.points && i < runsMax; i++) {
    const mode = series.modes[i % series.modes.length] ?? "private";
    const seed = series.seed + i;
    const folder = mkdtempSync(join(series.folder, `diffkeeper-oracle-${seed}-`));
    const points = series.pointsPerRun - 1;
    const result = await runOracle({ ...series.options, folder, seed, mode, points });
    total.points += result.points;
    total.differences += result.differences.length;
    total.lost += result.lost;
    total.events += result.events;
    total.seeds.push(`${seed}/${mode}`);
    for (const difference of result.differences) say(difference);
    const bad = result.differences.length > 0 || result.lost > 0;
    const where = bad || series.keep === true ? `, kept in ${folder}` : "";
    say(
      `  seed ${seed} ${mode}: ${result.points} points, ${result.events} events, ` +
        `${result.lost} lost, ${result.differences.length} differences${where}`,
    );
    if (where === "") rmSync(folder, { recursive: true, force: true });
  }
  return total;
}

/** The line that counts. */
export function totalLine(total: OracleTotal): string {
  return `oracle: ${total.points} points, ${total.differences} differences, ` +
    `${total.lost} events lost of ${total.events}, seeds ${total.seeds.join(" ")}`;
}

function seriesFromArgs(argv: string[]): Series {
  const { values } = parseArgs({
    args: argv,
    options: {
      points: { type: "string", default: "200" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      mode: { type: "string", multiple: true },
      all: { type: "boolean", default: false },
      only: { type: "string" },
      procs: { type: "string", default: "2" },
      threads: { type: "string", default: "2" },
      gap: { type: "string", default: "40" },
      "per-run": { type: "string", default: "20" },
      folder: { type: "string", default: tmpdir() },
      log: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      bin: { type: "string" },
    },
  });
  return {
    points: Number(values.points),
    seed: Number(values.seed),
    modes: (values.mode as Mode[] | undefined) ?? MODES,
    pointsPerRun: Number(values["per-run"]),
    folder: values.folder,
    keep: values.keep,
    options: {
      all: values.all,
      log: values.log,
      procs: Number(values.procs),
      threads: Number(values.threads),
      gapMsMax: Number(values.gap),
      ...(values.only === undefined ? {} : { only: values.only }),
      ...(values.bin === undefined ? {} : { binary: values.bin }),
    },
  };
}

if (import.meta.main) {
  const reason = oracleObstacle();
  if (reason !== "") {
    console.error(`oracle: error: cannot run here: ${reason}`);
    process.exit(1);
  }
  const total = await runSeries(seriesFromArgs(process.argv.slice(2)), (line) => console.log(line));
  console.log(totalLine(total));
  process.exit(total.differences === 0 && total.lost === 0 ? 0 : 1);
}
