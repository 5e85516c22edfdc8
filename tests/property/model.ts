/**
 * A naive filesystem in memory that lives a random life and emits the trace events of it: the oracle for what reads traces.
 * Whole contents are kept as arrays and copied at will; nothing here is shared with the code under test but the event type.
 */
import { Op, type TraceEvent } from "../../src/format/trace_event.ts";
import { attr, type EventParts } from "../trace_builder.ts";

/** A seeded generator (mulberry32), so that a failure can be repeated. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A whole number from 0 to limit - 1. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[this.below(items.length)];
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** An inode of the model. */
export interface Inode {
  id: number;
  mode: number;
  uid: number;
  content: Uint8Array;
  target: string;
  mtime: { sec: number; nsec: number };
  /** Names in a folder, binary strings. */
  children: Map<string, Inode>;
}

/** What a path of the tree looks like, for comparison. */
export interface Seen {
  mode: number;
  uid: number;
  mtimeNs: bigint;
  content: string;
  /** All paths of the same inode, sorted. */
  links: string;
}

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFIFO = 0o010000;
const NAMES = ["a", "b", "c.log", "d e", "\xff\xfe", "n\nl", "-f", "\xc3\xa9", "x".repeat(200)];
const FILE_BYTES_MAX = 20_000;

/** See the head of the file. */
export class Model {
  readonly root: Inode;
  readonly #random: Random;
  readonly #emit: (event: EventParts) => void;
  readonly #inodes: Inode[] = [];
  #nextId = 1;
  #clock = 0;

  constructor(random: Random, emit: (event: EventParts) => void) {
    this.#random = random;
    this.#emit = emit;
    this.root = this.#inode(S_IFDIR | 0o755);
  }

  /** The root as a baseline event. */
  rootEvent(): EventParts {
    const { id, mode, mtime } = this.root;
    return { op: Op.BASELINE, node: id, root: 0, attr: attr(mode, { nlink: 2 }), mtime };
  }

  /** Does one random thing; sometimes nothing. */
  step(): void {
    const actions = [
      () => this.#create(S_IFREG, Op.CREATE),
      () => this.#create(S_IFREG, Op.CREATE),
      () => this.#create(S_IFDIR, Op.MKDIR),
      () => this.#create(S_IFLNK, Op.SYMLINK),
      () => this.#create(S_IFIFO, Op.MKNOD),
      () => this.#write(),
      () => this.#write(),
      () => this.#write(),
      () => this.#write(),
      () => this.#truncate(),
      () => this.#fallocate(),
      () => this.#resync(),
      () => this.#rename(),
      () => this.#rename(),
      () => this.#exchange(),
      () => this.#unlink(),
      () => this.#link(),
      () => this.#chmod(),
      () => this.#utimes(),
    ];
    this.#random.pick(actions)?.();
  }

  #inode(mode: number): Inode {
    const inode: Inode = {
      id: this.#nextId++,
      mode,
      uid: 0,
      content: new Uint8Array(0),
      target: "",
      mtime: this.#now(),
      children: new Map(),
    };
    this.#inodes.push(inode);
    return inode;
  }

  #now(): { sec: number; nsec: number } {
    this.#clock++;
    // Before 1970 and after 2106 too.
    const sec = [1_700_000_000, -5, 5_000_000_000][this.#clock % 3] ?? 0;
    return { sec: sec + this.#clock, nsec: this.#random.below(1_000_000_000) };
  }

  #folders(): Inode[] {
    const found = [this.root];
    for (let i = 0; i < found.length; i++) {
      for (const child of found[i]?.children.values() ?? []) {
        if ((child.mode & S_IFMT) === S_IFDIR) found.push(child);
      }
    }
    return found;
  }

  #place(): { folder: Inode; name: string; old: Inode | undefined } {
    const folder = this.#random.pick(this.#folders()) ?? this.root;
    const name = this.#random.pick(NAMES) ?? "a";
    return { folder, name, old: folder.children.get(name) };
  }

  #file(): Inode | undefined {
    return this.#random.pick(this.#inodes.filter((one) => (one.mode & S_IFMT) === S_IFREG));
  }

  /** New time of folders whose entries changed. */
  #touch(...folders: Inode[]): TraceEvent["dirTimes"] {
    return [...new Set(folders)].map((folder) => {
      folder.mtime = this.#now();
      return { node: folder.id, mtime: folder.mtime };
    });
  }

  #create(type: number, op: EventParts["op"]): void {
    const { folder, name, old } = this.#place();
    if (old !== undefined) return;
    const bits = type === S_IFLNK
      ? 0o777
      : [0o644, 0o755, 0o600, 0o4755, 0o1777, 0o444, 0o000][this.#random.below(7)] ?? 0;
    const inode = this.#inode(type | bits);
    if (type === S_IFLNK) {
      inode.target = this.#random.pick(["a", "/etc/passwd", "../../x", "\xff"]) ?? "a";
    }
    folder.children.set(name, inode);
    this.#emit({
      op,
      node: inode.id,
      parent: folder.id,
      name,
      attr: attr(inode.mode),
      mtime: inode.mtime,
      dirTimes: this.#touch(folder),
      ...(type === S_IFLNK ? { target: inode.target } : {}),
    });
  }

  #resize(inode: Inode, size: number): void {
    const next = new Uint8Array(size);
    next.set(inode.content.subarray(0, size));
    inode.content = next;
  }

  #write(): void {
    const inode = this.#file();
    if (inode === undefined) return;
    const at = this.#random.below(3) === 0
      ? this.#random.below(FILE_BYTES_MAX)
      : inode.content.length;
    const bytes = this.#random.bytes(
      1 + this.#random.below(this.#random.below(5) === 0 ? 9000 : 60),
    );
    if (at + bytes.length > inode.content.length) this.#resize(inode, at + bytes.length);
    inode.content.set(bytes, at);
    inode.mtime = this.#now();
    const { id: node, mtime } = inode;
    this.#emit({ op: Op.WRITE, node, offset: at, length: bytes.length, inline: bytes, mtime });
  }

  #truncate(): void {
    const inode = this.#file();
    if (inode === undefined) return;
    const length = this.#random.below(3) === 0 ? 0 : this.#random.below(FILE_BYTES_MAX);
    this.#resize(inode, length);
    inode.mtime = this.#now();
    this.#emit({ op: Op.TRUNCATE, node: inode.id, length, mtime: inode.mtime });
  }

  #fallocate(): void {
    const inode = this.#file();
    if (inode === undefined) return;
    const offset = this.#random.below(FILE_BYTES_MAX);
    const length = 1 + this.#random.below(8000);
    const keep = this.#random.below(2) === 0;
    if (!keep && offset + length > inode.content.length) this.#resize(inode, offset + length);
    inode.content.fill(0, offset, offset + length);
    this.#emit({ op: Op.FALLOCATE, node: inode.id, offset, length, flags: keep ? 64 : 0 });
  }

  #resync(): void {
    const inode = this.#file();
    if (inode === undefined || this.#random.below(3) !== 0) return;
    inode.content = this.#random.bytes(1 + this.#random.below(6000));
    const { id: node, content } = inode;
    this.#emit({ op: Op.RESYNC, node, length: content.length, inline: content.slice() });
  }

  #rename(): void {
    const from = this.#place();
    const to = this.#place();
    const inode = from.old;
    if (inode === undefined || inode === to.old || this.#holds(inode, to.folder)) return;
    const isFolder = (inode.mode & S_IFMT) === S_IFDIR;
    const isOverFolder = to.old !== undefined && (to.old.mode & S_IFMT) === S_IFDIR;
    if (to.old !== undefined && (isFolder !== isOverFolder || to.old.children.size > 0)) return;
    from.folder.children.delete(from.name);
    to.folder.children.set(to.name, inode);
    this.#emit({ ...this.#renameParts(from, to), node: inode.id, victim: to.old?.id ?? 0 });
  }

  #exchange(): void {
    const from = this.#place();
    const to = this.#place();
    if (from.old === undefined || to.old === undefined || from.old === to.old) return;
    if (this.#holds(from.old, to.folder) || this.#holds(to.old, from.folder)) return;
    from.folder.children.set(from.name, to.old);
    to.folder.children.set(to.name, from.old);
    const parts = this.#renameParts(from, to);
    this.#emit({ ...parts, node: from.old.id, victim: to.old.id, flags: 8 });
  }

  #renameParts(
    from: { folder: Inode; name: string },
    to: { folder: Inode; name: string },
  ): EventParts {
    return {
      op: Op.RENAME,
      parent: from.folder.id,
      name: from.name,
      toParent: to.folder.id,
      toName: to.name,
      dirTimes: this.#touch(from.folder, to.folder),
    };
  }

  /** Whether `folder` is `inode` or lies in it. */
  #holds(inode: Inode, folder: Inode): boolean {
    const found = [inode];
    for (let i = 0; i < found.length; i++) {
      if (found[i] === folder) return true;
      found.push(...found[i]?.children.values() ?? []);
    }
    return false;
  }

  #unlink(): void {
    const { folder, name, old } = this.#place();
    if (old === undefined || old.children.size > 0) return;
    folder.children.delete(name);
    const op = (old.mode & S_IFMT) === S_IFDIR ? Op.RMDIR : Op.UNLINK;
    this.#emit({ op, node: old.id, parent: folder.id, name, dirTimes: this.#touch(folder) });
  }

  #link(): void {
    const inode = this.#place().old;
    const { folder, name, old } = this.#place();
    if (inode === undefined || old !== undefined || (inode.mode & S_IFMT) === S_IFDIR) return;
    folder.children.set(name, inode);
    this.#emit({
      op: Op.LINK,
      node: inode.id,
      parent: folder.id,
      name,
      dirTimes: this.#touch(folder),
    });
  }

  #chmod(): void {
    const inode = this.#random.pick([...this.#inodes]);
    if (inode === undefined || (inode.mode & S_IFMT) === S_IFLNK) return;
    inode.mode = (inode.mode & S_IFMT) | this.#random.below(0o10000);
    inode.uid = this.#random.below(2) * 12345;
    this.#emit({ op: Op.CHMOD, node: inode.id, attr: attr(inode.mode, this.#state(inode)) });
  }

  #utimes(): void {
    const inode = this.#random.pick(this.#inodes);
    if (inode === undefined) return;
    inode.mtime = this.#now();
    const state = attr(inode.mode, this.#state(inode));
    this.#emit({ op: Op.UTIMES, node: inode.id, mtime: inode.mtime, attr: state });
  }

  #state(inode: Inode): { uid: number; size: number } {
    return { uid: inode.uid, size: inode.content.length };
  }

  /** Every path with what is there. */
  snapshot(): Map<string, Seen> {
    const found: [string, Inode][] = [["", this.root]];
    const paths = new Map<Inode, string[]>();
    for (let i = 0; i < found.length; i++) {
      const [path, inode] = found[i] ?? ["", this.root];
      paths.set(inode, [...paths.get(inode) ?? [], path]);
      for (const [name, child] of inode.children) {
        found.push([path === "" ? name : `${path}/${name}`, child]);
      }
    }
    return new Map(found.map(([path, inode]) => [path, {
      mode: inode.mode,
      uid: inode.uid,
      mtimeNs: BigInt(inode.mtime.sec) * 1_000_000_000n + BigInt(inode.mtime.nsec),
      content: contentOf(inode),
      links: (paths.get(inode) ?? []).sort().join("|"),
    }]));
  }
}

function contentOf(inode: Inode): string {
  if ((inode.mode & S_IFMT) === S_IFLNK) return inode.target;
  return Buffer.from(inode.content).toString("latin1");
}
