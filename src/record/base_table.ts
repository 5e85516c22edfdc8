/**
 * What the gate must know of the baseline: which inode is which node, and of each node whether its content at the start is still
 * only in the file. The drain worker fills it; before the command starts it moves into a memory file that the gate's thread and the
 * guard process map too. From then on the names never change, and only the gate changes states, each once, from LAZY to SAVED or
 * FAILED. Open addressing, at most half full. Memory file: a page with control words and the call that the gate has in hand (so that
 * the guard can go on with it), slots, states.
 */
import type { Pointer } from "bun:ffi";
import { fstatSync } from "node:fs";
import { cString, errno, errnoText } from "../../ffi/libc.ts";
import { libcGate } from "../../ffi/libc_gate.ts";
import { libcTree } from "../../ffi/libc_tree.ts";
import { MAP_SHARED, mapFile, type MemoryMap, PROT_READ_WRITE } from "../../ffi/memory_map.ts";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { StatxWord } from "../format/left_file.ts";
import { type LeftFiles, STATX_WORDS } from "../format/left_files.ts";
import { NOTIFICATION_BYTES } from "./seccomp.ts";

/** What is known of a node's content at the start. */
export const BaseState = {
  /** Nothing to save: the trace has it, or it is no file of the baseline. */
  NONE: 0,
  /** Only the file has it. */
  LAZY: 1,
  /** Saved before it could be destroyed. */
  SAVED: 2,
  /** Could not be saved. */
  FAILED: 3,
  /** Saved by a name of the file itself in the state-dir, because it was about to be removed: a write would destroy it there too. */
  LINKED: 4,
} as const;

/** Words of `control`. */
export const Control = {
  /** 1: nothing is to be saved any more. */
  CLOSED: 0,
  /** 1: the gate is saving. */
  BUSY: 1,
  /** Number of the segment that is being written. */
  SEGMENT: 2,
  /** Files saved. */
  SAVED: 3,
  /** Files that could not be saved; the error number of the first. */
  FAILED: 4,
  FAILED_ERRNO: 5,
  /** Calls that waited for the gate. */
  CALLS: 6,
  /** Slots, and bytes of states, in the memory file. */
  SLOTS: 7,
  STATES: 8,
  /** Tells the saved contents of this recording from those of another in the same state-dir. */
  ID: 9,
  WORDS: 16,
} as const;

/** A slot: inode number (two words), device, node; node 0: free. */
const SLOT_WORDS = 4;
const SLOTS_MIN = 4096;
/** Nobody knows before whether so many files are still there: more room is made when it is needed. */
const EXPECTED_SLOTS_MAX = 1 << 20;
/** A table that is full becomes so many times larger. */
const GROWTH = 4;
const TWO_32 = 0x1_0000_0000;

const PAGE_BYTES = 4096;
/** Where struct seccomp_notif stands in the page. */
const NOTIFICATION_AT = 1024;
const MFD_CLOEXEC = 1;

function failed(action: string): DiffKeeperError {
  return new DiffKeeperError("io", `cannot ${action} memory: ${errnoText(errno())}`);
}

/** A memory file for a table; the caller closes it. */
export function makeTableMemory(): number {
  const fd = libcGate.memfd_create(cString("diffkeeper"), MFD_CLOEXEC);
  if (fd < 0) throw failed("make");
  return fd;
}

/** Maps a memory file for as long as the process lives. */
function map(fd: number, bytes: number): MemoryMap {
  const mapped = mapFile(fd, bytes, { prot: PROT_READ_WRITE, flags: MAP_SHARED });
  if (mapped === undefined) throw failed("map");
  return mapped;
}

/** See the head of the file. */
export class BaseTable {
  control = new Int32Array(Control.WORDS);
  /** Room for the call in hand; undefined before the table is in a memory file. */
  notification: { bytes: Uint8Array; address: Pointer } | undefined;
  #slots = new Uint32Array(SLOTS_MIN * SLOT_WORDS);
  #mask = SLOTS_MIN - 1;
  #states = new Uint8Array(SLOTS_MIN);
  #count = 0;

  /** The table in a memory file, as `share` has put it there; an empty one if the recorder was killed before that. */
  static open(fd: number): BaseTable {
    const table = new BaseTable();
    const { size } = fstatSync(fd);
    if (size < PAGE_BYTES) return table;
    const mapping = map(fd, size);
    const isWhole =
      Atomics.load(new Int32Array(mapping.memory, 0, Control.WORDS), Control.ID) !== 0;
    if (isWhole) table.#use(mapping);
    return table;
  }

  /** Files that are in it. */
  get count(): number {
    return this.#count;
  }

  /** One more than the largest node it knows. */
  get end(): number {
    return this.#states.length;
  }

  /** Moves into a memory file, for others. Nothing may be added afterwards. @param id of the recording, not 0. */
  share(fd: number, id: number): void {
    this.control[Control.SLOTS] = this.#mask + 1;
    this.control[Control.STATES] = this.#states.length;
    const bytes = PAGE_BYTES + this.#slots.byteLength + this.#states.length;
    if (libcTree.ftruncate(fd, bytes) !== 0) throw failed("get");
    const mapping = map(fd, bytes);
    const { memory } = mapping;
    new Uint32Array(memory, PAGE_BYTES, this.#slots.length).set(this.#slots);
    new Uint8Array(memory, PAGE_BYTES + this.#slots.byteLength).set(this.#states);
    const control = new Int32Array(memory, 0, Control.WORDS);
    control.set(this.control);
    // last: it says that the rest is there
    Atomics.store(control, Control.ID, id);
    this.#use(mapping);
  }

  #use({ memory, address }: MemoryMap): void {
    const at = address + NOTIFICATION_AT as Pointer;
    this.notification = {
      bytes: new Uint8Array(memory, NOTIFICATION_AT, NOTIFICATION_BYTES),
      address: at,
    };
    this.control = new Int32Array(memory, 0, Control.WORDS);
    const slots = this.control[Control.SLOTS] ?? 0;
    const states = this.control[Control.STATES] ?? 0;
    this.#slots = new Uint32Array(memory, PAGE_BYTES, slots * SLOT_WORDS);
    this.#mask = slots - 1;
    this.#states = new Uint8Array(memory, PAGE_BYTES + this.#slots.byteLength, states);
  }

  /** A file of the baseline whose content is not in the trace. */
  add(node: number, dev: number, ino: number): void {
    this.addInode(node, { dev, inoLow: ino % TWO_32, inoHigh: Math.floor(ino / TWO_32) });
  }

  /** As `add`, without making an object for each. */
  addInode(node: number, inode: { dev: number; inoLow: number; inoHigh: number }): void {
    assert(node > 0, "a node has a number");
    if (node >= this.#states.length) this.#growStates(node);
    if (++this.#count * 2 > this.#mask) this.#growSlots();
    this.#put(node, inode);
    this.#states[node] = BaseState.LAZY;
  }

  /** All files of a folder. */
  addFiles({ count, states, gens, dev, node: first }: LeftFiles): void {
    let node = first;
    for (let entry = 0; entry < count; entry++) {
      if ((gens[entry] as number) < 0) continue;
      const at = entry * STATX_WORDS + StatxWord.INO;
      const inode = { inoLow: states[at] as number, inoHigh: states[at + 1] as number, dev };
      this.addInode(node++, inode);
    }
  }

  /** Makes room for so many files. */
  expect(files: number): void {
    let slots = SLOTS_MIN;
    while (slots < files * 2 && slots < EXPECTED_SLOTS_MAX) slots *= 2;
    if (this.#count > 0 || slots <= this.#mask) return;
    this.#slots = new Uint32Array(slots * SLOT_WORDS);
    this.#mask = slots - 1;
    this.#states = new Uint8Array(slots);
  }

  /** The node of an inode, 0: it is no file of the baseline. `dev` is asked for only when the number is known. */
  find(inoLow: number, inoHigh: number, dev: () => number): number {
    const slots = this.#slots;
    for (let slot = slotHash(inoLow) & this.#mask;; slot = (slot + 1) & this.#mask) {
      const at = slot * SLOT_WORDS;
      const node = slots[at + 3] as number;
      if (node === 0) return 0;
      if (slots[at] === inoLow && slots[at + 1] === inoHigh && slots[at + 2] === dev()) return node;
    }
  }

  state(node: number): number {
    return node < this.#states.length ? Atomics.load(this.#states, node) : BaseState.NONE;
  }

  setState(node: number, state: number): void {
    if (node < this.#states.length) Atomics.store(this.#states, node, state);
  }

  /** By node: `mark` for each whose content is not in the trace, 0 for all others. */
  marks(mark: number): Uint8Array<ArrayBuffer> {
    const marks = new Uint8Array(this.end);
    for (let node = 0; node < marks.length; node++) {
      if (this.#states[node] !== BaseState.NONE) marks[node] = mark;
    }
    return marks;
  }

  /** Nodes in a state, ascending. */
  *nodes(state: number): Generator<number> {
    for (let node = 1; node < this.#states.length; node++) {
      if (this.state(node) === state) yield node;
    }
  }

  #put(node: number, inode: { dev: number; inoLow: number; inoHigh: number }): void {
    const at = this.#freeSlot(inode.inoLow);
    const slots = this.#slots;
    slots[at] = inode.inoLow;
    slots[at + 1] = inode.inoHigh;
    slots[at + 2] = inode.dev;
    slots[at + 3] = node;
  }

  #freeSlot(inoLow: number): number {
    const slots = this.#slots;
    let slot = slotHash(inoLow) & this.#mask;
    while (slots[slot * SLOT_WORDS + 3] !== 0) slot = (slot + 1) & this.#mask;
    return slot * SLOT_WORDS;
  }

  #growSlots(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * GROWTH);
    this.#mask = this.#slots.length / SLOT_WORDS - 1;
    const slots = this.#slots;
    for (let from = 0; from < old.length; from += SLOT_WORDS) {
      if (old[from + 3] === 0) continue;
      const at = this.#freeSlot(old[from] as number);
      for (let word = 0; word < SLOT_WORDS; word++) slots[at + word] = old[from + word] as number;
    }
  }

  #growStates(node: number): void {
    const grown = new Uint8Array(Math.max(node + 1, this.#states.length * GROWTH));
    grown.set(this.#states);
    this.#states = grown;
  }
}

/** Inode numbers of a folder are mostly neighbours: sixteen of them stay together, which is kind to the processor's cache. */
export function slotHash(inoLow: number): number {
  return (Math.imul(inoLow >>> 4, 0x9e37_79b1) >>> 3) & ~15 | inoLow & 15;
}
