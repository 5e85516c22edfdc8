/** A tree with packed files must answer every question as one to which all events were applied, whoever is asked about first. */
import { expect, test } from "bun:test";
import { EventBatchEncoder } from "../format/event_codec.ts";
import { leftState } from "../format/left_file.ts";
import { type Attr, EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import type { Node } from "./node.ts";
import { Tree } from "./tree.ts";

const DIR = 0o40755;
const FILE = 0o100644;
const FOLDERS = 8;
const SEEDS = 40;

/** A small generator, the same on every machine (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) % below;
  };
}

function attr(mode: number, ino: number, more: Partial<Attr> = {}): Attr {
  const state = { mode, uid: 1, gid: 2, rdev: 0, nlink: 1, dev: 3, gen: 7, ino, size: ino * 3 };
  return { ...state, ...more };
}

function event(op: TraceEvent["op"], fields: Partial<TraceEvent>): TraceEvent {
  const mtime = { sec: 5, nsec: 6 };
  return { seq: 0, op, flags: 0, tNs: 0, pid: 0, tid: 0, comm: "", node: 0, mtime, ...fields };
}

/** Events of a baseline: folders in folders, plain files, links, and now and then an inode that is there twice. */
function baseline(next: (below: number) => number): TraceEvent[] {
  const root = { node: 1, root: 0, attr: attr(DIR, 1, { nlink: 2 + FOLDERS }) };
  const events = [event(Op.BASELINE, root)];
  const folders = [1];
  const inos = [1];
  const pick = <T>(list: T[]) => list[next(list.length)] as T;
  for (let node = 2; node < 300; node++) {
    const parent = pick(folders);
    const name = `${node % 3 === 0 ? "\xe9" : ""}n${node}`;
    const ino = next(20) === 0 ? pick(inos) : 1_000 + node * (node % 2 === 0 ? 1 : 2 ** 33);
    inos.push(ino);
    const gen = 7 + next(2);
    const kind = next(12);
    const ctime = { sec: 1, nsec: 2 };
    if (kind === 0 && folders.length < FOLDERS) {
      folders.push(node);
      events.push(event(Op.BASELINE, { node, parent, name, attr: attr(DIR, ino, { gen }) }));
    } else if (kind === 1) {
      events.push(
        event(Op.BASELINE, { node, parent, name, attr: attr(FILE, ino, { gen, size: 0 }) }),
      );
    } else if (kind === 2) {
      const two = { flags: EventFlag.LAZY, attr: attr(FILE, ino, { gen, nlink: 2 }), ctime };
      events.push(event(Op.BASELINE, { node, parent, name, ...two }));
      events.push(event(Op.LINK, { node, parent: pick(folders), name: `l${node}` }));
    } else {
      const flags = EventFlag.LAZY;
      events.push(
        event(Op.BASELINE, { flags, node, parent, name, attr: attr(FILE, ino, { gen }), ctime }),
      );
    }
  }
  return events;
}

/** Takes the events as the baseline does: plain files in batches, all others at once. */
function packed(events: readonly TraceEvent[], batchEvents: number): Tree {
  const tree = new Tree();
  const encoder = new EventBatchEncoder();
  let [files, end] = [0, 0];
  const finish = () => {
    if (encoder.count === 0) return;
    encoder.finish(0);
    if (files > 0) tree.addLeft(encoder.copyEvents(), files, end);
    encoder.reset();
    files = 0;
  };
  for (const one of events) {
    const alone = new EventBatchEncoder();
    alone.append(one);
    alone.finish(0);
    if (leftState(alone.copyEvents(), 0) > 0) {
      expect(tree.expectLeft(one.parent ?? 0)).toBe(true);
      files++;
      end = one.node + 1;
    } else tree.apply(one);
    encoder.append(one);
    if (encoder.count >= batchEvents) finish();
  }
  finish();
  return tree;
}

function say(node: Node | undefined): unknown {
  if (node === undefined) return undefined;
  const { id, parent, name, root } = node;
  const older = node.older?.id;
  const children = node.children && [...node.children].sort();
  return {
    id,
    parent,
    name,
    root,
    older,
    children,
    links: node.links(),
    ...node.attr(),
    m: node.mtime(),
  };
}

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`questions in any order, seed ${seed}`, () => {
    const next = random(seed);
    const events = baseline(next);
    const plain = new Tree();
    for (const one of events) plain.apply(one);
    const tree = packed(events, 1 + next(100));
    expect([tree.size, tree.nextId]).toEqual([plain.size, plain.nextId]);
    for (let step = 0; step < 400; step++) {
      const id = next(310);
      const known = plain.node(id);
      const { dev = 3, ino = 99, gen = 7 } = known ?? {};
      const ask: (one: Tree) => unknown = [
        (one: Tree) => say(one.node(id)),
        (one: Tree) => one.path(id),
        (one: Tree) => one.rootOf(id),
        (one: Tree) => one.child(known?.parent ?? 1, known?.name ?? "none"),
        (one: Tree) => say(one.lookup(dev, ino, gen)),
        (one: Tree) => say(one.lookup(dev, ino, 0)),
        (one: Tree) => say(one.at(1, plain.path(id) ?? "no/such")),
      ][next(7)] as (one: Tree) => unknown;
      expect(ask(tree)).toEqual(ask(plain));
      if (step % 10 === 0 && known !== undefined && known.isFile && known.parent !== 0) {
        change(next, [tree, plain], known);
      }
    }
    expect([...tree.walk()].map(({ path, node }) => [path, say(node)])).toEqual(
      [...plain.walk()].map(({ path, node }) => [path, say(node)]),
    );
    expect([...tree.nodes()].map(say)).toEqual([...plain.nodes()].map(say));
  });
}

/** Applies one event to both. */
function change(next: (below: number) => number, trees: Tree[], node: Node): void {
  const { parent, name, id } = node;
  const fresh = trees[1]?.nextId ?? 0;
  const by = { pid: 1, tNs: 1 };
  const kinds: TraceEvent[] = [
    event(Op.UNLINK, { ...by, node: id, parent, name }),
    event(Op.RENAME, { ...by, node: id, parent, name, toParent: 1, toName: `r${fresh}` }),
    event(Op.CREATE, {
      ...by,
      node: fresh,
      parent: 1,
      name: `c${fresh}`,
      attr: attr(FILE, node.ino, { gen: 9 }),
    }),
  ];
  const chosen = kinds[next(kinds.length)] as TraceEvent;
  for (const tree of trees) tree.apply(chosen);
}

test("what a file came with is remembered, whatever becomes of it", () => {
  const events = baseline(random(1));
  const tree = packed(events, 50);
  const left = events.find((one) => one.flags === EventFlag.LAZY && one.attr?.nlink === 1);
  const id = left?.node ?? 0;
  tree.apply(event(Op.TRUNCATE, { node: id, length: 1 }));
  expect(tree.node(id)?.size).toBe(1);
  expect(tree.leftSize(id)).toBe(left?.attr?.size);
  expect(tree.leftSize(1)).toBeUndefined();
  expect(new Tree().leftSize(1)).toBeUndefined();
});

test("a folder that is none takes no files", () => {
  const tree = new Tree();
  expect(tree.expectLeft(1)).toBe(false);
  tree.apply(event(Op.BASELINE, { node: 1, root: 0, attr: attr(DIR, 1) }));
  expect(tree.expectLeft(1)).toBe(true);
});

test("a file is untouched until somebody asks, or a folder above it leaves", () => {
  const folder = (node: number, parent: number) =>
    event(Op.BASELINE, { node, parent, name: `f${node}`, attr: attr(DIR, node) });
  const file = (node: number, parent: number) => {
    const lazy = { flags: EventFlag.LAZY, ctime: { sec: 1, nsec: 2 } };
    return event(Op.BASELINE, { node, parent, name: `n${node}`, attr: attr(FILE, node), ...lazy });
  };
  const root = event(Op.BASELINE, { node: 1, root: 0, attr: attr(DIR, 1) });
  const events = [root, folder(2, 1), folder(3, 2), file(4, 3), file(5, 2), file(6, 1), file(7, 1)];
  const tree = packed(events, 10);
  expect([1, 4, 5, 6, 7, 8].map((id) => tree.untouchedSize(id)))
    .toEqual([undefined, 12, 15, 18, 21, undefined]);
  tree.node(6);
  const leaves = { pid: 1, tNs: 1, node: 2, parent: 1, name: "f2", toParent: 0 };
  tree.apply(event(Op.RENAME, leaves));
  expect([4, 5, 6, 7].map((id) => tree.untouchedSize(id)))
    .toEqual([undefined, undefined, undefined, 21]);
});
