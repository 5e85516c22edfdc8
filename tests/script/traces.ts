/** The traces that the sessions of this folder look at, by name. All are synthetic, so that every byte of output is known. */
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EventFlag, IO_URING_NOTE, Op } from "../../src/format/trace_event.ts";
import { attr, rootEvent, TraceBuilder } from "../trace_builder.ts";

const MS = 1_000_000;
const SECOND = 1000 * MS;
const NS = 1_000_000_000n;
const FILE = 0o100644;
const FOLDER = 0o040755;
const times = { sec: 1_700_000_000, nsec: 123_456_789 };

/** Makers of traces: each gets the state-dir to make. */
export const TRACES: Readonly<Record<string, (dir: string) => void>> = {
  demo: (dir) => {
    const builder = new TraceBuilder(dir, { batchEvents: 3 });
    demoBaseline(builder);
    demo(builder);
    builder.finish({ exitCode: 1, bytes: 41, files: 4 });
  },
  cut: (dir) => {
    const builder = new TraceBuilder(dir);
    demoBaseline(builder);
    demo(builder);
    builder.cut();
  },
  filtered: (dir) => {
    const builder = new TraceBuilder(dir, {
      filters: { include: ["*.c", "*.h"], exclude: ["tmp/**"] },
    });
    builder.baseline(rootEvent());
    // a folder that has events is no file
    builder.event({ op: Op.CHMOD, node: 1, attr: attr(FOLDER) });
    builder.event({ op: Op.MKDIR, node: 2, parent: 1, name: "d", attr: attr(FOLDER) });
    builder.event({ op: Op.CREATE, node: 3, parent: 2, name: "a.c", attr: attr(FILE) });
    builder.event({ op: Op.RENAME, node: 2, parent: 1, name: "d", toParent: 1, toName: "e" });
    builder.event({ op: Op.CREATE, node: 4, parent: 2, name: "[id].c", attr: attr(FILE) });
    builder.event({ op: Op.RENAME, node: 3, parent: 2, name: "a.c", toParent: 0, toName: "" });
    builder.cut();
  },
  roots: (dir) => {
    const builder = new TraceBuilder(dir, { rootPaths: ["/work/a", "/srv/b"] });
    builder.baseline(rootEvent({ mtime: { sec: 1_600_000_000, nsec: 1 } }));
    builder.baseline({ ...rootEvent(), node: 2, root: 1 });
    builder.event({ op: Op.CREATE, node: 3, parent: 1, name: "one", attr: attr(FILE) });
    builder.event({ op: Op.CREATE, node: 4, parent: 2, name: "two", attr: attr(FILE) });
    builder.write(4, 0, { op: Op.WRITE, bytes: "second root" });
    builder.event({ op: Op.RENAME, node: 3, parent: 1, name: "one", toParent: 2, toName: "three" });
    builder.finish();
  },
  left: left,
  odd: odd,
  lossy: lossy,
  settled: settled,
  dots: (dir) => evil(dir, ".."),
  unseen: (dir) => {
    const builder = new TraceBuilder(dir);
    builder.baseline(rootEvent());
    builder.event({ op: Op.CREATE, node: 2, parent: 1, name: "db", attr: attr(FILE) });
    builder.event({ op: Op.NOTE, text: IO_URING_NOTE });
    builder.event({ op: Op.WRITE, node: 2, offset: 0, length: 2, inline: Buffer.from("ab") });
    const inline = Buffer.from("abcd");
    builder.event({ op: Op.RESYNC, node: 2, length: 4, inline, pid: 0 });
    builder.finish({ audit: { entries: 2, contents: 1, written: 1, differences: 1, left: 0 } });
  },
  attrs: (dir) => {
    const builder = new TraceBuilder(dir);
    builder.baseline(rootEvent());
    builder.event({
      op: Op.XATTR,
      node: 1,
      xattrName: "user.color",
      xattrValue: Buffer.from("red"),
    });
    builder.event({ op: Op.XATTR, node: 1, xattrName: "user.color" });
    builder.event({ op: Op.CHOWN, node: 1, attr: attr(FOLDER, { uid: 1000, gid: 100 }) });
    builder.event({ op: Op.UTIMES, node: 1, attr: attr(FOLDER), mtime: times });
    builder.finish();
  },
  slash: (dir) => evil(dir, "../../outside"),
};

/** A trace that refers to home/tree/kept on disk, beside it. */
function left(dir: string): void {
  const tree = join(dir, "../home/tree");
  const path = join(tree, "kept");
  mkdirSync(tree, { recursive: true });
  writeFileSync(path, "only here\n");
  const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  const time = (ns: bigint) => ({ sec: Number(ns / NS), nsec: Number(ns % NS) });
  const builder = new TraceBuilder(dir, { rootPaths: [tree] });
  builder.baseline(rootEvent());
  builder.baseline({
    op: Op.BASELINE,
    flags: EventFlag.LAZY,
    node: 2,
    parent: 1,
    name: "kept",
    attr: attr(FILE, { ino: Number(ino), size: Number(size) }),
    mtime: time(mtimeNs),
    ctime: time(ctimeNs),
  });
  builder.event({ op: Op.CREATE, node: 3, parent: 1, name: "new", attr: attr(FILE) });
  builder.finish();
}

function demoBaseline(builder: TraceBuilder): void {
  builder.baseline(rootEvent({ mtime: { sec: 1_600_000_000, nsec: 1 } }));
  builder.baseline({
    op: Op.BASELINE,
    node: 2,
    parent: 1,
    name: "src",
    attr: attr(FOLDER),
    mtime: times,
  });
  const row = builder.data(Buffer.from("int main;\n"));
  builder.baseline({
    op: Op.BASELINE,
    node: 3,
    parent: 2,
    name: "main.c",
    attr: attr(FILE, { size: 10 }),
    mtime: times,
    extents: [{ row, offset: 0, length: 10, at: 0 }],
  });
}

/** A flaky test: a good status, then a wrong one, and a renamed report. */
function demo(builder: TraceBuilder): void {
  const make = { pid: 4700, comm: "make" };
  builder.event({ op: Op.EXEC, tNs: MS, path: "/usr/bin/make", argv: ["make", "test"], ...make });
  builder.event({
    op: Op.CREATE,
    node: 4,
    parent: 1,
    name: "status.log",
    attr: attr(FILE),
    tNs: SECOND,
  });
  builder.write(4, 0, { op: Op.WRITE, bytes: "Status: Healthy", tNs: 1203 * MS, mtime: times });
  builder.event({ op: Op.OUTPUT, offset: 1, length: 3, inline: Buffer.from("ok\n"), ...make });
  builder.event({
    op: Op.MKDIR,
    node: 5,
    parent: 1,
    name: "out",
    attr: attr(FOLDER),
    tNs: 2 * SECOND,
  });
  builder.event({ op: Op.CREATE, node: 6, parent: 5, name: "r.tmp", attr: attr(0o100755) });
  for (let i = 0; i < 4; i++) {
    builder.write(6, i, { op: Op.WRITE, bytes: "x", tNs: 2 * SECOND + i * 10 * MS });
  }
  builder.event({
    op: Op.RENAME,
    node: 6,
    parent: 5,
    name: "r.tmp",
    toParent: 5,
    toName: "report",
  });
  builder.event({
    op: Op.SYMLINK,
    node: 7,
    parent: 1,
    name: "latest",
    target: "out/report",
    attr: attr(0o120777),
  });
  builder.event({ op: Op.LINK, node: 6, parent: 1, name: "copy" });
  builder.event({ op: Op.TRUNCATE, node: 4, length: 0, tNs: 2514 * MS, pid: 4711 });
  builder.write(4, 0, { op: Op.WRITE, bytes: "ERROR: Connection Lost", tNs: 2514 * MS + 1 });
  builder.event({
    op: Op.UNLINK,
    node: 3,
    parent: 2,
    name: "main.c",
    tNs: 3 * SECOND,
    pid: 99,
    comm: "vim",
    flags: EventFlag.OUTSIDE,
  });
  builder.event({ op: Op.EXIT, length: 256, tNs: 3100 * MS, ...make });
}

/** Names and things that are not everyday. */
function odd(dir: string): void {
  const builder = new TraceBuilder(dir);
  builder.baseline(rootEvent());
  builder.event({ op: Op.CREATE, node: 2, parent: 1, name: "\x1b[31mred\n", attr: attr(FILE) });
  builder.event({ op: Op.CREATE, node: 3, parent: 1, name: "\xff\xfe", attr: attr(FILE) });
  builder.event({
    op: Op.CREATE,
    node: 4,
    parent: 1,
    name: Buffer.from("é").toString("latin1"),
    attr: attr(FILE),
  });
  builder.event({ op: Op.MKNOD, node: 5, parent: 1, name: "pipe", attr: attr(0o010600) });
  builder.event({ op: Op.MKNOD, node: 6, parent: 1, name: "sock", attr: attr(0o140700) });
  builder.event({ op: Op.CREATE, node: 7, parent: 0, name: "", attr: attr(FILE) });
  builder.write(7, 0, { op: Op.WRITE, bytes: "nameless" });
  builder.event({ op: Op.CHMOD, node: 4, attr: attr(0o101711) });
  builder.event({ op: Op.FALLOCATE, node: 4, offset: 0, length: 8192 });
  builder.event({ op: Op.UNLINK, node: 3, parent: 1, name: "\xff\xfe" });
  builder.write(3, 0, { op: Op.WRITE, bytes: "after the end" });
  builder.finish();
}

/** A recording that lost something. */
function lossy(dir: string): void {
  const builder = new TraceBuilder(dir);
  builder.baseline(rootEvent());
  builder.event({ op: Op.CREATE, node: 2, parent: 1, name: "a.log", attr: attr(FILE) });
  builder.event({ op: Op.CREATE, node: 3, parent: 1, name: "b.log", attr: attr(FILE) });
  builder.event({ op: Op.WRITE, node: 2, offset: 10, length: 90, flags: EventFlag.UNREAD });
  builder.event({
    op: Op.GAP,
    pid: 0,
    text: "ring full",
    loss: { events: 12, bytes: 4100 },
    tNs: SECOND,
  });
  builder.event({
    op: Op.GAP,
    pid: 0,
    node: 3,
    path: "b.log",
    text: "changed unseen",
    tNs: 2 * SECOND,
  });
  builder.event({
    op: Op.RESYNC,
    node: 3,
    length: 4,
    inline: Buffer.from("back"),
    pid: 0,
    comm: "",
  });
  builder.finish({ lostEvents: 12, lostBytes: 4100, losses: { ring_full: 12 } });
}

/** A recording that is whole, but not exact everywhere. */
function settled(dir: string): void {
  const builder = new TraceBuilder(dir);
  builder.baseline(rootEvent());
  builder.baseline({ op: Op.GAP, path: "secret", text: "could not be opened" });
  builder.baseline({
    op: Op.BASELINE,
    node: 2,
    parent: 1,
    name: "busy.db",
    attr: attr(FILE, { size: 5 }),
    flags: EventFlag.UNREAD,
  });
  builder.event({ op: Op.CREATE, node: 3, parent: 1, name: "map", attr: attr(FILE) });
  builder.event({ op: Op.MMAP, node: 3, length: 4096 });
  builder.write(2, 0, { op: Op.WRITE, bytes: "a", flags: EventFlag.CONCURRENT });
  builder.write(2, 1, { op: Op.WRITE, bytes: "b", flags: EventFlag.SETTLED });
  builder.event({ op: Op.NOTE, pid: 0, text: "io_uring is in use" });
  builder.event({
    op: Op.RESYNC,
    node: 3,
    length: 4,
    inline: Buffer.from("seen"),
    flags: EventFlag.SETTLED,
    pid: 0,
    comm: "",
  });
  builder.finish();
}

/** A damaged trace that tries to write outside the target. */
function evil(dir: string, name: string): void {
  const builder = new TraceBuilder(dir);
  builder.baseline(rootEvent());
  builder.event({ op: Op.CREATE, node: 2, parent: 1, name, attr: attr(FILE) });
  builder.write(2, 0, { op: Op.WRITE, bytes: "gotcha" });
  builder.finish();
}
