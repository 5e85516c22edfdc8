/**
 * Renames whose strings start elsewhere than was noted, because another thread changed the working folder or reused the descriptor: what
 * the kernel touched says which names were meant.
 */
import { expect, test } from "bun:test";
import { callRecord } from "../../tests/support/kernel_records.ts";
import { dir, file } from "../../tests/support/resolve_records.ts";
import { ROOT_INODE, World } from "../../tests/support/resolve_world.ts";
import { EventFlag } from "../format/trace_event.ts";
import type { KernelInode } from "../format/kernel_decode.ts";

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
