/**
 * Opening by absolute paths of any length: what is longer than PATH_MAX is walked in pieces, each from the folder that the piece
 * before led to. Symlinks on the way are followed as the kernel does.
 */
import { cString, IS_LINUX, libc } from "./libc.ts";

/** PATH_MAX with its NUL (linux/limits.h). */
const PATH_BYTES_MAX = 4095;
const AT_FDCWD = -100;
const O_PATH = 0o10000000;
const O_DIRECTORY = process.arch === "arm64" ? 0o40000 : 0o200000;
const O_CLOEXEC = 0o2000000;

/** As open(2) with a binary string; returns a descriptor or -1, then `errno()` says why. */
export function openDeep(path: string, flags: number): number {
  // what a trace refers to lies on the Linux machine where it was recorded
  if (!IS_LINUX) return -1;
  let folder = AT_FDCWD;
  let rest = path;
  while (rest.length > PATH_BYTES_MAX) {
    const end = rest.lastIndexOf("/", PATH_BYTES_MAX - 1);
    // a name is at most 255 bytes: a piece without a border is no path
    if (end <= 0) break;
    const next = libc.openat(
      folder,
      cString(rest.slice(0, end)),
      O_PATH | O_DIRECTORY | O_CLOEXEC,
      0,
    );
    if (folder >= 0) libc.close(folder);
    if (next < 0) return -1;
    folder = next;
    rest = rest.slice(end + 1);
  }
  const fd = libc.openat(folder, cString(rest), flags | O_CLOEXEC, 0);
  if (folder >= 0) libc.close(folder);
  return fd;
}
