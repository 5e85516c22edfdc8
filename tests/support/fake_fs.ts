/**
 * A naive file system with system calls, for tests of the Resolver: it keeps the truth, and writes
 * for each call the kernel records that the recorder would see. It has a watched folder /w and an
 * unwatched one, /o. With `touch` it behaves as ext4 (touched inodes), without as tmpfs.
 */
import type { KernelInode } from "../../src/format/kernel_decode.ts";
import { KernelFlag } from "../../src/format/kernel_record.ts";
import type { Assist, TreeEntry } from "../../src/resolve/sink.ts";
import {
  callRecord,
  inode,
  NO_INODE,
  nodeRecord,
  openRecord,
  type Who,
  writeRecord,
} from "./kernel_records.ts";

/** An inode of the truth. */
export interface FakeInode {
  state: KernelInode;
  content: Uint8Array;
  target: string;
  children: Map<string, FakeInode>;
  /** Folders only: where they hang. */
  parent: FakeInode | undefined;
  xattrs: Map<string, string>;
}

/** Where a name is, and how the call says it. */
export interface FakeName {
  dir: FakeInode;
  name: string;
  base: FakeInode | undefined;
  path: string;
}

/** Records of one call, in ring order; all but the last are announcements. */
export type FakeCall = (who: Who) => Uint8Array[];

export const isDir = (i: FakeInode): boolean => (i.state.mode & 0o170000) === 0o040000;
export const isFile = (i: FakeInode): boolean => (i.state.mode & 0o170000) === 0o100000;

/** The truth. */
export class FakeFs {
  readonly root: FakeInode;
  readonly watched: FakeInode;
  readonly outside: FakeInode;
  #touch: boolean;
  #nextIno = 100;
  #nextGen = 1;
  #clock = 0;
  #free: number[] = [];
  #known = new Set<string>();
  #all = new Map<string, FakeInode>();
  #lockSeq = 0;

  constructor(options: { touch: boolean }) {
    this.#touch = options.touch;
    this.root = this.#inode(0o40755);
    this.watched = this.#inode(0o40755);
    this.outside = this.#inode(0o40755);
    this.#attach(this.root, "w", this.watched);
    this.#attach(this.root, "o", this.outside);
  }

  #inode(mode: number): FakeInode {
    const ino = this.#free.shift() ?? this.#nextIno++;
    const nlink = (mode & 0o170000) === 0o040000 ? 2 : 1;
    const gen = this.#nextGen++;
    const state = inode({ ino, gen, mode, nlink });
    this.#stamp(state);
    const made = {
      ...{ state, content: new Uint8Array(0), target: "", children: new Map() },
      ...{ parent: undefined, xattrs: new Map() },
    };
    this.#all.set(`${ino}:${gen}`, made);
    return made;
  }

  #stamp(state: KernelInode): void {
    this.#clock++;
    state.mtimeSec = 1_800_000_000 + Math.floor(this.#clock / 1000);
    state.mtimeNsec = this.#clock % 1000;
  }

  #attach(dir: FakeInode, name: string, child: FakeInode): void {
    dir.children.set(name, child);
    if (isDir(child)) {
      child.parent = dir;
      dir.state.nlink++;
    }
    this.#stamp(dir.state);
  }

  #detach(dir: FakeInode, name: string): void {
    const child = dir.children.get(name);
    dir.children.delete(name);
    if (child && isDir(child)) {
      child.parent = undefined;
      dir.state.nlink--;
    }
    this.#stamp(dir.state);
  }

  #dropLink(child: FakeInode): void {
    child.state.nlink = isDir(child) ? 0 : child.state.nlink - 1;
    if (child.state.nlink === 0) this.#free.push(child.state.ino);
  }

  /** Names from the root of the file system down to a folder. */
  namesOf(dir: FakeInode): string[] {
    const names: string[] = [];
    let at = dir;
    while (at.parent) {
      const { parent } = at;
      for (const [name, child] of parent.children) if (child === at) names.unshift(name);
      at = parent;
    }
    return names;
  }

  /** All folders below one, itself included. */
  folders(from: FakeInode): FakeInode[] {
    const found = [from];
    for (let i = 0; i < found.length; i++) {
      for (const child of (found[i] as FakeInode).children.values()) {
        if (isDir(child)) found.push(child);
      }
    }
    return found;
  }

  isWithin(dir: FakeInode, ancestor: FakeInode): boolean {
    for (let at: FakeInode | undefined = dir; at; at = at.parent) if (at === ancestor) return true;
    return false;
  }

  /** Announces an inode once per life; outside again and again, as the kernel's epochs do. */
  #announce(target: FakeInode, names: string[], who: Who): Uint8Array[] {
    const key = `${target.state.ino}:${target.state.gen}`;
    const isWatched = names[0] === "w";
    if (this.#known.has(key) && (isWatched || !isDir(target))) return [];
    if (isWatched) this.#known.add(key);
    const node = { inode: { ...target.state }, root: isWatched ? 0 : -1 };
    return [nodeRecord(who, { ...node, names: [...names].reverse() })];
  }

  /** A CALL: base folders are announced, states copied now. */
  #call(
    name: string,
    call: { at: (FakeName | undefined)[]; str?: string[]; arg?: number[]; touched: FakeInode[] },
  ): FakeCall {
    const base = call.at.map((a) => a?.base ? { ...a.base.state } : NO_INODE);
    const str = call.str ?? call.at.map((a) => a?.path ?? "");
    const seen = new Set(call.touched);
    const touched = this.#touch ? [...seen].map((i) => ({ ...i.state })) : [];
    const bases = call.at.flatMap((a) =>
      a?.base ? [{ dir: a.base, names: this.namesOf(a.base) }] : []
    );
    return (who) => [
      ...bases.flatMap((b) => this.#announce(b.dir, b.names, who)),
      callRecord(who, name, { base, str, arg: call.arg ?? [], touched }),
    ];
  }

  create(at: FakeName): FakeCall {
    const made = this.#inode(0o100644);
    this.#attach(at.dir, at.name, made);
    const parent = { ...at.dir.state };
    const open = { inode: { ...made.state }, parent, name: at.name };
    const names = this.namesOf(at.dir);
    if (names[0] !== "w") return () => [];
    this.#known.add(`${made.state.ino}:${made.state.gen}`);
    return (who) => [
      ...this.#announce(at.dir, names, who),
      openRecord({ ...who, flags: KernelFlag.CREATED }, open),
    ];
  }

  /** Names of a file for its announcement: watched ones first. Empty: it has none there. */
  #watchedNames(target: FakeInode): string[] {
    for (const dir of this.folders(this.watched)) {
      for (const [name, child] of dir.children) {
        if (child === target) return [...this.namesOf(dir), name];
      }
    }
    return [];
  }

  /** A write through a descriptor; `name` is one of the file's names. */
  write(at: FakeName, offset: number, payload: Uint8Array): FakeCall {
    const target = at.dir.children.get(at.name) as FakeInode;
    const size = Math.max(target.content.length, offset + payload.length);
    const grown = new Uint8Array(size);
    grown.set(target.content);
    grown.set(payload, offset);
    target.content = grown;
    target.state.size = size;
    this.#stamp(target.state);
    const state = { ...target.state };
    const names = this.#watchedNames(target);
    const key = `${state.ino}:${state.gen}`;
    if (names.length === 0 && !this.#known.has(key)) return () => [];
    const lockSeq = this.#touch ? ++this.#lockSeq : 0;
    return (who) => [
      ...this.#announce(target, names, who),
      writeRecord(who, { inode: state, offset, payload, lockSeq }),
    ];
  }

  truncateOpen(at: FakeName): FakeCall {
    const target = at.dir.children.get(at.name) as FakeInode;
    this.#resize(target, 0);
    const names = this.#watchedNames(target);
    const open = { inode: { ...target.state }, parent: { ...at.dir.state }, name: at.name };
    const key = `${target.state.ino}:${target.state.gen}`;
    if (names.length === 0 && !this.#known.has(key)) return () => [];
    return (who) => [
      ...this.#announce(target, names, who),
      openRecord({ ...who, flags: KernelFlag.TRUNCATED }, open),
    ];
  }

  #resize(target: FakeInode, size: number): void {
    const next = new Uint8Array(size);
    next.set(target.content.subarray(0, size));
    target.content = next;
    target.state.size = size;
    this.#stamp(target.state);
  }

  truncate(at: FakeName, size: number): FakeCall {
    const target = at.dir.children.get(at.name) as FakeInode;
    this.#resize(target, size);
    return this.#call("truncate", { at: [at], arg: [size], touched: [target] });
  }

  mkdir(at: FakeName): FakeCall {
    const made = this.#inode(0o40755);
    this.#attach(at.dir, at.name, made);
    return this.#call("mkdir", { at: [at], arg: [0o777], touched: [at.dir, made] });
  }

  symlink(at: FakeName, target: string): FakeCall {
    const made = this.#inode(0o120777);
    made.target = target;
    made.state.size = target.length;
    this.#attach(at.dir, at.name, made);
    const str = [target, at.path];
    return this.#call("symlink", { at: [undefined, at], str, touched: [made, at.dir] });
  }

  remove(at: FakeName): FakeCall {
    const target = at.dir.children.get(at.name) as FakeInode;
    this.#detach(at.dir, at.name);
    this.#dropLink(target);
    const name = isDir(target) ? "rmdir" : "unlink";
    return this.#call(name, { at: [at], touched: [at.dir, target] });
  }

  link(from: FakeName, to: FakeName): FakeCall {
    const target = from.dir.children.get(from.name) as FakeInode;
    this.#attach(to.dir, to.name, target);
    target.state.nlink++;
    return this.#call("link", { at: [from, to], touched: [target, to.dir] });
  }

  /** The caller has made sure that the rename is allowed. */
  rename(from: FakeName, to: FakeName, flags: number): FakeCall {
    const moved = from.dir.children.get(from.name) as FakeInode;
    const victim = to.dir.children.get(to.name);
    const touched = [from.dir, to.dir, moved];
    if (moved !== victim) {
      if (victim) touched.push(victim);
      this.#detach(from.dir, from.name);
      if (victim) this.#detach(to.dir, to.name);
      this.#attach(to.dir, to.name, moved);
      if (victim && flags === 2) this.#attach(from.dir, from.name, victim);
      else if (victim) this.#dropLink(victim);
    }
    const none = moved === victim;
    return this.#call("renameat2", { at: [from, to], arg: [flags], touched: none ? [] : touched });
  }

  chmod(at: FakeName, mode: number): FakeCall {
    const target = at.dir.children.get(at.name) as FakeInode;
    target.state.mode = (target.state.mode & 0o170000) | mode;
    return this.#call("chmod", { at: [at], arg: [mode], touched: [target] });
  }

  setxattr(at: FakeName, name: string, value: string): FakeCall {
    const target = at.dir.children.get(at.name) as FakeInode;
    target.xattrs.set(name, value);
    const str = [at.path, name, value];
    return this.#call("lsetxattr", { at: [at], str, touched: [target] });
  }

  /** Looks at the truth as it is now; `shift` is what a record's call saw later on. */
  find(path: string): FakeInode | undefined {
    let at: FakeInode | undefined = this.root;
    for (const name of path.split("/")) if (name !== "") at = at?.children.get(name);
    return at;
  }

  /** Answers of a live system. */
  assist(): Assist {
    return {
      lstat: (path) => {
        const found = this.find(path);
        return found && { ...found.state };
      },
      readlink: (path) => {
        const found = this.find(path);
        return found && found.target !== "" ? found.target : undefined;
      },
      read: (target, range) => {
        const found = this.#all.get(`${target.ino}:${target.gen}`);
        return found?.content.slice(range.offset, range.offset + range.length);
      },
      xattrs: (path) => {
        const bytes = (v: string) => Uint8Array.from(v, (c) => c.charCodeAt(0));
        return new Map([...this.find(path)?.xattrs ?? []].map(([k, v]) => [k, bytes(v)]));
      },
      readTree: (path) => this.#entries(path),
    };
  }

  *#entries(path: string): Generator<TreeEntry> {
    const top = this.find(path);
    const stack = top ? [{ at: top, path: "" }] : [];
    for (let entry = stack.pop(); entry; entry = stack.pop()) {
      const { at } = entry;
      if (at !== top) {
        yield { path: entry.path, inode: { ...at.state }, target: at.target || undefined };
      }
      for (const [name, child] of at.children) {
        stack.push({ at: child, path: entry.path === "" ? name : `${entry.path}/${name}` });
      }
    }
  }
}
