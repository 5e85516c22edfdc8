/**
 * Walks a real tree and yields what is there. Relies on descriptors, never on long paths: a folder is opened by its name in
 * its parent's descriptor, so depth is bound by memory, not by PATH_MAX. Only the innermost OPEN_FOLDERS_MAX folders
 * stay open; the others are reached again through `..`, checked by inode. What is not a regular file or folder is never
 * opened. Mount points are crossed, except into pseudo file systems (pseudo_fs.ts); a folder that is there twice (a bind
 * mount) is entered once. Whatever cannot be read becomes an item of kind `gap`: nothing is left out silently. Not recursive.
 */
import type { Pointer } from "bun:ffi";
import { constants } from "node:fs";
import { cString, Errno, errno, errnoText, libc } from "../../ffi/libc.ts";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { LeftFile } from "../format/left_file.ts";
import type { FolderAhead, NextFolder } from "./folder_ahead.ts";
import { FolderListing, type ListedFolder } from "./folder_listing.ts";
import { DirentType, type FolderReader } from "./folder_reader.ts";
import type { FolderSlot } from "./folder_slot.ts";
import { cannotRead, gap, InodeReader, type InodeReaderOptions } from "./inode_reader.ts";
import { O_CLOEXEC, OPEN_FOLDER, openQuietly, type Place } from "./inode_reader.ts";
import { AT_FDCWD, FileType, isGone } from "./inode_stat.ts";
import { listsOnceFd, pseudoFsOfFd } from "./pseudo_fs.ts";
import { type ScanItem, showPath } from "./scan_item.ts";

/** Folders kept open at a time, far below the usual limit of 1,024 descriptors; deeper ones are reopened by `..`. */
export const OPEN_FOLDERS_MAX = 128;

/** Items that are passed up at once. */
const BATCH_ITEMS = 1024;
const O_PATH = 0o10000000;
const PARENT_NAME = cString("..");

/** What a scan needs from its caller. */
export interface ScanOptions extends InodeReaderOptions {
  /** Whether a path (relative to the top of the scan) is to be left out. The top itself is never asked. */
  excluded: (path: string, isFolder: boolean) => boolean;
  /** False: `excluded` has nothing to say of files. Default: it has. */
  choosesFiles?: boolean;
  /** Whether a folder is the state-dir, which is never recorded, under whatever path. */
  isStateDir: (dev: number, ino: number) => boolean;
  /** Looks ahead; only where no content is read. */
  ahead?: FolderAhead;
}

/** A folder on the way down. */
interface Frame extends ListedFolder {
  /** -1 while it is closed to save descriptors. */
  fd: number;
  readonly path: string;
  readonly ino: number;
  listed: boolean;
  /** How many times its listing went on. */
  fills: number;
  listsOnce: boolean;
  /** Names of folders in it that are not done yet. */
  readonly folders: string[];
  /** Those that were offered to be looked at ahead. */
  readonly offered: FolderSlot[];
}

/** Scans trees, one after the other. */
export class Scanner {
  readonly #options: ScanOptions;
  readonly #inodes: InodeReader;
  readonly #listing: FolderListing;
  readonly #reader: FolderReader;
  readonly #frames: Frame[] = [];
  readonly #file: LeftFile;
  /** The name in hand. */
  readonly #nameOf = {
    entry: 0,
    address: 0 as Pointer,
    text: () => this.#reader.name(this.#nameOf.entry),
  };

  constructor(options: ScanOptions) {
    this.#options = options;
    this.#inodes = new InodeReader(options);
    this.#listing = new FolderListing(options, this.#inodes.stat);
    this.#reader = this.#listing.reader;
    this.#file = new LeftFile(this.#inodes.stat.words, this.#reader.bytes);
  }

  /**
   * Yields everything at and below `path`, an absolute path whose last name is not followed if it is a symlink.
   * @throws {DiffKeeperError} `not_found` when nothing is there.
   */
  *scan(path: string): Generator<ScanItem, void, undefined> {
    for (const items of this.scanBatches(path)) yield* items;
  }

  /** As `scan`, in small arrays: passing each item up by itself costs a good part of looking at it. @throws as `scan`. */
  *scanBatches(path: string): Generator<readonly ScanItem[], void, undefined> {
    const name = cString(path);
    const code = this.#inodes.stat.readAt(AT_FDCWD, name);
    if (code !== 0) {
      const message = `cannot read "${showPath(path)}": ${errnoText(code)}`;
      throw new DiffKeeperError(isGone(code) ? "not_found" : "io", message);
    }
    yield* this.#walk({ fd: AT_FDCWD, node: 0, path: "", name, text: "" });
  }

  /**
   * Yields everything at and below `path` in the folder `top`, of which no name is followed if it is a symlink; paths of
   * items begin at `top`. Nothing is yielded when nothing is there.
   */
  *scanBelow(top: string, path: string): Generator<ScanItem, void, undefined> {
    const names = path.split("/");
    const text = names.pop() ?? "";
    const flags = O_PATH | O_CLOEXEC | constants.O_DIRECTORY;
    let fd = libc.openat(AT_FDCWD, cString(top), flags, 0);
    try {
      for (const name of names) {
        const above = fd;
        fd = libc.openat(above, cString(name), flags | constants.O_NOFOLLOW, 0);
        if (above >= 0) libc.close(above);
      }
      const name = cString(text === "" ? "." : text);
      if (fd < 0 || this.#inodes.stat.readAt(fd, name) !== 0) return;
      for (const items of this.#walk({ fd, node: 0, path, name, text })) yield* items;
    } finally {
      if (fd >= 0) libc.close(fd);
    }
  }

  /** Yields everything at and below a place whose state the inode reader has. */
  *#walk(top: Place): Generator<readonly ScanItem[], void, undefined> {
    assert(this.#frames.length === 0, "a scanner walks one tree at a time");
    try {
      const isFolder = this.#inodes.stat.type === FileType.FOLDER;
      yield this.#withRemarks(isFolder ? this.#openFolder(top) : this.#inodes.leaf(top));
      while (this.#frames.length > 0) {
        const frame = this.#frames[this.#frames.length - 1];
        if (frame === undefined) break;
        if (!frame.listed) yield* this.#list(frame);
        const next = this.#next(frame);
        if (next === undefined) this.#goUp(frame);
        else yield this.#withRemarks(this.#folder(frame, next));
      }
    } finally {
      for (const frame of this.#frames.splice(0)) this.#close(frame);
    }
  }

  /** The folder of `frame` that comes next. */
  #next(frame: Frame): NextFolder | undefined {
    const { ahead } = this.#options;
    if (ahead !== undefined && frame.fd >= 0) {
      // alone it is looked at sooner here
      if (frame.folders.length > 1) ahead.offer(frame.fd, frame.folders, frame.offered);
      const next = ahead.take(frame.offered);
      if (next !== undefined) return next;
    }
    const name = frame.folders.pop();
    return name === undefined ? undefined : { name };
  }

  #withRemarks(item: ScanItem | undefined, items: ScanItem[] = []): ScanItem[] {
    if (item !== undefined) items.push(item);
    if (this.#inodes.remarks.length > 0) items.push(...this.#inodes.remarks.splice(0));
    return items;
  }

  /** Yields all that is not a folder in a folder just opened, and remembers the folders. */
  *#list(frame: Frame): Generator<readonly ScanItem[], void, undefined> {
    // with contents an item may take long: whoever waits wants to see it
    const limit = this.#options.content === undefined ? BATCH_ITEMS : 1;
    let items: ScanItem[] = [];
    frame.listed = true;
    const prefix = frame.path === "" ? "" : `${frame.path}/`;
    for (let fills = 0;; fills++) {
      const count = this.#listing.fill(frame, fills);
      frame.fills = fills;
      if (count === "end") break;
      if (count < 0) {
        items.push(gap(frame, `${cannotFolder(frame.path)}: ${errnoText(-count)}`));
        break;
      }
      for (let entry = 0; entry < count; entry++) {
        if (this.#listing.isLeft(entry)) continue;
        if (this.#leave(frame, { entry, prefix, fill: fills })) continue;
        const item = this.#entry(frame, entry, prefix);
        // a folder cannot change while the kernel fills the buffer: only what comes later can have a name again
        if (fills === 0 && frame.listsOnce && item !== undefined) markOnly(item);
        this.#withRemarks(item, items);
        if (items.length < limit) continue;
        yield items;
        items = [];
      }
    }
    this.#listing.leaveSlot(frame);
    yield items;
    frame.folders.reverse();
  }

  /** Passes on a plain file whose content is left where it is, or leaves it out; false: it must be an item. */
  #leave(frame: Frame, at: { entry: number; prefix: string; fill: number }): boolean {
    const { left, choosesFiles } = this.#options;
    const reader = this.#reader;
    const { entry } = at;
    if (left === undefined || !frame.listsOnce || reader.type(entry) !== DirentType.FILE) {
      return false;
    }
    if (choosesFiles !== false && this.#options.excluded(at.prefix + reader.name(entry), false)) {
      return true;
    }
    const file = this.#file;
    this.#nameOf.entry = entry;
    this.#nameOf.address = reader.address(entry);
    if (this.#listing.readState(frame.fd, entry) !== 0) return false;
    if (!this.#inodes.left(frame.fd, this.#nameOf, file)) return false;
    file.parent = frame.node;
    file.nameAt = reader.nameAt(entry);
    file.nameLength = reader.nameLength(entry);
    return left(file, at.fill);
  }

  #entry(frame: Frame, entry: number, prefix: string): ScanItem | undefined {
    const reader = this.#reader;
    const type = reader.type(entry);
    const [name, address] = [reader.name(entry), reader.address(entry)];
    const path = prefix + name;
    let isFolder = type === DirentType.FOLDER;
    if (type !== DirentType.UNKNOWN && this.#options.excluded(path, isFolder)) return undefined;
    if (!isFolder) {
      const code = this.#listing.readState(frame.fd, entry);
      if (isGone(code)) return undefined;
      if (code !== 0) return gap({ node: 0, path }, cannotRead(path, code));
      isFolder = this.#inodes.stat.type === FileType.FOLDER;
      if (type === DirentType.UNKNOWN && this.#options.excluded(path, isFolder)) return undefined;
    }
    if (isFolder) {
      frame.folders.push(name);
      return undefined;
    }
    return this.#inodes.leaf({ fd: frame.fd, node: frame.node, path, name: address, text: name });
  }

  /** Enters a folder of `frame` by name. */
  #folder(frame: Frame, { name, slot }: NextFolder): ScanItem | undefined {
    const path = frame.path === "" ? name : `${frame.path}/${name}`;
    if (frame.fd < 0) {
      return gap({ node: 0, path }, `${cannotFolder(path)}: it was moved meanwhile`);
    }
    const bytes = cString(name);
    const place = { fd: frame.fd, node: frame.node, path, name: bytes, text: name };
    if (slot !== undefined) {
      if (slot.fd >= 0 && this.#inodes.stat.readFd(slot.fd) === 0) {
        return this.#openFolder(place, slot);
      }
      if (slot.fd >= 0) libc.close(slot.fd);
      this.#options.ahead?.release(slot);
    }
    const code = this.#inodes.stat.readAt(frame.fd, bytes);
    if (isGone(code)) return undefined;
    if (code !== 0) return gap({ node: 0, path }, cannotRead(path, code));
    if (this.#inodes.stat.type !== FileType.FOLDER) return undefined;
    return this.#openFolder(place);
  }

  /** Opens a folder whose state the inode reader has, pushes its frame, and describes it. */
  #openFolder(place: Place, slot?: FolderSlot): ScanItem | undefined {
    const stat = this.#inodes.stat;
    const isStateDir = this.#options.isStateDir(stat.dev, stat.ino);
    const node = isStateDir ? undefined : this.#inodes.known(place, slot?.fd);
    if (slot !== undefined && (isStateDir || node !== undefined)) {
      libc.close(slot.fd);
      this.#options.ahead?.release(slot);
    }
    if (isStateDir) return undefined;
    if (node !== undefined) {
      return this.#metBefore(place.path, node);
    }
    const fd = slot?.fd ?? openQuietly(place.fd, place.name, OPEN_FOLDER);
    if (fd < 0) {
      const code = errno();
      if (isGone(code) || code === Errno.ELOOP) return undefined;
      const item = this.#inodes.folder(place, -1);
      const text = `${cannotFolder(place.path)}: ${errnoText(code)}`;
      this.#inodes.remarks.push(gap({ node: item.node, path: place.path }, text));
      return item;
    }
    const item = this.#inodes.folder(place, fd);
    const above = this.#frames[this.#frames.length - 1];
    if (above !== undefined && above.listsOnce && above.fills < 2) item.isOnly = true;
    const { dev, ino } = item.attr;
    this.#options.known.set(dev, ino, item.node);
    this.#enter({
      fd,
      node: item.node,
      path: place.path,
      dev,
      ino,
      mount: stat.mount,
      listed: false,
      fills: 0,
      listsOnce: false,
      folders: [],
      offered: [],
      slot,
    });
    return item;
  }

  /** A bind mount, or a snapshot: its numbers are those of the subvolume that it was made of, so nothing tells the two apart. */
  #metBefore(path: string, node: number): ScanItem {
    const above = this.#frames[this.#frames.length - 1]?.mount;
    const { mount, major, minor } = this.#inodes.stat.mount;
    const isSubvolume = above?.mount === mount && (above.major !== major || above.minor !== minor);
    const shown = `folder "${showPath(path)}"`;
    const text = isSubvolume
      ? `${shown} is a subvolume with the inode numbers of another: not recorded, and changes in it are shown there`
      : `${shown} is there under another path too: recorded once, under the first`;
    return { kind: isSubvolume ? "gap" : "note", node, path, text, isSkipped: true };
  }

  #enter(frame: Frame): void {
    const above = this.#frames[this.#frames.length - 1];
    const pseudo = above?.dev === frame.dev ? undefined : pseudoFsOfFd(frame.fd);
    if (pseudo !== undefined) {
      this.#close(frame);
      const shown = showPath(frame.path);
      const text = `folder "${shown}" is a ${pseudo} file system: not entered`;
      this.#inodes.remarks.push({ kind: "note", node: frame.node, path: frame.path, text });
      return;
    }
    frame.listsOnce = above?.dev === frame.dev ? above.listsOnce : listsOnceFd(frame.fd);
    this.#frames.push(frame);
    const outer = this.#frames[this.#frames.length - 1 - OPEN_FOLDERS_MAX];
    if (outer !== undefined) this.#close(outer);
  }

  /** Goes back up; a parent that was closed to save descriptors is opened again through `..`, if it still is the same. */
  #goUp(frame: Frame): void {
    this.#frames.pop();
    const parent = this.#frames[this.#frames.length - 1];
    if (parent !== undefined && parent.fd < 0 && frame.fd >= 0) {
      const fd = libc.openat(frame.fd, PARENT_NAME, O_PATH | constants.O_DIRECTORY | O_CLOEXEC, 0);
      const same = fd >= 0 && this.#inodes.stat.readFd(fd) === 0 &&
        this.#inodes.stat.ino === parent.ino && this.#inodes.stat.dev === parent.dev;
      if (same) parent.fd = fd;
      else if (fd >= 0) libc.close(fd);
    }
    this.#close(frame);
  }

  #close(frame: Frame): void {
    this.#listing.leaveSlot(frame);
    if (frame.offered.length > 0) {
      frame.folders.push(...this.#options.ahead?.withdraw(frame.offered) ?? []);
    }
    if (frame.fd >= 0) libc.close(frame.fd);
    frame.fd = -1;
  }
}

function markOnly(item: ScanItem): void {
  if (item.kind === "inode" || item.kind === "link") item.isOnly = true;
}

function cannotFolder(path: string): string {
  return `cannot read folder "${showPath(path)}"`;
}
