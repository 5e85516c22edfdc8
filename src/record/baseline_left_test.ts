/**
 * A lazy baseline tells plain files without making an item of each. The recorder's own tree must be what a reader folds from the rows,
 * both must be what is really there, and the gate's table must have every file with content.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cString } from "../../ffi/libc.ts";
import { libcTree } from "../../ffi/libc_tree.ts";
import { EventFlag } from "../format/trace_event.ts";
import { Tree } from "../resolve/tree.ts";
import { BaseTable } from "./base_table.ts";
import { type BaselineOptions, takeBaseline } from "./baseline.ts";
import { FolderAhead } from "./folder_ahead.ts";
import { AT_FDCWD, InodeStat } from "./inode_stat.ts";
import { StatCache } from "./stat_cache.ts";
import { Folded, TestingRows } from "./testing_rows.ts";
import { WatchSet } from "./watch.ts";

const top = fs.mkdtempSync(join(tmpdir(), "diffkeeper-left-"));
const dir = join(top, "w");
const SETUP_MS = 60_000;
/** More than two fills of the buffer that a folder is read with. */
const MANY = 5_000;

function write(path: string, bytes: string): void {
  fs.mkdirSync(join(dir, path, ".."), { recursive: true });
  fs.writeFileSync(join(dir, path), bytes);
}

beforeAll(() => {
  fs.mkdirSync(join(top, "state"), { recursive: true });
  for (let i = 0; i < MANY; i++) write(`many/file-${i}`, `${i}`);
  for (let i = 0; i < 40; i++) {
    write(`many/folder-${i}/a`, "in a folder of many");
    fs.symlinkSync("target", join(dir, `many/link-${i}`));
    write(`d${i}/plain`, "x".repeat(i + 1));
    write(`d${i}/empty`, "");
    write(`d${i}/deep/er/file.o`, "object");
    fs.linkSync(join(dir, `d${i}/plain`), join(dir, `many/hard-${i}`));
  }
  for (let i = 0; i < 20; i++) write(`name-\u00e9-${i}`, "in the top folder");
  write("marked", "with an attribute");
  const attribute = [cString(join(dir, "marked")), cString("user.x")] as const;
  if (libcTree.lsetxattr(...attribute, cString("v"), 1, 0) !== 0) throw new Error("no attributes");
}, SETUP_MS);

afterAll(() => fs.rmSync(top, { recursive: true }));

async function take(more: Partial<BaselineOptions> = {}, exclude: string[] = []) {
  const [rows, tree, table] = [new TestingRows(), new Tree(), new BaseTable()];
  const watch = new WatchSet({ folders: [dir], cwd: top, stateDir: join(top, "state"), exclude });
  const summary = await takeBaseline({ mode: "lazy", watch, tree, table, trace: rows, ...more });
  return { folded: new Folded(rows), summary, tree, table };
}

function lines(tree: Tree): string[] {
  return [...tree.walk()].map(({ node, path }) =>
    JSON.stringify({ path, id: node.id, ...node.attr(), mtime: node.mtime(), links: node.links() })
  ).sort();
}

function withoutIds(tree: Tree): unknown[] {
  return lines(tree).map((line) => ({ ...JSON.parse(line), id: 0, links: 0 }));
}

/** Compares with what is there, and the table with that. */
function checkReal({ folded, tree, table }: Awaited<ReturnType<typeof take>>): void {
  expect(lines(tree)).toEqual(lines(folded.tree));
  expect([tree.size, tree.nextId]).toEqual([folded.tree.size, folded.tree.nextId]);
  const stat = new InodeStat();
  let left = 0;
  for (const { node, path } of folded.tree.walk()) {
    expect(stat.readAt(AT_FDCWD, cString(join(dir, path)))).toBe(0);
    expect<unknown>(node.mtime()).toEqual(stat.mtime());
    if (!node.isFile || node.parent === 0) continue;
    expect(node.attr()).toEqual(stat.attr(stat.generationAt(AT_FDCWD, cString(join(dir, path)))));
    const event = folded.event(path);
    expect((event?.flags ?? 0) & EventFlag.LAZY).toBe(node.size > 0 ? EventFlag.LAZY : 0);
    if (node.size === 0) continue;
    expect<unknown>(event?.ctime).toEqual(stat.ctime());
    expect(table.find(stat.words[8] ?? 0, stat.words[9] ?? 0, () => stat.dev)).toBe(node.id);
    if (node.links()[0]?.name === path.slice(path.lastIndexOf("/") + 1)) left++;
  }
  expect(table.count).toBe(left);
}

test("what is told without items is what is there, with and without the cache", async () => {
  const path = join(top, "cache.bin");
  await Bun.sleep(1_100);
  const cold = new StatCache(path);
  const first = await take({ known: cold });
  checkReal(first);
  expect(first.summary.files).toBe(MANY + 40 * 5 + 21);
  expect(first.folded.node("marked")?.xattrs?.size).toBe(1);
  expect(first.tree.node(first.tree.child(1, "marked"))?.xattrs?.size).toBe(1);
  cold.save(path);
  const second = await take({ known: new StatCache(path) });
  checkReal(second);
  const ahead = new FolderAhead(1);
  const third = await take({ known: new StatCache(path), ahead });
  ahead.close();
  checkReal(third);
  expect(withoutIds(third.tree)).toEqual(withoutIds(first.tree));
  // known files of a folder come first: only the numbers of nodes differ
  expect(withoutIds(second.tree)).toEqual(withoutIds(first.tree));
});

test("files that are left out by name are", async () => {
  const taken = await take({}, ["*.o", "many/file-1*"]);
  checkReal(taken);
  const paths = taken.folded.paths();
  expect(paths.filter((path) => path.endsWith(".o") || path.startsWith("many/file-1"))).toEqual([]);
  expect(paths).toContain("d3/deep/er");
  expect(paths).toContain("many/file-2");
});

test("a folder that changes while it is listed gives no name twice", async () => {
  const script =
    "while :; do for i in 1 2 3 4 5; do mv file-$i moved-$i; mv moved-$i file-$i; done; done";
  const child = Bun.spawn(["sh", "-c", script], { cwd: join(dir, "many") });
  try {
    for (let round = 0; round < 5; round++) {
      const { tree, folded } = await take();
      expect(lines(tree)).toEqual(lines(folded.tree));
      expect(tree.size).toBeGreaterThan(MANY);
    }
  } finally {
    child.kill();
    await child.exited;
  }
});
