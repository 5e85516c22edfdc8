/**
 * What runs inside a guest, in the recorder's own binary (BUN_BE_BUN=1): recordings of which everything is known, checked
 * through the command line only. Parameters come from the kernel's command line (`dk.NAME=VALUE`). The last line of the output is
 * one JSON object, a GuestReport, after the mark "@@REPORT ".
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compare, readManifest, writeManifest } from "../../../tests/oracle/manifest.ts";
import { MODES } from "../../../tests/oracle/oracle.ts";
import { runSeries } from "../../../tests/oracle/oracle_run.ts";
import { patternProgram } from "../../../tests/oracle/programs.ts";
import { BINARY, dk, info, ROOT, run } from "../../../tests/proofs/_kit.ts";
import type { GuestReport } from "../report.ts";

const RECORD_MS_MAX = 3_600_000;
const READ_MS_MAX = 300_000;
const WRITE_BYTES = 32;
const DEEP = 300;
const POINTS_PER_RUN = 20;
/** Of the points, so many are looked at on tmpfs too, where other hooks are used. */
const TMPFS_PART = 5;
const SHELL_CODE = 3;

/** Every kind of change that a shell can make, with busybox's tools. */
const SHELL = `
echo one > a; echo two >> a; mkdir -p d/e; mv a d/e/b; ln d/e/b hard; ln -s d/e/b soft
i=0; while [ $i -lt 40 ]; do echo "line $i" >> log; i=$((i + 1)); done
cp log copied; sed "" log > copy; truncate -s 5 copy; mv copy log2; mv log2 log; chmod 0600 log; chown 7:8 hard
mkfifo pipe; touch -d 2001-02-03 old; mkdir gone; echo x > gone/x; rm -r gone
dd if=/dev/zero of=zeros bs=4096 count=64 2>/dev/null; dd if=log of=zeros bs=1 seek=9000 conv=notrunc 2>/dev/null
mv before/kept moved; rm before/removed; echo more >> before/grown
echo to stdout; exit ${SHELL_CODE}`;

/** Folders of one check. */
interface Place {
  watched: string;
  trace: string;
  at: (name: string) => string;
}

const report: GuestReport = { hooks: [], events: 0, lost: 0, refused: "", problems: [], notes: [] };

function parameter(name: string, fallback: number): number {
  const word = new RegExp(`\\bdk\\.${name}=(\\d+)`).exec(readFileSync("/proc/cmdline", "utf8"));
  return word === null ? fallback : Number(word[1]);
}

function place(base: string, name: string): Place {
  const folder = join(base, name);
  const at = (file: string) => join(folder, file);
  mkdirSync(at("watched/before"), { recursive: true });
  for (const file of ["kept", "removed", "grown"]) {
    writeFileSync(at(`watched/before/${file}`), `${file}\n`);
  }
  return { watched: at("watched"), trace: at("trace"), at };
}

/** Records, then compares the tree at the end, and adds what `info` says. Returns what is wrong. */
function recorded(here: Place, argv: readonly string[], code: number): string[] {
  const record = ["record", "--quiet", "--state-dir", here.trace, "--watch", here.watched, "--"];
  const ran = run([BINARY, ...record, ...argv], { cwd: here.watched, timeoutMs: RECORD_MS_MAX });
  if (ran.code !== code) return [`exit code ${ran.code}, not ${code}: ${ran.stderr.trim()}`];
  const problems: string[] = [];
  const facts = info(here.trace);
  report.events += Number(facts["events"]);
  report.lost += Number(facts["lost"]);
  report.hooks = [...new Set([...report.hooks, ...hooksOf(String(facts["tracer"]))])];
  if (facts["lost"] !== 0) problems.push(`lost: ${JSON.stringify(facts["losses"])}`);
  if (facts["clean"] !== true) problems.push("the trace is not clean");
  const lines = dk(["timeline", "--json", "--state-dir", here.trace], { timeoutMs: READ_MS_MAX })
    .stdout.trim().split("\n").length;
  if (lines !== facts["events"]) problems.push(`timeline has ${lines} lines of ${facts["events"]}`);
  const gaps = dk(["timeline", "--json", "--state-dir", here.trace, "--op", "GAP"]).stdout.trim();
  if (gaps !== "") problems.push(`gaps: ${gaps.split("\n").slice(0, 3).join(" ")}`);
  return [...problems, ...differences(here)];
}

/** Names of hooks in "ebpf (a, b)". */
function hooksOf(tracer: string): string[] {
  return /\((.*)\)/.exec(tracer)?.[1]?.split(", ") ?? [tracer];
}

function differences(here: Place): string[] {
  const argv = ["export", "--state-dir", here.trace, "--time", "end", "--out", here.at("out")];
  const ran = dk(argv, { timeoutMs: READ_MS_MAX });
  if (ran.code !== 0) return [`export exits with ${ran.code}: ${ran.stderr.trim()}`];
  writeManifest(here.watched, { out: here.at("truth") });
  writeManifest(here.at("out"), { out: here.at("found") });
  return compare(readManifest(here.at("truth")), readManifest(here.at("found")))
    .map((difference) => JSON.stringify(difference));
}

function shellCheck(base: string): string[] {
  return recorded(place(base, "shell"), ["sh", "-c", SHELL], SHELL_CODE);
}

function oddCheck(base: string): string[] {
  const here = place(base, "odd");
  let deep = here.watched;
  for (let i = 0; i < DEEP; i++) deep = join(deep, "deep");
  mkdirSync(deep, { recursive: true });
  return recorded(here, ["/bin/odd_calls"], 0);
}

/** A burst of small writes; the file must also be exact in the middle. */
function writesCheck(base: string, count: number): string[] {
  const here = place(base, "writes");
  const file = "small";
  const startedAt = performance.now();
  const argv = [patternProgram(), "write", file, String(count), String(WRITE_BYTES)];
  const problems = recorded(here, argv, 0);
  report.notes.push(`${count} writes in ${((performance.now() - startedAt) / 1000).toFixed(0)}s`);
  if (problems.length > 0) return problems;
  const select = ["--path", file, "--op", "WRITE", "--limit", String(Math.ceil(count / 3))];
  const timeline = ["timeline", "--json", "--state-dir", here.trace, ...select];
  const line = dk(timeline, { timeoutMs: READ_MS_MAX }).stdout.trim().split("\n").at(-1) ?? "";
  const event = JSON.parse(line) as { seq: number; offset: number; length: number };
  const out = here.at("middle");
  dk(["export", "--state-dir", here.trace, "--time", `#${event.seq}`, "--out", out]);
  const bytes = String(event.offset + event.length);
  const checked = run([patternProgram(), "check", join(out, file), bytes]);
  return checked.code === 0 ? [] : [`at #${event.seq}: ${checked.stdout}${checked.stderr}`];
}

async function oracleCheck(base: string, name: string, points: number): Promise<string[]> {
  const said: string[] = [];
  const folder = join(base, "oracle");
  mkdirSync(folder, { recursive: true });
  const series = { points, seed: parameter("seed", 1), pointsPerRun: POINTS_PER_RUN };
  const total = await runSeries(
    { ...series, modes: MODES, folder, options: { folder } },
    (line) => said.push(line),
  );
  report.events += total.events;
  report.lost += total.lost;
  report.notes.push(`oracle on ${name}: ${total.points} points, ${total.differences} differences`);
  return total.differences + total.lost > 0 ? said : [];
}

/** Runs a check and keeps its problems, whatever it throws. */
async function check(name: string, body: () => string[] | Promise<string[]>): Promise<void> {
  const startedAt = performance.now();
  let problems: string[];
  try {
    problems = await body();
  } catch (thrown) {
    problems = [String(thrown)];
  }
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${name}: ${problems.length === 0 ? "ok" : "FAILED"} in ${seconds}s`);
  for (const problem of problems) console.log(`  ${problem}`);
  report.problems.push(...problems.map((problem) => `${name}: ${problem}`));
}

/** Does this kernel refuse? Then its one line stands in the report. */
function isRefused(): boolean {
  const here = place("/disk", "first");
  const ran = dk([
    "record",
    "--quiet",
    "--state-dir",
    here.trace,
    "--watch",
    here.watched,
    "--",
    "true",
  ]);
  if (ran.code === 0) return false;
  report.refused = ran.stderr.trim().split("\n")[0] ?? "";
  if (ran.code !== 125) report.problems.push(`exit code ${ran.code}, not 125`);
  if (ran.stderr.includes("    at ")) report.problems.push("a stack trace instead of an error");
  return true;
}

if (import.meta.main) {
  process.chdir(ROOT);
  const points = parameter("points", 0);
  if (!isRefused()) {
    await check("shell on ext4", () => shellCheck("/disk"));
    await check("shell on tmpfs", () => shellCheck("/ram"));
    await check("odd calls", () => oddCheck("/disk"));
    await check("writes", () => writesCheck("/disk", parameter("writes", 1000)));
    if (points > 0) await check("oracle", () => oracleCheck("/disk", "ext4", points));
    const onTmpfs = Math.ceil(points / TMPFS_PART);
    if (points > 0) await check("oracle, tmpfs", () => oracleCheck("/ram", "tmpfs", onTmpfs));
  }
  console.log(`@@REPORT ${JSON.stringify(report)}`);
}
