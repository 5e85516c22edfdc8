import { afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cString, libc } from "../../ffi/libc.ts";
import { libcTree } from "../../ffi/libc_tree.ts";
import { CONTENT_CHUNK_BYTES_MAX } from "../base/limits.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { Tree } from "../resolve/tree.ts";
import { type BaselineOptions, type BaselineSummary, takeBaseline } from "./baseline.ts";
import { Folded, TestingRows } from "./testing_rows.ts";
import { WatchSet } from "./watch.ts";

const IS_ROOT = process.getuid?.() === 0;
let top = "";
let dir = "";

beforeEach(() => {
  top = fs.mkdtempSync(join(tmpdir(), "diffkeeper-baseline-"));
  dir = join(top, "w");
  fs.mkdirSync(dir);
  fs.mkdirSync(join(top, "state"));
});

afterEach(() => {
  Bun.spawnSync(["chmod", "-R", "u+rwx", top]);
  Bun.spawnSync(["rm", "-rf", top]);
});

/** A program that takes a baseline as an ordinary user and prints what came out: argv is this folder and the test's. */
const UNPRIVILEGED = `
const [dir, top] = process.argv.slice(-2);
const { takeBaseline } = await import(dir + "/baseline.ts");
const { WatchSet } = await import(dir + "/watch.ts");
const { Folded, TestingRows } = await import(dir + "/testing_rows.ts");
const { Tree } = await import(dir + "/../resolve/tree.ts");
if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534); }
const rows = new TestingRows();
const watch = new WatchSet({ folders: [top + "/w"], cwd: top, stateDir: top + "/state" });
const summary = await takeBaseline({ watch, tree: new Tree(), trace: rows });
const folded = new Folded(rows);
const gaps = folded.texts(18);
console.log(JSON.stringify({ paths: folded.paths(), gaps, unread: folded.event("secret").flags, summary }));
`;

interface Taken {
  folded: Folded;
  summary: BaselineSummary;
  tree: Tree;
  rows: TestingRows;
}

async function take(more: Partial<BaselineOptions> = {}): Promise<Taken> {
  const rows = new TestingRows();
  const tree = new Tree();
  const watch = new WatchSet({ folders: [dir], cwd: top, stateDir: join(top, "state") });
  const summary = await takeBaseline({ watch, tree, trace: rows, ...more });
  return { folded: new Folded(rows), summary, tree, rows };
}

function run(...command: string[]): void {
  const done = Bun.spawnSync(command, { cwd: dir, stderr: "inherit" });
  if (done.exitCode !== 0) throw new Error(`${command[0]} failed`);
}

test("files, folders, symlinks, hard links, modes and times", async () => {
  fs.mkdirSync(join(dir, "a/b"), { recursive: true });
  fs.mkdirSync(join(dir, "empty"));
  fs.writeFileSync(join(dir, "a/b/f"), "hello");
  fs.writeFileSync(join(dir, "none"), "");
  fs.linkSync(join(dir, "a/b/f"), join(dir, "again"));
  fs.symlinkSync("nowhere/\u00e9", join(dir, "link"));
  fs.chmodSync(join(dir, "none"), 0o4711);
  run("touch", "-d", "1969-12-31 23:59:58.25 UTC", "none");
  run("touch", "-d", "2001-02-03 04:05:06.123456789 UTC", "a");
  const { folded, summary, tree } = await take();
  expect(folded.paths()).toEqual(
    ["", "a", "a/b", "a/b/f", "again", "empty", "link", "none"],
  );
  expect([...tree.walk()].length).toBe(8);
  expect(folded.content("again").toString()).toBe("hello");
  expect(folded.node("again")).toBe(folded.node("a/b/f"));
  expect(folded.node("again")?.nlink).toBe(2);
  expect(folded.node("link")?.target).toBe(Buffer.from("nowhere/\u00e9").toString("latin1"));
  expect(folded.node("none")?.mode).toBe(0o104711);
  expect(folded.node("none")?.mtime()).toEqual({ sec: -2, nsec: 250_000_000 });
  expect(folded.node("a")?.mtime()).toEqual({ sec: 981173106, nsec: 123_456_789 });
  expect(folded.node("a")?.ino).toBe(fs.statSync(join(dir, "a")).ino);
  expect(folded.node("")?.root).toBe(0);
  expect(summary).toMatchObject({ folders: 4, files: 3, links: 1, bytes: 5, gaps: 0, notes: 0 });
});

test("names that are no UTF-8, and a folder with the longest names", async () => {
  const odd = Buffer.from([0x66, 0xff, 0x0a, 0xc3, 0x28]);
  fs.writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), odd]), "x");
  fs.writeFileSync(join(dir, "n".repeat(255)), "y");
  const { folded } = await take();
  expect(folded.paths()).toEqual(["", odd.toString("latin1"), "n".repeat(255)].sort());
  expect(folded.content(odd.toString("latin1")).toString()).toBe("x");
});

test("FIFO, socket and device are recorded and never opened", async () => {
  run("mkfifo", "fifo");
  const server = await new Promise<Server>((resolve) => {
    const made = createServer().listen(join(dir, "sock"), () => resolve(made));
  });
  if (IS_ROOT) run("mknod", "dev", "c", "1", "5");
  const { folded, summary } = await take();
  server.close();
  expect((folded.node("fifo")?.mode ?? 0) & 0o170000).toBe(0o010000);
  expect((folded.node("sock")?.mode ?? 0) & 0o170000).toBe(0o140000);
  if (IS_ROOT) expect(folded.node("dev")?.rdev).toBe((1 << 20) | 5);
  expect(summary.gaps).toBe(0);
});

test("a sparse file of 5 GB: only its data is read", async () => {
  const file = fs.openSync(join(dir, "sparse"), "w");
  fs.ftruncateSync(file, 5_000_000_000);
  fs.writeSync(file, "middle", 3_000_000_001);
  fs.writeSync(file, "end", 4_999_999_997);
  fs.closeSync(file);
  const { folded, summary } = await take();
  const event = folded.event("sparse");
  expect(event?.attr?.size).toBe(5_000_000_000);
  expect(event?.extents?.length).toBe(2);
  expect(summary.bytes).toBeLessThan(1 << 20);
  const last = event?.extents?.at(-1);
  expect((last?.at ?? 0) + (last?.length ?? 0)).toBe(5_000_000_000);
});

test("content in chunks of 1 MiB, equal chunks once", async () => {
  const bytes = new Uint8Array(2 * CONTENT_CHUNK_BYTES_MAX + 5);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2654435761) >>> 13;
  fs.writeFileSync(join(dir, "a"), bytes);
  fs.writeFileSync(join(dir, "b"), bytes);
  const { folded, rows, summary } = await take();
  expect(folded.event("a")?.extents?.map((one) => one.length)).toEqual(
    [CONTENT_CHUNK_BYTES_MAX, CONTENT_CHUNK_BYTES_MAX, 5],
  );
  expect(Buffer.compare(folded.content("b"), bytes)).toBe(0);
  expect(rows.contents.length).toBe(3);
  expect(summary.bytes).toBe(2 * bytes.length);
});

test("a path 1,500 folders deep, longer than PATH_MAX, with files at every turn", async () => {
  let fd = libc.openat(-100, cString(dir), fs.constants.O_RDONLY, 0);
  for (let i = 0; i < 1500; i++) {
    libcTree.mkdirat(fd, cString(`name${i}`), 0o755);
    libcTree.mkdirat(fd, cString("side"), 0o755);
    const file = libc.openat(fd, cString("f"), fs.constants.O_CREAT | fs.constants.O_WRONLY, 0o644);
    fs.writeSync(file, `${i}`);
    libc.close(file);
    const next = libc.openat(fd, cString(`name${i}`), fs.constants.O_RDONLY, 0);
    libc.close(fd);
    fd = next;
  }
  libc.close(fd);
  const { folded, summary } = await take();
  expect(summary).toMatchObject({ gaps: 0, folders: 3001, files: 1500 });
  const path = Array.from({ length: 1500 }, (_, i) => `name${i}`).join("/");
  expect(path.length).toBeGreaterThan(4096);
  expect(folded.node(path)?.isDir).toBe(true);
  expect(folded.content(`${path.slice(0, path.lastIndexOf("/"))}/f`).toString()).toBe("1499");
  expect(folded.node("name0/side")?.isDir).toBe(true);
});

test("100,000 files in one folder", async () => {
  run("bash", "-c", "seq -f 'f%.0f' 100000 | xargs touch");
  const { folded, summary } = await take();
  expect(summary).toMatchObject({ files: 100_000, folders: 1, gaps: 0 });
  expect(folded.node("f54321")?.size).toBe(0);
}, 60_000);

test("extended attributes of files and folders", async () => {
  fs.writeFileSync(join(dir, "f"), "");
  const python = 'import os; os.setxattr("f", "user.a", b"\\0\\xff"); ' +
    'os.setxattr("f", "user.b", b""); os.setxattr(".", "user.c", b"x" * 2000)';
  const done = Bun.spawnSync(["python3", "-c", python], { cwd: dir });
  // No python or no user attributes on this file system: nothing to look at.
  if (done.exitCode !== 0) return;
  const { folded } = await take();
  const xattrs = folded.node("f")?.xattrs;
  expect([...xattrs?.keys() ?? []].sort()).toEqual(["user.a", "user.b"]);
  expect(Buffer.from(xattrs?.get("user.a") ?? []).toString("hex")).toBe("00ff");
  expect(folded.node("")?.xattrs?.get("user.c")?.length).toBe(2000);
});

test("the state-dir inside the watched folder, excludes and includes", async () => {
  for (const path of ["state/t", "node_modules/x/y.c", "src/a.c", "src/a.o", "doc/b.c"]) {
    fs.mkdirSync(join(dir, path, ".."), { recursive: true });
    fs.writeFileSync(join(dir, path), path);
  }
  const watch = new WatchSet({
    folders: [dir],
    cwd: top,
    stateDir: join(dir, "state"),
    include: ["*.c"],
    exclude: ["node_modules"],
  });
  const { folded } = await take({ watch });
  expect(folded.paths()).toEqual(["", "doc", "doc/b.c", "src", "src/a.c"]);
});

test("two watched folders, a hard link across them", async () => {
  const other = join(top, "other");
  fs.mkdirSync(other);
  fs.writeFileSync(join(dir, "f"), "one");
  fs.linkSync(join(dir, "f"), join(other, "g"));
  const watch = new WatchSet({
    folders: [dir, other],
    cwd: top,
    stateDir: join(top, "state"),
  });
  const { folded } = await take({ watch });
  expect(folded.paths()).toEqual(["0:", "0:f", "1:", "1:g"]);
  expect(folded.node("g", 1)).toBe(folded.node("f", 0));
});

test("more data than the limit: refused with figures before anything is copied", async () => {
  fs.mkdirSync(join(dir, "big"));
  fs.writeFileSync(join(dir, "big/f"), Buffer.alloc(3_000_000, 1));
  fs.writeFileSync(join(dir, "small"), "s");
  const rows = new TestingRows();
  const watch = new WatchSet({ folders: [dir], cwd: top, stateDir: join(top, "state") });
  const failed = takeBaseline({ watch, tree: new Tree(), trace: rows, bytesMax: 1_000_000 });
  await expect(failed).rejects.toMatchObject({
    code: "limit_exceeded",
    message: "cannot copy the watched folders: they hold 3.0MB of data, the limit is 1.0MB",
    hint: expect.stringContaining('the largest part is "big"'),
  });
  expect(rows.contents.length).toBe(0);
});

test("a pseudo file system is noted, not entered", async () => {
  if (!IS_ROOT) return;
  fs.mkdirSync(join(dir, "proc"));
  const mounted = Bun.spawnSync(["mount", "-t", "proc", "proc", join(dir, "proc")]);
  // A container may not mount.
  if (mounted.exitCode !== 0) return;
  try {
    const { folded, summary } = await take();
    expect(folded.paths()).toEqual(["", "proc"]);
    expect(summary.notes).toBe(1);
    expect(folded.texts(Op.NOTE)).toEqual([
      'baseline: folder "proc" is a proc file system: not entered',
    ]);
  } finally {
    Bun.spawnSync(["umount", join(dir, "proc")]);
  }
});

test("a bind mount of a folder into itself ends", async () => {
  if (!IS_ROOT) return;
  fs.mkdirSync(join(dir, "a/in"), { recursive: true });
  const mounted = Bun.spawnSync(["mount", "--bind", dir, join(dir, "a/in")]);
  // A container may not mount.
  if (mounted.exitCode !== 0) return;
  try {
    const { folded, summary } = await take();
    expect(folded.paths()).toEqual(["", "a"]);
    expect(summary.notes).toBe(1);
  } finally {
    Bun.spawnSync(["umount", join(dir, "a/in")]);
  }
});

test("as an ordinary user, what cannot be read is a gap with its name", async () => {
  for (const path of ["open", "shut", "listed"]) fs.mkdirSync(join(dir, path));
  fs.writeFileSync(join(dir, "listed/f"), "?");
  fs.writeFileSync(join(dir, "secret"), "12345");
  fs.writeFileSync(join(dir, "open/f"), "read");
  fs.chmodSync(join(dir, "secret"), 0);
  fs.chmodSync(join(dir, "shut"), 0);
  fs.chmodSync(join(dir, "listed"), 0o444);
  fs.chmodSync(top, 0o755);
  const done = Bun.spawnSync([process.execPath, "-e", UNPRIVILEGED, import.meta.dir, top], {
    stderr: "inherit",
  });
  const { paths, gaps, unread, summary } = JSON.parse(done.stdout.toString());
  expect(paths).toEqual(["", "listed", "open", "open/f", "secret", "shut"]);
  expect(gaps.sort()).toEqual([
    'baseline: cannot read "listed/f": permission denied',
    'baseline: cannot read "secret": permission denied',
    'baseline: cannot read folder "shut": permission denied',
  ]);
  expect(unread & EventFlag.UNREAD).toBe(EventFlag.UNREAD);
  expect(summary.gaps).toBe(3);
});

test("progress and an abort", async () => {
  for (let i = 0; i < 50; i++) fs.writeFileSync(join(dir, `f${i}`), `${i}`);
  const seen: number[] = [];
  await take({ onProgress: (progress) => seen.push(progress.totalFiles) });
  expect(seen.length).toBeGreaterThan(0);
  const failed = take({ signal: AbortSignal.abort(new Error("stop")) });
  await expect(failed).rejects.toThrow("stop");
});
