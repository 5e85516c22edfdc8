/**
 * Extended attributes of one inode: by descriptor for what is open, by path (through /proc/self/fd) for what must not be
 * opened. Includes POSIX ACLs (system.posix_acl_*) and capabilities, which are attributes as well.
 */
import { type Pointer, ptr } from "bun:ffi";
import { cString, Errno, errno, libc, pinned } from "../../ffi/libc.ts";
import { libcGate } from "../../ffi/libc_gate.ts";

/** XATTR_LIST_MAX and XATTR_SIZE_MAX (linux/limits.h): no list and no value is longer. */
const XATTR_BYTES_MAX = 65_536;

/** One attribute. */
export interface Xattr {
  /** With its namespace, `user.x`; a binary string. */
  name: string;
  value: Uint8Array;
}

const NONE: readonly Xattr[] = [];

/** Names under which xfs lists an ACL a second time, as it lies on disk (fs/xfs/xfs_xattr.c), by the first. */
const LISTED_TWICE = new Map([
  ["system.posix_acl_access", "trusted.SGI_ACL_FILE"],
  ["system.posix_acl_default", "trusted.SGI_ACL_DEFAULT"],
]);
/** listxattrat: the same number on every machine. */
const SYS_LISTXATTRAT = 465;
const AT_SYMLINK_NOFOLLOW = 0x100;
const ENOSYS = 38;

/** Reads attributes through two buffers of 64 KiB. */
export class XattrReader {
  static #canAskAt = true;
  readonly #list = pinned(XATTR_BYTES_MAX);
  readonly #value = pinned(XATTR_BYTES_MAX);

  /** Attributes of an open file. Most files have none: that costs one call. Returns an error number on failure. */
  readFd(fd: number): readonly Xattr[] | number {
    const filled = Number(libc.flistxattr(fd, this.#list.address, XATTR_BYTES_MAX));
    if (filled < 0) return failure(errno());
    if (filled === 0) return NONE;
    return this.#collect(filled, (name) => {
      return Number(libc.fgetxattr(fd, name, this.#value.address, XATTR_BYTES_MAX));
    });
  }

  /**
   * Attributes of `name` in an open folder, itself if it is a symlink; `address` is that of the name as a C string. Returns
   * an error number on failure.
   */
  readAt(
    folder: number,
    name: string,
    address?: Pointer | Uint8Array,
  ): readonly Xattr[] | number {
    if (address !== undefined && this.#hasNoneAt(folder, address)) return NONE;
    return this.readPath(`/proc/self/fd/${folder}/${name}`);
  }

  /** Attributes of what a path names, itself if it is a symlink. Returns an error number on failure. */
  readPath(binary: string): readonly Xattr[] | number {
    const path = cString(binary);
    const filled = Number(libc.llistxattr(path, this.#list.address, XATTR_BYTES_MAX));
    if (filled < 0) return failure(errno());
    if (filled === 0) return NONE;
    return this.#collect(filled, (xattr) => {
      return Number(libc.lgetxattr(path, xattr, this.#value.address, XATTR_BYTES_MAX));
    });
  }

  /** Whether a name in an open folder surely has no attributes. @param text the name, asked for where the kernel wants a path. */
  hasNone(folder: number, address: Pointer, text: () => string): boolean {
    if (XattrReader.#canAskAt) return this.#hasNoneAt(folder, address);
    const found = this.readAt(folder, text());
    return typeof found !== "number" && found.length === 0;
  }

  /** Asks without a path (6.13+), which takes half the time; false also where the kernel cannot say. */
  #hasNoneAt(folder: number, name: Pointer | Uint8Array): boolean {
    if (!XattrReader.#canAskAt) return false;
    const address = typeof name === "number" ? name : ptr(name as Uint8Array);
    const filled = libcGate.syscall(
      SYS_LISTXATTRAT,
      folder,
      Number(address),
      AT_SYMLINK_NOFOLLOW,
      Number(this.#list.address),
      XATTR_BYTES_MAX,
      0,
    );
    if (Number(filled) >= 0) return Number(filled) === 0;
    const code = errno();
    if (code === ENOSYS) XattrReader.#canAskAt = false;
    return code === Errno.EOPNOTSUPP;
  }

  #collect(filled: number, get: (name: Uint8Array) => number): readonly Xattr[] | number {
    const names = Buffer.from(this.#list.bytes.slice(0, filled).buffer).toString("latin1").split(
      "\0",
    );
    const again = new Set(names.map((name) => LISTED_TWICE.get(name)));
    const found: Xattr[] = [];
    for (const name of names) {
      if (name === "" || again.has(name)) continue;
      const length = get(cString(name));
      if (length >= 0) found.push({ name, value: this.#value.bytes.slice(0, length) });
      else if (errno() !== Errno.ENODATA) return errno();
    }
    return found;
  }
}

/** File systems without attributes, and inodes that are gone or hidden with /proc, have none. */
function failure(code: number): readonly Xattr[] | number {
  return code === Errno.EOPNOTSUPP || code === Errno.ENOENT ? NONE : code;
}
