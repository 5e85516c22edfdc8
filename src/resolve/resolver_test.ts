import { expect, test } from "bun:test";
import {
  callRecord,
  inode,
  nodeRecord,
  openRecord,
  writeRecord,
} from "../../tests/support/kernel_records.ts";
import { bytes, create, dir, file, LINK, same } from "../../tests/support/resolve_records.ts";
import { ROOT_INODE, World } from "../../tests/support/resolve_world.ts";
import { KernelFlag } from "../format/kernel_record.ts";
import { EventFlag, Op } from "../format/trace_event.ts";

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

test("an absolute path in a chroot starts from its root", () => {
  const w = new World();
  w.feed(
    callRecord({ t: 1 }, "mkdir", { base: [ROOT_INODE], str: ["jail"], touched: [dir(11)] }),
    create(2, file(12), "f", dir(11)),
    callRecord({ t: 3 }, "rename", { jail: dir(11), str: ["/f", "//g"] }),
    callRecord({ t: 4 }, "symlink", { base: [ROOT_INODE], jail: dir(11), str: ["/g", "/s"] }),
  );
  expect(w.paths()).toEqual(["jail/", "jail/g", "jail/s -> /g"]);
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

test("an attribute that a call did not change is left, where each change is told of", () => {
  for (const ctimeTells of [true, false]) {
    const w = new World({ ctimeTells });
    const f = file(10);
    const id = w.baseline(f, { parent: 1, name: "a" });
    const base = [ROOT_INODE];
    w.feed(
      callRecord({ t: 1 }, "setxattr", { base, str: ["a", "user.x", "v"], touched: [f] }),
      // of another file that had the name then, and no such attribute
      callRecord({ t: 2 }, "removexattr", { base, str: ["a", "user.x"] }),
    );
    expect(w.tree.node(id)?.xattrs?.has("user.x") ?? false).toBe(ctimeTells);
  }
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

test("a link that tells nothing of its file: the inode below says which one it is", () => {
  const w = new World();
  const f = file(30, { size: 5 });
  w.baseline(f, { parent: 1, name: "f" });
  w.baseline(file(31), { parent: 1, name: "g" });
  const below = { ...f, dev: 0x900009 };
  const base = [ROOT_INODE, ROOT_INODE];
  // "g" was another name when the call looked it up
  const touched = [ROOT_INODE, below];
  w.feed(callRecord({ t: 2 }, "link", { base, str: ["g", "h"], touched }));
  expect(w.paths()).toEqual(["f", "g", "h"]);
  expect(w.tree.at(1, "h")?.ino).toBe(30);
});

test("a whiteout that leaves a whiteout: the new one is not the one that moved", () => {
  const w = new World();
  const device = { mode: 0o020000, rdev: 0 };
  const old = inode({ ...device, ino: 40, mtimeSec: 1 });
  const fresh = inode({ ...device, ino: 41, mtimeSec: 2 });
  w.baseline(old, { parent: 1, name: "a" });
  w.feed(callRecord({ t: 2 }, "renameat2", {
    base: [ROOT_INODE, ROOT_INODE],
    str: ["a", "b"],
    arg: [4],
    touched: [ROOT_INODE, old, fresh],
  }));
  expect([w.tree.at(1, "b")?.ino, w.tree.at(1, "a")?.ino]).toEqual([40, 41]);
});
