/**
 * How long a baseline of 100,000 files (2 GB) takes, against `cp -a` and `tar c` of the same tree in the same run, with a
 * warm page cache; best of three. Arguments: how many files, and the folder to work in (default: a temporary one).
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InodeMap } from "../src/resolve/inode_map.ts";
import { Tree } from "../src/resolve/tree.ts";
import { takeBaseline } from "../src/record/baseline.ts";
import { Scanner } from "../src/record/scan.ts";
import { WatchSet } from "../src/record/watch.ts";
import { TraceWriter } from "../src/store/trace_writer.ts";

const ROUNDS = 3;
const FOLDER_FILES = 100;

/** Files of 2 to 38 KB, all different. Returns their bytes. */
function makeTree(top: string, files: number): number {
  const bytes = new Uint8Array(65_536);
  const view = new DataView(bytes.buffer);
  let total = 0;
  let stamp = 1;
  for (let i = 0; i < files; i++) {
    const folder = join(top, `d${Math.floor(i / 10_000)}`, `e${Math.floor(i / FOLDER_FILES)}`);
    if (i % FOLDER_FILES === 0) mkdirSync(folder, { recursive: true });
    const size = 2_000 + (i * 7_919) % 36_000;
    for (let at = 0; at < size; at += 64) view.setUint32(at, stamp++ * 2_654_435_761);
    writeFileSync(join(folder, `f${i}`), bytes.subarray(0, size));
    total += size;
  }
  return total;
}

function command(...argv: string[]): void {
  const done = Bun.spawnSync(argv, { stdout: "ignore", stderr: "inherit" });
  if (done.exitCode !== 0) throw new Error(`${argv[0]} failed`);
}

/** Seconds of the fastest round; `run` may return seconds that do not count. */
async function best(run: () => unknown, clean: () => void): Promise<number> {
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    clean();
    const start = Bun.nanoseconds();
    const apart = await run();
    const seconds = (Bun.nanoseconds() - start) / 1e9;
    least = Math.min(least, typeof apart === "number" ? seconds - apart : seconds);
  }
  clean();
  return least;
}

function scanOnly(watch: WatchSet): void {
  let node = 1;
  for (const root of watch.roots) {
    const scanner = new Scanner({
      excluded: (path, isFolder) => watch.excluded(path, isFolder, root.index),
      isStateDir: (dev, ino) => watch.isStateDir(dev, ino),
      newNode: () => node++,
      known: new InodeMap<number>(),
    });
    for (const _ of scanner.scan(root.path)) continue;
  }
}

/** Everything but the trace: reads, hashes, and builds the events and the tree. */
async function baselineOnly(watch: WatchSet): Promise<void> {
  let row = 0;
  const skip = () => {};
  const trace = { begin: skip, commit: skip, rollback: skip, putBaseline: skip };
  await takeBaseline({ watch, tree: new Tree(), trace: { ...trace, putContent: () => ++row } });
}

/** Returns how long closing the trace took, which moves its write-ahead log into trace.db, in seconds. */
async function baseline(watch: WatchSet, stateDir: string): Promise<number> {
  const trace = TraceWriter.create(stateDir);
  let start = 0;
  try {
    await takeBaseline({ watch, tree: new Tree(), trace });
  } finally {
    start = Bun.nanoseconds();
    trace.abort();
  }
  return (Bun.nanoseconds() - start) / 1e9;
}

async function main(): Promise<void> {
  const files = Number(process.argv[2] ?? 100_000);
  const top = mkdtempSync(join(process.argv[3] ?? tmpdir(), "diffkeeper-bench-"));
  try {
    const tree = join(top, "tree");
    const bytes = makeTree(tree, files);
    const state = join(top, "state");
    mkdirSync(state);
    const watch = new WatchSet({ folders: [tree], cwd: top, stateDir: state });
    const clean = () => rmSync(join(top, "out"), { recursive: true, force: true });
    const out = join(top, "out");
    const table: [string, number][] = [
      ["states only", await best(() => scanOnly(watch), clean)],
      ["no trace", await best(() => baselineOnly(watch), clean)],
      ["baseline", await best(() => baseline(watch, out), clean)],
      ["cp -a", await best(() => command("cp", "-a", tree, out), clean)],
      ["tar c", await best(() => command("tar", "cf", out, "-C", tree, "."), clean)],
    ];
    let closing = 0;
    await best(async () => closing = await baseline(watch, out), clean);
    table.push(["then closing", closing]);
    console.log(`${files} files, ${(bytes / 1e9).toFixed(2)} GB, best of ${ROUNDS}`);
    for (const [name, seconds] of table) {
      const perFile = (seconds * 1e6 / files).toFixed(1);
      const rate = (bytes / 1e6 / seconds).toFixed(0);
      console.log(`${name.padEnd(12)} ${seconds.toFixed(2)} s  ${perFile} us/file  ${rate} MB/s`);
    }
  } finally {
    rmSync(top, { recursive: true, force: true });
  }
}

await main();
