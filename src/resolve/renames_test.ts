/**
 * Renames whose strings start elsewhere than was noted, because another thread changed the working folder or reused the descriptor: what
 * the kernel touched says which names were meant.
 */
import { expect, test } from "bun:test";
import { callRecord } from "../../tests/support/kernel_records.ts";
import { dir, file, same } from "../../tests/support/resolve_records.ts";
import { ROOT_INODE, World } from "../../tests/support/resolve_world.ts";
import { EventFlag } from "../format/trace_event.ts";
import type { KernelInode } from "../format/kernel_decode.ts";

const EXCHANGE = 2;
/** The second as of a filesystem that does not always tell of what it moves: what it told is enough here. */
const WORLDS = [{}, { partial: new Set([ROOT_INODE.dev]) }];
const AT_ROOT = [ROOT_INODE, ROOT_INODE];
const NEWS = EventFlag.SETTLED | EventFlag.CONCURRENT;

/** Root with the folder s; in it a folder x. */
function world(): { w: World; s: KernelInode; x: KernelInode } {
  const w = new World();
  const s = dir(20);
  const x = dir(21);
  w.baseline(s, { parent: 1, name: "s" });
  w.baseline(x, { parent: 2, name: "x" });
  return { w, s, x };
}

test("the same name on both sides: what lost its last name was overwritten, not moved", () => {
  const { w, s, x } = world();
  const moved = file(30);
  const victim = file(31);
  w.baseline(victim, { parent: 2, name: "c" });
  w.baseline(moved, { parent: 3, name: "c" });
  // noted as if it were s/c -> x/c
  w.feed(callRecord({ t: 5 }, "rename", {
    base: [s, x],
    str: ["c", "c"],
    touched: [x, s, moved, { ...victim, nlink: 0 }],
  }));
  expect(w.paths()).toEqual(["s/", "s/c", "s/x/"]);
  expect(w.tree.lookup(moved.dev, moved.ino, moved.gen)?.links().length).toBe(1);
  expect(w.last().flags & NEWS).toBe(0);
});

test("a folder that was touched as the place of the name is not what was moved", () => {
  const { w, s, x } = world();
  const moved = file(30);
  w.baseline(moved, { parent: 3, name: "x" });
  // the old path, s/a/x, was that of x before another task renamed it
  w.feed(callRecord({ t: 5 }, "rename", {
    base: [ROOT_INODE, ROOT_INODE],
    str: ["s/a/x", "s/e"],
    touched: [s, moved, x],
  }));
  expect(w.paths()).toEqual(["s/", "s/e", "s/x/"]);
  expect(w.last().flags & NEWS).toBe(0);
  expect(w.last().dirTimes?.length).toBe(2);
});

test("a descriptor that leads outside by the time it is looked at", () => {
  const { w, s, x } = world();
  const moved = file(30);
  w.baseline(moved, { parent: 2, name: "a" });
  const outside = dir(99, { dev: 7 });
  w.feed(callRecord({ t: 5 }, "renameat", {
    base: [s, outside],
    str: ["a", "b"],
    touched: [s, x, moved],
  }));
  expect(w.paths()).toEqual(["s/", "s/x/", "s/x/b"]);
  expect(w.last().flags & NEWS).toBe(0);
});

test("what really leaves, leaves", () => {
  const { w, s } = world();
  const moved = file(30);
  w.baseline(moved, { parent: 2, name: "a" });
  w.feed(callRecord({ t: 5 }, "rename", {
    base: [s, ROOT_INODE],
    str: ["a", "/elsewhere/b"],
    touched: [s, moved, dir(99)],
  }));
  expect(w.paths()).toEqual(["s/", "s/x/"]);
});

test.each(WORLDS)(
  "renamed onto what took the old parent's name after the path was looked up",
  (more) => {
    const w = new World(more);
    const [parent, moved, victim] = [dir(10), dir(11), dir(12)];
    const at = w.baseline(parent, { parent: 1, name: "b" });
    w.baseline(moved, { parent: at, name: "e" });
    w.baseline(victim, { parent: 1, name: "d" });
    // the call's "d/e" was looked up when `parent` had the name "d", before another task exchanged "b" and "d"
    const touched = [parent, ROOT_INODE, moved, { ...victim, nlink: 0 }];
    w.feed(
      callRecord({ t: 2 }, "rename", { base: AT_ROOT, str: ["d/e", "d"], touched, lockSeq: 1 }),
    );
    expect(w.ops()).toEqual(["RENAME"]);
    expect([w.tree.at(1, "d")?.ino, w.tree.at(1, "b")?.children?.size ?? 0]).toEqual([11, 0]);
    same(w);
  },
);

test.each(WORLDS)(
  "exchanged with a name beside the folder that the exchange before moved",
  (more) => {
    const w = new World(more);
    const [above, folder, other] = [dir(10), dir(11), file(12)];
    const at = w.baseline(above, { parent: 1, name: "a" });
    w.baseline(other, { parent: at, name: "a" });
    w.baseline(folder, { parent: 1, name: "e" });
    // the call's "../a" was looked up from `folder` when that was in `above`: not the root's "a", which is `above` itself
    const touched = [ROOT_INODE, above, folder, other];
    const how = { base: [ROOT_INODE, folder], str: ["e", "../a"], arg: [EXCHANGE], touched };
    w.feed(callRecord({ t: 2 }, "renameat2", { ...how, lockSeq: 1 }));
    expect([w.tree.at(1, "e")?.ino, w.tree.at(1, "a")?.ino, w.tree.at(1, "a/a")?.ino])
      .toEqual([12, 10, 11]);
    same(w);
  },
);

test.each(WORLDS)(
  "a folder is exchanged with a name whose folder was moved after the path was looked up",
  (more) => {
    const w = new World(more);
    const [outer, from, one, two] = [dir(10), dir(11), file(12), dir(13)];
    const at = w.baseline(outer, { parent: 1, name: "d" });
    const inner = w.baseline(from, { parent: at, name: "a" });
    w.baseline(one, { parent: inner, name: "d" });
    w.baseline(two, { parent: 1, name: "c" });
    // the call's "b/d" was looked up when `from` was called "b"
    const touched = [from, ROOT_INODE, one, two];
    const how = { base: AT_ROOT, str: ["b/d", "c"], arg: [EXCHANGE], touched, lockSeq: 1 };
    w.feed(callRecord({ t: 2 }, "renameat2", how));
    expect([w.tree.at(1, "c")?.ino, w.tree.at(1, "d/a/d")?.ino]).toEqual([12, 13]);
    same(w);
  },
);

test("what was moved may have lost its last name before the call ended", () => {
  const { w } = world();
  const moved = file(30);
  w.baseline(moved, { parent: 2, name: "a" });
  const base = [dir(20), dir(20)];
  const gone = { ...moved, nlink: 0 };
  w.feed(callRecord({ t: 5 }, "rename", { base, str: ["a", "b"], touched: [dir(20), gone] }));
  expect(w.ops()).toEqual(["RENAME"]);
  expect(w.last().flags & NEWS).toBe(0);
});

test("what is moved onto a whiteout with two names leaves another one", () => {
  const { w, s } = world();
  const device = { mode: 0o020000, rdev: 0 };
  const [moved, victim, fresh] = [file(30), file(31, device), file(32, device)];
  const inS = { parent: 2, name: "b" };
  w.baseline(moved, { parent: 2, name: "a" });
  const id = w.baseline({ ...victim, nlink: 2 }, inS);
  w.feed(callRecord({ t: 4 }, "link", { base: [s, s], str: ["b", "c"], touched: [victim, s] }));
  const touched = [s, moved, { ...victim, nlink: 1 }, fresh];
  w.feed(callRecord({ t: 5 }, "renameat2", { base: [s, s], str: ["a", "b"], arg: [4], touched }));
  expect([w.tree.at(2, "b")?.ino, w.tree.at(2, "a")?.ino]).toEqual([30, 32]);
  expect(w.tree.at(2, "c")?.id).toBe(id);
});

test("where the overwritten is not told of, a folder without a role is still no guess", () => {
  const w = new World({ partial: new Set([ROOT_INODE.dev]) });
  const a = dir(20);
  const b = dir(21);
  const x = file(30);
  const y = file(31);
  w.baseline(a, { parent: 1, name: "a" });
  w.baseline(b, { parent: 1, name: "b" });
  w.baseline(x, { parent: 2, name: "x" });
  w.baseline(y, { parent: 3, name: "y" });
  w.feed(callRecord({ t: 5 }, "rename", {
    base: AT_ROOT,
    str: ["gone/x", "b/y"],
    touched: [a, b, x],
  }));
  expect(w.paths()).toEqual(["a/", "b/", "b/y"]);
  expect(w.tree.lookup(x.dev, x.ino, x.gen)?.links().length).toBe(1);
});

test("forced: of a file with several names, the one in a folder that was touched goes", () => {
  const { w, s } = world();
  const moved = file(30);
  const id = w.baseline(moved, { parent: 1, name: "other" });
  w.alias(id, { parent: 2, name: "a" });
  w.alias(id, { parent: 2, name: "c" });
  // neither of the folders holds the name, and an inode without a role keeps all else from fitting
  const later = { ...s, mtimeSec: s.mtimeSec + 1 };
  const touched = [later, moved, file(77)];
  const how = { base: AT_ROOT, str: ["s/x/c", "s/d"], touched, lockSeq: 1 };
  w.feed(callRecord({ t: 5 }, "rename", how));
  expect(w.ops()).toEqual([]);
  w.resolver.flush();
  expect(w.paths()).toEqual(["other", "s/", "s/a", "s/d", "s/x/"]);
  expect(w.last().flags & EventFlag.SETTLED).toBe(EventFlag.SETTLED);
  expect(w.tree.at(1, "s")?.mtime()?.sec).toBe(later.mtimeSec);
  expect(w.resolver.stats.unresolved).toBe(1);
  same(w);
});

test("what others rename in folders that are not watched waits for nothing", () => {
  const { w, s } = world();
  const [here, there] = [dir(90), dir(91)];
  const touched = [file(92, { mode: 0o020000 }), here, there, file(93)];
  const how = { base: [here, there], str: ["a", "b"], arg: [4], touched };
  w.feed(callRecord({ t: 5 }, "renameat2", { ...how, lockSeq: 1 }));
  expect(w.resolver.isSettled).toBe(true);
  expect([w.ops(), w.resolver.stats.unresolved]).toEqual([[], 0]);
  // not so where one of them is watched, or nothing is known of what came before
  const known = { ...how, touched: [...touched, s], lockSeq: 2 };
  for (const more of [known, { ...how, lockSeq: 0 }]) {
    w.feed(callRecord({ t: 6 }, "renameat2", more));
    expect(w.resolver.isSettled).toBe(false);
    w.resolver.flush();
  }
});
