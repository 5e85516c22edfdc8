/** The exported tree equals a naive model at random events of random lives: bytes, names, modes, owners, links, times. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  type BigIntStats,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportTree } from "../../src/history/export.ts";
import { closeFd, isRoot } from "../../src/history/target.ts";
import { openTarget } from "../../src/history/target_folder.ts";
import { Trace } from "../../src/history/trace.ts";
import { TraceBuilder } from "../trace_builder.ts";
import { Model, Random, type Seen } from "./model.ts";

const STEPS = 400;
const POINTS = 6;
const seeds = Number(process.env["DIFFKEEPER_SEEDS"] ?? 8);
const firstSeed = Number(process.env["DIFFKEEPER_SEED"] ?? 1);
let dir = "";

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-export-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** What is on disk, in the terms of the model. */
function look(root: string): Map<string, Seen> {
  const found: [string, BigIntStats][] = [];
  const inodes = new Map<bigint, string[]>();
  const bytes = (path: string) => Buffer.from(path === "" ? root : `${root}/${path}`, "latin1");
  const open = [""];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const stat = lstatSync(bytes(path), { bigint: true });
    found.push([path, stat]);
    inodes.set(stat.ino, [...inodes.get(stat.ino) ?? [], path]);
    if (!stat.isDirectory()) continue;
    for (const entry of readdirSync(bytes(path), { encoding: "buffer" })) {
      const name = entry.toString("latin1");
      open.push(path === "" ? name : `${path}/${name}`);
    }
  }
  return new Map(found.map(([path, stat]) => {
    const content = stat.isFile()
      ? readFileSync(bytes(path)).toString("latin1")
      : stat.isSymbolicLink()
      ? readlinkSync(bytes(path), { encoding: "buffer" }).toString("latin1")
      : "";
    const links = (inodes.get(stat.ino) ?? []).sort().join("|");
    const mode = Number(stat.mode);
    return [path, { mode, uid: Number(stat.uid), mtimeNs: stat.mtimeNs, content, links }];
  }));
}

function sorted(seen: Map<string, Seen>): [string, Seen][] {
  return [...seen].map(([path, one]): [string, Seen] => [path, isRoot() ? one : { ...one, uid: 0 }])
    .sort(([a], [b]) => a < b ? -1 : 1);
}

for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
  // Only root may enter folders whose mode forbids it.
  test.skipIf(!isRoot())(`export equals the model, seed ${seed}`, () => {
    const traceDir = join(dir, `trace-${seed}`);
    const random = new Random(seed);
    const builder = new TraceBuilder(traceDir, { batchEvents: 1 + random.below(50) });
    const model = new Model(random, (event) => builder.event(event));
    builder.baseline(model.rootEvent());
    const points = new Map<number, Map<string, Seen>>([[0, model.snapshot()]]);
    for (let step = 0; step < STEPS; step++) {
      model.step();
      if (random.below(STEPS / POINTS) === 0 || step === STEPS - 1) {
        points.set(builder.seq, model.snapshot());
      }
    }
    builder.finish();
    const trace = Trace.open(traceDir);
    for (const [seq, wanted] of points) {
      const out = join(dir, `out-${seed}-${seq}`);
      const history = trace.foldTo({ unit: "seq", from: seq, to: seq });
      const target = openTarget(out, { force: false, stateDir: traceDir });
      const rootPaths = trace.recording.rootPaths;
      const report = exportTree(history, trace, { target, rootPaths, owner: isRoot() });
      closeFd(target);
      expect(report.warnings).toEqual([]);
      expect({ seed, seq, tree: sorted(look(out)) }).toEqual({ seed, seq, tree: sorted(wanted) });
      rmSync(out, { recursive: true });
    }
    trace.close();
  });
}
