/**
 * The folder that an export is written to. Everything is made by descriptor of the parent folder and a single checked
 * name, with O_EXCL and O_NOFOLLOW, so that nothing outside the target can be reached: not by a symlink, not by a name
 * from a corrupted trace, and not by a path longer than PATH_MAX. The caller closes the descriptors it gets.
 */
import { constants } from "node:fs";
import { DiffKeeperError } from "../base/error.ts";
import type { Mtime } from "../format/trace_event.ts";
import { cString, Errno, errno, errnoText, libc } from "../../ffi/libc.ts";
import { At, libcTree } from "../../ffi/libc_tree.ts";
import { quoted } from "./path_text.ts";

const O_CLOEXEC = 0o2000000;
const FOLDER_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC;
const FILE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL |
  constants.O_NOFOLLOW | O_CLOEXEC;
const PERMISSIONS = 0o7777;
const SET_ID = 0o6000;
const SELF = cString(".");
const U32 = 4_294_967_296;

/** `tv_nsec` of utimensat(2) that leaves the access time as it is. */
const UTIME_OMIT = 0x3ffffffe;

/** Largest count that one write(2) takes (man 2 write). */
const WRITE_BYTES_MAX = 0x7ffff000;

/** What is set on an entry after it is made. */
export interface EntryState {
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  mtime?: Mtime;
  xattrs?: ReadonlyMap<string, Uint8Array>;
}

/** Takes something that could not be restored: the entry's name and why. */
export type Complaint = (name: string, text: string) => void;

/**
 * The name as a C string.
 * @throws {DiffKeeperError} code `data_corrupt` when it is not one name: empty, `.`, `..`, or with `/` or NUL.
 */
export function nameBytes(name: string): Uint8Array {
  const isOne = name !== "" && name !== "." && name !== ".." && !name.includes("/") &&
    !name.includes("\0");
  if (isOne) return cString(name);
  throw new DiffKeeperError(
    "data_corrupt",
    `cannot export: the trace holds the name ${quoted(name)}`,
    {
      hint: "the trace is damaged, or was made to write outside the target",
    },
  );
}

function failure(action: string, name: string): DiffKeeperError {
  const code = errno();
  const message = `${action} ${quoted(name)}: ${errnoText(code)}`;
  if (code === Errno.ENOSPC || code === 122) return new DiffKeeperError("disk_full", message);
  const denied = code === Errno.EACCES || code === Errno.EPERM || code === 30;
  return new DiffKeeperError(denied ? "not_writable" : "io", message);
}

/** Whether owners can be set: the effective user is root. */
export function isRoot(): boolean {
  return libcTree.geteuid() === 0;
}

/** Closes a descriptor that was opened here. */
export function closeFd(fd: number): void {
  libc.close(fd);
}

/** Opens the folder `name` in `parent`, never through a symlink. */
export function openFolder(parent: number, name: string): number {
  const fd = libc.openat(parent, nameBytes(name), FOLDER_FLAGS, 0);
  if (fd < 0) throw failure("cannot open the folder", name);
  return fd;
}

/** A second descriptor of an open folder. */
export function reopenFolder(folder: number): number {
  const fd = libc.openat(folder, SELF, FOLDER_FLAGS, 0);
  if (fd < 0) throw failure("cannot open the folder", "");
  return fd;
}

/** Makes the folder `name` in `parent`, for us alone until `finish`, and opens it. With `reuse` it may be there. */
export function makeFolder(parent: number, name: string, reuse = false): number {
  if (libcTree.mkdirat(parent, nameBytes(name), 0o700) < 0) {
    if (!reuse || errno() !== Errno.EEXIST) throw failure("cannot make the folder", name);
  }
  return openFolder(parent, name);
}

/** Makes the file `name`, which must not be there, and opens it for writing. */
export function createFile(parent: number, name: string): number {
  const fd = libc.openat(parent, nameBytes(name), FILE_FLAGS, 0o600);
  if (fd < 0) throw failure("cannot make the file", name);
  return fd;
}

/** Writes all bytes at an offset. `name` is for the message. */
export function writeAt(
  fd: number,
  at: number,
  content: { bytes: Uint8Array; name: string },
): void {
  let done = 0;
  while (done < content.bytes.length) {
    const part = content.bytes.subarray(done, done + WRITE_BYTES_MAX);
    const written = Number(libcTree.pwrite(fd, part, part.length, at + done));
    if (written > 0) done += written;
    else if (written === 0 || errno() !== 4) throw failure("cannot write the file", content.name);
  }
}

/** Sets a file's size; what was not written is a hole. */
export function setSize(fd: number, size: number, name: string): void {
  if (libcTree.ftruncate(fd, size) < 0) throw failure("cannot set the size of", name);
}

/** Makes a second name for a file. */
export function makeLink(
  from: { folder: number; name: string },
  folder: number,
  name: string,
): void {
  if (libcTree.linkat(from.folder, nameBytes(from.name), folder, nameBytes(name), 0) < 0) {
    throw failure("cannot make the hard link", name);
  }
}

/** Sets the state of entries; one per export. */
export class EntryFinisher {
  readonly #owner: boolean;
  readonly #euid = libcTree.geteuid();
  readonly #complain: Complaint;
  readonly #times = new Uint8Array(new ArrayBuffer(32));
  readonly #timesView = new DataView(this.#times.buffer);
  readonly #device = new Uint8Array(new ArrayBuffer(8));

  /** @param options.owner whether to set owners; only root can. */
  constructor(options: { owner: boolean; complain: Complaint }) {
    this.#owner = options.owner;
    this.#complain = options.complain;
  }

  /** Sets owner, mode, extended attributes and time of an open file or folder; the time comes last. */
  finish(fd: number, name: string, state: EntryState): void {
    let isTheirs = state.uid === this.#euid;
    if (this.#owner) {
      isTheirs = libcTree.fchown(fd, state.uid, state.gid) >= 0;
      if (!isTheirs) this.#failed(name, "owner");
    }
    for (const [key, value] of state.xattrs ?? []) {
      const bytes = value.length === 0 ? new Uint8Array(1) : value;
      const result = libcTree.fsetxattr(fd, cString(key), bytes, value.length, 0);
      if (result < 0) this.#failed(name, `extended attribute ${quoted(key)}`);
    }
    // behind the attributes, which only who may write can set
    const mode = isTheirs ? state.mode : this.#harmlessMode(name, state.mode);
    if (libcTree.fchmod(fd, mode & PERMISSIONS) < 0) this.#failed(name, "mode");
    if (state.mtime === undefined) return;
    if (libcTree.futimens(fd, this.#timespecs(state.mtime)) < 0) this.#failed(name, "time");
  }

  /** Makes a symlink with its owner and time. */
  symlink(folder: number, name: string, link: EntryState & { target: string }): void {
    const bytes = nameBytes(name);
    if (link.target.includes("\0")) {
      throw new DiffKeeperError("data_corrupt", "cannot export: NUL in a link");
    }
    if (libcTree.symlinkat(cString(link.target), folder, bytes) < 0) {
      throw failure("cannot make the symlink", name);
    }
    this.#finishByName(folder, name, link);
  }

  /** Makes a FIFO, socket or device; what is not allowed here is complained about. Returns whether it was made. */
  special(folder: number, name: string, state: EntryState): boolean {
    const view = new DataView(this.#device.buffer);
    const device = deviceNumber(state.rdev);
    view.setUint32(0, device.low, true);
    view.setUint32(4, device.high, true);
    const mode = (state.mode & constants.S_IFMT) | 0o600;
    if (libcTree.__xmknodat(0, folder, nameBytes(name), mode, this.#device) < 0) {
      this.#complain(name, `could not be made: ${errnoText(errno())}`);
      return false;
    }
    this.#finishByName(folder, name, state);
    return true;
  }

  /** As cp and tar do it: a program must not run with our rights that had those of somebody else. */
  #harmlessMode(name: string, mode: number): number {
    if ((mode & constants.S_IFMT) !== constants.S_IFREG || (mode & SET_ID) === 0) return mode;
    this.#complain(name, "set-user-id and set-group-id are left out: it belonged to another user");
    return mode & ~SET_ID;
  }

  #finishByName(folder: number, name: string, state: EntryState): void {
    const bytes = nameBytes(name);
    const isLink = (state.mode & constants.S_IFMT) === constants.S_IFLNK;
    if (this.#owner) {
      const { uid, gid } = state;
      const result = libcTree.fchownat(folder, bytes, uid, gid, At.SYMLINK_NOFOLLOW);
      if (result < 0) this.#failed(name, "owner");
    }
    if (!isLink && libcTree.fchmodat(folder, bytes, state.mode & PERMISSIONS, 0) < 0) {
      this.#failed(name, "mode");
    }
    for (const [key, value] of state.xattrs ?? []) {
      const path = cString(`/proc/self/fd/${folder}/${name}`);
      const content = value.length === 0 ? new Uint8Array(1) : value;
      const result = libcTree.lsetxattr(path, cString(key), content, value.length, 0);
      if (result < 0) this.#failed(name, `extended attribute ${quoted(key)}`);
    }
    if (state.mtime === undefined) return;
    const times = this.#timespecs(state.mtime);
    if (libcTree.utimensat(folder, bytes, times, At.SYMLINK_NOFOLLOW) < 0) {
      this.#failed(name, "time");
    }
  }

  #failed(name: string, what: string): void {
    this.#complain(name, `${what} could not be set: ${errnoText(errno())}`);
  }

  /** struct timespec[2]: access time left alone, modification time given. */
  #timespecs(mtime: Mtime): Uint8Array {
    const view = this.#timesView;
    view.setUint32(8, UTIME_OMIT, true);
    view.setUint32(16, mtime.sec >>> 0, true);
    view.setInt32(20, Math.floor(mtime.sec / U32), true);
    view.setUint32(24, mtime.nsec, true);
    return this.#times;
  }
}

/** The kernel's (major << 20 | minor) as glibc's dev_t, in two halves (gnu_dev_makedev). */
function deviceNumber(rdev: number): { low: number; high: number } {
  const major = rdev >>> 20;
  const minor = rdev & 0xfffff;
  return {
    low: (((minor & 0xff) | ((major & 0xfff) << 8)) + (minor & 0xfff00) * 4096) >>> 0,
    high: major & 0xfffff000,
  };
}
