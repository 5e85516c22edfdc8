/**
 * One inode of the namespace model. Memory is what matters here, because a watched folder has
 * 100,000 of them: the first name stands in the node itself, further hard links, the children of a
 * folder and extended attributes exist only where there are any.
 */
import type { Attr, Mtime } from "../format/trace_event.ts";

/** mtimeNsec of a node whose modification time is not known. */
export const MTIME_UNKNOWN = 0xffffffff;

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;

/** A name in a folder; the name is a binary string. */
export interface Link {
  parent: number;
  name: string;
}

/** Has names of folders that are not in their maps yet: the Tree. */
export interface PackedNames {
  /** Puts them into the map; false: more may come. */
  unfold(folder: number, into: Map<string, number>): boolean;
}

/** An inode: identity, attributes, names, and what it holds if it is a folder. */
export class Node {
  readonly id: number;
  mode = 0;
  uid = 0;
  gid = 0;
  rdev = 0;
  nlink = 0;
  dev = 0;
  gen = 0;
  ino = 0;
  size = 0;
  mtimeSec = 0;
  mtimeNsec = MTIME_UNKNOWN;
  /** Index of the watched folder that this node is itself, -1 for all others. */
  root = -1;
  /** First name; parent 0: it has none (a root, or detached). */
  parent = 0;
  name = "";
  /** Folder: where it hung last. A removed folder still has its `..` for those who stand in it. */
  lastParent = 0;
  /** Names beyond the first. */
  more: Link[] | undefined = undefined;
  #children: Map<string, number> | undefined = undefined;
  /** Folder: names that are not in the map yet. Tree's own business. */
  packed: PackedNames | undefined = undefined;
  /** Target of a symlink, a binary string. */
  target: string | undefined = undefined;
  xattrs: Map<string, Uint8Array> | undefined = undefined;
  /** The node that had this inode number before, with another generation. Tree's own business. */
  older: Node | undefined = undefined;

  constructor(id: number) {
    this.id = id;
  }

  /** Folder: node ids by name. */
  get children(): Map<string, number> | undefined {
    const [packed, children] = [this.packed, this.#children];
    if (packed !== undefined && children !== undefined) {
      if (packed.unfold(this.id, children)) this.packed = undefined;
    }
    return children;
  }

  set children(children: Map<string, number> | undefined) {
    this.#children = children;
  }

  /** Folder: as `children`, without the names that are not in the map yet. */
  get knownChildren(): Map<string, number> | undefined {
    return this.#children;
  }

  get isDir(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  get isSymlink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }

  get isFile(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }

  /** All names of the node; a root and a detached node have none. */
  links(): Link[] {
    if (this.parent === 0) return [];
    const first = { parent: this.parent, name: this.name };
    return this.more ? [first, ...this.more] : [first];
  }

  /** The state as an event carries it. */
  attr(): Attr {
    const { mode, uid, gid, rdev, nlink, dev, gen, ino, size } = this;
    return { mode, uid, gid, rdev, nlink, dev, gen, ino, size };
  }

  setAttr(attr: Attr): void {
    this.mode = attr.mode;
    this.uid = attr.uid;
    this.gid = attr.gid;
    this.rdev = attr.rdev;
    this.nlink = attr.nlink;
    this.size = attr.size;
  }

  /** Undefined while it is not known. */
  mtime(): Mtime | undefined {
    if (this.mtimeNsec === MTIME_UNKNOWN) return undefined;
    return { sec: this.mtimeSec, nsec: this.mtimeNsec };
  }

  setMtime(mtime: Mtime): void {
    this.mtimeSec = mtime.sec;
    this.mtimeNsec = mtime.nsec;
  }
}
