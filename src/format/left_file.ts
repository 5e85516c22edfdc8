/**
 * A file of a lazy baseline whose content is left where it is: the event that nearly all of a large tree is made of (BASELINE, flags
 * LAZY and TLVS, with NAME, ATTR and CTIME in this order). It is written from the words of statx(2) and read in place, so that no
 * object is made for a file. Positions count u32 words.
 */
import { assert } from "../base/assert.ts";
import {
  ATTR_BYTES,
  CTIME_BYTES,
  EVENT_FIXED_BYTES,
  padded,
  Tag,
  TAG_HEADER_BYTES,
  WORD,
} from "./event_layout.ts";
import type { GrowingBuffer } from "./growing_buffer.ts";
import { EventFlag, Op } from "./trace_event.ts";

const OP_FLAGS = Op.BASELINE | (EventFlag.LAZY | EventFlag.TLVS) << 8;
const FIXED_WORDS = EVENT_FIXED_BYTES / 4;
const TAG_WORDS = TAG_HEADER_BYTES / 4;
/** An event without its name. */
const SIZE_MIN = EVENT_FIXED_BYTES + 3 * TAG_HEADER_BYTES + ATTR_BYTES + CTIME_BYTES;
const TWO_32 = 0x1_0000_0000;

/** struct statx, linux/stat.h; sizes and times are two words. */
export const StatxWord = {
  NLINK: 4,
  UID: 5,
  GID: 6,
  MODE: 7,
  INO: 8,
  SIZE: 10,
  CTIME: 24,
  CTIME_NSEC: 26,
  MTIME: 28,
  MTIME_NSEC: 30,
} as const;

/** A regular file with one name, not empty and without extended attributes. Filled again for each file; nothing of it is kept. */
export class LeftFile {
  /** What statx(2) gave, as words. */
  state: Uint32Array;
  /** Where in `state` it begins. */
  stateAt = 0;
  /** Where names stand. */
  source: Uint8Array;
  node = 0;
  parent = 0;
  /** The kernel's s_dev. */
  dev = 0;
  gen = 0;
  /** The name: `nameLength` bytes of `source` from `nameAt` on. */
  nameAt = 0;
  nameLength = 0;

  constructor(state: Uint32Array, source: Uint8Array) {
    this.state = state;
    this.source = source;
  }

  get inoLow(): number {
    return this.state[this.stateAt + StatxWord.INO] as number;
  }

  get inoHigh(): number {
    return this.state[this.stateAt + StatxWord.INO + 1] as number;
  }
}

/**
 * Puts the event at the position, which it moves behind it.
 * @throws {DiffKeeperError} `limit_exceeded`; nothing has changed then.
 */
export function putLeftFile(buffer: GrowingBuffer, file: LeftFile, comm: number): void {
  const { nameLength, state, stateAt: from } = file;
  assert(nameLength > 0 && file.parent > 0, "a file that is left has a name in a folder");
  const size = SIZE_MIN + padded(nameLength);
  buffer.ensure(size);
  const { words } = buffer;
  const at = buffer.position >>> 2;
  words[at] = size;
  words[at + 1] = OP_FLAGS;
  for (let i = 2; i < FIXED_WORDS; i++) words[at + i] = 0;
  words[at + WORD.NODE] = file.node;
  words[at + WORD.COMM] = comm;
  words[at + WORD.OFFSET] = file.parent;
  words[at + WORD.MTIME_SEC] = state[from + StatxWord.MTIME] as number;
  words[at + WORD.MTIME_SEC + 1] = state[from + StatxWord.MTIME + 1] as number;
  words[at + WORD.MTIME_NSEC] = state[from + StatxWord.MTIME_NSEC] as number;
  putNameTag(buffer, file);
  putStateTags(words, file, at + (size - SIZE_MIN >>> 2) + FIXED_WORDS + TAG_WORDS);
  buffer.position += size;
}

function putNameTag(buffer: GrowingBuffer, file: LeftFile): void {
  const { words, bytes } = buffer;
  const { source, nameAt, nameLength } = file;
  const at = (buffer.position >>> 2) + FIXED_WORDS;
  words[at] = Tag.NAME;
  words[at + 1] = nameLength;
  const end = padded(nameLength) >>> 2;
  words[at + end] = 0;
  words[at + end + 1] = 0;
  const start = (at + TAG_WORDS) << 2;
  for (let i = 0; i < nameLength; i++) bytes[start + i] = source[nameAt + i] as number;
}

function putStateTags(words: Uint32Array, file: LeftFile, at: number): void {
  const { state, stateAt: from } = file;
  words[at] = Tag.ATTR;
  words[at + 1] = ATTR_BYTES;
  words[at + 2] = (state[from + StatxWord.MODE] as number) & 0xffff;
  words[at + 3] = state[from + StatxWord.UID] as number;
  words[at + 4] = state[from + StatxWord.GID] as number;
  words[at + 5] = 0;
  words[at + 6] = 1;
  words[at + 7] = file.dev;
  words[at + 8] = file.gen;
  words[at + 9] = 0;
  words[at + 10] = state[from + StatxWord.INO] as number;
  words[at + 11] = state[from + StatxWord.INO + 1] as number;
  words[at + 12] = state[from + StatxWord.SIZE] as number;
  words[at + 13] = state[from + StatxWord.SIZE + 1] as number;
  words[at + 14] = Tag.CTIME;
  words[at + 15] = CTIME_BYTES;
  words[at + 16] = state[from + StatxWord.CTIME] as number;
  words[at + 17] = state[from + StatxWord.CTIME + 1] as number;
  words[at + 18] = state[from + StatxWord.CTIME_NSEC] as number;
  words[at + 19] = 0;
}

/** Words of such an event, from its begin. */
export const LeftWord = { NODE: WORD.NODE, PARENT: WORD.OFFSET } as const;
/** Words of its state, from where `leftState` says; inode number and size are two. */
export const LeftStateWord = { DEV: 5, INO: 8, SIZE: 10 } as const;

/** Where the state stands in the event at a word, if it is one that `putLeftFile` could have put (no other fields, one name); else 0. */
export function leftState(words: Uint32Array, at: number): number {
  if (words[at + 1] !== OP_FLAGS) return 0;
  const name = at + FIXED_WORDS;
  if (words[name] !== Tag.NAME) return 0;
  const nameBytes = padded(words[name + 1] as number);
  const state = name + 2 * TAG_WORDS + (nameBytes >>> 2);
  return words[at] === SIZE_MIN + nameBytes && words[state + 4] === 1 ? state : 0;
}

/** Reads events of `putLeftFile` in place. */
export const leftFile = {
  size: (words: Uint32Array, at: number) =>
    double(words, leftState(words, at) + LeftStateWord.SIZE),
  mtime: (words: Uint32Array, at: number) => {
    const high = words[at + WORD.MTIME_SEC + 1] as number;
    const sec = (words[at + WORD.MTIME_SEC] as number) + (high | 0) * TWO_32;
    return { sec, nsec: words[at + WORD.MTIME_NSEC] as number };
  },
  /** A binary string. */
  name(words: Uint32Array, at: number): string {
    const tag = at + FIXED_WORDS;
    const start = words.byteOffset + (tag + TAG_WORDS) * 4;
    return Buffer.from(words.buffer, start, words[tag + 1] as number).toString("latin1");
  },
  attr(words: Uint32Array, at: number) {
    const state = leftState(words, at);
    const word = (index: number) => words[state + index] as number;
    return {
      mode: word(0),
      uid: word(1),
      gid: word(2),
      rdev: 0,
      nlink: 1,
      dev: word(LeftStateWord.DEV),
      gen: word(6),
      ino: double(words, state + LeftStateWord.INO),
      size: double(words, state + LeftStateWord.SIZE),
    };
  },
} as const;

function double(words: Uint32Array, at: number): number {
  return (words[at] as number) + (words[at + 1] as number) * TWO_32;
}
