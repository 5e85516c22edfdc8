/** A scan with threads that look ahead finds what one without finds, and leaves no descriptor open. */
import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InodeMap } from "../resolve/inode_map.ts";
import { FolderAhead } from "./folder_ahead.ts";
import { FolderSlot, SLOT_BYTES } from "./folder_slot.ts";
import { InodeStat } from "./inode_stat.ts";
import { Scanner } from "./scan.ts";

const top = fs.mkdtempSync(join(tmpdir(), "dk-ahead-"));
const dir = join(top, "tree");
const FOLDERS = 60;
/** More than a slot has states of, and more than one fill of a listing. */
const MANY = 3_000;
const DEEP = 200;
const START_MS_MAX = 20_000;
const TEST_MS_MAX = 60_000;

afterAll(() => fs.rmSync(top, { recursive: true, force: true }));

function makeTree(): void {
  for (let i = 0; i < FOLDERS; i++) {
    const folder = join(dir, `a${i % 3}`, `f${i}`, "in");
    fs.mkdirSync(folder, { recursive: true });
    for (let j = 0; j <= i; j++) fs.writeFileSync(join(folder, `f${j}`), `${i} ${j}`);
    fs.symlinkSync("nowhere", join(folder, "link"));
    fs.linkSync(join(folder, "f0"), join(folder, "again"));
  }
  fs.mkdirSync(join(dir, "many/below"), { recursive: true });
  for (let i = 0; i < MANY; i++) fs.writeFileSync(join(dir, "many", `${i}`.padStart(40, "-")), "");
  for (const side of ["left", "right"]) {
    fs.mkdirSync(join(dir, side, ...Array.from({ length: DEEP }, (_, i) => `${i}`)), {
      recursive: true,
    });
  }
}

makeTree();

/** Waits until a thread has looked at a folder. */
function letServe(ahead: FolderAhead): void {
  const parent = fs.openSync(dir, "r");
  const offered: FolderSlot[] = [];
  ahead.offer(parent, ["many"], offered);
  const deadline = Date.now() + START_MS_MAX;
  while (offered[0]?.isDone === false && Date.now() < deadline) Bun.sleepSync(5);
  expect(offered[0]?.isDone).toBe(true);
  expect(ahead.withdraw(offered)).toEqual(["many"]);
  fs.closeSync(parent);
}

/** Everything that a scan finds, but for node numbers, by path. */
function scan(ahead?: FolderAhead): string[] {
  let node = 1;
  const scanner = new Scanner({
    excluded: (path) => path.endsWith("f7"),
    isStateDir: () => false,
    newNode: () => node++,
    known: new InodeMap<number>(),
    ...(ahead !== undefined && { ahead }),
  });
  const paths = new Map<number, string>();
  const lines: string[] = [];
  for (const item of scanner.scan(dir)) {
    expect(item.kind === "inode" || item.kind === "link").toBe(true);
    if (item.kind !== "inode" && item.kind !== "link") continue;
    const path = `${paths.get(item.parent) ?? ""}/${item.name}`;
    if (item.kind === "inode") paths.set(item.node, path);
    const state = item.kind === "inode" ? { ...item, node: 0, parent: 0 } : paths.get(item.node);
    // which name of several comes first is a matter of order
    const isLinked = item.kind === "link" || item.attr.nlink > 1 && item.attr.mode >> 12 !== 4;
    lines.push(`${path} ${isLinked ? "linked" : JSON.stringify(state)}`);
  }
  return lines.sort();
}

/** Descriptors of what is scanned; threads have some of their own. */
function openFolders(): string[] {
  return fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [fs.readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // that of the listing itself
    }
  }).filter((path) => path.startsWith(dir));
}

test("threads change nothing of what is found", () => {
  const expected = scan();
  const ahead = new FolderAhead(2);
  letServe(ahead);
  for (let round = 0; round < 5; round++) expect(scan(ahead)).toEqual(expected);
  expect(openFolders()).toEqual([]);
  ahead.close();
}, TEST_MS_MAX);

test("what is offered comes back also when no thread runs, or none any more", () => {
  const expected = scan();
  const ahead = new FolderAhead(1);
  ahead.close();
  expect(scan(ahead)).toEqual(expected);
  expect(scan(new FolderAhead(0))).toEqual(expected);
}, TEST_MS_MAX);

test("a scan that is left in the middle leaves nothing open", () => {
  const ahead = new FolderAhead(1);
  for (const items of [1, 3, 40, 200]) {
    const options = { excluded: () => false, isStateDir: () => false, newNode: () => 1 };
    const scanner = new Scanner({ ...options, known: new InodeMap<number>(), ahead });
    let count = 0;
    for (const _ of scanner.scan(dir)) if (++count === items) break;
    expect(openFolders()).toEqual([]);
  }
  ahead.close();
});

test("a slot goes from one to the other, and says what could not be opened", () => {
  const slot = new FolderSlot(new SharedArrayBuffer(SLOT_BYTES), 0);
  const stat = new InodeStat();
  const parent = fs.openSync(dir, "r");
  expect(slot.serve(stat)).toBe(false);
  expect(slot.offer(parent, "n".repeat(256))).toBe(false);
  expect(slot.offer(parent, "gone")).toBe(true);
  expect(slot.serve(stat)).toBe(true);
  expect([slot.takeBack(), slot.isDone, slot.fd, slot.name]).toEqual([false, true, -1, "gone"]);
  slot.free();
  expect(slot.offer(parent, "many")).toBe(true);
  expect(slot.takeBack()).toBe(true);
  expect(slot.serve(stat)).toBe(false);
  slot.offer(parent, "many");
  slot.serve(stat);
  const { count } = slot;
  expect([slot.states.count, typeof count === "number" && count > 512]).toEqual([512, true]);
  expect(stat.take(slot.states.words, 0)).toBe(slot.reader.type(0) !== 4);
  fs.closeSync(slot.fd);
  fs.closeSync(parent);
});
