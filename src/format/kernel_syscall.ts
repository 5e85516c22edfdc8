/**
 * System calls that arrive as CALL records: their numbers on x86-64 and arm64, and what the fields
 * of dk_call hold for each. Numbers: arch/x86/entry/syscalls/syscall_64.tbl and
 * include/uapi/asm-generic/unistd.h; bpf/calls.h has the kernel's side of the same table.
 *
 * Strings: str[0] is the path, relative to base[0] (base.ino 0: absolute path). Calls with two
 * paths have the second in str[1], relative to base[1]. symlink: str[0] is the target text, str[1]
 * the link. xattr: str[1] the name, str[2] the value. By descriptor: str[0] empty, touched[0]
 * the file.
 * Arguments that the table does not name hold whatever the register held. Only the low 32 bits of
 * modes, flags and ids count. Only calls that succeeded are sent.
 */

/** What a call does, whichever of its variants it is. */
export const CallKind = {
  /** arg0 the new size. */
  TRUNCATE: 1,
  /** Two paths; arg0 the flags of renameat2, else 0. */
  RENAME: 2,
  /** arg0 the mode. */
  MKDIR: 3,
  RMDIR: 4,
  /** Two paths; arg0 the AT_ flags. */
  LINK: 5,
  /** unlinkat: arg0 the AT_ flags; AT_REMOVEDIR makes it an RMDIR. */
  UNLINK: 6,
  /** str[0] target text, str[1] path. */
  SYMLINK: 7,
  /** arg0 mode, arg1 device in the encoding of user space. */
  MKNOD: 8,
  /** arg0 mode; fchmodat2: arg1 the AT_ flags. */
  CHMOD: 9,
  /** arg0 uid, arg1 gid; fchownat: arg2 the AT_ flags. */
  CHOWN: 10,
  /** utimensat: arg0 the AT_ flags. */
  UTIMES: 11,
  /** str[1] name, str[2] value; arg0 XATTR_CREATE or XATTR_REPLACE. */
  SETXATTR: 12,
  /** str[1] name. */
  REMOVEXATTR: 13,
  /** arg0 mode, arg1 offset, arg2 length. */
  FALLOCATE: 14,
  /** bind of a Unix socket to a path: str[0] is sun_path. */
  BIND: 15,
} as const;
export type CallKindCode = (typeof CallKind)[keyof typeof CallKind];

/** The at_flags of a call are in this argument; NONE: it has no flags. */
const NONE = -1;

/** One variant of a call. */
export interface Syscall {
  name: string;
  kind: CallKindCode;
  /** A symlink as last component is followed, unless flags say AT_SYMLINK_NOFOLLOW. */
  follow: boolean;
  /** Index of the argument with AT_ flags, or -1. */
  atFlags: number;
}

/** CPU architectures with a table, named as process.arch names them. */
export type Arch = "x64" | "arm64";

type Row = [number, number, string, CallKindCode, boolean, number];

/** x86-64 number, arm64 number (0: there is none), name, kind, follow, at_flags argument. */
const ROWS: readonly Row[] = [
  [76, 45, "truncate", CallKind.TRUNCATE, true, NONE],
  [77, 46, "ftruncate", CallKind.TRUNCATE, true, NONE],
  [82, 0, "rename", CallKind.RENAME, false, NONE],
  [264, 38, "renameat", CallKind.RENAME, false, NONE],
  [316, 276, "renameat2", CallKind.RENAME, false, NONE],
  [83, 0, "mkdir", CallKind.MKDIR, false, NONE],
  [258, 34, "mkdirat", CallKind.MKDIR, false, NONE],
  [84, 0, "rmdir", CallKind.RMDIR, false, NONE],
  [86, 0, "link", CallKind.LINK, false, NONE],
  [265, 37, "linkat", CallKind.LINK, false, 0],
  [87, 0, "unlink", CallKind.UNLINK, false, NONE],
  [263, 35, "unlinkat", CallKind.UNLINK, false, 0],
  [88, 0, "symlink", CallKind.SYMLINK, false, NONE],
  [266, 36, "symlinkat", CallKind.SYMLINK, false, NONE],
  [133, 0, "mknod", CallKind.MKNOD, false, NONE],
  [259, 33, "mknodat", CallKind.MKNOD, false, NONE],
  [90, 0, "chmod", CallKind.CHMOD, true, NONE],
  [91, 52, "fchmod", CallKind.CHMOD, true, NONE],
  [268, 53, "fchmodat", CallKind.CHMOD, true, NONE],
  [452, 452, "fchmodat2", CallKind.CHMOD, true, 1],
  [92, 0, "chown", CallKind.CHOWN, true, NONE],
  [93, 55, "fchown", CallKind.CHOWN, true, NONE],
  [94, 0, "lchown", CallKind.CHOWN, false, NONE],
  [260, 54, "fchownat", CallKind.CHOWN, true, 2],
  [132, 0, "utime", CallKind.UTIMES, true, NONE],
  [235, 0, "utimes", CallKind.UTIMES, true, NONE],
  [261, 0, "futimesat", CallKind.UTIMES, true, NONE],
  [280, 88, "utimensat", CallKind.UTIMES, true, 0],
  [188, 5, "setxattr", CallKind.SETXATTR, true, NONE],
  [189, 6, "lsetxattr", CallKind.SETXATTR, false, NONE],
  [190, 7, "fsetxattr", CallKind.SETXATTR, true, NONE],
  [463, 463, "setxattrat", CallKind.SETXATTR, true, 0],
  [197, 14, "removexattr", CallKind.REMOVEXATTR, true, NONE],
  [198, 15, "lremovexattr", CallKind.REMOVEXATTR, false, NONE],
  [199, 16, "fremovexattr", CallKind.REMOVEXATTR, true, NONE],
  [466, 466, "removexattrat", CallKind.REMOVEXATTR, true, 0],
  [285, 47, "fallocate", CallKind.FALLOCATE, true, NONE],
  [49, 200, "bind", CallKind.BIND, false, NONE],
];

/** Flags of the calls (include/uapi/linux/fcntl.h, fs.h, falloc.h). */
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;
export const FALLOC_KEEP_SIZE = 0x01;
export const FALLOC_PUNCH_HOLE = 0x02;
export const FALLOC_COLLAPSE_RANGE = 0x08;
export const FALLOC_ZERO_RANGE = 0x10;
export const FALLOC_INSERT_RANGE = 0x20;

/** The table from call number to meaning for one architecture. */
export function syscallTable(arch: Arch): Map<number, Syscall> {
  const table = new Map<number, Syscall>();
  for (const [x64, arm64, name, kind, follow, atFlags] of ROWS) {
    const nr = arch === "x64" ? x64 : arm64;
    if (nr !== 0) table.set(nr, { name, kind, follow, atFlags });
  }
  return table;
}

/** The number of a call by name, for tests and for records built by hand; -1 when there is none. */
export function syscallNumber(name: string, arch: Arch): number {
  const row = ROWS.find((r) => r[2] === name);
  if (!row) return -1;
  const nr = arch === "x64" ? row[0] : row[1];
  return nr === 0 ? -1 : nr;
}

/** A device number as user space passes it to mknod (new_encode_dev) in the kernel's own form. */
export function kernelDevice(user: number): number {
  const major = (user >>> 8) & 0xfff;
  const minor = (user & 0xff) | ((user >>> 12) & 0xfff00);
  return ((major << 20) | minor) >>> 0;
}
