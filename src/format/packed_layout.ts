/**
 * What the two sides of packed events share (docs/FORMAT.md, "Packed events"): which columns there are, in which order, and
 * the state that both keep while they walk over the events, from which they guess the next event's fields. Only what differs
 * from the guess is stored.
 */
import { Op } from "./trace_event.ts";

/** Columns with a word per event, in the order in which they are stored. */
export const COLUMN = {
  OP_FLAGS: 0,
  T: 1,
  T_HIGH: 2,
  PID: 3,
  TID: 4,
  NODE: 5,
  COMM: 6,
  OFFSET: 7,
  OFFSET_HIGH: 8,
  LENGTH: 9,
  LENGTH_HIGH: 10,
  MTIME: 11,
  MTIME_HIGH: 12,
  MTIME_NSEC: 13,
  PAYLOAD: 14,
  FIELDS: 15,
} as const;
export const COLUMNS = 16;

/** Columns with a word per extent: row, offset, length, reserved, at, high half of at. */
export const EXTENT_COLUMNS = 6;
/** Columns with a word per ATTR field, as its words stand. */
export const ATTR_COLUMNS = 12;
/** Columns with a word per DIRTIME field: node, nsec, sec, high half of sec. */
export const DIRTIME_COLUMNS = 4;

/** Stands for an event that does not change its node's mtime. */
export const NO_MTIME_WORD = 0xffff_ffff;

/** Pointers into a packed batch begin here: they count in its content, and pointers into a raw batch never get so far. */
export const PACKED_POINTER = 0x8000_0000;

/** Number of stream that an event's payload goes to: a file's node, or one of the command's outputs. */
export function streamKey(op: number, node: number, offset: number): number {
  return op === Op.OUTPUT ? -offset : node;
}

/** Where writes of each file ended: the next one is expected there. */
export class WriteEnds {
  readonly #slots = new Map<number, number>();
  #lastNode = -1;
  #lastSlot = 0;
  low = new Uint32Array(1024);
  high = new Uint32Array(1024);

  reset(): void {
    this.#slots.clear();
    this.#lastNode = -1;
  }

  /** The place of a node in `low` and `high`; 0 in both the first time. */
  slot(node: number): number {
    if (node === this.#lastNode) return this.#lastSlot;
    let slot = this.#slots.get(node);
    if (slot === undefined) {
      slot = this.#slots.size;
      this.#slots.set(node, slot);
      if (slot === this.low.length) this.#grow();
      this.low[slot] = 0;
      this.high[slot] = 0;
    }
    this.#lastNode = node;
    this.#lastSlot = slot;
    return slot;
  }

  /** The write that began at (low, high) ended `length` bytes later. Plain numbers: it is called for every event. */
  move(slot: number, low: number, high: number, length: number): void {
    const end = low + length;
    this.low[slot] = end;
    this.high[slot] = high + (end > 0xffff_ffff ? 1 : 0);
  }

  #grow(): void {
    const low = new Uint32Array(this.low.length * 2);
    const high = new Uint32Array(low.length);
    low.set(this.low);
    high.set(this.high);
    this.low = low;
    this.high = high;
  }
}
