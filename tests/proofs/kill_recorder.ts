/**
 * kill -9 of the recorder at random moments of a running workload: each trace opens, verifies, and restores exactly what was
 * there after its last recorded event; the command is never left frozen or stopped.
 * The workload (_steps.c) changes its folders in steps of one system call and logs the times of each, so the folder after n
 * steps can be made again for every n. Its processes have a folder each: the events of a process, counted, say how many of its
 * steps the trace holds. Every third kill is done while the recorder holds the command back (a ring of 256 KiB).
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { compare, readManifest, writeManifest } from "../oracle/manifest.ts";
import { compiled } from "../oracle/programs.ts";
import { BINARY, Checks, dk, events, info, requireKernel, run, scratch } from "./_kit.ts";

const PROCESSES = 2;
const START_MS_MAX = 20_000;
const HELD_MS_MAX = 5_000;
const GO_ON_MS_MAX = 10_000;
const LEFT_MS_MAX = 5_000;
const RUN_MS_MAX = 1_200;
const PAUSE_US = 300;
/** Numbers of `enum op` in _steps.c. */
const OPS = [
  ...["CREATE", "WRITE", "TRUNCATE", "RENAME", "UNLINK", "MKDIR", "RMDIR", "SYMLINK", "LINK"],
  ...["MKNOD", "CHMOD", "UTIMES", "XATTR", "FALLOCATE"],
];
const ENTRY_BYTES = 64;

/** One recording that is killed. */
interface Round {
  name: string;
  seed: number;
  /** Kill it while the command is frozen or stopped, with a small ring. */
  held: boolean;
  afterMs: number;
}

/** What a process of the workload has done: the head of its log (struct head). */
class StepLog {
  readonly #path: string;
  constructor(path: string) {
    this.#path = path;
  }
  #read(bytes: number): DataView {
    const view = new DataView(new ArrayBuffer(bytes));
    const fd = openSync(this.#path, "r");
    readSync(fd, view, 0, bytes, 0);
    closeSync(fd);
    return view;
  }
  get count(): number {
    return existsSync(this.#path) ? Number(this.#read(8).getBigUint64(0, true)) : 0;
  }
  get pid(): number {
    return Number(this.#read(16).getBigUint64(8, true));
  }
  /** Names and times (CLOCK_MONOTONIC, ns) of all steps. */
  steps(): { op: string; tNs: number }[] {
    const { count } = this;
    const view = this.#read((count + 1) * ENTRY_BYTES);
    return Array.from({ length: count }, (_, i) => {
      const at = (i + 1) * ENTRY_BYTES;
      const op = OPS[view.getUint32(at + 8, true)] ?? "";
      return { op, tNs: Number(view.getBigUint64(at, true)) };
    });
  }
}

async function until(condition: () => boolean, msMax: number): Promise<boolean> {
  const deadline = performance.now() + msMax;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await Bun.sleep(2);
  }
  return true;
}

function stateOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat[stat.lastIndexOf(")") + 2] ?? "";
  } catch {
    return "gone";
  }
}

/** The cgroup (v2) of a process, as a folder; undefined: there is none, or no cgroup v2. */
function cgroupOf(pid: number): string | undefined {
  const mounts = readFileSync("/proc/self/mountinfo", "latin1").split("\n");
  const mount = mounts.find((line) => line.includes(" - cgroup2 "))?.split(" ")[4];
  const own = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "latin1"))?.[1];
  return mount === undefined || own === undefined ? undefined : mount + own;
}

/** Is a process held back just now, and how? */
function holdOn(pids: number[], cgroup: string | undefined): "frozen" | "stopped" | undefined {
  if (cgroup !== undefined && existsSync(`${cgroup}/cgroup.events`)) {
    if (readFileSync(`${cgroup}/cgroup.events`, "latin1").includes("frozen 1")) return "frozen";
  }
  return pids.some((pid) => stateOf(pid) === "T") ? "stopped" : undefined;
}

/** One round's folders and programs. */
class Killing {
  readonly #round: Round;
  readonly #checks: Checks;
  readonly #at: (name: string) => string;
  readonly #program = compiled(join(import.meta.dir, "_steps.c"));
  readonly #logs: StepLog[];
  /** How the command was held when the recorder died. */
  hold: "frozen" | "stopped" | undefined;
  /** Steps that the trace holds. */
  kept = 0;

  constructor(round: Round, checks: Checks) {
    const folder = scratch("kill");
    this.#round = round;
    this.#checks = checks;
    this.#at = (name) => join(folder, name);
    this.#logs = Array.from({ length: PROCESSES }, (_, i) => new StepLog(this.#at(`log.${i}`)));
    for (let i = 0; i < PROCESSES; i++) {
      mkdirSync(this.#at(`work/p${i}`), { recursive: true });
      mkdirSync(this.#at(`truth/p${i}`), { recursive: true });
    }
  }

  #that(name: string, holds: boolean, detail = ""): void {
    this.#checks.that(`${this.#round.name}: ${name}`, holds, detail);
  }

  /** Records, kills, and looks at all of it. Returns the time of the oldest step that is missing, in ms before the kill. */
  async run(): Promise<number> {
    const { held, seed } = this.#round;
    const flags = held ? ["--ring-size", "256K"] : [];
    const recorder = Bun.spawn([
      ...[BINARY, "record", "--quiet", "--state-dir", this.#at("trace")],
      ...["--watch", this.#at("work"), ...flags, "--", this.#program],
      ...[this.#at("work"), this.#at("log"), String(seed), String(PROCESSES)],
      held ? "0" : String(PAUSE_US),
    ], { stdio: ["ignore", "inherit", "inherit"] });
    const isGoing = () => this.#logs.every((log) => log.count > 0);
    this.#that("the workload starts", await until(isGoing, START_MS_MAX));
    const pids = this.#logs.map((log) => log.pid);
    try {
      const done = await this.#kill(recorder, pids);
      await this.#checkFree(pids, recorder.pid);
      for (const pid of pids) process.kill(pid, "SIGKILL");
      const kept = this.#checkTrace(pids);
      this.kept = kept.reduce((sum, count) => sum + count, 0);
      this.#checkTree(kept);
      return this.#lagMs(kept, done);
    } finally {
      for (const pid of pids) if (stateOf(pid) !== "gone") process.kill(pid, "SIGKILL");
      for (const name of ["work", "truth", "out", "trace"]) {
        rmSync(this.#at(name), { recursive: true, force: true });
      }
    }
  }

  /** Returns how many steps each process had done. */
  async #kill(recorder: Bun.Subprocess, pids: number[]): Promise<number[]> {
    const cgroup = cgroupOf(pids[0] ?? 0);
    await Bun.sleep(this.#round.afterMs);
    if (this.#round.held) {
      await until(() => holdOn(pids, cgroup) !== undefined, HELD_MS_MAX);
    }
    // stopped itself, it can change nothing between our look and its death
    recorder.kill("SIGSTOP");
    this.hold = holdOn(pids, cgroup);
    const done = this.#logs.map((log) => log.count);
    recorder.kill("SIGKILL");
    await recorder.exited;
    return done;
  }

  /** Every process must go on, and the recorder's cgroup must go. */
  async #checkFree(pids: number[], recorder: number): Promise<void> {
    // what is counted must have been done after the guard let it go, not before
    await Bun.sleep(100);
    const before = this.#logs.map((log) => log.count);
    for (const [i, log] of this.#logs.entries()) {
      const goesOn = await until(() => log.count > (before[i] ?? 0) + 10, GO_ON_MS_MAX);
      this.#that(`process ${i} goes on`, goesOn, `state ${stateOf(pids[i] ?? 0)}`);
    }
    const isLeft = () => !pids.some((pid) => cgroupOf(pid)?.includes(`diffkeeper.${recorder}`));
    this.#that("it is in no cgroup of the recorder", await until(isLeft, LEFT_MS_MAX));
  }

  /** The trace opens, verifies, and has the first steps of each process, each as it was. Returns how many of each. */
  #checkTrace(pids: number[]): number[] {
    const trace = this.#at("trace");
    const facts = info(trace);
    this.#checks.equal(`${this.#round.name}: info`, [facts["state"], facts["lost"]], ["cut", 0]);
    const verified = dk(["verify", "--state-dir", trace]);
    this.#that("verifies", verified.code === 0, verified.stdout + verified.stderr);
    const found = pids.map((): string[] => []);
    for (const { op, pid } of events(trace)) {
      const at = pids.indexOf(pid ?? 0);
      if (at >= 0 && OPS.includes(op)) found[at]?.push(op);
    }
    return this.#logs.map((log, i) => {
      const ops = found[i] ?? [];
      const truth = log.steps().slice(0, ops.length).map(({ op }) => op);
      const wrong = ops.findIndex((op, k) => op !== truth[k]);
      const what = `step ${wrong}: ${ops[wrong]} recorded, ${truth[wrong]} done`;
      this.#that(`events of process ${i} are its first ${ops.length} steps`, wrong < 0, what);
      return ops.length;
    });
  }

  /** What the trace restores at its end is what those steps make. */
  #checkTree(kept: number[]): void {
    const { seed } = this.#round;
    const out = this.#at("out");
    const exported = dk([
      ...["export", "--state-dir", this.#at("trace"), "--time", "end", "--out", out],
      "--strict",
    ]);
    const wanted = exported.stderr.includes("warning") ? 1 : 0;
    this.#that("exports", exported.code === wanted, exported.stderr);
    for (const [i, count] of kept.entries()) {
      const argv = [this.#at("truth"), this.#at("log"), String(seed), String(i), String(count)];
      const ran = run([this.#program, "--again", ...argv]);
      this.#that(`the steps of process ${i} can be made again`, ran.code === 0, ran.stderr);
      writeManifest(this.#at(`truth/p${i}`), { out: this.#at("wanted") });
      writeManifest(join(out, `p${i}`), { out: this.#at("found") });
      const wrong = compare(readManifest(this.#at("wanted")), readManifest(this.#at("found")));
      const detail = JSON.stringify(wrong.slice(0, 3));
      this.#that(`the tree after ${count} steps of process ${i}`, wrong.length === 0, detail);
    }
  }

  #lagMs(kept: number[], done: number[]): number {
    const lags = this.#logs.map((log, i) => {
      const steps = log.steps().slice(0, done[i]);
      const missing = steps[kept[i] ?? 0];
      return missing === undefined ? 0 : ((steps.at(-1)?.tNs ?? 0) - missing.tNs) / 1e6;
    });
    this.#checks.note(`${this.#round.name}: ${kept.join(" and ")} of ${done.join(" and ")} steps`);
    return Math.max(...lags);
  }
}

/** What came out of all rounds. */
export interface KillResult {
  frozen: number;
  stopped: number;
  /** Longest time before a kill of which something is missing; without rounds where the command was held back. */
  worstMs: number;
  /** Steps that all traces together hold. */
  kept: number;
}

/** Kills `count` recorders. */
export async function checkKills(
  checks: Checks,
  { count, seed }: { count: number; seed: number },
): Promise<KillResult> {
  const result = { frozen: 0, stopped: 0, worstMs: 0, kept: 0 };
  for (let i = 0; i < count; i++) {
    const held = i % 3 === 2;
    // a fraction of the seed's own: the moments are those of the seed
    const part = Number(BigInt.asUintN(32, Bun.hash.xxHash3(`${seed}:${i}`))) / 2 ** 32;
    const afterMs = part * RUN_MS_MAX;
    const name = `${i + 1} (seed ${seed + i}, ${afterMs.toFixed(0)} ms${held ? ", held" : ""})`;
    const killing = new Killing({ name, seed: seed + i, held, afterMs }, checks);
    const lagMs = await killing.run();
    result.kept += killing.kept;
    if (killing.hold !== undefined) result[killing.hold]++;
    else result.worstMs = Math.max(result.worstMs, lagMs);
  }
  return result;
}

if (import.meta.main) {
  requireKernel();
  const checks = new Checks();
  const count = Number(process.argv[2] ?? 50);
  const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
  console.log(`seed ${seed}`);
  const { frozen, stopped, worstMs, kept } = await checkKills(checks, { count, seed });
  checks.that("some were killed while the command was held", count < 9 || frozen + stopped > 0);
  checks.end(
    `${count} kills, ${frozen} of them while the command was frozen, ${stopped} while it was stopped; ` +
      `${kept} steps kept, at most ${worstMs.toFixed(0)} ms lost where it was not held`,
  );
}
