/**
 * A folder that a scan is about to enter, as it goes between the scan and a thread that looks ahead (folder_ahead.ts): its name in an
 * open folder, and what the thread found: a descriptor, the first part of its listing, the states of the names in it. It lies in
 * memory that both threads see; each state has one owner, and only the owner touches what is in the slot.
 *
 * States: free (scan) -> offered (nobody) -> taken (thread) -> done (scan) -> free; an offer that nobody took the scan takes back.
 */
import { libc } from "../../ffi/libc.ts";
import { assert } from "../base/assert.ts";
import { FOLDER_READER_BYTES, FolderReader } from "./folder_reader.ts";
import { OPEN_FOLDER, openQuietly } from "./inode_reader.ts";
import { FolderStates, STATES_BYTES } from "./folder_states.ts";
import { type InodeStat, liesOn } from "./inode_stat.ts";

const SlotState = { FREE: 0, OFFERED: 1, TAKEN: 2, DONE: 3 } as const;

/** i32 words at the begin of a slot. */
const Word = { STATE: 0, PARENT: 1, NAME_BYTES: 2, FD: 3, COUNT: 4 } as const;
const HEAD_BYTES = 64;
const NAME_BYTES_MAX = 255;
const NAME_ROOM = 256;
const READER_AT = HEAD_BYTES + NAME_ROOM;
const STATES_AT = READER_AT + FOLDER_READER_BYTES;
/** `COUNT` of a folder that has no entries (more). */
const COUNT_END = -0x8000_0000;
/** How long one wait for the thread is. */
const WAIT_MS = 100;

/** Bytes of a slot. */
export const SLOT_BYTES = STATES_AT + STATES_BYTES;

assert(SLOT_BYTES % 8 === 0, "slots stand one behind the other");

/** See the head of the file. */
export class FolderSlot {
  /** The first part of the listing, when it is done. */
  readonly reader: FolderReader;
  /** States of what is in it. */
  readonly states: FolderStates;
  readonly #words: Int32Array;
  readonly #name: Uint8Array;

  /** @param index which one of the slots in the memory. */
  constructor(memory: SharedArrayBuffer, index: number) {
    const at = index * SLOT_BYTES;
    this.#words = new Int32Array(memory, at, HEAD_BYTES / 4);
    this.#name = new Uint8Array(memory, at + HEAD_BYTES, NAME_ROOM);
    this.reader = new FolderReader(new Uint8Array(memory, at + READER_AT, FOLDER_READER_BYTES));
    this.states = new FolderStates(new Uint8Array(memory, at + STATES_AT, STATES_BYTES));
  }

  /** Of a slot that is done: the open folder, the caller's from now on; -1: it could not be looked at. */
  get fd(): number {
    return this.#words[Word.FD] as number;
  }

  /** Of a slot that is done: what `reader.fill` returned. */
  get count(): number | "end" {
    const count = this.#words[Word.COUNT] as number;
    return count === COUNT_END ? "end" : count;
  }

  get name(): string {
    const length = this.#words[Word.NAME_BYTES] as number;
    return String.fromCharCode(...this.#name.subarray(0, length));
  }

  /** Whether the slot, which is free, can hold the name; it is offered then. @param parent an open folder, which must stay open. */
  offer(parent: number, name: string): boolean {
    assert(this.#state === SlotState.FREE, "a slot is offered when it is free");
    if (name.length > NAME_BYTES_MAX) return false;
    for (let i = 0; i < name.length; i++) this.#name[i] = name.charCodeAt(i) & 0xff;
    this.#name[name.length] = 0;
    this.#words[Word.NAME_BYTES] = name.length;
    this.#words[Word.PARENT] = parent;
    Atomics.store(this.#words, Word.STATE, SlotState.OFFERED);
    return true;
  }

  get isDone(): boolean {
    return this.#state === SlotState.DONE;
  }

  /** Takes back an offer. Returns whether the slot is free now; else the thread has it, or has done it. */
  takeBack(): boolean {
    const { OFFERED, FREE } = SlotState;
    return Atomics.compareExchange(this.#words, Word.STATE, OFFERED, FREE) === OFFERED;
  }

  /** Waits a moment if the thread has it. */
  wait(): void {
    Atomics.wait(this.#words, Word.STATE, SlotState.TAKEN, WAIT_MS);
  }

  /** Of a slot that is done: nothing of it is needed any more. */
  free(): void {
    assert(this.isDone, "a slot is freed by its owner");
    Atomics.store(this.#words, Word.STATE, SlotState.FREE);
  }

  /** The thread's part: does what is offered. Returns whether it was. */
  serve(stat: InodeStat): boolean {
    const { OFFERED, TAKEN, DONE } = SlotState;
    const words = this.#words;
    if (Atomics.load(words, Word.STATE) !== OFFERED) return false;
    if (Atomics.compareExchange(words, Word.STATE, OFFERED, TAKEN) !== OFFERED) return false;
    words[Word.FD] = -1;
    try {
      this.#look(stat);
    } finally {
      Atomics.store(words, Word.STATE, DONE);
      Atomics.notify(words, Word.STATE);
    }
    return true;
  }

  #look(stat: InodeStat): void {
    const words = this.#words;
    const parent = words[Word.PARENT] as number;
    if (stat.readFd(parent) !== 0) return;
    const mount = stat.mount;
    const fd = openQuietly(parent, this.#name, OPEN_FOLDER);
    if (fd < 0) return;
    // what is mounted there may be something that nobody should look into
    if (stat.readFd(fd) !== 0 || !liesOn(stat.words, 0, mount)) {
      libc.close(fd);
      return;
    }
    const { reader } = this;
    const count = reader.fill(fd);
    words[Word.COUNT] = count === "end" ? COUNT_END : count;
    if (count !== "end") this.states.read(fd, reader, count);
    words[Word.FD] = fd;
  }

  get #state(): number {
    return Atomics.load(this.#words, Word.STATE);
  }
}
