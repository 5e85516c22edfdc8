/**
 * Opens the folder that an export goes to: makes it when it is missing, refuses one that is not empty, or empties it when
 * that was asked for. Emptying goes by descriptor, never through a symlink and never onto another filesystem.
 */
import { chmodSync, constants, fchmodSync, fstatSync, mkdirSync, realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { DiffKeeperError } from "../base/error.ts";
import { cString, Errno, errno, errnoText, IS_LINUX, libc } from "../../ffi/libc.ts";
import { At, libcTree } from "../../ffi/libc_tree.ts";
import { closeFd, openFolder } from "./target.ts";
import { binaryOf, quoted } from "./path_text.ts";

const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const PATH_FLAGS = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC;
const OWN_RIGHTS = 0o700;
const LIST_BYTES = 64 * 1024;

/** Offsets in struct linux_dirent64 (man 2 getdents). */
const DIRENT = { RECLEN: 16, TYPE: 18, NAME: 19 } as const;
const DT_DIR = 4;

/** Folders inside each other that are emptied; each keeps a descriptor open. */
export const TARGET_DEPTH_MAX = 10_000;

/** How to open a target. */
export interface TargetOptions {
  /** Whether entries that are there are removed first. */
  force: boolean;
  /** The trace that is read: neither it nor a folder that holds it may be written to. */
  stateDir: string;
}

/**
 * Opens the target folder, empty, and returns its descriptor.
 * @throws {DiffKeeperError} `exists` when it is not empty and `force` is not set; `usage` when it is or holds the trace;
 *   `not_writable` or `io` when it cannot be made.
 */
export function openTarget(out: string, options: TargetOptions): number {
  checkPlace(out, options.stateDir);
  try {
    mkdirSync(out, { recursive: true });
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code ?? "";
    const isFile = code === "EEXIST" || code === "ENOTDIR";
    throw new DiffKeeperError(
      isFile ? "exists" : ["EACCES", "EPERM", "EROFS"].includes(code) ? "not_writable" : "io",
      `cannot export to "${out}": ${isFile ? "it is not a folder" : `it cannot be made (${code})`}`,
    );
  }
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC;
  const fd = libc.openat(At.FDCWD, cString(binaryOf(out)), flags, 0);
  if (fd < 0) {
    throw new DiffKeeperError("not_writable", `cannot export to "${out}": ${errnoText(errno())}`);
  }
  const count = list(fd).length;
  if (count > 0 && !options.force) {
    closeFd(fd);
    throw new DiffKeeperError("exists", `cannot export to "${out}": it is not empty`, {
      hint: "choose a new folder, or add --force to remove what is in it",
    });
  }
  ownRights(fd);
  if (count > 0) empty(fd);
  return fd;
}

/** Lets us change an open folder, as one that was restored read-only; where it is not ours the change itself will fail. */
function ownRights(fd: number): void {
  const { mode } = fstatSync(fd);
  if ((mode & OWN_RIGHTS) === OWN_RIGHTS) return;
  try {
    fchmodSync(fd, (mode & 0o7777) | OWN_RIGHTS);
  } catch {
    // Said by the change that is not allowed.
  }
}

/** Opens a folder to empty it, even when its mode forbids us to look into it. */
function openClosed(parent: number, name: string): number {
  const path = libc.openat(parent, cString(name), PATH_FLAGS, 0);
  if (path >= 0) {
    try {
      if (IS_LINUX && (fstatSync(path).mode & OWN_RIGHTS) !== OWN_RIGHTS) {
        chmodSync(`/proc/self/fd/${path}`, OWN_RIGHTS);
      }
    } catch {
      // Said by the open that follows.
    }
    closeFd(path);
  }
  return openFolder(parent, name);
}

/** Refuses `/`, the state-dir, what lies in it, and what holds it. */
function checkPlace(out: string, stateDir: string): void {
  const target = realPathOf(out);
  const trace = realPathOf(stateDir);
  const holds = trace === target || trace.startsWith(target === "/" ? "/" : `${target}/`);
  if (!holds && !target.startsWith(`${trace}/`)) return;
  const why = holds ? "it holds the trace that is read" : "it lies in the trace's own folder";
  throw new DiffKeeperError("usage", `cannot export to "${out}": ${why}`, {
    hint: "choose a folder beside the trace",
  });
}

/** The path without symlinks, of the part of it that exists, and the rest as it is. */
function realPathOf(path: string): string {
  const absolute = resolve(path);
  let existing = absolute;
  while (existing !== "/") {
    try {
      return realpathSync(existing) + absolute.slice(existing.length);
    } catch {
      existing = dirname(existing);
    }
  }
  return absolute;
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

interface Level {
  fd: number;
  name: string;
  folders: string[];
}

/** Removes every entry of an open folder. */
function empty(fd: number): void {
  const device = fstatSync(fd).dev;
  const levels: Level[] = [{ fd, name: "", folders: emptyFiles(fd) }];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const name = level.folders.pop();
    if (name !== undefined) {
      if (levels.length > TARGET_DEPTH_MAX) throw tooDeep();
      const child = openClosed(level.fd, name);
      if (fstatSync(child).dev !== device) {
        throw new DiffKeeperError(
          "exists",
          `cannot empty the target: ${quoted(name)} is a mount point`,
        );
      }
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
