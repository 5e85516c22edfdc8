/**
 * What a scan learned of files that costs a call each to learn: the generation of an inode, and that it has no extended attributes.
 * Kept across recordings, one file for each set of watched folders, in the invoking user's cache folder. An entry counts only for an
 * inode in the very same state (size, mtime, ctime: setting an attribute changes ctime). A cache that is damaged, or cannot be
 * read or written, is as if it were empty: it is never an error.
 *
 * File: header of 32 bytes (u32 magic, version, slots, entries; u64 XXH3-64 of the rest, the entries as
 * seed; u64 0), then the slots, 32 bytes each: u32
 * device + 1 (0: free), generation, inode low, high, ctime seconds, ctime ns, mtime ns, size low. Half of the slots are free at least.
 */
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { libcGate } from "../../ffi/libc_gate.ts";
import { STAT_CACHE_ENTRIES_MAX, STAT_CACHE_FILES_MAX } from "../base/limits.ts";
import { StatxWord } from "../format/left_file.ts";
import { type LeftFiles, STATX_WORDS } from "../format/left_files.ts";
import { slotHash } from "./base_table.ts";
import { isPlain, type KnownStates } from "./inode_reader.ts";
import { liesOn, type Mount } from "./inode_stat.ts";

/** "DKSC". */
const MAGIC = 0x4353_4b44;
const VERSION = 2;
const HEADER_WORDS = 8;
const SLOT_WORDS = 8;
const SLOTS_MIN = 1024;
/** A file changed so shortly before it was looked at may change again with the same times (a tick is 4 ms before Linux 6.13). */
const RACY_MS = 1_000;
const NAME = /^stat-[0-9a-f]{16}\.bin$/;

/** Whose cache it is. */
export interface CacheOwner {
  uid: number;
  gid: number;
}

/** See the head of the file. */
export class StatCache implements KnownStates {
  readonly #old: Uint32Array;
  readonly #oldMask: number;
  /** Slots of the old cache whose inode was met again. */
  readonly #hits: Uint8Array;
  #slots = new Uint32Array(SLOTS_MIN * SLOT_WORDS);
  #mask = SLOTS_MIN - 1;
  #count = 0;
  readonly #racySec: number;

  /** @param path of the cache file, which need not be there. */
  constructor(path?: string) {
    const found = path === undefined ? undefined : readSlots(path);
    this.#old = found ?? new Uint32Array(SLOT_WORDS);
    this.#oldMask = this.#old.length / SLOT_WORDS - 1;
    this.#racySec = (Date.now() - RACY_MS) / 1000;
    this.#hits = new Uint8Array(this.#oldMask + 1);
  }

  /** Entries for the next time. */
  get count(): number {
    return this.#count;
  }

  /** Entries of the last time, about. */
  get expected(): number {
    return this.#old.length / SLOT_WORDS >>> 1;
  }

  generation(state: Uint32Array, dev: number): number {
    const slot = find(this.#old, this.#oldMask, { state, at: 0, dev });
    if (slot >= 0) {
      this.#hits[slot] = 1;
      return this.#old[slot * SLOT_WORDS + 1] as number;
    }
    if (this.#count === 0) return -1;
    const learned = find(this.#slots, this.#mask, { state, at: 0, dev });
    return learned < 0 ? -1 : this.#slots[learned * SLOT_WORDS + 1] as number;
  }

  generations(files: LeftFiles, mount: Mount): number {
    const { count, states, gens, dev } = files;
    const [old, mask, hits] = [this.#old, this.#oldMask, this.#hits];
    let found = 0;
    for (let entry = 0; entry < count; entry++) {
      const at = entry * STATX_WORDS;
      gens[entry] = -1;
      if (!isPlain(states, at) || !liesOn(states, at, mount)) continue;
      const slot = find(old, mask, { state: states, at, dev });
      if (slot < 0) continue;
      hits[slot] = 1;
      gens[entry] = old[slot * SLOT_WORDS + 1] as number;
      found++;
    }
    return found;
  }

  learn(state: Uint32Array, dev: number, gen: number): void {
    const ctimeSec = state[StatxWord.CTIME] as number;
    if (this.#count >= STAT_CACHE_ENTRIES_MAX || ctimeSec >= this.#racySec) return;
    if (this.#count * 2 > this.#mask) this.#reserve((this.#mask + 1) * 2);
    const words = this.#slots;
    const at = this.#freeSlot(state[StatxWord.INO] as number);
    words[at] = dev + 1;
    words[at + 1] = gen;
    words[at + 2] = state[StatxWord.INO] as number;
    words[at + 3] = state[StatxWord.INO + 1] as number;
    words[at + 4] = ctimeSec;
    words[at + 5] = state[StatxWord.CTIME_NSEC] as number;
    words[at + 6] = state[StatxWord.MTIME_NSEC] as number;
    words[at + 7] = state[StatxWord.SIZE] as number;
    this.#count++;
  }

  #freeSlot(inoLow: number): number {
    let slot = slotHash(inoLow) & this.#mask;
    while (this.#slots[slot * SLOT_WORDS] !== 0) slot = (slot + 1) & this.#mask;
    return slot * SLOT_WORDS;
  }

  /** What was found again goes on being known. */
  #keepHits(): void {
    for (let slot = 0; slot <= this.#oldMask; slot++) {
      if (this.#hits[slot] === 0 || this.#count >= STAT_CACHE_ENTRIES_MAX) continue;
      if (this.#count * 2 > this.#mask) this.#reserve((this.#mask + 1) * 2);
      const at = slot * SLOT_WORDS;
      const entry = this.#old.subarray(at, at + SLOT_WORDS);
      this.#slots.set(entry, this.#freeSlot(entry[2] as number));
      this.#count++;
    }
  }

  /** Writes what this scan met, with the rights of the owner: what lies in their folder cannot lead anywhere else. */
  save(path: string, owner?: CacheOwner): void {
    if (owner === undefined) return this.#save(path);
    const gid = libcGate.setfsgid(owner.gid);
    const uid = libcGate.setfsuid(owner.uid);
    this.#save(path);
    libcGate.setfsuid(uid);
    libcGate.setfsgid(gid);
  }

  #save(path: string): void {
    // nothing new: the file says it all, and what is gone does no harm
    if (this.#count === 0) return;
    this.#keepHits();
    const temporary = `${path}.${process.pid}`;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      const header = new Uint32Array(HEADER_WORDS);
      header.set([MAGIC, VERSION, this.#mask + 1, this.#count]);
      new DataView(header.buffer).setBigUint64(16, checksum(this.#slots, this.#count), true);
      const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
      const fd = openSync(temporary, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
      try {
        writeSync(fd, new Uint8Array(header.buffer));
        writeSync(fd, new Uint8Array(this.#slots.buffer));
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, path);
      removeOldest(dirname(path));
    } catch {
      rmSync(temporary, { force: true });
    }
  }

  #reserve(slots: number): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(Math.max(slots, SLOTS_MIN) * SLOT_WORDS);
    this.#mask = this.#slots.length / SLOT_WORDS - 1;
    for (let at = 0; at < old.length; at += SLOT_WORDS) {
      if (old[at] === 0) continue;
      const entry = old.subarray(at, at + SLOT_WORDS);
      this.#slots.set(entry, this.#freeSlot(entry[2] as number));
    }
  }
}

/** The slot of a file in just this state, -1: none. */
function find(
  slots: Uint32Array,
  mask: number,
  { state, at: from, dev }: { state: Uint32Array; at: number; dev: number },
): number {
  const inoLow = state[from + StatxWord.INO] as number;
  let slot = slotHash(inoLow) & mask;
  // a damaged file may have no free slot
  for (let looks = 0; looks <= mask && slots[slot * SLOT_WORDS] !== 0; looks++) {
    const at = slot * SLOT_WORDS;
    const isHere = slots[at + 2] === inoLow && slots[at] === dev + 1 &&
      slots[at + 5] === state[from + StatxWord.CTIME_NSEC] &&
      slots[at + 6] === state[from + StatxWord.MTIME_NSEC] &&
      slots[at + 7] === state[from + StatxWord.SIZE] &&
      slots[at + 4] === state[from + StatxWord.CTIME] &&
      slots[at + 3] === state[from + StatxWord.INO + 1];
    if (isHere) return slot;
    slot = (slot + 1) & mask;
  }
  return -1;
}

/** The slots of a cache file, undefined when it is not there or not whole. */
function readSlots(path: string): Uint32Array | undefined {
  try {
    const bytes = readFileSync(path);
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
    const [magic, version, slots = 0, entries = 0] = words;
    const rest = words.subarray(HEADER_WORDS);
    const isWhole = magic === MAGIC && version === VERSION && rest.length === slots * SLOT_WORDS &&
      slots >= SLOTS_MIN && (slots & (slots - 1)) === 0 && entries * 2 <= slots &&
      entries <= STAT_CACHE_ENTRIES_MAX;
    if (!isWhole) return undefined;
    return bytes.readBigUInt64LE(16) === checksum(rest, entries) ? rest : undefined;
  } catch {
    return undefined;
  }
}

function checksum(slots: Uint32Array, entries: number): bigint {
  return Bun.hash.xxHash3(
    new Uint8Array(slots.buffer, slots.byteOffset, slots.byteLength),
    BigInt(entries),
  );
}

function removeOldest(folder: string): void {
  const caches = readdirSync(folder).filter((name) => NAME.test(name))
    .map((name) => ({ path: `${folder}/${name}`, ms: statSync(`${folder}/${name}`).mtimeMs }))
    .sort((a, b) => b.ms - a.ms);
  for (const { path } of caches.slice(STAT_CACHE_FILES_MAX)) rmSync(path, { force: true });
}

/** The cache file for a set of watched folders in a user's cache folder. */
export function statCachePath(cacheHome: string, folders: readonly string[]): string {
  const name = Bun.hash.xxHash3(Buffer.from(folders.join("\0"), "latin1"));
  return `${cacheHome}/diffkeeper/stat-${name.toString(16).padStart(16, "0")}.bin`;
}
