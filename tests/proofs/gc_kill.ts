/**
 * kill -9 of `gc` at random points: after each kill the trace is whole and says what it said before, or what it is to say after the
 * fold, and never anything between; the next run finishes it. argv: kills, seed.
 */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Trace } from "../../src/history/trace.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { Random } from "../property/model.ts";
import { makePackedTrace, makeTrace } from "../support/bit_flips.ts";
import { timelineOf, treeAt } from "../support/trace_states.ts";
import { Checks, ROOT, run, scratch } from "./_kit.ts";

const PROCESS = join(ROOT, "tests/support/gc_process.ts");
const RUNS_MAX = 50;

/** Starts a collection and kills it after a while; returns whether it was still running. */
async function killOne(argv: readonly string[], delayMs: number): Promise<boolean> {
  const child = Bun.spawn([...argv], { stdout: "pipe", stderr: "inherit" });
  const reader = child.stdout.getReader();
  await reader.read();
  await Bun.sleep(delayMs);
  child.kill("SIGKILL");
  await child.exited;
  reader.releaseLock();
  return child.signalCode === "SIGKILL";
}

/** The tree at the end. */
function lastTree(dir: string): string[] {
  const trace = Trace.open(dir);
  try {
    return treeAt(trace, trace.range().lastSeq);
  } finally {
    trace.close();
  }
}

/** The checks; `kills` of them. */
export async function checkGcKills(checks: Checks, kills: number, seed: number): Promise<void> {
  const folder = scratch("gc-kill");
  const random = new Random(seed);
  const kinds = { raw: 0, packed: 0 };
  const found = { old: 0, new: 0 };
  let bad = 0;
  for (const kind of ["raw", "packed"] as const) {
    const [first, dir] = [join(folder, kind), join(folder, `${kind}-killed`)];
    (kind === "raw" ? makeTrace : makePackedTrace)(first, seed, { functions: 2_800 });
    const wanted = timelineOf(first);
    const argv = [process.execPath, PROCESS, dir, "0"];
    cpSync(first, dir, { recursive: true });
    const { ms, code } = run(argv);
    checks.that(`a collection of a ${kind} trace without a kill ends`, code === 0);
    const after = timelineOf(dir);
    const tree = lastTree(first);
    for (let round = 0; kinds[kind] < kills / 2 && round < kills * RUNS_MAX; round++) {
      rmSync(dir, { recursive: true, force: true });
      cpSync(first, dir, { recursive: true });
      if (!await killOne(argv, random.below(1000) / 1000 * ms)) continue;
      kinds[kind]++;
      const lines = timelineOf(dir);
      const isOld = Bun.deepEquals(lines, wanted);
      if (isOld) found.old++;
      else found.new++;
      const { problems } = verifyTrace(dir);
      const isSound = problems.length === 0 && (isOld || Bun.deepEquals(lines, after)) &&
        Bun.deepEquals(lastTree(dir), tree);
      const next = run(argv);
      const isFinished = Bun.deepEquals(timelineOf(dir), after) &&
        verifyTrace(dir).problems.length === 0;
      if (isSound && isFinished) continue;
      bad++;
      const what = { isOld, isSound, isFinished, code: next.code, said: next.stderr };
      const detail = JSON.stringify({ ...what, problem: problems[0], lines: lines.length });
      checks.that(`kill ${kinds[kind]} of ${kind}`, false, detail);
    }
  }
  const text = `${found.old} left the old trace, ${found.new} the new one`;
  const done = kinds.raw + kinds.packed;
  checks.that(`${done} kills: ${text}`, done >= kills && bad === 0);
  rmSync(folder, { recursive: true, force: true });
}

if (import.meta.main) {
  const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
  const checks = new Checks();
  checks.note(`seed ${seed}`);
  await checkGcKills(checks, Number(process.argv[2] ?? 100), seed);
  checks.end("kills of gc");
}
