/**
 * File systems that hold no files but the state of the kernel: a scan does not enter them, because reading them has
 * effects, has no end, or says something else each time. Magic numbers: linux/magic.h, statfs(2).
 */
import { statfsSync } from "node:fs";
import { libc, pinned } from "../../ffi/libc.ts";

const NAMES = new Map<number, string>([
  [0x9fa0, "proc"],
  [0x62656572, "sysfs"],
  [0x27e0eb, "cgroup"],
  [0x63677270, "cgroup2"],
  [0x1cd1, "devpts"],
  [0x74726163, "tracefs"],
  [0x64626720, "debugfs"],
  [0x73636673, "securityfs"],
  [0xcafe4a11, "bpf"],
  [0x6165676c, "pstore"],
  [0xde5e81e4, "efivarfs"],
  [0x62656570, "configfs"],
  [0x19800202, "mqueue"],
  [0x42494e4d, "binfmt_misc"],
  [0xf97cff8c, "selinuxfs"],
  [0x43415d53, "smackfs"],
  [0x65735543, "fusectl"],
  [0x6e736673, "nsfs"],
  [0x67596969, "rpc_pipefs"],
  [0x187, "autofs"],
]);

/** struct statfs is 120 bytes on 64-bit Linux; f_type is its first long. */
const statfsBuffer = pinned(128);
const typeWord = new Uint32Array(statfsBuffer.bytes.buffer);

/** The magic number of the filesystem that an open folder lies on, 0 when it cannot be asked: no filesystem has that. */
function magicOf(fd: number): number {
  return libc.fstatfs(fd, statfsBuffer.address) === 0 ? typeWord[0] ?? 0 : 0;
}

/** The name of the pseudo file system that an open folder lies on; undefined for a real one. */
export function pseudoFsOfFd(fd: number): string | undefined {
  return NAMES.get(magicOf(fd));
}

const OVERLAYFS_MAGIC = 0x794c7630;

/** Whether an open folder lies on a filesystem that keeps its files on another one: its inodes are not those that change. */
export function isLayeredFd(fd: number): boolean {
  return magicOf(fd) === OVERLAYFS_MAGIC;
}

const XFS_MAGIC = 0x58465342;
const EXT4_MAGIC = 0xef53;

/** ext2 to ext4, tmpfs, btrfs, f2fs, xfs and overlayfs. */
const LOCAL_MAGICS: ReadonlySet<number> = new Set([
  EXT4_MAGIC,
  0x01021994,
  0x9123683e,
  0xf2f52010,
  XFS_MAGIC,
  OVERLAYFS_MAGIC,
]);

/** Whether one call that lists an open folder gives no name twice, whoever changes the folder: not sure over a network or of FUSE. */
export function listsOnceFd(fd: number): boolean {
  return LOCAL_MAGICS.has(magicOf(fd));
}

/** Whether a call may move or remove an inode there without a new ctime: overlayfs when it removes, xfs when it exchanges two. */
export function isPartialFd(fd: number): boolean {
  const magic = magicOf(fd);
  return magic === OVERLAYFS_MAGIC || magic === XFS_MAGIC;
}

/**
 * Whether a rename there marks the folder of the new name as changed before that of the old one, a whiteout's apart (ext4_rename and
 * ext4_cross_rename in fs/ext4/namei.c).
 */
export function isNewFirstFd(fd: number): boolean {
  return magicOf(fd) === EXT4_MAGIC;
}

/** Whether a whiteout is made there as a file without a name, which takes nothing over from a folder (xfs_rename_alloc_whiteout). */
export function hasBareWhiteoutsFd(fd: number): boolean {
  return magicOf(fd) === XFS_MAGIC;
}

/** The name of the pseudo file system that a path lies on; undefined also when the path cannot be asked. */
export function pseudoFsOfPath(path: Buffer): string | undefined {
  try {
    return NAMES.get(statfsSync(path).type >>> 0);
  } catch {
    // Whether it can be watched at all is for the caller's own stat to say.
    return undefined;
  }
}

/** The magic number of the filesystem that a path lies on, 0 when it cannot be asked. */
export function filesystemOf(path: string): number {
  try {
    return statfsSync(path).type >>> 0;
  } catch {
    return 0; // whether it can be watched at all is for others to say
  }
}
