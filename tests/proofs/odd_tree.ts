/**
 * Odd trees are recorded and exported equal, nothing hangs and nothing is silently left out.
 * FIFOs, sockets, devices, a 5 GB sparse file, names that are not UTF-8, 300 folders in each other (a path beyond PATH_MAX), 100,000
 * files in one folder: once there before the command, once made and changed by it. A folder that the recorder may not read
 * (root without CAP_DAC_OVERRIDE, as in a container) is named at the end of the
 * recording and by export.
 */
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BINARY, Checks, dk, info, requireKernel, run, scratch } from "./_kit.ts";

const SCRIPT = join(import.meta.dir, "_odd_tree.py");
const STEP_MS_MAX = 300_000;
const SOMEBODY = 12_345;

function python(...args: string[]): string {
  const ran = run(["python3", SCRIPT, ...args], { timeoutMs: STEP_MS_MAX });
  if (ran.code !== 0) throw new Error(`python3 exits with ${ran.code}: ${ran.stderr}`);
  return ran.stdout;
}

/** The lines in which two descriptions differ; empty: none. */
function difference(found: string, expected: string): string {
  const [a, b] = [new Set(found.split("\n")), new Set(expected.split("\n"))];
  const lines = [...[...b].filter((line) => !a.has(line)).map((line) => `missing ${line}`)];
  lines.push(...[...a].filter((line) => !b.has(line)).map((line) => `instead ${line}`));
  return lines.length === 0
    ? ""
    : `${lines.length} lines: ${lines.slice(0, 4).join(" | ").slice(0, 900)}`;
}

function exportAt(checks: Checks, state: string, time: string, truth: string): void {
  const out = join(scratch("odd"), "out");
  const ran = dk(["export", "--state-dir", state, "--time", time, "--out", out], {
    timeoutMs: STEP_MS_MAX,
  });
  checks.equal(`export --time ${time} exits with 0, without a warning`, [ran.code, ran.stderr], [
    0,
    "",
  ]);
  const found = ran.code === 0 ? difference(python("list", out), truth) : "nothing exported";
  checks.that(`the tree at ${time} is equal`, found === "", found);
  checks.note(`export --time ${time}: ${(ran.ms / 1000).toFixed(1)} s`);
}

/** A folder that the recorder cannot look into. */
function unreadable(checks: Checks): void {
  const folder = scratch("odd");
  const closed = join(folder, "closed");
  mkdirSync(closed, { mode: 0o700 });
  writeFileSync(join(closed, "secret"), "secret\n");
  writeFileSync(join(folder, "file"), "file\n");
  chownSync(closed, SOMEBODY, SOMEBODY);
  chownSync(join(closed, "secret"), SOMEBODY, SOMEBODY);
  const setpriv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
  const state = join(scratch("odd"), "trace");
  const ran = run([
    ...setpriv,
    BINARY,
    "record",
    "--state-dir",
    state,
    "--",
    "sh",
    "-c",
    "echo more >>file",
  ], {
    cwd: folder,
  });
  checks.equal("an unreadable folder does not stop the recording", ran.code, 0);
  checks.that("it is named at the end", /note: .*closed/.test(ran.stderr), ran.stderr);
  const out = join(scratch("odd"), "out");
  const exported = dk(["export", "--state-dir", state, "--time", "end", "--out", out]);
  checks.that(
    "export says so",
    exported.code === 0 && exported.stderr.includes("closed"),
    exported.stderr,
  );
}

/** All of it with so many files in one folder. */
export function checkOddTree(checks: Checks, files: number): void {
  const work = scratch("odd");
  const state = join(scratch("odd"), "trace");
  python("make", work, String(files));
  const before = python("list", work);
  checks.note(`the tree has ${before.split("\n").length - 1} entries`);
  const ran = dk(
    ["record", "--state-dir", state, "--", "python3", SCRIPT, "change", work, String(files)],
    { cwd: work, timeoutMs: STEP_MS_MAX },
  );
  checks.equal("recording ends with the command's code", ran.code, 0);
  checks.that("its audit finds no difference", ran.stderr.includes(", 0 differences"), ran.stderr);
  checks.note(ran.stderr.trim().replaceAll("\n", "\n  "));
  checks.note(`record: ${(ran.ms / 1000).toFixed(1)} s`);
  const facts = info(state);
  checks.equal("clean, nothing lost", [facts["clean"], facts["lost"]], [true, 0]);
  const after = python("list", work);
  exportAt(checks, state, "start", before);
  exportAt(checks, state, "end", after);
  unreadable(checks);
}

if (import.meta.main) {
  requireKernel();
  const checks = new Checks();
  const files = Number(process.argv[2] ?? 100_000);
  checkOddTree(checks, files);
  checks.end(`odd tree with ${files} files in one folder`);
}
