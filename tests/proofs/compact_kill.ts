/**
 * kill -9 of the compactor at random points of one compaction: after each kill the trace is whole and says what it said, and when the
 * next run has finished it, every row is what it is without a kill. argv: kills, seed.
 */
import { Database } from "bun:sqlite";
import { cpSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { verifyTrace } from "../../src/history/verify.ts";
import { makeTrace } from "../support/bit_flips.ts";
import { timelineOf } from "../support/trace_states.ts";
import { Random } from "../property/model.ts";
import { Checks, ROOT, run, scratch } from "./_kit.ts";

const SEGMENT_BYTES = "3000";
const KEYFRAME_EVENTS = "60";
const PROCESS = join(ROOT, "tests/support/compact_process.ts");
const RUNS_MAX = 50;

/** Every row; the compactor's and the recorder's alike. */
function rowsOf(dir: string): string[] {
  const db = new Database(join(dir, "trace.db"), { readonly: true });
  const rows = db.query<{ id: number; key: Uint8Array; value: Uint8Array }, []>(
    "SELECT id, key, value FROM kv ORDER BY id",
  ).all();
  db.close();
  return rows.map(({ id, key, value }) =>
    `${id} ${Buffer.from(key).toString("latin1")} ${Bun.hash.xxHash3(value)}`
  );
}

/** Starts a compaction and kills it after a while from its first step; returns whether it was still running. */
async function killOne(dir: string, delayMs: number): Promise<boolean> {
  const child = Bun.spawn([process.execPath, PROCESS, dir, SEGMENT_BYTES, KEYFRAME_EVENTS], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  await reader.read();
  await Bun.sleep(delayMs);
  child.kill("SIGKILL");
  await child.exited;
  reader.releaseLock();
  return child.signalCode === "SIGKILL";
}

/** The checks; `kills` of them. */
export async function checkKills(checks: Checks, kills: number, seed: number): Promise<void> {
  const folder = scratch("compact-kill");
  const [raw, whole, dir] = ["raw", "whole", "killed"].map((name) => join(folder, name));
  if (raw === undefined || whole === undefined || dir === undefined) return;
  makeTrace(raw, seed, { functions: 2_800 });
  const wanted = timelineOf(raw);
  cpSync(raw, whole, { recursive: true });
  const startedAt = performance.now();
  const argv = [process.execPath, PROCESS, whole, SEGMENT_BYTES, KEYFRAME_EVENTS];
  checks.that("a compaction without a kill ends", run(argv).code === 0);
  const durationMs = performance.now() - startedAt;
  const rows = rowsOf(whole);
  const random = new Random(seed);
  let done = 0;
  let bad = 0;
  for (let round = 0; done < kills && round < kills * RUNS_MAX; round++) {
    rmSync(dir, { recursive: true, force: true });
    cpSync(raw, dir, { recursive: true });
    const delayMs = random.below(1000) / 1000 * durationMs;
    if (!await killOne(dir, delayMs)) continue;
    done++;
    const { problems } = verifyTrace(dir);
    if (problems.length > 0 || !Bun.deepEquals(timelineOf(dir), wanted)) {
      bad++;
      checks.that(`kill ${done}, after ${delayMs} ms`, false, JSON.stringify(problems[0] ?? ""));
    }
    run([process.execPath, PROCESS, dir, SEGMENT_BYTES, KEYFRAME_EVENTS]);
    const same = Bun.deepEquals(rowsOf(dir), rows) && !existsSync(join(dir, "recorder.lock"));
    if (!same) {
      bad++;
      checks.that(`the run after kill ${done}, after ${delayMs} ms`, false, "its rows differ");
    }
  }
  checks.that(`${done} kills, ${rows.length} rows each time the same`, done === kills && bad === 0);
  rmSync(folder, { recursive: true, force: true });
}

if (import.meta.main) {
  const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
  const checks = new Checks();
  checks.note(`seed ${seed}`);
  await checkKills(checks, Number(process.argv[2] ?? 200), seed);
  checks.end("kills of the compactor");
}
