/**
 * The state of one inode, as statx(2) gives it, in one buffer that is used again for every file: a scan of many
 * thousand files makes no garbage here. Field offsets: struct statx, linux/stat.h. Values are those of the last
 * successful call; a caller that needs them longer takes `attr()`, `mtime()` or `mark()`.
 * Devices come out as the kernel has them in s_dev, because that is what the kernel's records carry.
 */
import { readFileSync } from "node:fs";
import { cString, Errno, errno, libc, type Pinned, pinned } from "../../ffi/libc.ts";
import type { Pointer } from "bun:ffi";
import type { Attr, Mtime } from "../format/trace_event.ts";

/** Working directory as base of a path (fcntl.h). */
export const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_NO_AUTOMOUNT = 0x800;
const AT_EMPTY_PATH = 0x1000;
/** STATX_BASIC_STATS | STATX_MNT_ID. */
const MASK = 0x7ff | 0x1000;

const S_IFMT = 0o170000;
const TWO_32 = 0x1_0000_0000;
/** Largest handle that is understood; more than any file system whose type is known below needs. */
const HANDLE_BYTES_MAX = 128;
const HANDLE_HEADER_BYTES = 8;

/** Handle types (linux/exportfs.h) that hold the inode generation, with its offset in the handle. */
const GENERATION_OFFSETS = new Map<number, number>([
  [0x01, 4], // FILEID_INO32_GEN: ext4, xfs with small inode numbers
  [0x81, 8], // FILEID_INO64_GEN: xfs, fuse
  [0x4d, 16], // FILEID_BTRFS_WITHOUT_PARENT
]);
/** shmem_encode_fh uses type 1 with twelve bytes: generation, inode low, inode high. */
const SHMEM_HANDLE_BYTES = 12;

const EMPTY = cString("");

/** Words of struct statx that the kernel fills in. */
const FILLED_WORDS = 40;

/** Words of struct statx that say on which device and mount an inode lies. */
export interface Mount {
  major: number;
  minor: number;
  mount: number;
}

/** Whether a state is of something that lies there. */
export function liesOn(words: Uint32Array, at: number, { major, minor, mount }: Mount): boolean {
  return words[at + 36] === mount && words[at + 35] === minor && words[at + 34] === major;
}

/** Reads the state of a name, not following a symlink, into STATX_WORDS words. Returns 0, or the error number. */
export function readStateInto(folder: number, name: Pointer, into: Pointer): number {
  const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  return libc.statx(folder, name, flags, MASK, into) < 0 ? errno() : 0;
}

/** What must stay the same while a file is read, else it was changed meanwhile. */
export interface Mark {
  size: number;
  mtime: Mtime;
  ctime: Mtime;
}

/** Whether two marks of one inode show no change between them. */
export function sameMark(a: Mark, b: Mark): boolean {
  return a.size === b.size && a.mtime.nsec === b.mtime.nsec && a.ctime.nsec === b.ctime.nsec &&
    a.mtime.sec === b.mtime.sec && a.ctime.sec === b.ctime.sec;
}

/** One reusable statx buffer, and what is derived from it. */
export class InodeStat {
  readonly #statx = pinned(256);
  readonly #words = new Uint32Array(this.#statx.bytes.buffer);
  readonly #signed = new Int32Array(this.#statx.bytes.buffer);
  readonly #empty: Pinned = pinned(1);
  readonly #handle = pinned(HANDLE_HEADER_BYTES + HANDLE_BYTES_MAX);
  readonly #handleView = new DataView(this.#handle.bytes.buffer);
  readonly #mountId = pinned(8);
  readonly #devices = new DeviceTable();

  /** The state as words: StatxWord of src/format/left_file.ts. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** Takes a state that `readStateInto` has read; false: there is none. */
  take(states: Uint32Array, at: number): boolean {
    if (states[at] === 0) return false;
    const words = this.#words;
    for (let i = 0; i < FILLED_WORDS; i++) words[i] = states[at + i] as number;
    return true;
  }

  /** Reads the state of a name, not following a symlink. Returns 0, or the error number. */
  readAt(folder: number, name: Pointer | Uint8Array): number {
    const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    return libc.statx(folder, name, flags, MASK, this.#statx.address) < 0 ? errno() : 0;
  }

  /** Reads the state of an open file. Returns 0, or the error number. */
  readFd(fd: number): number {
    const path = this.#empty.address;
    return libc.statx(fd, path, AT_EMPTY_PATH, MASK, this.#statx.address) < 0 ? errno() : 0;
  }

  /** Reads the state of what a C string in memory names, from the working folder, following a symlink or not. */
  readPath(path: Pointer, follow: boolean): number {
    const flags = (follow ? 0 : AT_SYMLINK_NOFOLLOW) | AT_NO_AUTOMOUNT;
    return libc.statx(AT_FDCWD, path, flags, MASK, this.#statx.address) < 0 ? errno() : 0;
  }

  get mode(): number {
    return this.#word(7) & 0xffff;
  }

  /** Type bits of the mode: compare with `FileType`. */
  get type(): number {
    return this.#word(7) & S_IFMT;
  }

  get nlink(): number {
    return this.#word(4);
  }

  get ino(): number {
    return this.#long(8);
  }

  /** The inode number in two words. */
  get inoLow(): number {
    return this.#word(8);
  }

  get inoHigh(): number {
    return this.#word(9);
  }

  get size(): number {
    return this.#long(10);
  }

  /** Bytes that the file system has allocated; less than `size` where there are holes. */
  get allocatedBytes(): number {
    return this.#long(12) * 512;
  }

  /** The kernel's s_dev: major << 20 | minor. */
  get dev(): number {
    return this.#devices.kernelDev(this.#word(36), deviceNumber(this.#word(34), this.#word(35)));
  }

  /** The mount that it lies on, and the device as stat has it: the same for whatever lies there too. */
  get mount(): Mount {
    return { major: this.#word(34), minor: this.#word(35), mount: this.#word(36) };
  }

  mtime(): Mtime {
    return this.#time(28);
  }

  ctime(): Mtime {
    return this.#time(24);
  }

  mark(): Mark {
    return { size: this.size, mtime: this.#time(28), ctime: this.#time(24) };
  }

  /** The whole state. `gen` is asked for separately, because it costs a call of its own. */
  attr(gen: number): Attr {
    return {
      mode: this.mode,
      uid: this.#word(5),
      gid: this.#word(6),
      rdev: deviceNumber(this.#word(32), this.#word(33)),
      nlink: this.nlink,
      dev: this.dev,
      gen,
      ino: this.ino,
      size: this.size,
    };
  }

  /** Generation of an open file, 0 where the file system does not tell. */
  generationFd(fd: number): number {
    return this.#generation(fd, EMPTY, AT_EMPTY_PATH);
  }

  /** Generation of a name (a symlink itself), 0 where the file system does not tell. */
  generationAt(folder: number, name: Pointer | Uint8Array): number {
    return this.#generation(folder, name, 0);
  }

  #generation(fd: number, name: Pointer | Uint8Array, flags: number): number {
    const view = this.#handleView;
    view.setUint32(0, HANDLE_BYTES_MAX, true);
    const address = this.#handle.address;
    if (libc.name_to_handle_at(fd, name, address, this.#mountId.address, flags) < 0) return 0;
    const type = view.getUint32(4, true);
    if (type === 1 && view.getUint32(0, true) === SHMEM_HANDLE_BYTES) {
      return view.getUint32(HANDLE_HEADER_BYTES, true);
    }
    const offset = GENERATION_OFFSETS.get(type);
    return offset === undefined ? 0 : view.getUint32(HANDLE_HEADER_BYTES + offset, true);
  }

  #word(index: number): number {
    return this.#words[index] ?? 0;
  }

  #long(index: number): number {
    return this.#word(index) + this.#word(index + 1) * TWO_32;
  }

  /** struct statx_timestamp: i64 seconds, u32 nanoseconds. */
  #time(index: number): Mtime {
    const sec = this.#word(index) + (this.#signed[index + 1] ?? 0) * TWO_32;
    return { sec, nsec: this.#word(index + 2) };
  }
}

/** Type bits of st_mode (inode(7)). */
export const FileType = {
  FIFO: 0o010000,
  FOLDER: 0o040000,
  REGULAR: 0o100000,
  SYMLINK: 0o120000,
} as const;

function deviceNumber(major: number, minor: number): number {
  return ((major << 20) | (minor & 0xfffff)) >>> 0;
}

/**
 * The s_dev of each mount. On btrfs (a device per subvolume) and overlayfs stat does not give the superblock's device,
 * which the kernel's records carry; /proc/self/mountinfo does. Without /proc, stat's device is taken.
 */
class DeviceTable {
  readonly #byMount = new Map<number, number>();
  #mountId = -1;
  #statDev = -1;
  #dev = 0;

  kernelDev(mountId: number, statDev: number): number {
    if (mountId === this.#mountId && statDev === this.#statDev) return this.#dev;
    this.#mountId = mountId;
    this.#statDev = statDev;
    this.#dev = this.#lookUp(mountId, statDev);
    return this.#dev;
  }

  /** A mount id that is not known, or whose device is another now, makes the list be read again. */
  #lookUp(mountId: number, statDev: number): number {
    const known = this.#byMount.get(mountId);
    if (known !== undefined && known === statDev) return known;
    this.#read();
    return this.#byMount.get(mountId) ?? statDev;
  }

  #read(): void {
    let text = "";
    try {
      text = readFileSync("/proc/self/mountinfo", "latin1");
    } catch {
      // A chroot without /proc: stat's device is all there is, and right on most file systems.
      return;
    }
    this.#byMount.clear();
    for (const line of text.split("\n")) {
      const match = /^(\d+) \d+ (\d+):(\d+) /.exec(line);
      if (match === null) continue;
      this.#byMount.set(Number(match[1]), deviceNumber(Number(match[2]), Number(match[3])));
    }
  }
}

/** Whether an error number means that the name is gone by now: a change during the scan, not a failure. */
export function isGone(code: number): boolean {
  return code === Errno.ENOENT || code === Errno.ENOTDIR || code === Errno.ESTALE;
}
