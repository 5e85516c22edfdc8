import { afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import { Tree } from "../resolve/tree.ts";
import { audit } from "./audit.ts";
import { takeBaseline } from "./baseline.ts";
import { TestingRows } from "./testing_rows.ts";
import { WatchSet } from "./watch.ts";

let top = "";
let dir = "";

beforeEach(() => {
  top = fs.mkdtempSync(join(tmpdir(), "diffkeeper-audit-"));
  dir = join(top, "w");
  fs.mkdirSync(join(dir, "a"), { recursive: true });
  fs.mkdirSync(join(dir, "state"));
  fs.writeFileSync(join(dir, "a/f"), "old");
  fs.writeFileSync(join(dir, "g"), "g");
  fs.symlinkSync("g", join(dir, "s"));
});

afterEach(() => fs.rmSync(top, { recursive: true, force: true }));

/** Takes a baseline, lets `change` happen unseen, and audits; `mapped` names a file that was mapped. */
async function auditAfter(change: () => void, mapped?: string, onCatchUp = (_: number) => {}) {
  const watch = new WatchSet({ folders: [dir], cwd: top, stateDir: "w/state" });
  const tree = new Tree();
  const trace = new TestingRows();
  await takeBaseline({ watch, tree, trace });
  change();
  const events: TraceEvent[] = [];
  let catchUps = 0;
  trace.begin();
  const verdict = await audit({
    watch,
    tree,
    sink: {
      event: (event) => void events.push(event),
      write: () => undefined,
      store: () => ({ row: 0, offset: 0, length: 0, at: 0 }),
      process: () => undefined,
      putContent: (sha256, bytes) => trace.putContent(sha256, bytes),
    },
    reread: new Set(mapped === undefined ? [] : [tree.at(1, mapped)?.id ?? 0]),
    catchUp: () => onCatchUp(++catchUps),
    endNs: () => 77,
  });
  trace.commit();
  return { verdict, events, tree, catchUps };
}

test("nothing differs: no event, and the state-dir does not count", async () => {
  const { verdict, events } = await auditAfter(() => fs.writeFileSync(join(dir, "state/x"), "x"));
  expect(verdict).toEqual({
    entries: 5,
    contents: 0,
    written: 0,
    differences: 0,
    left: 0,
    paths: [],
    gone: [],
  });
  expect(events).toEqual([]);
});

test("changed content, a new name and a lost name are healed, flagged and counted", async () => {
  const { verdict, events, tree, catchUps } = await auditAfter(() => {
    fs.writeFileSync(join(dir, "a/f"), "newer");
    fs.writeFileSync(join(dir, "new"), "n");
    fs.unlinkSync(join(dir, "s"));
  });
  expect(verdict.paths.sort()).toEqual(["", "a/f", "new"]);
  expect(catchUps).toBe(3);
  expect(verdict.left).toBe(0);
  expect(events.every((event) => (event.flags & EventFlag.SETTLED) !== 0 && event.tNs === 77)).toBe(
    true,
  );
  expect(tree.at(1, "a/f")?.size).toBe(5);
  expect(tree.at(1, "new")?.size).toBe(1);
  expect(tree.at(1, "s")).toBeUndefined();
  expect(events.filter((event) => event.op === Op.RESYNC).map((event) => event.length)).toContain(
    5,
  );
});

test("what somebody changes again and again is not said to be healed", async () => {
  const change = (n: number) => fs.writeFileSync(join(dir, "a/f"), "x".repeat(10 + n));
  const { verdict, events } = await auditAfter(() => change(0), undefined, change);
  expect(verdict).toMatchObject({ differences: 1, left: 1, paths: ["a/f"] });
  const gaps = events.filter(({ op }) => op === Op.GAP);
  expect(gaps.map(({ text }) => text)).toEqual([
    "a/f: is not what the trace says, and could not be healed",
  ]);
});

test("a mapped file is read again although its times say nothing", async () => {
  const { verdict, events } = await auditAfter(() => {
    const { atimeMs, mtimeMs } = fs.statSync(join(dir, "g"));
    fs.writeFileSync(join(dir, "g"), "G");
    fs.utimesSync(join(dir, "g"), atimeMs / 1000, mtimeMs / 1000);
  }, "g");
  expect(verdict.differences).toBeLessThanOrEqual(1);
  expect(events.some((event) => event.op === Op.RESYNC && event.length === 1)).toBe(true);
});

test("where only the time of a folder differs, it is healed as UTIMES; a mode as CHMOD", async () => {
  const { verdict, events } = await auditAfter(() => {
    fs.utimesSync(dir, 5, 6);
    fs.chmodSync(join(dir, "a"), 0o700);
  });
  expect(verdict.paths).toEqual(["", "a"]);
  expect(events.map(({ op, mtime }) => [op, op === Op.UTIMES ? mtime?.sec : 0])).toEqual([
    [Op.UTIMES, 6],
    [Op.CHMOD, 0],
  ]);
});
