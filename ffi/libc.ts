/**
 * The C library, called in this process: one symbol table, the C type of each argument in a comment, and the two helpers
 * that every caller uses to see failure. Paths are bytes with a NUL at the end, never JavaScript strings.
 *
 * Memory: a buffer whose address is kept must come from `pinned`. A small typed array made directly lives inside the
 * garbage-collected heap, and its bytes move (the address goes stale) when `.buffer` or `.subarray` is first used on it.
 */
import { dlopen, FFIType, type Pointer, ptr, read } from "bun:ffi";
import { DiffKeeperError } from "../src/base/error.ts";
import { portableErrno, portableLibc } from "./portable_libc.ts";

const SYMBOLS = {
  /** man 2 openat. Returns a descriptor or -1. */
  openat: {
    args: [
      "i32", // int dirfd
      "ptr", // const char *pathname
      "i32", // int flags
      "u32", // mode_t mode
    ],
    returns: "i32", // int
  },
  close: {
    args: ["i32"], // int fd
    returns: "i32", // int
  },
  /** man 2 statx. */
  statx: {
    args: [
      "i32", // int dirfd
      "ptr", // const char *pathname
      "i32", // int flags
      "u32", // unsigned int mask
      "ptr", // struct statx *statxbuf
    ],
    returns: "i32", // int
  },
  /** glibc >= 2.30. */
  getdents64: {
    args: [
      "i32", // int fd
      "ptr", // void *dirp
      "u64", // size_t count
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  pread: {
    args: [
      "i32", // int fd
      "ptr", // void *buf
      "u64", // size_t count
      "i64", // off_t offset
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  lseek: {
    args: [
      "i32", // int fd
      "i64", // off_t offset
      "i32", // int whence
    ],
    returns: FFIType.i64_fast, // off_t
  },
  readlinkat: {
    args: [
      "i32", // int dirfd
      "ptr", // const char *pathname
      "ptr", // char *buf
      "u64", // size_t bufsiz
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  flistxattr: {
    args: [
      "i32", // int fd
      "ptr", // char *list
      "u64", // size_t size
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  fgetxattr: {
    args: [
      "i32", // int fd
      "ptr", // const char *name
      "ptr", // void *value
      "u64", // size_t size
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  llistxattr: {
    args: [
      "ptr", // const char *path
      "ptr", // char *list
      "u64", // size_t size
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  lgetxattr: {
    args: [
      "ptr", // const char *path
      "ptr", // const char *name
      "ptr", // void *value
      "u64", // size_t size
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  name_to_handle_at: {
    args: [
      "i32", // int dirfd
      "ptr", // const char *pathname
      "ptr", // struct file_handle *handle
      "ptr", // int *mount_id
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  ioctl: {
    args: [
      "i32", // int fd
      "u64", // unsigned long request
      "ptr", // void *argument
    ],
    returns: "i32", // int
  },
  fstatfs: {
    args: [
      "i32", // int fd
      "ptr", // struct statfs *buf
    ],
    returns: "i32", // int
  },
  mmap: {
    args: [
      "ptr", // void *addr
      "u64", // size_t length
      "i32", // int prot
      "i32", // int flags
      "i32", // int fd
      "i64", // off_t offset
    ],
    returns: "ptr", // void *; MAP_FAILED is (void *)-1
  },
  munmap: {
    args: [
      "ptr", // void *addr
      "u64", // size_t length
    ],
    returns: "i32", // int
  },
  fallocate: {
    args: [
      "i32", // int fd
      "i32", // int mode
      "i64", // off_t offset
      "i64", // off_t len
    ],
    returns: "i32", // int
  },
  open_by_handle_at: {
    args: [
      "i32", // int mount_fd
      "ptr", // struct file_handle *handle
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  pipe2: {
    args: [
      "ptr", // int pipefd[2]
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  clock_gettime: {
    args: [
      "i32", // clockid_t clockid
      "ptr", // struct timespec *tp
    ],
    returns: "i32", // int
  },
  /** fcntl(2) with an integer argument. */
  fcntl: {
    args: [
      "i32", // int fd
      "i32", // int op
      "i32", // int arg
    ],
    returns: "i32", // int
  },
  __errno_location: {
    args: [],
    returns: "ptr", // int *, one per thread; this module is loaded once per thread
  },
} as const;

function load() {
  return dlopen("libc.so.6", SYMBOLS).symbols;
}
type Libc = ReturnType<typeof load>;

/** Whether the C library's own calls are there: recording needs them, reading does without. */
export const IS_LINUX: boolean = process.platform === "linux";

/**
 * The functions themselves. A negative result means failure: read `errno()` before anything else is called. Elsewhere than on Linux
 * only those that restoring needs are there.
 */
export const libc: Libc = IS_LINUX ? load() : portableLibc as unknown as Libc;

const errnoAddress = libc.__errno_location();

/** The error number of the libc call made just before, in this thread. */
export function errno(): number {
  return errnoAddress === null ? portableErrno() : read.i32(errnoAddress, 0);
}

/** Error numbers that callers tell apart (asm-generic/errno.h; the same on x86-64 and arm64). */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ENXIO: 6,
  EACCES: 13,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EMFILE: 24,
  ENOSPC: 28,
  ERANGE: 34,
  ELOOP: 40,
  ENODATA: 61,
  EOPNOTSUPP: 95,
  ESTALE: 116,
} as const;

const ERRNO_TEXTS: Record<number, string> = {
  1: "operation not permitted",
  2: "no such file or folder",
  5: "input/output error",
  6: "no such device or address",
  7: "arguments and environment are too long",
  12: "out of memory",
  13: "permission denied",
  17: "file exists",
  20: "not a folder",
  21: "is a folder",
  22: "invalid argument",
  23: "too many open files in the system",
  24: "too many open files",
  26: "it is being written to",
  28: "no space left on device",
  30: "read-only file system",
  34: "result too large",
  36: "name too long",
  40: "too many symbolic links",
  61: "no data",
  95: "not supported",
  116: "stale file handle",
};

/** What an error number means, in lower case, for messages. */
export function errnoText(code: number): string {
  return ERRNO_TEXTS[code] ?? `error ${code}`;
}

/**
 * Passes a libc result through, or throws when it is negative.
 * @throws {DiffKeeperError} `disk_full` for ENOSPC, else `io`; `action` begins the message: `cannot open "x"`.
 */
export function unwrap(result: number | bigint, action: string): number {
  const value = Number(result);
  if (value >= 0) return value;
  const code = errno();
  const kind = code === Errno.ENOSPC ? "disk_full" : "io";
  throw new DiffKeeperError(kind, `${action}: ${errnoText(code)}`, { cause: code });
}

/** A zeroed buffer whose address never changes while it is referenced; with its address. */
export interface Pinned {
  readonly bytes: Uint8Array;
  readonly address: Pointer;
}

/** Makes a buffer that may be given to C by address, again and again. The caller keeps `bytes` referenced. */
export function pinned(sizeBytes: number): Pinned {
  const bytes = new Uint8Array(new ArrayBuffer(sizeBytes));
  return { bytes, address: ptr(bytes) };
}

/** A binary string (one char per byte) as a C string: its bytes and a NUL, in memory of its own. */
export function cString(binary: string): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(binary.length + 1));
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i) & 0xff;
  return bytes;
}
