/**
 * The calls of the C library that restoring a tree needs, for systems that are not Linux, on node:fs: same arguments, same results
 * (-1 and `errno()`, in Linux's numbers). A folder's descriptor is one of the system's, and its path is remembered beside it. Names
 * are joined to paths here, so that a path longer than the system allows fails, where Linux's calls would not.
 * Not there: extended attributes, devices, FIFOs and sockets, times before 1970 (EOPNOTSUPP); times are set to the microsecond.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const EIO = 5;
const EOPNOTSUPP = 95;
/** struct linux_dirent64: 19 bytes before the name; type 4 is a folder, 8 stands for anything else. */
const DIRENT_NAME = 19;
const DT_DIR = 4;
const DT_REG = 8;

/** What this takes of open(2)'s flags: the others mean something else on other systems. */
const OPEN_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL |
  constants.O_NOFOLLOW | constants.O_DIRECTORY;

/** Linux's numbers of the errors that node:fs names. */
const CODES: Readonly<Record<string, number>> = {
  EPERM: 1,
  ENOENT: 2,
  EIO,
  EACCES: 13,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EMFILE: 24,
  ENOSPC: 28,
  EROFS: 30,
  ENAMETOOLONG: 36,
  ENOTEMPTY: 39,
  ELOOP: 40,
  EILSEQ: 84,
  ENOTSUP: EOPNOTSUPP,
  EOPNOTSUPP,
  EDQUOT: 122,
};

let lastError = 0;
/** Paths of open folders. */
const folders = new Map<number, Buffer>();
/** What is still to be listed of them. */
const listings = new Map<number, { name: Buffer; isFolder: boolean }[]>();

/** As errno(3) after the calls of this file. */
export function portableErrno(): number {
  return lastError;
}

function attempt(run: () => number | void): number {
  try {
    return run() ?? 0;
  } catch (thrown) {
    const { code = "" } = thrown as NodeJS.ErrnoException;
    // macOS says of a folder that it is not permitted to unlink it
    lastError = CODES[code] ?? EIO;
    return -1;
  }
}

function unsupported(): number {
  lastError = EOPNOTSUPP;
  return -1;
}

function text(bytes: Uint8Array): Buffer {
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.subarray(0, end < 0 ? bytes.length : end));
}

function at(folder: number, name: Uint8Array): Buffer {
  const path = text(name);
  if (folder === AT_FDCWD) return path;
  const parent = folders.get(folder);
  if (parent === undefined) throw Object.assign(new Error("not a folder"), { code: "ENOTDIR" });
  return path.equals(Buffer.from(".")) ? parent : Buffer.concat([parent, Buffer.from("/"), path]);
}

/** Seconds as node:fs takes them, from a struct timespec at an offset. */
function seconds(times: Uint8Array, offset: number): number {
  const view = new DataView(times.buffer, times.byteOffset);
  return Number(view.getBigInt64(offset, true)) + view.getUint32(offset + 8, true) / 1e9;
}

/** As the symbols of libc.ts that restoring uses. */
export const portableLibc = {
  openat: (folder: number, name: Uint8Array, flags: number, mode: number): number =>
    attempt(() => {
      const path = at(folder, name);
      const fd = openSync(path, flags & OPEN_FLAGS, mode);
      if ((flags & constants.O_DIRECTORY) !== 0) folders.set(fd, path);
      return fd;
    }),
  close: (fd: number): number =>
    attempt(() => {
      folders.delete(fd);
      listings.delete(fd);
      closeSync(fd);
    }),
  /** Only back to the start of a folder, to list it anew. */
  lseek: (fd: number, _offset: number, _whence: number): number => {
    listings.delete(fd);
    return 0;
  },
  getdents64: (fd: number, into: Uint8Array, _size: number): number =>
    attempt(() => list(fd, into)),
  __errno_location: () => null,
};

function list(fd: number, into: Uint8Array): number {
  let rest = listings.get(fd);
  if (rest === undefined) {
    const folder = folders.get(fd) ?? Buffer.from("");
    rest = readdirSync(folder, { encoding: "buffer" }).map((name) => {
      const path = Buffer.concat([folder, Buffer.from("/"), name]);
      return { name, isFolder: lstatSync(path).isDirectory() };
    });
    listings.set(fd, rest);
  }
  const view = new DataView(into.buffer, into.byteOffset, into.length);
  let used = 0;
  for (let entry = rest.at(-1); entry !== undefined; entry = rest.at(-1)) {
    const length = DIRENT_NAME + entry.name.length + 1;
    if (used + length > into.length) break;
    rest.pop();
    view.setUint16(used + DIRENT_NAME - 3, length, true);
    into[used + DIRENT_NAME - 1] = entry.isFolder ? DT_DIR : DT_REG;
    into.set(entry.name, used + DIRENT_NAME);
    into[used + length - 1] = 0;
    used += length;
  }
  return used;
}

/** As the symbols of libc_tree.ts. */
export const portableLibcTree = {
  mkdirat: (folder: number, name: Uint8Array, mode: number) =>
    attempt(() => void mkdirSync(at(folder, name), { mode })),
  unlinkat: (folder: number, name: Uint8Array, flags: number) =>
    attempt(() =>
      (flags & AT_REMOVEDIR) === 0 ? unlinkSync(at(folder, name)) : rmdirSync(at(folder, name))
    ),
  symlinkat: (target: Uint8Array, folder: number, name: Uint8Array) =>
    attempt(() => symlinkSync(text(target), at(folder, name))),
  linkat: (from: number, old: Uint8Array, to: number, name: Uint8Array, _flags: number) =>
    attempt(() => linkSync(at(from, old), at(to, name))),
  pwrite: (fd: number, bytes: Uint8Array, count: number, offset: number) =>
    attempt(() => writeSync(fd, bytes, 0, count, offset)),
  ftruncate: (fd: number, length: number) => attempt(() => ftruncateSync(fd, length)),
  fchmod: (fd: number, mode: number) => attempt(() => fchmodSync(fd, mode)),
  fchmodat: (folder: number, name: Uint8Array, mode: number, _flags: number) =>
    attempt(() => chmodSync(at(folder, name), mode)),
  fchownat: (folder: number, name: Uint8Array, uid: number, gid: number, _flags: number) =>
    attempt(() => lchownSync(at(folder, name), uid, gid)),
  fchown: (fd: number, uid: number, gid: number) => attempt(() => fchownSync(fd, uid, gid)),
  futimens: (fd: number, times: Uint8Array) => {
    const mtime = seconds(times, 16);
    return mtime < 0 ? unsupported() : attempt(() => futimesSync(fd, mtime, mtime));
  },
  utimensat: (folder: number, name: Uint8Array, times: Uint8Array, flags: number) => {
    const mtime = seconds(times, 16);
    const set = (flags & AT_SYMLINK_NOFOLLOW) === 0 ? utimesSync : lutimesSync;
    return mtime < 0 ? unsupported() : attempt(() => set(at(folder, name), mtime, mtime));
  },
  fsetxattr: (..._: unknown[]) => unsupported(),
  lsetxattr: (..._: unknown[]) => unsupported(),
  geteuid: () => process.geteuid?.() ?? -1,
  __xmknodat: (..._: unknown[]) => unsupported(),
};
