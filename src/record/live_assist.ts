/**
 * The Resolver's eyes on the live system: bytes that no record carried are read back from the file, found by its inode (an NFS-style
 * handle made from inode and generation), by the descriptor of the process that wrote it, or by its path; the identity is checked
 * each time, so that a name that was given to another file meanwhile is never read. Nothing here blocks: opens are O_NONBLOCK, and
 * only regular files are read.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { cString, Errno, errno, libc, pinned } from "../../ffi/libc.ts";
import { IMPORT_ENTRIES_MAX } from "../base/limits.ts";
import type { KernelInode } from "../format/kernel_decode.ts";
import type { Assist, ReadTarget, TreeEntry } from "../resolve/sink.ts";
import { AT_FDCWD, FileType, InodeStat } from "./inode_stat.ts";
import { FollowedFiles } from "./mapped_files.ts";
import { XattrReader } from "./xattrs.ts";

const O_PATH_FREE = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW | 0o2000000;
/** FILEID_INO32_GEN (linux/exportfs.h): ext2/3/4, and xfs for small inode numbers. */
const FILEID_INO32_GEN = 1;
const HANDLE_BYTES = 16;
/** PATH_MAX (linux/limits.h), the NUL counted. */
const PATH_BYTES_MAX = 4096;
const S_IFMT = 0o170000;

/** A mount by which handles of one device are opened. */
export interface HandleMount {
  dev: number;
  fd: number;
}

/** See the head of the file. Call `close` at the end. */
export class LiveAssist implements Assist {
  readonly linked: Required<Assist>["linked"];
  readonly #mounts: readonly HandleMount[];
  readonly #stat = new InodeStat();
  readonly #xattrs = new XattrReader();
  readonly #handle = pinned(HANDLE_BYTES);
  readonly mapped = new FollowedFiles((target) => this.#openFile(target));
  /** The file read last, kept open for the next piece. */
  #open: { dev: number; ino: number; fd: number } | undefined;

  /** @param linked see Assist. */
  constructor(mounts: readonly HandleMount[], linked: Required<Assist>["linked"]) {
    this.#mounts = mounts;
    this.linked = linked;
  }

  read(target: ReadTarget, range: { offset: number; length: number }): Uint8Array | undefined {
    const fd = this.#fdOf(target);
    if (fd < 0) return undefined;
    const bytes = new Uint8Array(range.length);
    let done = 0;
    while (done < range.length) {
      let got: number;
      try {
        got = readSync(fd, bytes, done, range.length - done, range.offset + done);
      } catch {
        return undefined;
      }
      if (got === 0) break;
      done += got;
    }
    return bytes.subarray(0, done);
  }

  lstat(path: string): KernelInode | undefined {
    if (this.#stat.readAt(AT_FDCWD, cString(path)) !== 0) return undefined;
    return this.#inode(this.#stat.generationAt(AT_FDCWD, cString(path)));
  }

  memory(pid: number, address: number, length?: number): string | undefined {
    const bytes = Buffer.alloc(length ?? PATH_BYTES_MAX);
    try {
      const fd = openSync(`/proc/${pid}/mem`, "r");
      try {
        const got = readSync(fd, bytes, 0, bytes.length, address);
        const end = length === undefined ? bytes.subarray(0, got).indexOf(0) : got;
        return end < 0 || got < (length ?? 0) ? undefined : bytes.toString("latin1", 0, end);
      } finally {
        closeSync(fd);
      }
    } catch {
      return undefined;
    }
  }

  readlink(path: string): string | undefined {
    try {
      return readlinkSync(Buffer.from(path, "latin1"), { encoding: "buffer" }).toString("latin1");
    } catch {
      return undefined;
    }
  }

  xattrs(path: string): Map<string, Uint8Array> | undefined {
    const found = this.#xattrs.readPath(path);
    return typeof found === "number"
      ? undefined
      : new Map(found.map(({ name, value }) => [name, value]));
  }

  /** Folders first; a folder that cannot be read is there without content. */
  readTree(path: string): Iterable<TreeEntry> | undefined {
    return this.#walk(path);
  }

  *#walk(top: string): Generator<TreeEntry> {
    const folders = [""];
    let entries = 0;
    for (let at = 0; at < folders.length; at++) {
      const folder = folders[at] ?? "";
      for (const name of namesOf(folder === "" ? top : `${top}/${folder}`)) {
        if (++entries > IMPORT_ENTRIES_MAX) return;
        const path = folder === "" ? name : `${folder}/${name}`;
        const inode = this.lstat(`${top}/${path}`);
        if (inode === undefined) continue;
        const type = inode.mode & S_IFMT;
        if (type === FileType.FOLDER) folders.push(path);
        const target = type === FileType.SYMLINK ? this.readlink(`${top}/${path}`) : undefined;
        yield target === undefined ? { path, inode } : { path, inode, target };
      }
    }
  }

  close(): void {
    this.mapped.close();
    this.#forget();
  }

  #forget(): void {
    if (this.#open !== undefined) closeSync(this.#open.fd);
    this.#open = undefined;
  }

  #inode(gen: number): KernelInode {
    const { sec, nsec } = this.#stat.mtime();
    return { ...this.#stat.attr(gen), mtimeSec: sec, mtimeNsec: nsec };
  }

  #fdOf(target: ReadTarget): number {
    const { dev, ino } = target;
    if (this.#open?.dev === dev && this.#open.ino === ino) return this.#open.fd;
    this.#forget();
    const fd = this.#openFile(target);
    if (fd >= 0) this.#open = { dev, ino, fd };
    return fd;
  }

  /** A descriptor for reading that the caller owns, or -1. */
  #openFile(target: ReadTarget): number {
    let fd = this.#byHandle(target);
    if (fd < 0 && target.pid !== 0 && target.fd >= 0) {
      fd = this.#byPath(
        `/proc/${target.pid}/fd/${target.fd}`,
        constants.O_RDONLY | constants.O_NONBLOCK,
      );
    }
    if (fd < 0 && target.path !== undefined) fd = this.#byPath(target.path, O_PATH_FREE);
    if (fd < 0) return -1;
    const stat = this.#stat;
    const isRegular = stat.readFd(fd) === 0 && stat.type === FileType.REGULAR;
    if (isRegular && stat.ino === target.ino) return fd;
    closeSync(fd);
    return -1;
  }

  #byHandle(target: ReadTarget): number {
    const mount = this.#mounts.find((m) => m.dev === target.dev);
    if (mount === undefined || target.gen === 0 || target.ino >= 2 ** 32) return -1;
    const view = new DataView(this.#handle.bytes.buffer);
    view.setUint32(0, 8, true);
    view.setInt32(4, FILEID_INO32_GEN, true);
    view.setUint32(8, target.ino, true);
    view.setUint32(12, target.gen, true);
    const fd = libc.open_by_handle_at(
      mount.fd,
      this.#handle.address,
      constants.O_RDONLY | 0o2000000,
    );
    return fd < 0 && errno() === Errno.ESTALE ? -1 : fd;
  }

  #byPath(path: string, flags: number): number {
    try {
      const fd = openSync(Buffer.from(path, "latin1"), flags);
      if (fstatSync(fd).isFile()) return fd;
      closeSync(fd);
    } catch {
      return -1;
    }
    return -1;
  }
}

/** Names in a folder as binary strings; none when it cannot be read. */
function namesOf(path: string): string[] {
  try {
    const names = readdirSync(Buffer.from(path, "latin1"), { encoding: "buffer" });
    return names.map((name) => name.toString("latin1"));
  } catch {
    return [];
  }
}
