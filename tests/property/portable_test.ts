/**
 * The reading commands without the C library's own calls, as on macOS: what they restore is what they restore here, but for FIFOs,
 * which are named, and times, which are exact to the microsecond.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packTrace } from "../../src/compact/pack_trace.ts";
import { Op } from "../../src/format/trace_event.ts";
import { isRoot } from "../../src/history/target.ts";
import { attr, TraceBuilder } from "../trace_builder.ts";
import { Model, Random } from "./model.ts";

const ROOT = join(import.meta.dir, "../..");
const STEPS = 300;
/** What cannot be done there, said of each entry. */
const SAID = /.*: (could not be made|time could not be set): .*\n/g;
let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-portable-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs the reading binary's entry; `elsewhere`: as if this were not Linux. */
function reader(elsewhere: boolean, ...args: string[]) {
  const preload = elsewhere ? ["--preload", join(ROOT, "tests/support/not_linux.ts")] : [];
  const argv = [process.execPath, ...preload, join(ROOT, "src/cli/reader.ts"), ...args];
  const done = Bun.spawnSync(argv, { cwd: dir });
  const [stdout, stderr] = [done.stdout.toString(), done.stderr.toString()];
  return { code: done.exitCode, stdout, stderr };
}

/** Each entry of a folder with what it is, and its time; FIFOs are left out. */
function look(root: string): { lines: string[]; times: Map<string, bigint> } {
  const lines: string[] = [];
  const times = new Map<string, bigint>();
  const inodes = new Map<bigint, string>();
  const open = [""];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const bytes = Buffer.from(path === "" ? root : `${root}/${path}`, "latin1");
    const stat = lstatSync(bytes, { bigint: true });
    if (stat.isFIFO()) continue;
    const content = stat.isFile()
      ? Bun.hash(readFileSync(bytes)).toString()
      : stat.isSymbolicLink()
      ? readlinkSync(bytes, { encoding: "buffer" }).toString("latin1")
      : "";
    const first = inodes.get(stat.ino) ?? path;
    inodes.set(stat.ino, first);
    times.set(path, stat.mtimeNs);
    const size = stat.isDirectory() ? 0 : stat.size;
    lines.push([path, stat.mode, stat.uid, size, content, first].join("\t"));
    if (!stat.isDirectory()) continue;
    for (const entry of readdirSync(bytes, { encoding: "buffer" }).reverse()) {
      const name = entry.toString("latin1");
      open.push(path === "" ? name : `${path}/${name}`);
    }
  }
  return { lines: lines.sort(), times };
}

/** Paths whose times differ by more than a microsecond. */
function otherTimes(a: Map<string, bigint>, b: Map<string, bigint>): string[] {
  return [...a].filter(([path, time]) => {
    const by = (b.get(path) ?? 0n) - time;
    return by > 1000n || by < -1000n;
  }).map(([path]) => path);
}

test.skipIf(!isRoot())("a trace is read the same without Linux's calls", () => {
  const state = join(dir, "state");
  const builder = new TraceBuilder(state);
  const model = new Model(new Random(5), (event) => builder.event(event));
  builder.baseline(model.rootEvent());
  for (let step = 0; step < STEPS; step++) model.step();
  const long = { parent: 1, attr: attr(0o100644), mtime: { sec: -7, nsec: 1 } };
  builder.event({ op: Op.CREATE, node: 9000, name: "early", ...long });
  builder.finish();
  packTrace(state, join(dir, "t.dktrace"));
  for (const time of ["end", "#77"]) {
    for (const elsewhere of [false, true]) {
      const out = elsewhere ? "there" : "here";
      const args = ["export", "t.dktrace", "--time", time, "--out", out, "--force"];
      const { code, stdout, stderr } = reader(elsewhere, ...args);
      expect({ elsewhere, code, stderr: stderr.replace(SAID, "") })
        .toEqual({ elsewhere, code: 0, stderr: "" });
      expect(stdout).toContain(`${out}: `);
    }
    const [here, there] = [look(join(dir, "here")), look(join(dir, "there"))];
    expect(there.lines).toEqual(here.lines);
    const early = [...here.times].filter(([, ns]) => ns < 0n).map(([path]) => path);
    expect(otherTimes(here.times, there.times)).toEqual(early);
  }
  for (const command of ["info", "timeline", "verify", "stats"]) {
    const [here, there] = [reader(false, command, "t.dktrace"), reader(true, command, "t.dktrace")];
    expect(here.code).toBe(0);
    expect(there).toEqual(here);
  }
}, 60_000);

test("recording elsewhere is refused in one line, with what it needs", () => {
  const { code, stdout, stderr } = reader(true, "record", "--watch", ".", "--", "true");
  expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
  expect(stderr).toMatch(/^diffkeeper: error: cannot record with this binary .*\nhint: .*BTF.*\n$/);
  expect(existsSync(join(dir, "diffkeeper-trace"))).toBe(false);
});
