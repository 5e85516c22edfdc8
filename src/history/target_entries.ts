/**
 * What stands in a target folder: looked through for files that must stay, and removed. Goes by descriptor, never through a
 * symlink and never onto another filesystem.
 */
import { type BigIntStats, chmodSync, constants, fchmodSync, fstatSync } from "node:fs";
import { DiffKeeperError } from "../base/error.ts";
import { cString, Errno, errno, errnoText, IS_LINUX, libc } from "../../ffi/libc.ts";
import { At, libcTree } from "../../ffi/libc_tree.ts";
import { closeFd, openFolder } from "./target.ts";
import { quoted } from "./path_text.ts";

const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const PATH_FLAGS = O_PATH | constants.O_NOFOLLOW | O_CLOEXEC;
const OWN_RIGHTS = 0o700;
const LIST_BYTES = 64 * 1024;

/** Offsets in struct linux_dirent64 (man 2 getdents). */
const DIRENT = { RECLEN: 16, TYPE: 18, NAME: 19 } as const;
const DT_DIR = 4;

/** Folders inside each other that are looked through; each keeps a descriptor open. */
export const TARGET_DEPTH_MAX = 10_000;

/** Whether a file is one that is looked for. */
export type FileTest = (stat: BigIntStats) => boolean;

/** Lets us change an open folder, as one that was restored read-only. */
export function ownRights(fd: number): void {
  const { mode } = fstatSync(fd);
  if ((mode & OWN_RIGHTS) !== OWN_RIGHTS) setMode(fd, mode | OWN_RIGHTS);
}

/** Where it is not ours, the change that needs the mode will fail, and say so. */
function setMode(fd: number, mode: number): void {
  try {
    fchmodSync(fd, mode & 0o7777);
  } catch {
    // Said by the change that is not allowed.
  }
}

/** Opens a folder even when its mode forbids us to look into it, and says which mode that was. */
function openClosed(parent: number, name: string): { fd: number; mode: number } {
  const path = libc.openat(parent, cString(name), PATH_FLAGS | constants.O_DIRECTORY, 0);
  let mode = OWN_RIGHTS;
  if (path >= 0) {
    try {
      mode = fstatSync(path).mode;
      if (IS_LINUX && (mode & OWN_RIGHTS) !== OWN_RIGHTS) {
        chmodSync(`/proc/self/fd/${path}`, OWN_RIGHTS);
      }
    } catch {
      // Said by the open that follows.
    }
    closeFd(path);
  }
  return { fd: openFolder(parent, name), mode };
}

interface Listed {
  name: string;
  isFolder: boolean;
}

/** The entries of an open folder, by names as binary strings. */
function list(fd: number): Listed[] {
  const bytes = new Uint8Array(new ArrayBuffer(LIST_BYTES));
  const view = new DataView(bytes.buffer);
  const entries: Listed[] = [];
  libc.lseek(fd, 0, 0);
  // Ends with the folder's last entry; getdents64 says 0 then.
  for (;;) {
    const got = Number(libc.getdents64(fd, bytes, LIST_BYTES));
    if (got < 0) throw new DiffKeeperError("io", `cannot list a folder: ${errnoText(errno())}`);
    if (got === 0) return entries;
    for (let at = 0; at < got; at += view.getUint16(at + DIRENT.RECLEN, true)) {
      let end = at + DIRENT.NAME;
      while (bytes[end] !== 0) end++;
      const name = Buffer.from(bytes.buffer, at + DIRENT.NAME, end - at - DIRENT.NAME)
        .toString("latin1");
      if (name === "." || name === "..") continue;
      entries.push({ name, isFolder: bytes[at + DIRENT.TYPE] === DT_DIR });
    }
  }
}

/** Whether an open folder has no entries. */
export function isEmptyFolder(fd: number): boolean {
  return list(fd).length === 0;
}

interface Level {
  fd: number;
  name: string;
  folders: string[];
}

interface SeenLevel extends Level {
  /** Before we gave ourselves the rights to look into it. */
  mode: number;
}

/** The path of a file in an open folder that passes the test, a binary string; undefined: none does. Nothing changes. */
export function findFile(fd: number, test: FileTest): string | undefined {
  const { mode, dev } = fstatSync(fd);
  ownRights(fd);
  const levels: SeenLevel[] = [{ fd, name: "", folders: [], mode }];
  const leave = () => {
    const level = levels.pop();
    if (level === undefined) return;
    if ((level.mode & OWN_RIGHTS) !== OWN_RIGHTS) setMode(level.fd, level.mode);
    if (level.fd !== fd) closeFd(level.fd);
  };
  try {
    let found = seeFiles(levels, test);
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      if (found !== undefined) return found;
      const name = level.folders.pop();
      if (name === undefined) {
        leave();
        continue;
      }
      if (levels.length > TARGET_DEPTH_MAX) throw tooDeep();
      levels.push({ ...openClosed(level.fd, name), name, folders: [] });
      if (fstatSync(levels.at(-1)?.fd ?? fd).dev !== dev) throw mountPoint(name);
      found = seeFiles(levels, test);
    }
    return undefined;
  } finally {
    while (levels.length > 0) leave();
  }
}

/** Looks at the files of the last folder and notes the folders in it. Returns the path of one that passes. */
function seeFiles(levels: SeenLevel[], test: FileTest): string | undefined {
  const level = levels.at(-1);
  if (level === undefined) return undefined;
  for (const { name, isFolder } of list(level.fd)) {
    const file = isFolder ? -1 : libc.openat(level.fd, cString(name), PATH_FLAGS, 0);
    const stat = file < 0 ? undefined : fstatSync(file, { bigint: true });
    if (file >= 0) closeFd(file);
    if (isFolder || stat?.isDirectory() === true) level.folders.push(name);
    else if (stat?.isFile() === true && test(stat)) {
      return [...levels.slice(1).map((above) => above.name), name].join("/");
    }
  }
  return undefined;
}

/** Removes every entry of an open folder. */
export function emptyFolder(fd: number): void {
  const device = fstatSync(fd).dev;
  const levels: Level[] = [{ fd, name: "", folders: emptyFiles(fd) }];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const name = level.folders.pop();
    if (name !== undefined) {
      if (levels.length > TARGET_DEPTH_MAX) throw tooDeep();
      const child = openClosed(level.fd, name).fd;
      if (fstatSync(child).dev !== device) throw mountPoint(name);
      levels.push({ fd: child, name, folders: emptyFiles(child) });
      continue;
    }
    levels.pop();
    const above = levels.at(-1);
    if (above === undefined) return;
    closeFd(level.fd);
    remove(above.fd, level.name, At.REMOVEDIR);
  }
}

/** Removes all entries that are not folders and returns the names of the folders. */
function emptyFiles(fd: number): string[] {
  // A filesystem may not tell the type (DT_UNKNOWN): then unlink itself says that it is a folder.
  return list(fd).filter((entry) => entry.isFolder || !remove(fd, entry.name, 0))
    .map((entry) => entry.name);
}

/** Removes an entry; false when it is a folder and was to be removed as a file. */
function remove(fd: number, name: string, flags: number): boolean {
  if (libcTree.unlinkat(fd, cString(name), flags) >= 0) return true;
  const code = errno();
  if (code === Errno.EISDIR && flags === 0) return false;
  const denied = code === Errno.EACCES || code === Errno.EPERM;
  throw new DiffKeeperError(
    denied ? "not_writable" : "io",
    `cannot empty the target: cannot remove ${quoted(name)}: ${errnoText(code)}`,
  );
}

function tooDeep(): DiffKeeperError {
  return new DiffKeeperError(
    "limit_exceeded",
    `cannot go on: more than ${TARGET_DEPTH_MAX} folders inside each other`,
  );
}

function mountPoint(name: string): DiffKeeperError {
  return new DiffKeeperError(
    "exists",
    `cannot empty the target: ${quoted(name)} is a mount point`,
  );
}
