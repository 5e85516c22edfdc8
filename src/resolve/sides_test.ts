/**
 * Renames that touched the same inodes as the way back would: which way it was, told by the order in which the folders were touched or
 * by the link counts, and left to the strings where neither says it.
 */
import { expect, test } from "bun:test";
import { callRecord } from "../../tests/support/kernel_records.ts";
import { dir, file, same } from "../../tests/support/resolve_records.ts";
import { ROOT_INODE, World } from "../../tests/support/resolve_world.ts";
import type { KernelInode } from "../format/kernel_decode.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import type { ResolverOptions } from "./sink.ts";

const EXCHANGE = 2;
const WHITEOUT = 4;
const AT_ROOT = [ROOT_INODE, ROOT_INODE];
const NEWS = EventFlag.SETTLED | EventFlag.CONCURRENT;
/** As on ext4. */
const NEW_FIRST = { newFirst: new Set([ROOT_INODE.dev]) };
const [A, B, C] = [dir(20), dir(21), dir(22)];
const [IN_A, IN_B] = [file(30, { nlink: 2 }), file(31, { nlink: 2 })];

/** Folders a and b, each with a file x, and c with one more name of both. */
function world(more: Partial<ResolverOptions> = {}): World {
  const w = new World(more);
  w.baseline(A, { parent: 1, name: "a" });
  w.baseline(B, { parent: 1, name: "b" });
  const c = w.baseline(C, { parent: 1, name: "c" });
  const a = w.baseline(IN_A, { parent: 2, name: "x" });
  const b = w.baseline(IN_B, { parent: 3, name: "x" });
  w.alias(a, { parent: c, name: "in a" });
  w.alias(b, { parent: c, name: "in b" });
  return w;
}

interface Way {
  /** What the strings say. */
  says: [string, string];
  /** Where it was moved in truth. */
  to: "a" | "b";
  flags?: number;
  lockSeq?: number;
  /** Other states of what was touched. */
  states?: KernelInode[];
}

/** The record of a rename between a/x and b/x as ext4 gives it: folder of the new name, moved, folder of the old name, overwritten. */
function record({ says, to, flags = 0, lockSeq = 1, states = [] }: Way): Uint8Array {
  const [fresh, old] = to === "a" ? [A, B] : [B, A];
  const [moved, victim] = to === "a" ? [IN_B, IN_A] : [IN_A, IN_B];
  const left = flags === EXCHANGE ? victim : { ...victim, nlink: victim.nlink - 1 };
  const whiteout = file(40, { mode: 0o020000 });
  const touched = flags === WHITEOUT
    ? [whiteout, old, fresh, moved, left]
    : [fresh, moved, old, left];
  const told = touched.map((t) => states.find((s) => s.ino === t.ino) ?? t);
  const fields = { base: AT_ROOT, str: says, arg: [flags], touched: told, lockSeq };
  return callRecord({ t: 5 }, "renameat2", fields);
}

/** Inode numbers of a/x and b/x. */
function files(w: World): (number | undefined)[] {
  return [w.tree.at(1, "a/x")?.ino, w.tree.at(1, "b/x")?.ino];
}

const SAYS: [string, string][] = [["a/x", "b/x"], ["b/x", "a/x"]];
const CASES = SAYS.flatMap((says) => (["a", "b"] as const).map((to) => ({ says, to })));

for (const [by, more] of [["order", NEW_FIRST], ["link counts", {}]] as const) {
  test.each(CASES)(`the way back, by ${by}: %j`, (way) => {
    const w = world(more).feed(record(way));
    expect(files(w)).toEqual(way.to === "a" ? [31, undefined] : [undefined, 30]);
    expect(w.ops()).toEqual(["RENAME"]);
    expect(w.last().flags & NEWS).toBe(0);
    const [lost, kept] = way.to === "a" ? ["c/in a", "c/in b"] : ["c/in b", "c/in a"];
    expect([w.tree.at(1, lost)?.nlink, w.tree.at(1, kept)?.nlink]).toEqual([1, 2]);
    same(w);
  });
}

test.each(CASES)("the way back of a rename that leaves a whiteout: %j", (way) => {
  const w = world(NEW_FIRST).feed(record({ ...way, flags: WHITEOUT }));
  expect(files(w)).toEqual(way.to === "a" ? [31, 40] : [40, 30]);
  expect(w.ops()).toEqual(["RENAME", "MKNOD"]);
  same(w);
});

test.each([NEW_FIRST, {}])("an exchange is the same both ways", (more) => {
  for (const way of CASES) {
    const w = world(more).feed(record({ ...way, flags: EXCHANGE }));
    expect(files(w)).toEqual([31, 30]);
    expect(w.ops()).toEqual(["RENAME"]);
    same(w);
  }
});

/** Folders a and b, in each of them a name x of the first file and a name y of the second. */
function crossing(more: Partial<ResolverOptions>): World {
  const w = new World(more);
  w.baseline(A, { parent: 1, name: "a" });
  w.baseline(B, { parent: 1, name: "b" });
  const one = w.baseline(IN_A, { parent: 2, name: "x" });
  const two = w.baseline(IN_B, { parent: 2, name: "y" });
  w.alias(one, { parent: 3, name: "x" });
  w.alias(two, { parent: 3, name: "y" });
  return w;
}

/** Inode numbers of a/x, a/y, b/x, b/y. */
function crossed(w: World): (number | undefined)[] {
  return ["a/x", "a/y", "b/x", "b/y"].map((path) => w.tree.at(1, path)?.ino);
}

test("an exchange of crossing names: the order of the folders tells which", () => {
  for (const folders of [[A, B], [B, A]]) {
    const touched = [...folders, IN_A, IN_B];
    const how = { base: AT_ROOT, str: ["a/x", "b/y"], arg: [EXCHANGE], touched, lockSeq: 1 };
    const w = crossing(NEW_FIRST).feed(callRecord({ t: 5 }, "renameat2", how));
    // a/x <-> b/y, or b/x <-> a/y
    expect(crossed(w)).toEqual(folders[0] === B ? [31, 31, 30, 30] : [30, 30, 31, 31]);
    same(w);
  }
});

test("an exchange of what has lost a name by another task: the strings win", () => {
  const w = world();
  w.alias(w.tree.at(1, "a/x")?.id ?? 0, { parent: 2, name: "y" });
  w.alias(w.tree.at(1, "b/x")?.id ?? 0, { parent: 3, name: "y" });
  const touched = [A, B, { ...IN_A, nlink: 2 }, { ...IN_B, nlink: 3 }]; // of three names
  const how = { base: AT_ROOT, str: ["a/x", "b/y"], arg: [EXCHANGE], touched, lockSeq: 1 };
  w.feed(callRecord({ t: 5 }, "renameat2", how));
  expect(crossed(w)).toEqual([31, 30, 31, 30]);
});

const WRONG = { says: ["b/x", "a/x"] as [string, string], to: "b" as const };

test("without a place in the order, counts may be those of any moment: the strings win", () => {
  const w = world().feed(record({ ...WRONG, lockSeq: 0 }));
  expect(files(w)).toEqual([31, undefined]);
});

test("counts that fit no way: the strings win", () => {
  const linked = { ...IN_A, nlink: 1 }; // both have lost a name: one by another task
  const w = world().feed(record({ ...WRONG, states: [linked] }));
  expect(files(w)).toEqual([31, undefined]);
});

test("a name outside of the watched folders is not known to be kept: the strings win", () => {
  for (const state of [{ ...IN_B, nlink: 2 }, { ...IN_B, nlink: 3 }]) {
    const w = world().feed(record({ ...WRONG, states: [state] }));
    expect(files(w)).toEqual([31, undefined]);
  }
});

test("an overwritten file with names outside, and nothing lost by the moved one", () => {
  const states = [{ ...IN_A, nlink: 7 }, { ...IN_B, nlink: 5 }];
  const w = world().feed(record({ says: ["b/x", "a/x"], to: "a", states }));
  expect(files(w)).toEqual([31, undefined]);
});

test("strings that say two names which are both not there", () => {
  const w = world();
  // noted as if it were y -> c/z, looked up before a folder was moved; it was b/y -> a/z
  w.alias(w.tree.at(1, "a/x")?.id ?? 0, { parent: 3, name: "y" });
  const how = { base: AT_ROOT, str: ["y", "c/z"], touched: [A, IN_A, B], lockSeq: 1 };
  w.feed(callRecord({ t: 5 }, "rename", how));
  expect([w.tree.at(1, "b/y"), w.tree.at(1, "a/z")?.ino]).toEqual([undefined, 30]);
  expect([w.tree.at(1, "a/x")?.ino, w.tree.at(1, "c/in a")?.ino]).toEqual([30, 30]);
  expect(w.last().flags & NEWS).toBe(0);
  expect(w.last().dirTimes?.length).toBe(2);
  same(w);
});

test("strings that say two names of one file, where something was touched", () => {
  const w = world(NEW_FIRST);
  const y = w.tree.at(1, "a/x")?.id ?? 0;
  w.alias(y, { parent: 3, name: "y" });
  // noted as if it were a/x -> b/y, which are one file; it was b/x -> a/y
  const how = { base: AT_ROOT, str: ["a/x", "b/y"], touched: [A, IN_B, B], lockSeq: 1 };
  w.feed(callRecord({ t: 5 }, "rename", how));
  expect([w.tree.at(1, "a/y")?.ino, w.tree.at(1, "b/x")?.ino]).toEqual([31, undefined]);
  expect([w.tree.at(1, "a/x")?.ino, w.tree.at(1, "b/y")?.ino]).toEqual([30, 30]);
  expect(w.last().op).toBe(Op.RENAME);
  expect(w.last().flags & NEWS).toBe(0);
  same(w);
});

test("two names of one file, and a link followed on the way: nothing happened, nothing waits", () => {
  const w = world();
  const link = file(50, { mode: 0o120777 });
  w.baseline(link, { parent: 1, name: "to c", target: "c" });
  w.alias(w.tree.at(1, "a/x")?.id ?? 0, { parent: 1, name: "y" });
  w.feed(callRecord({ t: 4 }, "unlink", { base: AT_ROOT, str: ["c/in b"], touched: [C, IN_B] }));
  const how = { base: AT_ROOT, str: ["to c/in a", "y"], touched: [link] };
  w.feed(callRecord({ t: 5 }, "rename", how));
  expect(w.resolver.isSettled).toBe(true);
  expect(w.resolver.stats.unresolved).toBe(0);
});

test("unlink: the folder that was touched loses the name, whichever the string says", () => {
  const w = world();
  const gone = { ...IN_B, nlink: 1 };
  const how = { base: AT_ROOT, str: ["a/x"], touched: [B, gone], lockSeq: 1 };
  w.feed(callRecord({ t: 5 }, "unlink", how));
  expect(files(w)).toEqual([30, undefined]);
  expect(w.tree.at(1, "c/in b")?.nlink).toBe(1);
  expect(w.last().flags & NEWS).toBe(0);
  same(w);
});

test("unlink in a folder that is not known takes no name from one that was not touched", () => {
  const w = world();
  const touched = [dir(90), file(91, { nlink: 0 })];
  w.feed(callRecord({ t: 5 }, "unlink", { base: AT_ROOT, str: ["a/x"], touched, lockSeq: 1 }));
  w.resolver.flush();
  expect(files(w)).toEqual([30, 31]);
  expect([w.ops(), w.resolver.stats.unresolved]).toEqual([[], 1]);
});

test("link: the touched file gets the name, in the touched folder", () => {
  const w = world();
  const linked = { ...IN_B, nlink: 3 };
  const how = { base: AT_ROOT, str: ["a/x", "c/y"], touched: [linked, A], lockSeq: 1 };
  w.feed(callRecord({ t: 5 }, "link", how));
  expect([w.tree.at(1, "a/y")?.ino, w.tree.at(1, "c/y")]).toEqual([31, undefined]);
  expect(w.tree.at(1, "b/x")?.nlink).toBe(3);
  same(w);
});
