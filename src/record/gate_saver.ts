/**
 * Saves what a file of the baseline holds, before it is destroyed, so that a kill of the recorder right afterwards takes nothing:
 * small files as records of a segment in the state-dir, larger ones as a file of their own there (a clone where the file system
 * can, a hard link where the file is about to lose its name, else a copy). docs/FORMAT.md, "Saved contents".
 */
import type { Pointer } from "bun:ffi";
import { constants } from "node:fs";
import { cString, Errno, errno, libc, pinned } from "../../ffi/libc.ts";
import { libcGate } from "../../ffi/libc_gate.ts";
import { libcTree } from "../../ffi/libc_tree.ts";
import { SAVED_INLINE_BYTES_MAX, SAVED_SEGMENT_BYTES } from "../base/limits.ts";
import {
  newSavedFileName,
  SAVED_HEADER_BYTES,
  savedFileName,
  SavedFlag,
  sealSaved,
  segmentName,
} from "../format/saved_record.ts";
import { Control } from "./base_table.ts";
import { O_CLOEXEC } from "./inode_reader.ts";
import { AT_FDCWD, FileType, InodeStat } from "./inode_stat.ts";

const { O_CREAT, O_EXCL, O_NOATIME, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } =
  constants;
const READ_FLAGS = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOATIME | O_CLOEXEC;
const MAKE_FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
const MODE = 0o600;
/** _IOW(0x94, 9, int): man 2 ioctl_ficlone. */
const FICLONE = 0x4004_9409;
const AT_SYMLINK_FOLLOW = 0x400;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
/** Bytes that one call copies, so that a signal to end is heard. */
const COPY_BYTES = 1 << 26;
const CLOCK_BOOTTIME = 7;
const ESTALE = Errno.ESTALE;
/** Names that are tried for a segment. */
const SEGMENT_TRIES_MAX = 1_000;

/** Where contents go. */
export interface SaverOptions {
  /** The state-dir. */
  dir: string;
  /** Owner of the trace, when it is not the recorder's own user. */
  owner?: { uid: number; gid: number };
  /** Words of the shared table. */
  control: Int32Array;
}

/** A file to be saved. */
export interface Endangered {
  /** C string, from the working folder of this process. */
  path: Pointer | Uint8Array;
  follows: boolean;
  node: number;
  inoLow: number;
  inoHigh: number;
  /** It is about to lose a name: a hard link keeps it. */
  isRemoval: boolean;
}

/** See the head of the file. */
export class GateSaver {
  readonly #options: SaverOptions;
  readonly #folder: number;
  readonly #folderDev: number;
  readonly #room = pinned(SAVED_HEADER_BYTES + SAVED_INLINE_BYTES_MAX + 8);
  readonly #stat = new InodeStat();
  readonly #time = pinned(16);
  readonly #timeView = new DataView(this.#time.bytes.buffer);
  #segment = -1;
  #tail = 0;
  /** Whether what was saved last is a name of the file itself. */
  isLink = false;

  constructor(options: SaverOptions) {
    this.#options = options;
    this.#folder = libc.openat(AT_FDCWD, cString(options.dir), O_RDONLY | O_CLOEXEC, 0);
    this.#stat.readFd(this.#folder);
    this.#folderDev = this.#stat.dev;
  }

  /**
   * Saves one file. Returns 0, or an error number: then nothing of it is there. `isLinked`: it is saved already, by a name of the
   * file itself, and is about to be written: the name gets a copy.
   */
  save(file: Endangered, isLinked: boolean): number {
    this.isLink = false;
    const fd = libc.openat(AT_FDCWD, file.path, READ_FLAGS | (file.follows ? 0 : O_NOFOLLOW), 0);
    if (fd < 0) return errno();
    try {
      const code = this.#stat.readFd(fd);
      if (code !== 0) return code;
      const { inoLow, inoHigh, type, size } = this.#stat;
      const isSame = inoLow === file.inoLow && inoHigh === file.inoHigh;
      if (!isSame || type !== FileType.REGULAR) return ESTALE;
      if (isLinked) return this.#replaceLink(fd, file.node);
      return size <= SAVED_INLINE_BYTES_MAX
        ? this.#saveInline(fd, file.node)
        : this.#saveFile(fd, file);
    } finally {
      libc.close(fd);
    }
  }

  #saveInline(fd: number, node: number): number {
    const { size } = this.#stat;
    let length = 0;
    while (length < size) {
      const to = Number(this.#room.address) + SAVED_HEADER_BYTES + length as Pointer;
      const got = Number(libc.pread(fd, to, size - length, length));
      if (got < 0) return errno();
      if (got === 0) break;
      length += got;
    }
    return this.#append(node, { length, flags: 0 });
  }

  #saveFile(fd: number, file: Endangered): number {
    const name = cString(savedFileName(file.node));
    const to = libc.openat(this.#folder, name, MAKE_FLAGS, MODE);
    if (to < 0) return errno();
    let code = libc.ioctl(to, FICLONE, fd as unknown as Pointer) === 0 ? 0 : errno();
    if (code !== 0 && file.isRemoval && this.#stat.dev === this.#folderDev) {
      code = this.#link(fd, name);
    }
    if (code !== 0) code = this.#copy(fd, to);
    const { owner } = this.#options;
    if (code === 0 && owner !== undefined) libcTree.fchown(to, owner.uid, owner.gid);
    libc.close(to);
    if (code === 0) code = this.#append(file.node, { length: 0, flags: SavedFlag.FILE });
    if (code !== 0) libcTree.unlinkat(this.#folder, name, 0);
    this.isLink &&= code === 0;
    return code;
  }

  /** Puts a copy in the place of a name of the file itself. */
  #replaceLink(fd: number, node: number): number {
    const fresh = cString(newSavedFileName(node));
    libcTree.unlinkat(this.#folder, fresh, 0); // of a gate that was killed
    const to = libc.openat(this.#folder, fresh, MAKE_FLAGS, MODE);
    if (to < 0) return errno();
    let code = this.#copy(fd, to);
    const { owner } = this.#options;
    if (code === 0 && owner !== undefined) libcTree.fchown(to, owner.uid, owner.gid);
    libc.close(to);
    const name = cString(savedFileName(node));
    if (code === 0 && libcTree.renameat(this.#folder, fresh, this.#folder, name) !== 0) {
      code = errno();
    }
    if (code !== 0) libcTree.unlinkat(this.#folder, fresh, 0);
    return code;
  }

  /** Gives the file itself a name in the state-dir, in the place of the empty one. */
  #link(fd: number, name: Uint8Array): number {
    libcTree.unlinkat(this.#folder, name, 0);
    const source = cString(`/proc/self/fd/${fd}`);
    const linked = libcTree.linkat(AT_FDCWD, source, this.#folder, name, AT_SYMLINK_FOLLOW);
    this.isLink = linked === 0;
    return linked === 0 ? 0 : errno();
  }

  /** Copies data and leaves out holes. */
  #copy(fd: number, to: number): number {
    const { size } = this.#stat;
    if (libcTree.ftruncate(to, size) !== 0) return errno();
    for (let at = 0; at < size;) {
      at = Number(libc.lseek(fd, at, SEEK_DATA));
      if (at < 0) return errno() === Errno.ENXIO ? 0 : errno();
      const end = Number(libc.lseek(fd, at, SEEK_HOLE));
      if (end < 0) return errno();
      libc.lseek(fd, at, 0);
      libc.lseek(to, at, 0);
      while (at < end) {
        const want = Math.min(end - at, COPY_BYTES);
        const done = Number(libcGate.copy_file_range(fd, null, to, null, want, 0));
        if (done < 0) return errno();
        if (done === 0) return 0; // cut meanwhile: what is there is all there is
        at += done;
      }
    }
    return 0;
  }

  /** Writes the record that stands in the room. */
  #append(node: number, content: { length: number; flags: number }): number {
    const { size } = this.#stat;
    const mtime = this.#stat.mtime();
    const record = sealSaved(this.#room.bytes, {
      id: this.#options.control[Control.ID] ?? 0,
      node,
      size,
      savedNs: this.#now(),
      mtimeSec: mtime.sec,
      mtimeNsec: mtime.nsec,
      ...content,
    });
    if (this.#segment < 0 || this.#tail + record.length > SAVED_SEGMENT_BYTES) {
      const code = this.#nextSegment();
      if (code !== 0) return code;
    }
    const { address } = this.#room;
    const done = Number(libcTree.pwrite(this.#segment, address, record.length, this.#tail));
    if (done < 0) return errno();
    // part of a record is no record; the next one takes its place
    if (done < record.length) return Errno.ENOSPC;
    this.#tail += record.length;
    return 0;
  }

  /** The next segment: what stands under its name is of another recording, or of a recorder that was killed. */
  #nextSegment(): number {
    const { control, owner } = this.#options;
    const isFirst = this.#segment < 0;
    let n = Atomics.load(control, Control.SEGMENT) + (isFirst ? 0 : 1);
    let fd = -1;
    for (let tries = 0; fd < 0 && tries < SEGMENT_TRIES_MAX; tries++) {
      fd = libc.openat(this.#folder, cString(segmentName(n)), MAKE_FLAGS, MODE);
      if (fd < 0 && errno() !== Errno.EEXIST) return errno();
      if (fd < 0) n++;
    }
    if (fd < 0) return Errno.EEXIST;
    if (owner !== undefined) libcTree.fchown(fd, owner.uid, owner.gid);
    if (!isFirst) libc.close(this.#segment);
    this.#segment = fd;
    this.#tail = 0;
    Atomics.store(control, Control.SEGMENT, n);
    return 0;
  }

  #now(): number {
    libc.clock_gettime(CLOCK_BOOTTIME, this.#time.address);
    const view = this.#timeView;
    return view.getUint32(0, true) * 1e9 + view.getUint32(8, true);
  }
}
