/**
 * The calls of the C library that change a tree of files, used to restore one; libc.ts has the calls that read, and the
 * error helpers. All take a folder's descriptor and one name, so that no path is ever resolved: a symlink in the way
 * cannot lead elsewhere, and a tree deeper than PATH_MAX works.
 */
import { dlopen, FFIType } from "bun:ffi";
import { IS_LINUX } from "./libc.ts";
import { portableLibcTree } from "./portable_libc.ts";

const SYMBOLS = {
  /** man 2 mkdirat. */
  mkdirat: {
    args: [
      "i32", // int dirfd
      "ptr", // const char *pathname
      "u32", // mode_t mode
    ],
    returns: "i32", // int
  },
  /** man 2 unlinkat. */
  unlinkat: {
    args: [
      "i32", // int dirfd
      "ptr", // const char *pathname
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  /** man 2 renameat. */
  renameat: {
    args: [
      "i32", // int olddirfd
      "ptr", // const char *oldpath
      "i32", // int newdirfd
      "ptr", // const char *newpath
    ],
    returns: "i32", // int
  },
  /** man 2 symlinkat. */
  symlinkat: {
    args: [
      "ptr", // const char *target
      "i32", // int newdirfd
      "ptr", // const char *linkpath
    ],
    returns: "i32", // int
  },
  /** man 2 linkat. */
  linkat: {
    args: [
      "i32", // int olddirfd
      "ptr", // const char *oldpath
      "i32", // int newdirfd
      "ptr", // const char *newpath
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  /** man 2 pwrite. */
  pwrite: {
    args: [
      "i32", // int fd
      "ptr", // const void *buf
      "u64", // size_t count
      "i64", // off_t offset
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  /** man 2 ftruncate. */
  ftruncate: {
    args: [
      "i32", // int fd
      "i64", // off_t length
    ],
    returns: "i32", // int
  },
  /** man 2 fchmod. */
  fchmod: {
    args: [
      "i32", // int fd
      "u32", // mode_t mode
    ],
    returns: "i32", // int
  },
  /** man 2 fchmodat; follows symlinks. */
  fchmodat: {
    args: [
      "i32", // int dirfd
      "ptr", // const char *pathname
      "u32", // mode_t mode
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  /** man 2 fchownat. */
  fchownat: {
    args: [
      "i32", // int dirfd
      "ptr", // const char *pathname
      "u32", // uid_t owner
      "u32", // gid_t group
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  /** man 2 fchown. */
  fchown: {
    args: [
      "i32", // int fd
      "u32", // uid_t owner
      "u32", // gid_t group
    ],
    returns: "i32", // int
  },
  /** man 3 futimens. */
  futimens: {
    args: [
      "i32", // int fd
      "ptr", // const struct timespec times[2]: access, modification
    ],
    returns: "i32", // int
  },
  /** man 2 utimensat. */
  utimensat: {
    args: [
      "i32", // int dirfd
      "ptr", // const char *pathname
      "ptr", // const struct timespec times[2]: access, modification
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  /** man 2 fsetxattr. */
  fsetxattr: {
    args: [
      "i32", // int fd
      "ptr", // const char *name
      "ptr", // const void *value
      "u64", // size_t size
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  /** man 2 lsetxattr. */
  lsetxattr: {
    args: [
      "ptr", // const char *path
      "ptr", // const char *name
      "ptr", // const void *value
      "u64", // size_t size
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  /** man 2 geteuid. */
  geteuid: {
    args: [],
    returns: "u32", // uid_t
  },
  /** glibc has mknodat as a symbol since 2.33 only; this older entry is what its header called, and is still there. */
  __xmknodat: {
    args: [
      "i32", // int ver: 0
      "i32", // int dirfd
      "ptr", // const char *pathname
      "u32", // mode_t mode
      "ptr", // dev_t *dev
    ],
    returns: "i32", // int
  },
} as const;

function load() {
  return dlopen("libc.so.6", SYMBOLS).symbols;
}
type LibcTree = ReturnType<typeof load>;

/** The functions themselves. A negative result means failure: read `errno()` of libc.ts before anything else is called. */
export const libcTree: LibcTree = IS_LINUX ? load() : portableLibcTree as unknown as LibcTree;

/** Flags of the *at calls (linux/fcntl.h; the same on x86-64 and arm64). */
export const At = { FDCWD: -100, SYMLINK_NOFOLLOW: 0x100, REMOVEDIR: 0x200 } as const;
