/**
 * The entries of one folder, read with getdents64(2) into a buffer that is used again, so that a folder of any size
 * costs the same memory. Names are binary strings, and stay NUL-terminated in the buffer: `address` can be given to a
 * system call as it is. Entries of one buffer fill come in inode order, because that is how disks have the inodes. No
 * object is made for an entry: it is asked for by its place in that order.
 */
import { type Pointer, ptr } from "bun:ffi";
import { errno, libc, pinned } from "../../ffi/libc.ts";

/** Bytes of one getdents64 call: about 2,000 entries. */
const FOLDER_BUFFER_BYTES = 65_536;
/** struct linux_dirent64: u64 ino, i64 off, u16 reclen, u8 type, then the name. */
export const NAME_OFFSET = 19;
const TYPE_OFFSET = 18;
const LENGTH_OFFSET = 16;
/** No entry is smaller: the fields above, a name of one byte and its NUL, in whole words. */
const ENTRY_BYTES_MIN = 24;
const ENTRIES_MAX = Math.floor(FOLDER_BUFFER_BYTES / ENTRY_BYTES_MIN);
/** A sort key is a double: 40 bits of the inode number, then the place in the buffer, a multiple of 8. */
const PLACES = FOLDER_BUFFER_BYTES / 8;
/** Of the fill in hand: for one thread, used again by all of its readers. */
const KEYS = new Float64Array(ENTRIES_MAX);
const TWO_32 = 0x1_0000_0000;
const DOT = 0x2e;

/** Memory of a reader: the buffer, how much of it is filled, where each entry begins. */
export const FOLDER_READER_BYTES = FOLDER_BUFFER_BYTES + 8 + Math.ceil(ENTRIES_MAX / 4) * 8;

/** d_type (readdir(3)). */
export const DirentType = { UNKNOWN: 0, FOLDER: 4, FILE: 8 } as const;

/** Reads folders, one after the other. What it says of an entry is valid until it is filled again. */
export class FolderReader {
  /** The buffer that names stand in. */
  readonly bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  readonly #text: Buffer;
  readonly #base: Pointer;
  /** One word: bytes of the buffer that are filled. */
  readonly #filled: Uint32Array;
  /** Where each entry begins, in order. */
  readonly starts: Uint16Array;

  /** @param memory FOLDER_READER_BYTES, whose address must not change; default: memory of its own. */
  constructor(memory = pinned(FOLDER_READER_BYTES).bytes) {
    const { buffer, byteOffset: at } = memory;
    this.bytes = new Uint8Array(buffer, at, FOLDER_BUFFER_BYTES);
    this.#words = new Uint32Array(buffer, at, FOLDER_BUFFER_BYTES / 4);
    this.#halves = new Uint16Array(buffer, at, FOLDER_BUFFER_BYTES / 2);
    this.#text = Buffer.from(buffer, at, FOLDER_BUFFER_BYTES);
    this.#base = ptr(this.bytes);
    this.#filled = new Uint32Array(buffer, at + FOLDER_BUFFER_BYTES, 1);
    this.starts = new Uint16Array(buffer, at + FOLDER_BUFFER_BYTES + 8, ENTRIES_MAX);
  }

  /**
   * Reads the next entries of an open folder and returns how many, without `.` and `..`; `end` after the last; a negative error
   * number on failure.
   */
  fill(folder: number): number | "end" {
    const filled = Number(libc.getdents64(folder, this.#base, FOLDER_BUFFER_BYTES));
    if (filled < 0) return -errno();
    this.#filled[0] = filled;
    if (filled === 0) return "end";
    let count = 0;
    for (let at = 0; at + NAME_OFFSET < filled;) {
      const length = this.#halves[(at + LENGTH_OFFSET) >>> 1] as number;
      if (length < ENTRY_BYTES_MIN || (length & 7) !== 0) break;
      if (!this.#isDots(at + NAME_OFFSET)) {
        const word = at >>> 2;
        const high = (this.#words[word + 1] as number) & 0xff;
        const ino = (this.#words[word] as number) + high * TWO_32;
        KEYS[count++] = ino * PLACES + at / 8;
      }
      at += length;
    }
    this.#order(count);
    return count;
  }

  /** Takes over what another reader has filled. @param count what its `fill` returned. */
  take(other: FolderReader, count: number): void {
    if (count < 0) return;
    this.starts.set(other.starts.subarray(0, count));
    this.bytes.set(other.bytes.subarray(0, other.#filled[0]));
  }

  #order(count: number): void {
    const { starts } = this;
    KEYS.subarray(0, count).sort();
    for (let i = 0; i < count; i++) {
      const key = KEYS[i] as number;
      // the remainder of doubles is a slow call
      starts[i] = (key - Math.floor(key / PLACES) * PLACES) * 8;
    }
  }

  /** d_type of an entry. */
  type(entry: number): number {
    return this.bytes[(this.starts[entry] as number) + TYPE_OFFSET] as number;
  }

  /** Of the name as a C string. */
  address(entry: number): Pointer {
    return this.#base + this.nameAt(entry) as Pointer;
  }

  /** Where in `bytes` the name begins. */
  nameAt(entry: number): number {
    return (this.starts[entry] as number) + NAME_OFFSET;
  }

  nameLength(entry: number): number {
    const { bytes } = this;
    const start = this.nameAt(entry);
    let end = start;
    while (end < bytes.length && bytes[end] !== 0) end++;
    return end - start;
  }

  name(entry: number): string {
    const start = this.nameAt(entry);
    return this.#text.toString("latin1", start, start + this.nameLength(entry));
  }

  #isDots(at: number): boolean {
    const { bytes } = this;
    if (bytes[at] !== DOT) return false;
    return bytes[at + 1] === 0 || bytes[at + 1] === DOT && bytes[at + 2] === 0;
  }
}
