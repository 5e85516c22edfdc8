import { expect, test } from "bun:test";
import {
  callRecord,
  execRecord,
  exitRecord,
  forkRecord,
  inode,
  mmapRecord,
  nodeRecord,
  noteRecord,
  openRecord,
  skipRecord,
  writeRecord,
} from "../../tests/support/kernel_records.ts";
import { dump, ROOT_INODE, World } from "../../tests/support/resolve_world.ts";
import type { KernelInode } from "../format/kernel_decode.ts";
import { KernelFlag, Kind } from "../format/kernel_record.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { REORDER_RECORDS_MAX, REORDER_WAIT_NS } from "./bounds.ts";

const DIR = 0o40755;
const LINK = 0o120777;
const bytes = (text: string) => new TextEncoder().encode(text);
const file = (ino: number, more: Partial<KernelInode> = {}) => inode({ ino, ...more });
const dir = (ino: number, more: Partial<KernelInode> = {}) =>
  inode({ ino, mode: DIR, nlink: 2, ...more });
const create = (t: number, i: KernelInode, name: string, parent = ROOT_INODE) =>
  openRecord({ t, flags: KernelFlag.CREATED }, { inode: i, parent, name });

function same(world: World): void {
  expect(dump(world.readerTree())).toEqual(dump(world.tree));
}

test("create, write, truncate", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(5, f, "a"));
  w.feed(writeRecord({ t: 6 }, { inode: { ...f, size: 5 }, offset: 0, payload: bytes("hello") }));
  w.feed(
    openRecord({ t: 7, flags: KernelFlag.TRUNCATED }, { inode: f, parent: ROOT_INODE, name: "a" }),
  );
  expect(w.ops()).toEqual(["CREATE", "WRITE", "TRUNCATE"]);
  expect(w.sink.events[1]).toMatchObject({ node: 2, offset: 0, length: 5, tNs: 6, comm: "test" });
  expect(w.sink.bytes(w.sink.events[1] as never)).toEqual(bytes("hello"));
  expect(w.tree.node(2)?.size).toBe(0);
  expect(w.sink.events[0]?.dirTimes).toEqual([{ node: 1, mtime: { sec: 1_700_000_000, nsec: 1 } }]);
  same(w);
});

test("mkdir, rename, link, symlink, unlink, rmdir by strings alone", () => {
  const w = new World();
  const base = [ROOT_INODE, ROOT_INODE];
  w.feed(
    callRecord({ t: 1 }, "mkdir", { base, str: ["d"], arg: [0o777], touched: [dir(11)] }),
    create(2, file(12), "f", dir(11)),
    callRecord({ t: 3 }, "link", { base, str: ["d/f", "g"] }),
    callRecord({ t: 4 }, "symlink", { base, str: ["../x", "d/s"] }),
    callRecord({ t: 5 }, "rename", { base, str: ["./d/../d//f", "/w/d/h"] }),
  );
  expect(w.paths()).toEqual(["d/", "d/h", "d/s -> ../x", "g"]);
  expect(w.tree.node(3)?.nlink).toBe(2);
  w.feed(
    callRecord({ t: 6 }, "unlink", { base, str: ["d/h"] }),
    callRecord({ t: 7 }, "unlinkat", { base, str: ["d/s"] }),
    callRecord({ t: 8 }, "unlinkat", { base, str: ["d/"], arg: [0x200] }),
  );
  expect(w.paths()).toEqual(["g"]);
  expect(w.resolver.stats.unresolved).toBe(0);
  same(w);
});

test("a rename of one name onto another of the same file leaves both", () => {
  const w = new World();
  const base = [ROOT_INODE, ROOT_INODE];
  w.feed(create(1, file(10), "a"), callRecord({ t: 2 }, "link", { base, str: ["a", "b"] }));
  w.feed(callRecord({ t: 3 }, "rename", { base, str: ["a", "b"] }));
  expect(w.paths()).toEqual(["a", "b"]);
  expect(w.ops()).toEqual(["CREATE", "LINK"]);
});

test("renameat2: exchange and whiteout", () => {
  const w = new World();
  const base = [ROOT_INODE, ROOT_INODE];
  w.feed(create(1, file(10), "a"), create(2, file(11), "b"));
  w.feed(callRecord({ t: 3 }, "renameat2", { base, str: ["a", "b"], arg: [2] }));
  expect(w.tree.at(1, "a")?.ino).toBe(11);
  w.feed(callRecord({ t: 4 }, "renameat2", { base, str: ["a", "c"], arg: [4] }));
  expect(w.paths()).toEqual(["a", "b", "c"]);
  expect(w.tree.at(1, "a")?.mode).toBe(0o020000);
  same(w);
});

test("symlinks on the way are followed, in the tree and outside", () => {
  const links = new Map([["/tmp", "/w/d"]]);
  const w = new World({ assist: { readlink: (path) => links.get(path) } });
  const d = w.baseline(dir(11), { parent: 1, name: "d" });
  w.baseline(inode({ ino: 12, mode: LINK }), { parent: 1, name: "l", target: "d/../d" });
  w.baseline(inode({ ino: 13, mode: LINK }), { parent: 1, name: "o", target: "/w/o" });
  w.feed(callRecord({ t: 1 }, "mkdir", { base: [ROOT_INODE], str: ["l/x"], touched: [dir(20)] }));
  w.feed(callRecord({ t: 2 }, "mkdir", { str: ["/tmp/y"], touched: [dir(21)] }));
  w.feed(callRecord({ t: 3 }, "chmod", { base: [ROOT_INODE], str: ["l"], arg: [0o700] }));
  expect(w.paths()).toEqual(["d/", "d/x/", "d/y/", "l -> d/../d", "o -> /w/o"]);
  expect(w.tree.node(d)?.mode).toBe(0o40700);
  w.feed(callRecord({ t: 4 }, "mkdir", { base: [ROOT_INODE], str: ["o/x"] }));
  w.resolver.flush();
  expect(w.resolver.stats.unresolved).toBe(1); // a loop of symlinks cannot be a folder
});

test("attributes: chmod, chown, utimes, xattr, truncate, fallocate", () => {
  const w = new World();
  const f = file(10, { size: 100 });
  const id = w.baseline(f, { parent: 1, name: "a" });
  const base = [ROOT_INODE];
  const byFd = { t: 9, flags: KernelFlag.BY_FD };
  w.feed(
    callRecord({ t: 1 }, "chmod", { base, str: ["a"], arg: [0o4711] }),
    callRecord({ t: 2 }, "lchown", { base, str: ["a"], arg: [5, 0xffffffff] }),
    callRecord({ t: 3 }, "setxattr", { base, str: ["a", "user.x", "\xffv"] }),
    callRecord({ t: 4 }, "truncate", { base, str: ["a"], arg: [40] }),
    callRecord(byFd, "fallocate", { arg: [3, 0, 10], touched: [{ ...f, mode: 0o100700 }] }),
    callRecord(byFd, "fallocate", { arg: [0, 0, 90], touched: [{ ...f, mode: 0o100700 }] }),
    callRecord(byFd, "fremovexattr", { str: ["", "user.x"], touched: [f] }),
  );
  expect(w.tree.node(id)).toMatchObject({ size: 90, mode: 0o100644, uid: 1000 });
  const late = { ...f, mtimeSec: 7, mtimeNsec: 8, mode: 0o100600 };
  w.feed(callRecord({ t: 11, flags: KernelFlag.BY_FD }, "utimensat", { touched: [late] }));
  expect(w.tree.node(id)).toMatchObject({ mtimeSec: 7, mtimeNsec: 8, mode: 0o100600 });
  expect(w.sink.events.filter((e) => e.op === Op.XATTR).map((e) => e.xattrValue)).toEqual([
    new Uint8Array([255, 118]),
    undefined,
  ]);
  same(w);
});

test("mknod, bind, O_TMPFILE and its link", () => {
  const w = new World();
  const base = [ROOT_INODE, ROOT_INODE];
  const tmp = file(30, { nlink: 0 });
  w.feed(
    callRecord({ t: 1 }, "mknod", { base, str: ["p"], arg: [0o010600] }),
    callRecord({ t: 2 }, "mknod", { base, str: ["z"], arg: [0o020600, 0x105] }),
    callRecord({ t: 3 }, "bind", { base, str: ["sock"] }),
    openRecord({ t: 4, flags: KernelFlag.TMPFILE }, { inode: tmp, parent: ROOT_INODE, name: "" }),
    writeRecord({ t: 5 }, { inode: tmp, offset: 0, payload: bytes("x") }),
    callRecord({ t: 6 }, "linkat", {
      base,
      str: ["/proc/self/fd/3", "named"],
      arg: [0x400],
      touched: [ROOT_INODE, { ...tmp, nlink: 1 }],
    }),
  );
  expect(w.paths()).toEqual(["named", "p", "sock", "z"]);
  expect(w.tree.at(1, "z")?.rdev).toBe(0x100005);
  expect(w.tree.at(1, "named")?.size).toBe(1);
  expect(w.ops()).toEqual(["MKNOD", "MKNOD", "MKNOD", "CREATE", "WRITE", "LINK"]);
  same(w);
});

test("the kernel's touched folder wins over the string", () => {
  const w = new World();
  const a = w.baseline(dir(11), { parent: 1, name: "a" });
  w.baseline(dir(12), { parent: 1, name: "b" });
  w.feed(callRecord({ t: 1 }, "mkdir", {
    base: [ROOT_INODE],
    str: ["b/x"],
    touched: [dir(11, { mtimeSec: 99 }), dir(20)],
  }));
  expect(w.tree.at(a, "x")?.ino).toBe(20);
  expect(w.tree.node(a)?.mtimeSec).toBe(99);
});

test("a file comes in from outside with its content, and leaves", () => {
  const content = bytes("from outside");
  const f = file(50, { size: content.length });
  const w = new World({
    assist: {
      read: (target, range) =>
        target.ino === 50 ? content.slice(range.offset, range.offset + range.length) : undefined,
      lstat: (path) => path === "/w/in" ? f : undefined,
    },
  });
  const base = [ROOT_INODE, ROOT_INODE];
  w.feed(callRecord({ t: 1 }, "rename", { base, str: ["../tmp/x", "in"] }));
  expect(w.ops()).toEqual(["RENAME", "RESYNC"]);
  expect(w.sink.bytes(w.last())).toEqual(content);
  expect(w.last().flags & EventFlag.SETTLED).toBe(EventFlag.SETTLED);
  w.feed(callRecord({ t: 2 }, "rename", { base, str: ["in", "/tmp/x"] }));
  w.feed(writeRecord({ t: 3 }, { inode: f, offset: 0, payload: bytes("unseen") }));
  expect(w.paths()).toEqual([]);
  expect(w.ops()).toEqual(["RENAME", "RESYNC", "RENAME"]);
  expect(w.resolver.stats.gaps).toBe(0);
  same(w);
});

test("a folder comes in with everything below it", () => {
  const tree = [
    { path: "sub", inode: dir(61) },
    { path: "sub/f", inode: file(62, { nlink: 2 }) },
    { path: "sub/g", inode: file(62, { nlink: 2 }) },
    { path: "sub/l", inode: inode({ ino: 63, mode: LINK, size: 1 }), target: "f" },
  ];
  const w = new World({
    assist: { readTree: () => tree, lstat: (path) => path === "/w/d" ? dir(60) : undefined },
  });
  const base = [ROOT_INODE, ROOT_INODE];
  w.feed(callRecord({ t: 1 }, "rename", { base, str: ["/tmp/d", "d"] }));
  expect(w.paths()).toEqual(["d/", "d/sub/", "d/sub/f", "d/sub/g", "d/sub/l -> f"]);
  same(w);
});

test("excluded names are not recorded; renamed to an included one they come in", () => {
  const w = new World({
    excluded: (path) => path === "skip" || path.endsWith(".o"),
    assist: {
      read: (_t, range) => bytes("obj").slice(range.offset),
      lstat: (path) => path === "/w/keep" ? file(70, { size: 3 }) : undefined,
    },
  });
  const base = [ROOT_INODE, ROOT_INODE];
  const skip = dir(71);
  w.feed(
    callRecord({ t: 1 }, "mkdir", { base, str: ["skip"], touched: [skip] }),
    nodeRecord({ t: 2 }, { inode: skip, root: 0, names: ["skip"], anchor: ROOT_INODE }),
    create(3, file(72), "f", skip),
    writeRecord({ t: 4 }, { inode: file(72), offset: 0, payload: bytes("x") }),
    callRecord({ t: 5 }, "mkdir", { base: [skip], str: ["deep"] }),
    create(6, file(70), "a.o"),
    writeRecord({ t: 7 }, { inode: file(70), offset: 0, payload: bytes("obj") }),
  );
  expect(w.ops()).toEqual([]);
  w.feed(callRecord({ t: 8 }, "rename", { base, str: ["skip/../a.o", "keep"] }));
  expect(w.ops()).toEqual(["RENAME", "RESYNC"]);
  w.feed(callRecord({ t: 9 }, "rename", { base, str: ["keep", "b.o"] }));
  expect(w.paths()).toEqual([]);
  expect(w.resolver.stats).toMatchObject({ gaps: 0, unresolved: 0 });
});

test("a write in several records is one event; a lost end is said", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(1, f, "a"));
  const whole = new Uint8Array(300_000).map((_, i) => i % 251);
  const part = (from: number, to: number, kind: number, more: boolean) =>
    writeRecord({ t: 2, ret: whole.length }, {
      ...{ inode: f, offset: 7, payload: whole.slice(from, to), payloadOff: from, kind, more },
    });
  w.feed(part(0, 262_144, Kind.WRITE, true));
  w.feed(part(262_144, 300_000, Kind.CHUNK, false));
  expect(w.sink.bytes(w.last())).toEqual(whole);
  expect(w.tree.node(2)?.size).toBe(300_007);
  w.feed(part(0, 100, Kind.WRITE, true));
  w.resolver.flush();
  expect(w.last().flags & EventFlag.UNREAD).toBe(EventFlag.UNREAD);
  expect(w.last().length).toBe(300_000);
});

test("a small vector of pieces is one inline event", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(1, f, "a"));
  const who = { t: 2, ret: 6 };
  const at = { inode: f, offset: 0 };
  w.feed(
    writeRecord(who, { ...at, payload: bytes("ab"), more: true }),
    writeRecord(who, { ...at, payload: bytes("c"), payloadOff: 2, kind: Kind.CHUNK, more: true }),
    writeRecord(who, { ...at, payload: bytes("def"), payloadOff: 3, kind: Kind.CHUNK }),
  );
  expect(w.last().inline).toEqual(bytes("abcdef"));
});

test("payload that was not captured is read back", () => {
  const w = new World({
    assist: { read: (_t, r) => bytes("0123456789").slice(r.offset, r.offset + r.length) },
  });
  const f = file(10, { size: 10 });
  w.baseline(f, { parent: 1, name: "a" });
  const who = { t: 2, ret: 4, flags: KernelFlag.NO_PAYLOAD };
  w.feed(writeRecord(who, { inode: f, offset: 3, payload: new Uint8Array(0) }));
  expect(w.sink.bytes(w.last())).toEqual(bytes("3456"));
  expect(w.last().flags).toBe(EventFlag.SETTLED | EventFlag.EXTENTS);
});

test("writes take the order of the inode lock", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(1, f, "a"));
  const put = (t: number, tid: number, seq: number, text: string) =>
    writeRecord({ t, tid, enter: 1 }, { inode: f, offset: 0, payload: bytes(text), lockSeq: seq });
  w.feed(put(10, 1, 2, "B"), put(11, 1, 4, "D"), put(12, 2, 1, "A"), put(13, 2, 3, "C"));
  w.feed(put(14, 1, 5, "E"));
  const texts = w.sink.events.slice(1).map((e) => new TextDecoder().decode(w.sink.bytes(e)));
  expect(texts.join("")).toBe("ABCDE");
  same(w);
});

test("a lock number that never comes is given up", () => {
  const w = new World();
  const f = file(10);
  const write = (t: number, lockSeq: number, tid = 1) =>
    writeRecord({ t, tid }, { inode: f, offset: 0, payload: bytes("x"), lockSeq });
  w.feed(create(1, f, "a"));
  for (let i = 0; i < 200; i++) w.feed(write(10 + i, i < 50 ? i + 1 : i + 2));
  expect(w.sink.events.length).toBe(51);
  w.feed(write(REORDER_WAIT_NS + 60, 202));
  expect(w.sink.events.length).toBe(202);
  w.feed(write(REORDER_WAIT_NS + 99, 51, 9));
  expect(w.last().flags & EventFlag.CONCURRENT).toBe(EventFlag.CONCURRENT);
});

test("waiting for a lock number is bounded in records too", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(1, f, "a"));
  for (let i = 0; i < REORDER_RECORDS_MAX; i++) {
    w.feed(writeRecord({ t: 2 }, { inode: f, offset: i, payload: bytes("x"), lockSeq: i + 2 }));
  }
  expect(w.sink.events.length).toBe(1 + REORDER_RECORDS_MAX);
});

test("changes of names and of bytes take effect in the order of their locks", () => {
  const w = new World();
  const f = file(10);
  const g = file(11);
  const base = [ROOT_INODE, ROOT_INODE];
  w.feed(
    // returned last, happened first
    openRecord({ t: 9, tid: 1, flags: KernelFlag.CREATED }, {
      inode: g,
      parent: ROOT_INODE,
      name: "a",
      lockSeq: 4,
    }),
    writeRecord({ t: 10, tid: 2 }, { inode: f, offset: 0, payload: bytes("xy"), lockSeq: 2 }),
    skipRecord({ t: 11, tid: 4 }, 5),
    callRecord({ t: 12, tid: 3 }, "unlink", {
      base,
      str: ["a"],
      touched: [ROOT_INODE, { ...f, nlink: 0 }],
      lockSeq: 3,
    }),
  );
  expect(w.ops()).toEqual([]);
  w.feed(
    openRecord({ t: 13, tid: 5, flags: KernelFlag.CREATED }, {
      inode: f,
      parent: ROOT_INODE,
      name: "a",
      lockSeq: 1,
    }),
    writeRecord({ t: 14, tid: 1 }, { inode: g, offset: 0, payload: bytes("z"), lockSeq: 6 }),
  );
  expect(w.ops()).toEqual(["CREATE", "WRITE", "UNLINK", "CREATE", "WRITE"]);
  expect(w.sink.events.every((event) => (event.flags & EventFlag.CONCURRENT) === 0)).toBe(true);
  expect(w.paths()).toEqual(["a"]);
  same(w);
});

test("made and removed while an older number is awaited: both happen, in their turn", () => {
  const w = new World();
  const f = file(10);
  const g = file(11);
  const base = [ROOT_INODE, ROOT_INODE];
  w.baseline(g, { parent: 1, name: "g" });
  w.feed(
    openRecord({ t: 2, tid: 1, flags: KernelFlag.CREATED }, {
      inode: f,
      parent: ROOT_INODE,
      name: "a",
      lockSeq: 2,
    }),
    callRecord({ t: 3, tid: 1 }, "rename", {
      base,
      str: ["a", "b"],
      touched: [ROOT_INODE, f],
      lockSeq: 3,
    }),
    callRecord({ t: 4, tid: 1 }, "unlink", {
      base,
      str: ["b"],
      touched: [ROOT_INODE, { ...f, nlink: 0 }],
      lockSeq: 4,
    }),
    writeRecord({ t: 5, tid: 2 }, { inode: g, offset: 0, payload: bytes("x"), lockSeq: 1 }),
  );
  expect(w.ops()).toEqual(["WRITE", "CREATE", "RENAME", "UNLINK"]);
  expect(w.paths()).toEqual(["g"]);
});

test("a path whose page was away is read from the stopped task; without that it is a gap", () => {
  const touched = [ROOT_INODE, dir(12)];
  const mkdir = callRecord({ t: 1, pid: 9 }, "mkdir", {
    base: [ROOT_INODE],
    touched,
    away: [4096],
  });
  const asked: unknown[] = [];
  const w = new World({
    assist: {
      memory: (...args) => {
        asked.push(args);
        return "d";
      },
    },
  });
  w.feed(mkdir);
  expect(w.paths()).toEqual(["d/"]);
  expect(asked).toEqual([[9, 4096, undefined]]);
  const blind = new World();
  blind.feed(mkdir);
  expect(blind.ops()).toEqual(["GAP"]);
  expect(blind.resolver.stats.lostEvents).toBe(1);
});

test("output, processes, notes, mappings", () => {
  const w = new World();
  const f = file(10);
  w.baseline(f, { parent: 1, name: "a" });
  w.feed(
    execRecord({ t: 1, pid: 7 }, { exe: "/usr/bin/make", argv: ["make", "-j"], cwd: ROOT_INODE }),
    forkRecord({ t: 2, pid: 7 }, 8),
    forkRecord({ t: 2, pid: 8, flags: KernelFlag.THREAD }, 8),
    writeRecord({ t: 3, pid: 8, fd: 1 }, {
      ...{ inode: file(99), offset: 0, payload: bytes("hi\n"), kind: Kind.OUTPUT },
    }),
    mmapRecord({ t: 4, pid: 8 }, { inode: f, offset: 0, length: 4096 }),
    mmapRecord({ t: 5, pid: 8 }, { inode: f, offset: 0, length: 4096 }),
    noteRecord({ t: 6, pid: 8 }, 1),
    exitRecord({ t: 7, pid: 8 }, 0, false),
    exitRecord({ t: 8, pid: 8 }, 3 << 8),
  );
  expect(w.ops()).toEqual(["EXEC", "OUTPUT", "MMAP", "NOTE", "EXIT"]);
  expect(w.sink.events[1]).toMatchObject({ offset: 1, length: 3, inline: bytes("hi\n") });
  expect(w.last().length).toBe(768);
  expect(w.sink.processes.map((p) => [p.pid, p.exe, p.cwd, p.exit])).toEqual([
    [7, "/usr/bin/make", "/w", undefined],
    [8, "/usr/bin/make", "/w", undefined],
    [8, "/usr/bin/make", "/w", 768],
  ]);
});

test("changes by others are marked, names are bytes, time never goes back", () => {
  const w = new World();
  const odd = "\xff\n\x80 \"'";
  w.feed(
    openRecord({ t: 9, flags: KernelFlag.CREATED | KernelFlag.OUTSIDE }, {
      ...{ inode: file(10), parent: ROOT_INODE, name: odd },
    }),
    create(5, file(11), "b"),
  );
  expect(w.sink.events.map((e) => [e.tNs, e.flags, e.name])).toEqual([
    [9, EventFlag.OUTSIDE, odd],
    [9, 0, "b"],
  ]);
});
