/**
 * States of the first entries of one listing of a folder, read one after the other and kept side by side, so that what follows can be
 * loops over words (format/left_files.ts).
 */
import { type Pointer, ptr } from "bun:ffi";
import { pinned } from "../../ffi/libc.ts";
import { STATX_WORDS } from "../format/left_files.ts";
import { DirentType, type FolderReader } from "./folder_reader.ts";
import { readStateInto } from "./inode_stat.ts";

/** Entries whose states are kept; those of more are read one at a time. */
export const STATES_MAX = 512;

/** Memory of the states of a folder. */
export const STATES_BYTES = 8 + STATES_MAX * STATX_WORDS * 4;

/** See the head of the file. */
export class FolderStates {
  /** STATX_WORDS for each entry; the first of them is 0 where nothing is known. */
  readonly words: Uint32Array;
  readonly #base: Pointer;
  /** One word: how many there are. */
  readonly #count: Uint32Array;

  /** @param memory STATES_BYTES, whose address must not change; default: memory of its own. */
  constructor(memory = pinned(STATES_BYTES).bytes) {
    const { buffer, byteOffset: at } = memory;
    this.#count = new Uint32Array(buffer, at, 1);
    this.words = new Uint32Array(buffer, at + 8, STATES_MAX * STATX_WORDS);
    this.#base = ptr(this.words);
  }

  /** Entries that it has, or may have, the state of. */
  get count(): number {
    return this.#count[0] as number;
  }

  /** Reads the states of what an open folder's listing names, but for folders. @param count what `fill` returned. */
  read(folder: number, reader: FolderReader, count: number): void {
    const { words } = this;
    const entries = Math.min(Math.max(count, 0), STATES_MAX);
    for (let entry = 0; entry < entries; entry++) {
      const at = entry * STATX_WORDS;
      const isRead = reader.type(entry) !== DirentType.FOLDER &&
        readStateInto(folder, reader.address(entry), this.#base + at * 4 as Pointer) === 0;
      // the first word says what is in it, and is never 0
      if (!isRead) words[at] = 0;
    }
    this.#count[0] = entries;
  }
}
