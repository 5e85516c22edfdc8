/**
 * Describes one inode at a time: its state, and for files what they hold. A regular file is opened only after its state
 * said that it is one, without blocking and without following a symlink, and is checked again through the descriptor;
 * symlinks, FIFOs, sockets and devices are never opened. What cannot be read is described as far as it can be, and a
 * remark says what is missing.
 */
import type { Pointer } from "bun:ffi";
import { constants } from "node:fs";
import { Errno, errno, errnoText, libc, pinned } from "../../ffi/libc.ts";
import { type LeftFile, StatxWord } from "../format/left_file.ts";
import type { LeftFiles } from "../format/left_files.ts";
import { EventFlag } from "../format/trace_event.ts";
import type { ContentReader } from "./content.ts";
import { FileType, InodeStat, isGone, type Mount } from "./inode_stat.ts";
import { type ScanItem, type ScannedInode, type ScannedRemark, showPath } from "./scan_item.ts";
import { XattrReader } from "./xattrs.ts";

const S_IFMT = 0o170000;
/** PATH_MAX: no symlink's target is longer (symlink(2)). */
const TARGET_BYTES_MAX = 4096;
/** Not in node's constants; the same number on x86-64 and arm64 (asm-generic/fcntl.h). */
export const O_CLOEXEC = 0o2000000;
const { O_DIRECTORY, O_NOATIME, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY, O_RDONLY } = constants;
const OPEN_FILE = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

/** Flags for opening a folder to list it. */
export const OPEN_FOLDER = OPEN_FILE | O_DIRECTORY;

/**
 * Which node an inode is. A scan asks for folders (one that turns up twice is a bind mount) and inodes with several names
 * (a second name is a link), and tells of those only. `InodeMap<number>` is one.
 */
export interface KnownInodes {
  /** `gen` is asked only when it matters: it tells a new inode from a deleted one with the same number; 0: not known. */
  get(dev: number, ino: number, gen: () => number): number | undefined;
  set(dev: number, ino: number, node: number): void;
}

/** What an earlier run learned of inodes that are still in the very same state. src/record/stat_cache.ts is one. */
export interface KnownStates {
  /** Generation of a file that has no extended attributes; -1: not known. `state`: words of statx(2); `dev`: the kernel's. */
  generation(state: Uint32Array, dev: number): number;
  /**
   * The same for what lies on one mount of the entries of a folder: fills in `gens` where an entry is a file that can be told by
   * its state alone and is known, -1 elsewhere; returns how many are.
   */
  generations(files: LeftFiles, mount: Mount): number;
  /** A file without extended attributes. */
  learn(state: Uint32Array, dev: number, gen: number): void;
}

/** What describing an inode needs from the caller of the scan. */
export interface InodeReaderOptions {
  /** Gives the next node id. */
  newNode: () => number;
  /** Inodes met before, by this scan or an earlier one. */
  known: KnownInodes;
  /** Reads the content of regular files; absent: only states are wanted. */
  content?: ContentReader;
  /**
   * Without `content` and `lazy`: extended attributes and the targets of symlinks are wanted too, and each further name of a file is
   * looked at for itself.
   */
  attributes?: boolean;
  /** Instead of `content`: everything is described, but what regular files hold stays there (flag LAZY). */
  lazy?: KnownStates;
  /**
   * With `lazy`: takes a plain file without an item, which is many times quicker; the struct is used again, and has no node yet.
   * `fill`: how many times the folder's listing went on before its name. Returns false where the file must be an item all the same.
   */
  left?: (file: LeftFile, fill: number) => boolean;
  /** With `left`: takes those of a folder together, the first time that it is listed; they get their nodes here. */
  leftFiles?: (files: LeftFiles) => boolean;
}

/** Where something hangs: the open folder, its node, the path, and the name as C string and as text. */
export interface Place {
  fd: number;
  node: number;
  path: string;
  name: Pointer | Uint8Array;
  text: string;
}

/** Whether a state is that of a regular file with one name that is not empty. `at`: where in the words it begins. */
export function isPlain(state: Uint32Array, at: number): boolean {
  return state[at] !== 0 && state[at + StatxWord.NLINK] === 1 &&
    ((state[at + StatxWord.MODE] as number) & S_IFMT) === FileType.REGULAR &&
    (state[at + StatxWord.SIZE] !== 0 || state[at + StatxWord.SIZE + 1] !== 0);
}

/** Opens without touching the access time where that is allowed (own files, or root). Returns -1 on failure. */
export function openQuietly(folder: number, name: Place["name"], flags: number): number {
  const fd = libc.openat(folder, name, flags | O_NOATIME, 0);
  if (fd >= 0 || errno() !== Errno.EPERM) return fd;
  return libc.openat(folder, name, flags, 0);
}

export function gap(where: { node: number; path: string }, text: string): ScannedRemark {
  return { kind: "gap", node: where.node, path: where.path, text };
}

/** The text of a gap for a file or name. */
export function cannotRead(path: string, code: number): string {
  return `cannot read "${showPath(path)}": ${errnoText(code)}`;
}

/** Describes inodes, one after the other. */
export class InodeReader {
  readonly #options: InodeReaderOptions;
  readonly #xattrs = new XattrReader();
  readonly #target = pinned(TARGET_BYTES_MAX);
  readonly #targetText = Buffer.from(this.#target.bytes.buffer);
  /** State of the inode in hand; shared with the scan. */
  readonly stat = new InodeStat();
  /** What is missing from the items returned so far; the scan takes them out. */
  readonly remarks: ScannedRemark[] = [];

  constructor(options: InodeReaderOptions) {
    this.#options = options;
  }

  /** Anything but a folder; `stat` has its state by name. */
  leaf(place: Place): ScanItem | undefined {
    const type = this.stat.type;
    if (this.stat.nlink > 1 && this.#options.attributes !== true) {
      const node = this.known(place);
      if (node !== undefined) return { kind: "link", node, parent: place.node, name: place.text };
    }
    const { content, lazy } = this.#options;
    const isFile = type === FileType.REGULAR;
    const item = isFile && content !== undefined
      ? this.#regular(place, content)
      : isFile && lazy !== undefined
      ? this.#untouched(place, lazy)
      : this.#special(place);
    // By the item's own state: another file may have taken the name before it was opened.
    if (item !== undefined && item.attr.nlink > 1) {
      this.#options.known.set(item.attr.dev, item.attr.ino, item.node);
    }
    return item;
  }

  /**
   * Completes the struct if what `stat` has the state of is a file that can be told by it alone; false: it must be described by `leaf`.
   * `name` is that of the file in the open folder.
   */
  left(folder: number, name: { address: Pointer; text: () => string }, file: LeftFile): boolean {
    const { state } = file;
    const { lazy } = this.#options;
    if (lazy === undefined || !isPlain(state, 0)) return false;
    const dev = this.stat.dev;
    let gen = lazy.generation(state, dev);
    if (gen < 0) {
      if (!this.#xattrs.hasNone(folder, name.address, name.text)) return false;
      gen = this.stat.generationAt(folder, name.address);
      lazy.learn(state, dev, gen);
    }
    file.dev = dev;
    file.gen = gen;
    return true;
  }

  /** The node that the inode at a place (whose state `stat` has) is known as; `fd`: if it is open. */
  known(place: Place, fd?: number): number | undefined {
    const { dev, ino } = this.stat;
    const generation = () =>
      fd === undefined ? this.stat.generationAt(place.fd, place.name) : this.stat.generationFd(fd);
    return this.#options.known.get(dev, ino, generation);
  }

  /** A folder: open as `fd`, or -1 when it cannot be opened; then by its name. */
  folder(place: Place, fd: number): ScannedInode {
    if (fd >= 0) this.stat.readFd(fd);
    const gen = fd < 0 ? this.stat.generationAt(place.fd, place.name) : this.stat.generationFd(fd);
    const item = this.#inode(place, gen);
    if (this.#onlyStates) return item;
    const xattrs = fd < 0 ? this.#xattrs.readAt(place.fd, place.text) : this.#xattrs.readFd(fd);
    this.#takeXattrs(item, place.path, xattrs);
    return item;
  }

  /** Symlinks, FIFOs, sockets, devices: described from outside, never opened. */
  #special(place: Place): ScannedInode | undefined {
    const item = this.#inode(place, this.stat.generationAt(place.fd, place.name));
    if (this.#onlyStates) return item;
    if (this.stat.type === FileType.SYMLINK) {
      const { address } = this.#target;
      const got = Number(libc.readlinkat(place.fd, place.name, address, TARGET_BYTES_MAX));
      if (got < 0 && isGone(errno())) return undefined;
      if (got < 0) this.#gap(item.node, place.path, errno());
      else item.target = this.#targetText.toString("latin1", 0, got);
    }
    this.#takeXattrs(item, place.path, this.#xattrs.readAt(place.fd, place.text, place.name));
    return item;
  }

  /** A regular file that is not opened: what it holds stays there. */
  #untouched(place: Place, lazy: KnownStates): ScannedInode {
    const known = lazy.generation(this.stat.words, this.stat.dev);
    const gen = known >= 0 ? known : this.stat.generationAt(place.fd, place.name);
    const item = this.#inode(place, gen);
    if (item.attr.size > 0) {
      item.flags = EventFlag.LAZY;
      item.ctime = this.stat.ctime();
    }
    if (known >= 0) return item;
    const xattrs = this.#xattrs.readAt(place.fd, place.text, place.name);
    this.#takeXattrs(item, place.path, xattrs);
    if (typeof xattrs !== "number" && xattrs.length === 0) {
      lazy.learn(this.stat.words, this.stat.dev, gen);
    }
    return item;
  }

  /** A regular file: opened, checked to be the one whose state was read, and read. */
  #regular(place: Place, content: ContentReader): ScannedInode | undefined {
    const fd = openQuietly(place.fd, place.name, OPEN_FILE);
    if (fd < 0) {
      const code = errno();
      if (isGone(code) || code === Errno.ELOOP) return undefined;
      return this.#unread(place, code);
    }
    try {
      const code = this.stat.readFd(fd);
      if (code !== 0) return this.#unread(place, code);
      if (this.stat.type !== FileType.REGULAR) return this.#unread(place, Errno.ESTALE);
      const read = content.read(fd, this.stat);
      const item = this.#inode(place, this.stat.generationFd(fd));
      item.extents = read.extents;
      item.flags = read.flags;
      if (read.code !== 0) this.#gap(item.node, place.path, read.code);
      this.#takeXattrs(item, place.path, this.#xattrs.readFd(fd));
      return item;
    } finally {
      libc.close(fd);
    }
  }

  /** A regular file whose content cannot be had: its state is recorded, its content is a gap. */
  #unread(place: Place, code: number): ScannedInode {
    const item = this.#inode(place, this.stat.generationAt(place.fd, place.name));
    item.flags = EventFlag.UNREAD;
    this.#gap(item.node, place.path, code);
    return item;
  }

  #inode(place: Place, gen: number): ScannedInode {
    return {
      kind: "inode",
      node: this.#options.newNode(),
      parent: place.node,
      name: place.text,
      attr: this.stat.attr(gen),
      mtime: this.stat.mtime(),
      allocatedBytes: this.stat.allocatedBytes,
      xattrs: [],
      extents: [],
      flags: 0,
    };
  }

  #takeXattrs(item: ScannedInode, path: string, xattrs: ScannedInode["xattrs"] | number): void {
    if (typeof xattrs !== "number") item.xattrs = xattrs;
    else {
      const text = `cannot read the attributes of "${showPath(path)}": ${errnoText(xattrs)}`;
      this.remarks.push(gap({ node: item.node, path }, text));
    }
  }

  get #onlyStates(): boolean {
    const { content, lazy, attributes } = this.#options;
    return content === undefined && lazy === undefined && attributes !== true;
  }

  #gap(node: number, path: string, code: number): void {
    this.remarks.push(gap({ node, path }, cannotRead(path, code)));
  }
}
