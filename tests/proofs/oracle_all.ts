/**
 * 1,000 random moments of all operations, 200 on each of five filesystems: ext4, tmpfs, overlayfs, xfs, btrfs. `npm run prove oracle_all
 * [POINTS] [SEED] [FILESYSTEM]...`. The filesystems are made in a temporary folder (xfs and btrfs on loop devices) and unmounted at the
 * end; one with a difference stays mounted, with the folders of its failed runs, and how to remove it is printed. A filesystem that
 * cannot be made here is named and counts as a failure.
 */
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MODES } from "../oracle/oracle.ts";
import { oracleObstacle, type OracleTotal, runSeries, totalLine } from "../oracle/oracle_run.ts";
import { machine, run } from "./_kit.ts";

const POINTS_PER_RUN = 20;
/** Sparse: only what is used takes room. */
const IMAGE_BYTES = 8 * 1024 ** 3;
const NAMES = ["ext4", "tmpfs", "overlay", "xfs", "btrfs"] as const;
type Name = typeof NAMES[number];

function must(argv: readonly string[]): void {
  const ran = run(argv);
  if (ran.code !== 0) throw new Error(`${argv.join(" ")}: ${ran.stderr.trim()}`);
}

/** Mounts a filesystem on `at`; what it needs lies in `folder`. */
function mount(name: Name, folder: string, at: string): void {
  mkdirSync(at);
  if (name === "tmpfs") return must(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", at]);
  if (name === "overlay") {
    for (const part of ["lower", "upper", "work"]) mkdirSync(join(folder, part));
    const parts = `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`;
    return must(["mount", "-t", "overlay", "-o", parts, "overlay", at]);
  }
  const image = join(folder, `${name}.img`);
  writeFileSync(image, "");
  truncateSync(image, IMAGE_BYTES);
  must([`mkfs.${name}`, "-q", image]);
  must(["mount", "-o", "loop", image, at]);
}

/** Nothing to look into: equal at all points, and nothing lost. */
function isEqual(total: OracleTotal): boolean {
  return total.differences === 0 && total.lost === 0;
}

/** Runs on a filesystem of its own, which is removed only when there is nothing to look into. */
async function runOn(name: Name, series: { points: number; seed: number }): Promise<OracleTotal> {
  const folder = mkdtempSync(join(tmpdir(), `diffkeeper-oracle-all-${name}-`));
  const at = join(folder, "at");
  let isKept = false;
  try {
    mount(name, folder, at);
    isKept = true; // until it is known that all is equal: also when a run throws
    const all = { ...series, modes: MODES, pointsPerRun: POINTS_PER_RUN, folder: at };
    const total = await runSeries({ ...all, options: { all: true } }, (line) => console.log(line));
    isKept = !isEqual(total);
    return total;
  } finally {
    if (isKept) {
      console.log(`${name}: stays mounted; remove it: umount ${at} && rm -r ${folder}`);
    } else {
      run(["umount", at]);
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

const reason = oracleObstacle();
if (reason !== "") {
  console.error(`proof: error: cannot run here: ${reason}`);
  process.exit(1);
}
const [count = "1000", first = String(Date.now() % 1_000_000), ...chosen] = process.argv.slice(2);
const names = NAMES.filter((name) => chosen.length === 0 || chosen.includes(name));
const points = Math.ceil(Number(count) / names.length);
let isGood = names.length > 0;
let done = 0;
for (const name of names) {
  console.log(`${name}:`);
  try {
    const total = await runOn(name, { points, seed: Number(first) });
    console.log(`${name}: ${totalLine(total)}`);
    done += total.points;
    isGood &&= isEqual(total) && total.points >= points;
  } catch (thrown) {
    console.log(`${name}: failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
    isGood = false;
  }
}
console.log(
  `oracle_all: ${done} points on ${names.join(", ")}: ${
    isGood ? "0 differences" : "NOT equal"
  } (${machine()})`,
);
process.exit(isGood ? 0 : 1);
