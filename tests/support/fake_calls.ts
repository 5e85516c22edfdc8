/**
 * Random system calls for a FakeFs, and the truth and the Resolver's tree as text to compare them.
 */
import { Op, type TraceEvent } from "../../src/format/trace_event.ts";
import type { Tree } from "../../src/resolve/tree.ts";
import {
  type FakeCall,
  type FakeFs,
  type FakeInode,
  type FakeName,
  isDir,
  isFile,
} from "./fake_fs.ts";
import { World } from "./resolve_world.ts";

/** Small, fast, seeded (mulberry32). */
export function random(seed: number): (below: number) => number {
  let a = seed;
  return (below) => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

const NAMES = ["a", "b", "c", "\xff", "Xo"];
/** Left out wherever it stands. */
export const EXCLUDED = "Xo";

/** Chooses calls that are allowed. */
export class Chooser {
  readonly fs: FakeFs;
  readonly #random: (below: number) => number;
  readonly #borders: boolean;

  constructor(fs: FakeFs, pick: (below: number) => number, borders: boolean) {
    this.fs = fs;
    this.#random = pick;
    this.#borders = borders;
  }

  #of<T>(list: T[]): T {
    return list[this.#random(list.length)] as T;
  }

  /** A folder, and a way to say it: absolute, from itself, from another folder. */
  #name(): FakeName {
    const { fs } = this;
    const isOut = this.#borders && this.#random(4) === 0;
    const dir = this.#of(fs.folders(isOut ? fs.outside : fs.watched).slice(0, 12));
    const name = this.#of(this.#borders ? NAMES : NAMES.slice(0, 4));
    const names = [...fs.namesOf(dir), name];
    const way = this.#random(3);
    if (way === 0) return { dir, name, base: undefined, path: `/${names.join("/")}` };
    if (way === 1) return { dir, name, base: dir, path: name };
    const base = this.#of(fs.folders(fs.watched).filter((d) => !fs.namesOf(d).includes(EXCLUDED)));
    const up = fs.namesOf(base).map(() => "..").join("/");
    return { dir, name, base, path: `${up}/./${names.join("//")}` };
  }

  #existing(fits: (i: FakeInode) => boolean): FakeName | undefined {
    for (let i = 0; i < 8; i++) {
      const at = this.#name();
      const target = at.dir.children.get(at.name);
      if (target && fits(target)) return at;
    }
    return undefined;
  }

  #free(): FakeName | undefined {
    for (let i = 0; i < 4; i++) {
      const at = this.#name();
      if (!at.dir.children.has(at.name)) return at;
    }
    return undefined;
  }

  /** One call, or nothing when the chosen one is not possible now. */
  next(): FakeCall | undefined {
    const { fs } = this;
    const kind = this.#random(16);
    if (kind < 5) {
      const at = this.#free();
      if (!at) return undefined;
      if (kind < 2) return fs.create(at);
      if (kind < 4) return fs.mkdir(at);
      return fs.symlink(at, this.#of(["a", "../b", "/w/c", "nowhere"]));
    }
    if (kind === 5) return this.#link();
    if (kind < 9) return this.#rename();
    if (kind < 11) {
      const at = this.#existing((i) => !isDir(i) || i.children.size === 0);
      return at && fs.remove(at);
    }
    if (kind === 15) {
      const at = this.#existing((i) => i.target === "");
      if (!at) return undefined;
      // Between tasks, who set an attribute last is not in the records: all set the same.
      const any = (below: number) => this.#borders ? this.#random(below) : 0;
      const name = this.#random(3);
      return this.#random(2) === 0
        ? fs.chmod(at, 0o600 + any(64))
        : fs.setxattr(at, `user.${name}`, `${name}${any(100)}`);
    }
    const at = this.#existing(isFile);
    if (!at) return undefined;
    if (kind === 11) return fs.truncateOpen(at);
    if (kind === 12) return fs.truncate(at, this.#random(60));
    const payload = new Uint8Array(1 + this.#random(20)).fill(1 + this.#random(250));
    return fs.write(at, this.#random(50), payload);
  }

  #link(): FakeCall | undefined {
    const from = this.#existing((i) => !isDir(i));
    const to = this.#free();
    return from && to && this.fs.link(from, to);
  }

  #rename(): FakeCall | undefined {
    const from = this.#existing(() => true);
    if (!from) return undefined;
    const to = this.#name();
    const moved = from.dir.children.get(from.name) as FakeInode;
    const victim = to.dir.children.get(to.name);
    if (isDir(moved) && this.fs.isWithin(to.dir, moved)) return undefined;
    if (victim && this.#random(3) === 0 && victim !== moved) {
      if (isDir(victim) && this.fs.isWithin(from.dir, victim)) return undefined;
      return this.fs.rename(from, to, 2);
    }
    if (victim && (isDir(victim) !== isDir(moved) || victim.children.size > 0)) return undefined;
    return this.fs.rename(from, to, 0);
  }
}

/** Content as a reader folds it from the events. */
export function contents(world: World): Map<number, Uint8Array> {
  const all = new Map<number, Uint8Array>();
  const resize = (node: number, size: number) => {
    const next = new Uint8Array(size);
    next.set((all.get(node) ?? new Uint8Array(0)).subarray(0, size));
    all.set(node, next);
    return next;
  };
  const put = (e: TraceEvent) => {
    const end = (e.offset ?? 0) + (e.length ?? 0);
    const size = Math.max(end, all.get(e.node)?.length ?? 0);
    resize(e.node, size).set(world.sink.bytes(e), e.offset);
  };
  for (const e of world.sink.events) {
    if (e.op === Op.WRITE) put(e);
    if (e.op === Op.TRUNCATE) resize(e.node, e.length ?? 0);
    if (e.op === Op.RESYNC) all.set(e.node, world.sink.bytes(e));
  }
  return all;
}

/** The truth as text; `left` leaves a name out. */
export function truth(fs: FakeFs, times: boolean): string[] {
  const lines: string[] = [];
  const ids = new Map<FakeInode, string>();
  const stack = [{ at: fs.watched, path: "" }];
  for (let entry = stack.pop(); entry; entry = stack.pop()) {
    const { at, path } = entry;
    const { state } = at;
    const id = ids.get(at) ?? path;
    ids.set(at, id);
    const mtime = times ? `${state.mtimeSec}.${state.mtimeNsec}` : "";
    const xattrs = [...at.xattrs].map(([k, v]) => `${k}=${v}`).sort().join();
    const content = isFile(at) ? at.content.join() : "";
    lines.push(
      `${path} ${state.mode.toString(8)} ${at.target} ${mtime} ${xattrs} ${content} =${id}`,
    );
    const names = [...at.children.keys()].filter((n) => n !== EXCLUDED).sort().reverse();
    for (const name of names) {
      stack.push({ at: at.children.get(name) as FakeInode, path: `${path}/${name}` });
    }
  }
  return lines;
}

/** The same of the tree. */
export function told(tree: Tree, data: Map<number, Uint8Array>, times: boolean): string[] {
  const lines: string[] = [];
  const ids = new Map<number, string>();
  for (const { node, path: below } of tree.walk()) {
    const path = below === "" ? "" : `/${below}`;
    const id = ids.get(node.id) ?? path;
    ids.set(node.id, id);
    const mtime = times ? `${node.mtimeSec}.${node.mtimeNsec}` : "";
    const text = (v: Uint8Array) => String.fromCharCode(...v);
    const xattrs = [...node.xattrs ?? []].map(([k, v]) => `${k}=${text(v)}`).sort().join();
    const content = node.isFile ? (data.get(node.id) ?? new Uint8Array(node.size)).join() : "";
    lines.push(
      `${path} ${node.mode.toString(8)} ${node.target ?? ""} ${mtime} ${xattrs} ${content} =${id}`,
    );
  }
  return lines;
}

/** A Resolver that watches /w of a FakeFs. */
export function worldOf(fs: FakeFs): World {
  const { gen, mode, nlink, ino } = fs.watched.state;
  const world = new World({
    excluded: (path) => path === EXCLUDED || path.endsWith(`/${EXCLUDED}`),
    assist: fs.assist(),
  });
  const root = world.tree.need(1);
  world.tree.bind(root, { dev: fs.watched.state.dev, ino, gen });
  root.mode = mode;
  root.nlink = nlink;
  return world;
}
