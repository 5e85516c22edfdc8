import { expect, test } from "bun:test";
import { type Attr, EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import { Tree } from "./tree.ts";

let ino = 100;

function event(op: TraceEvent["op"], fields: Partial<TraceEvent>): TraceEvent {
  return { seq: 0, op, flags: 0, tNs: 1, pid: 1, tid: 1, comm: "t", node: 0, ...fields };
}

function attr(mode: number, more: Partial<Attr> = {}): Attr {
  const state = { mode, uid: 0, gid: 0, rdev: 0, nlink: 1, dev: 1, gen: 7, ino: ino++, size: 0 };
  return { ...state, ...more };
}

const DIR = 0o40755;
const FILE = 0o100644;

/** A root (1) with d (2), d/f (3) and g (4). */
function sample(): Tree {
  const tree = new Tree();
  tree.apply(event(Op.BASELINE, { pid: 0, node: 1, root: 0, attr: attr(DIR, { nlink: 2 }) }));
  tree.apply(event(Op.MKDIR, { node: 2, parent: 1, name: "d", attr: attr(DIR, { nlink: 2 }) }));
  tree.apply(event(Op.CREATE, { node: 3, parent: 2, name: "f", attr: attr(FILE) }));
  tree.apply(event(Op.CREATE, { node: 4, parent: 1, name: "g", attr: attr(FILE) }));
  return tree;
}

function paths(tree: Tree): string[] {
  return [...tree.walk()].map((e) => `${e.path}=${e.node.id}`);
}

test("names, paths and the walk", () => {
  const tree = sample();
  expect(paths(tree)).toEqual(["=1", "d=2", "d/f=3", "g=4"]);
  expect(tree.path(1)).toBe("");
  expect(tree.path(3)).toBe("d/f");
  expect(tree.pathOf(2, "x")).toBe("d/x");
  expect(tree.rootOf(3)).toBe(0);
  expect(tree.at(1, "d/f")?.id).toBe(3);
  expect(tree.isWithin(3, 2)).toBe(true);
  expect(tree.node(1)?.nlink).toBe(3);
});

test("hard links: a node lives by any of its names", () => {
  const tree = sample();
  tree.apply(event(Op.LINK, { node: 3, parent: 1, name: "h" }));
  expect(tree.node(3)?.nlink).toBe(2);
  tree.apply(event(Op.UNLINK, { node: 3, parent: 2, name: "f" }));
  expect(tree.path(3)).toBe("h");
  tree.apply(event(Op.UNLINK, { node: 3, parent: 1, name: "h" }));
  expect(tree.path(3)).toBeUndefined();
  expect(tree.rootOf(3)).toBe(-1);
  expect(tree.node(3)?.nlink).toBe(0);
});

test("rename over, exchange, and moving a folder", () => {
  const tree = sample();
  tree.apply(
    event(Op.RENAME, { node: 3, parent: 2, name: "f", toParent: 1, toName: "g", victim: 4 }),
  );
  expect(paths(tree)).toEqual(["=1", "d=2", "g=3"]);
  tree.apply(event(Op.RENAME, {
    flags: EventFlag.EXCHANGE,
    node: 3,
    parent: 1,
    name: "g",
    toParent: 1,
    toName: "d",
    victim: 2,
  }));
  expect(paths(tree)).toEqual(["=1", "d=3", "g=2"]);
});

test("what leaves is unbound, what comes in is new", () => {
  const tree = sample();
  const { dev, ino, gen } = tree.need(3);
  tree.apply(event(Op.RENAME, { node: 2, parent: 1, name: "d", toParent: 0, toName: "" }));
  expect(paths(tree)).toEqual(["=1", "g=4"]);
  expect(tree.lookup(dev, ino, gen)).toBeUndefined();
  tree.apply(event(Op.RENAME, {
    node: 5,
    parent: 0,
    toParent: 1,
    toName: "e",
    attr: attr(DIR),
  }));
  expect(paths(tree)).toEqual(["=1", "e=5", "g=4"]);
});

test("generation 0 is bound on first sight, another generation is another inode", () => {
  const tree = new Tree();
  tree.addNode(1, attr(FILE, { dev: 5, ino: 9, gen: 0 }));
  expect(tree.lookup(5, 9, 42)?.id).toBe(1);
  expect(tree.lookup(5, 9, 43)).toBeUndefined();
  expect(tree.lookup(5, 9, 0)?.id).toBe(1);
});

test("sizes, times and extended attributes", () => {
  const tree = sample();
  const mtime = { sec: -5, nsec: 9 };
  tree.apply(event(Op.WRITE, { node: 3, offset: 10, length: 5, mtime }));
  expect(tree.node(3)?.size).toBe(15);
  expect(tree.node(3)?.mtime()).toEqual(mtime);
  tree.apply(event(Op.FALLOCATE, { node: 3, flags: EventFlag.KEEP_SIZE, offset: 0, length: 99 }));
  tree.apply(event(Op.TRUNCATE, { node: 3, length: 2 }));
  expect(tree.node(3)?.size).toBe(2);
  tree.apply(event(Op.XATTR, { node: 3, xattrName: "user.a", xattrValue: new Uint8Array([1]) }));
  expect(tree.node(3)?.xattrs?.get("user.a")).toEqual(new Uint8Array([1]));
  tree.apply(event(Op.XATTR, { node: 3, xattrName: "user.a" }));
  expect(tree.node(3)?.xattrs).toBeUndefined();
});

test("a value outlives the buffer that its event stood in", () => {
  const tree = sample();
  const row = Buffer.from("value of an attribute");
  tree.apply(event(Op.XATTR, { node: 3, xattrName: "user.a", xattrValue: row.subarray(0, 5) }));
  row.fill(0);
  expect(Buffer.from(tree.need(3).xattrs?.get("user.a") ?? []).toString()).toBe("value");
});

test("an event that does not fit is data_corrupt", () => {
  const tree = sample();
  const bad = [
    event(Op.CREATE, { node: 3, parent: 1, name: "x", attr: attr(FILE) }),
    event(Op.CREATE, { node: 9, parent: 1, name: "g", attr: attr(FILE) }),
    event(Op.CREATE, { node: 9, parent: 4, name: "g", attr: attr(FILE) }),
    event(Op.UNLINK, { node: 4, parent: 1, name: "nothing" }),
    event(Op.UNLINK, { node: 3, parent: 1, name: "g" }),
    event(Op.TRUNCATE, { node: 77, length: 0 }),
    event(Op.CHMOD, { node: 4, attr: attr(DIR) }),
  ];
  for (const e of bad) {
    expect(() => tree.apply(e)).toThrow(expect.objectContaining({ code: "data_corrupt" }));
  }
});

test("a path 5,000 folders deep needs no recursion", () => {
  const tree = new Tree();
  tree.apply(event(Op.BASELINE, { node: 1, root: 0, attr: attr(DIR) }));
  for (let i = 2; i <= 5001; i++) {
    tree.apply(event(Op.MKDIR, { node: i, parent: i - 1, name: "x", attr: attr(DIR) }));
  }
  expect(tree.path(5001)?.length).toBe(5000 * 2 - 1);
  expect([...tree.walk()].length).toBe(5001);
});
