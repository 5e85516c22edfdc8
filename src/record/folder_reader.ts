/**
 * The entries of one folder, read with getdents64(2) into a buffer that is used again, so that a folder of any size
 * costs the same memory. Names are binary strings, and stay NUL-terminated in the buffer: `address` can be given to a
 * system call as it is. Entries of one buffer fill come in inode order, because that is how disks have the inodes.
 */
import { type Pointer, ptr } from "bun:ffi";
import { errno, libc, pinned } from "../../ffi/libc.ts";

/** Bytes of one getdents64 call: about 2,000 entries. */
const FOLDER_BUFFER_BYTES = 65_536;
/** struct linux_dirent64: u64 ino, i64 off, u16 reclen, u8 type, then the name. */
const NAME_OFFSET = 19;

/** d_type (readdir(3)). */
export const DirentType = { UNKNOWN: 0, FOLDER: 4 } as const;

/** One name in a folder. Valid until the reader is filled again. */
export interface Entry {
  readonly name: string;
  /** Of the name as a C string. */
  readonly address: Pointer;
  readonly type: number;
  readonly ino: number;
}

/** Reads folders, one after the other. */
export class FolderReader {
  readonly #buffer = pinned(FOLDER_BUFFER_BYTES);
  readonly #view = new DataView(this.#buffer.bytes.buffer);
  readonly #text = Buffer.from(this.#buffer.bytes.buffer);
  readonly #base = ptr(this.#buffer.bytes);

  /** The next entries of an open folder without `.` and `..`; `end` after the last; an error number on failure. */
  fill(folder: number): Entry[] | "end" | number {
    const filled = Number(libc.getdents64(folder, this.#buffer.address, FOLDER_BUFFER_BYTES));
    if (filled < 0) return errno();
    if (filled === 0) return "end";
    const entries: Entry[] = [];
    for (let at = 0; at + NAME_OFFSET < filled;) {
      const length = this.#view.getUint16(at + 16, true);
      if (length <= NAME_OFFSET) break;
      const entry = this.#entry(at, at + length);
      if (entry.name !== "." && entry.name !== "..") entries.push(entry);
      at += length;
    }
    return entries.sort((a, b) => a.ino - b.ino);
  }

  #entry(at: number, end: number): Entry {
    const start = at + NAME_OFFSET;
    const nul = this.#text.indexOf(0, start);
    return {
      name: this.#text.toString("latin1", start, nul < 0 || nul > end ? end : nul),
      address: this.#base + start as Pointer,
      type: this.#view.getUint8(at + 18),
      ino: this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 0x1_0000_0000,
    };
  }
}
