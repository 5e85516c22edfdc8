/**
 * The oracle: a random workload runs under `record`; at random moments it is frozen from outside, a marker file is created in the
 * watched folder by us (its CREATE event names the moment), and the tree is written down. Afterwards `export` at every marker
 * must give the same tree: bytes, names, types, modes, owners, links, mtimes. Only the command line of the product is used.
 */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BINARY, type Ran, run } from "../proofs/_kit.ts";
import { Frozen } from "./frozen.ts";
import { compare, type Difference, readManifest, writeManifest } from "./manifest.ts";
import { workloadProgram } from "./programs.ts";
import { describe, Events, shortly } from "./report.ts";

/** How the workload's threads meet: workload.c. */
export const MODES = ["private", "shared-files", "shared-names"] as const;
export type Mode = typeof MODES[number];

/** One run of the workload. */
export interface OracleOptions {
  /** An empty folder for everything; it stays. */
  folder: string;
  seed: number;
  mode: Mode;
  points: number;
  procs?: number;
  threads?: number;
  /** All operations, also the unusual ones. */
  all?: boolean;
  /** Only these operations, by name, comma-separated. */
  only?: string;
  /** Longest time between two points. */
  gapMsMax?: number;
  /** The workload's own log of calls, for looking into a difference. */
  log?: boolean;
  /** Programs of the command line before the workload, and arguments of `record`. */
  recordArgs?: readonly string[];
  binary?: string;
}

/** Paths of one run. */
export interface RunFolder {
  binary: string;
  watched: string;
  trace: string;
  store: string;
  at: (name: string) => string;
}

/** A moment whose tree is known. */
export interface Point {
  name: string;
  /** Sequence number of the event after which the tree was as written down. */
  seq: number;
  time: string;
}

/** What came out. */
export interface OracleResult {
  points: number;
  events: number;
  /** Each with its description. */
  differences: string[];
  /** Events lost, as `info` says. */
  lost: number;
}

const READY_MS_MAX = 600_000;
const END_MS_MAX = 120_000;
const EXPORT_MS_MAX = 120_000;
const GAP_MS_MAX = 40;
const OPS_WITHOUT_END = 1_000_000_000;
const PREPARE_OPS = 300;
const DESCRIBED_MAX = 6;

/** Runs the program under test. */
export function dkAt(binary: string, args: readonly string[]): Ran {
  return run([binary, ...args], { timeoutMs: EXPORT_MS_MAX });
}

/** A small random source for the moments (mulberry32). */
function randomFrom(seed: number): () => number {
  let a = seed | 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function workloadArgs(options: OracleOptions, root: string): string[] {
  return [
    ...["--root", root, "--mode", options.mode, "--procs", String(options.procs ?? 2)],
    ...["--threads", String(options.threads ?? 2)],
    ...(options.all === true ? ["--all"] : []),
    ...(options.only === undefined ? [] : ["--only", options.only]),
  ];
}

/** The tree that is there before the recording: what the same workload leaves with another seed. */
function prepare(options: OracleOptions, watched: string): void {
  const { only: _, ...all } = options;
  const seed = ["--seed", String(options.seed + 1_000_003), "--ops", String(PREPARE_OPS)];
  const ran = run([workloadProgram(), ...workloadArgs(all, watched), ...seed]);
  if (ran.code !== 0) throw new Error(`workload: ${ran.stderr}`);
}

async function waitFor(file: string, child: Bun.Subprocess): Promise<void> {
  const until = performance.now() + READY_MS_MAX;
  while (!existsSync(file)) {
    if (child.exitCode !== null) throw new Error(`record ended at once with ${child.exitCode}`);
    if (performance.now() > until) throw new Error("the workload does not start");
    await Bun.sleep(1);
  }
}

/** The moments: freezes, marks, writes down, thaws. Returns the names of the points. */
async function takePoints(options: OracleOptions, folder: RunFolder): Promise<string[]> {
  const frozen = new Frozen(readFileSync(folder.at("ready"), "utf8"));
  const random = randomFrom(options.seed);
  const names: string[] = [];
  for (let i = 0; i < options.points; i++) {
    await Bun.sleep(random() * (options.gapMsMax ?? GAP_MS_MAX));
    if (!await frozen.freeze()) break;
    const name = `.mark-${i}`;
    closeSync(openSync(join(folder.watched, name), "wx"));
    writeManifest(folder.watched, { out: folder.at(`truth${name}`), store: folder.store });
    names.push(name);
    frozen.thaw();
  }
  await Bun.sleep(random() * (options.gapMsMax ?? GAP_MS_MAX));
  frozen.kill();
  return names;
}

/** Records the workload with its points; the tree after the end is one more. */
async function record(options: OracleOptions, folder: RunFolder): Promise<string[]> {
  const workload = [
    ...[workloadProgram(), ...workloadArgs(options, folder.watched)],
    ...["--seed", String(options.seed), "--ops", String(OPS_WITHOUT_END)],
    ...["--cgroup", `oracle.${process.pid}`, "--ready", folder.at("ready")],
    ...(options.log === true ? ["--log", folder.at("log")] : []),
  ];
  // --wait: a process that is killed in a call may end after the command
  const argv = ["record", "--quiet", "--wait", "--state-dir", folder.trace];
  argv.push("--watch", folder.watched);
  const stderr = openSync(folder.at("stderr"), "w");
  const child = Bun.spawn(
    [folder.binary, ...argv, ...options.recordArgs ?? [], "--", ...workload],
    {
      cwd: options.folder,
      stdio: ["ignore", "inherit", stderr],
    },
  );
  closeSync(stderr); // else the filesystem it lies on cannot be unmounted
  try {
    await waitFor(folder.at("ready"), child);
    const names = await takePoints(options, folder);
    const code = await Promise.race([child.exited, Bun.sleep(END_MS_MAX)]);
    if (code === undefined) throw new Error("record does not end");
    writeManifest(folder.watched, { out: folder.at("truthend"), store: folder.store });
    return names;
  } catch (thrown) {
    throw new Error(`${thrown}\n${readFileSync(folder.at("stderr"), "utf8")}`, { cause: thrown });
  } finally {
    child.kill("SIGKILL");
    if (existsSync(folder.at("ready"))) {
      const frozen = new Frozen(readFileSync(folder.at("ready"), "utf8"));
      frozen.kill();
      await frozen.remove();
    }
  }
}

/** Finds the events of the markers. */
function findPoints(folder: RunFolder, names: readonly string[], lastSeq: number): Point[] {
  const argv = [
    "timeline",
    "--json",
    "--state-dir",
    folder.trace,
    "--path",
    ".mark-*",
    "--op",
    "CREATE",
  ];
  const ran = dkAt(folder.binary, argv);
  if (ran.code !== 0) throw new Error(`timeline: ${ran.stderr}`);
  const seqs = new Map<string, number>();
  for (const line of ran.stdout.split("\n")) {
    if (line === "") continue;
    const event = JSON.parse(line) as { seq: number; path: string; outside?: boolean };
    if (event.outside !== true) throw new Error(`the marker is not OUTSIDE: ${line}`);
    seqs.set(event.path, event.seq);
  }
  const points = names.map((name) => {
    const seq = seqs.get(name);
    if (seq === undefined) throw new Error(`${name} is not in the timeline of ${folder.trace}`);
    return { name, seq, time: `#${seq}` };
  });
  return [...points, { name: "end", seq: lastSeq, time: "end" }];
}

function differencesAt(folder: RunFolder, point: Point): Difference[] {
  const out = folder.at("out");
  rmSync(out, { recursive: true, force: true });
  const argv = ["export", "--state-dir", folder.trace, "--time", point.time, "--out", out];
  const ran = dkAt(folder.binary, argv);
  if (ran.code !== 0) throw new Error(`export at ${point.time}: ${ran.stderr}`);
  writeManifest(out, { out: folder.at("found") });
  return compare(readManifest(folder.at(`truth${point.name}`)), readManifest(folder.at("found")));
}

/** Runs the workload once and compares every point. @throws when something does not run at all. */
export async function runOracle(options: OracleOptions): Promise<OracleResult> {
  const at = (name: string) => join(options.folder, name);
  const folder: RunFolder = {
    binary: options.binary ?? BINARY,
    watched: at("watched"),
    trace: at("trace"),
    store: at("store"),
    at,
  };
  for (const path of [options.folder, folder.watched, folder.store]) {
    mkdirSync(path, { recursive: true });
  }
  prepare(options, folder.watched);
  const names = await record(options, folder);
  const ran = dkAt(folder.binary, ["info", "--json", "--state-dir", folder.trace]);
  if (ran.code !== 0) throw new Error(`info: ${ran.stderr}`);
  const info = JSON.parse(ran.stdout) as { events: number; lost: number };
  const points = findPoints(folder, names, info.events);
  const differences: string[] = [];
  const seen = new Set<string>();
  let events: Events | undefined;
  for (const point of points) {
    const found = differencesAt(folder, point);
    if (found.length === 0) continue;
    events ??= new Events(folder);
    const context = { point, folder, events, out: at("out") };
    let described = 0;
    for (const difference of found) {
      const what = JSON.stringify(difference);
      const isNew = !seen.has(what) && described++ < DESCRIBED_MAX;
      seen.add(what);
      differences.push(
        isNew ? describe(difference, context).join("\n") : shortly(difference, point),
      );
    }
    rmSync(at(`out${point.name}`), { recursive: true, force: true });
    run(["mv", at("out"), at(`out${point.name}`)]);
  }
  return { points: points.length, events: info.events, differences, lost: info.lost };
}
