import { afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Tree } from "../resolve/tree.ts";
import { takeBaseline } from "./baseline.ts";
import { TreeImporter } from "./import_tree.ts";
import { rescan } from "./rescan.ts";
import type { ScanItem } from "./scan_item.ts";
import { Folded, TestingRows } from "./testing_rows.ts";
import { WatchSet } from "./watch.ts";

let top = "";
let dir = "";

beforeEach(() => {
  top = fs.mkdtempSync(join(tmpdir(), "diffkeeper-rescan-"));
  dir = join(top, "w");
  fs.mkdirSync(join(dir, "a/b"), { recursive: true });
  fs.mkdirSync(join(top, "state"));
  fs.writeFileSync(join(dir, "a/b/f"), "old");
  fs.writeFileSync(join(dir, "g"), "g");
  fs.symlinkSync("g", join(dir, "s"));
});

afterEach(() => fs.rmSync(top, { recursive: true, force: true }));

function watchAll(): WatchSet {
  return new WatchSet({ folders: [dir], cwd: top, stateDir: "state", exclude: ["*.tmp"] });
}

/** Takes a baseline, lets `change` happen, rescans `paths`, and returns what a reader folds, with the real names. */
async function after(change: () => void, paths: string[]) {
  const watch = watchAll();
  const tree = new Tree();
  const trace = new TestingRows();
  const { rows } = await takeBaseline({ watch, tree, trace });
  change();
  const total = rescan({ watch, tree, trace, rows }, paths.map((path) => ({ root: 0, path })));
  expect(total).toBe(trace.batches.length);
  const folded = new Folded(trace);
  const found = Bun.spawnSync(["find", ".", "-printf", "%P\n"], { cwd: dir }).stdout.toString();
  const real = found.trimEnd().split("\n").filter((path) => !path.endsWith(".tmp")).sort();
  expect(folded.paths()).toEqual(real);
  return folded;
}

test("content, mode and links of what is still there", async () => {
  const folded = await after(() => {
    fs.writeFileSync(join(dir, "a/b/f"), "new content");
    fs.chmodSync(join(dir, "a"), 0o700);
    fs.linkSync(join(dir, "g"), join(dir, "a/h"));
  }, ["a/b/f", "a", "g"]);
  expect(folded.content("a/b/f").toString()).toBe("new content");
  expect(folded.node("a")?.mode).toBe(0o40700);
  expect(folded.node("a/h")).toBe(folded.node("g"));
  expect(folded.node("g")?.nlink).toBe(2);
});

test("new and deleted trees, and a name that became something else", async () => {
  const folded = await after(() => {
    fs.rmSync(join(dir, "a"), { recursive: true });
    fs.writeFileSync(join(dir, "a"), "a file now");
    fs.rmSync(join(dir, "s"));
    fs.symlinkSync("elsewhere", join(dir, "s"));
    fs.mkdirSync(join(dir, "n/m"), { recursive: true });
    fs.writeFileSync(join(dir, "n/m/x"), "x");
    fs.writeFileSync(join(dir, "n/m/x.tmp"), "never");
  }, ["n/m/x", "a/b/f", ""]);
  expect(folded.content("a").toString()).toBe("a file now");
  expect(folded.content("n/m/x").toString()).toBe("x");
  expect(folded.node("s")?.target).toBe("elsewhere");
});

test("a folder that was renamed keeps its identity", async () => {
  const folded = await after(() => fs.renameSync(join(dir, "a"), join(dir, "z")), ["z", "a"]);
  expect(folded.content("z/b/f").toString()).toBe("old");
  expect(folded.events.filter((event) => event.name === "f").length).toBe(1);
});

test("importing a tree that was moved in", async () => {
  const watch = watchAll();
  const tree = new Tree();
  const trace = new TestingRows();
  await takeBaseline({ watch, tree, trace });
  fs.mkdirSync(join(top, "out/d"), { recursive: true });
  fs.writeFileSync(join(top, "out/d/f"), "from outside");
  fs.linkSync(join(dir, "g"), join(top, "out/known"));
  fs.renameSync(join(top, "out"), join(dir, "in"));
  let node = tree.nextId;
  const importer = new TreeImporter({ watch, tree, rows: trace, newNode: () => node++ });
  trace.begin();
  const items: ScanItem[] = [...importer.read({ root: 0, path: "in" })];
  expect(items.map((item) => "name" in item ? item.name : item.text)).toEqual(
    ["in", "known", "d", "f"],
  );
  expect(items[1]).toMatchObject({ kind: "link", node: tree.at(1, "g")?.id });
  const file = items[3];
  expect(file === undefined ? [] : importer.events(file, items[0]?.node ?? 0)[0]?.extents?.length)
    .toBe(1);
  expect([...importer.read({ root: 0, path: "gone/x" })]).toEqual([]);
  expect([...importer.read({ root: 0, path: "s/x" })]).toEqual([]);
});

test("importing a single file: its content stands in a RESYNC for the event that names it", async () => {
  const watch = watchAll();
  const tree = new Tree();
  const trace = new TestingRows();
  await takeBaseline({ watch, tree, trace });
  fs.writeFileSync(join(dir, "a/new"), "12345");
  const importer = new TreeImporter({ watch, tree, rows: trace, newNode: () => 77 });
  trace.begin();
  const [item] = [...importer.read({ root: 0, path: "a/new" })];
  if (item?.kind !== "inode") throw new Error("an inode is expected");
  expect(item).toMatchObject({ node: 77, parent: 0, name: "new" });
  const [event] = importer.events(item, 77);
  expect(event).toMatchObject({ op: 19, node: 77, length: 5 });
  expect(event?.extents?.[0]?.length).toBe(5);
});
