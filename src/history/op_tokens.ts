/**
 * How operations on contents are told in a few bytes each (op_chains.ts), in tokens: what they are made of, and a cursor that reads
 * them. A token has the length of an operation, which may grow until it is written, and how the next one differs from it; where the next
 * small write of a journal row stands is foreseen, so that an append takes two bytes. This is never stored.
 */
import { assert } from "../base/assert.ts";
import { EVENT_FIXED_BYTES } from "../format/event_layout.ts";

/**
 * Kinds of operations: DATA has payload, ZERO makes zeros (or a hole), UNKNOWN is content that was not captured, BASE is the
 * content at the start, which is not in the trace but in a file beside it or on disk (base_files.ts).
 */
export const ContentKind = { DATA: 0, ZERO: 1, UNKNOWN: 2, BASE: 3 } as const;

/** One operation. `row` and `rowOffset` (u32) mean nothing for ZERO and UNKNOWN. */
export interface ContentOp {
  kind: number;
  row: number;
  rowOffset: number;
  at: number;
  length: number;
}

/** The first byte of a token: the kind of the next operation, and which numbers follow the length. */
const KIND = 3;
const Token = {
  /** It does not begin where the one before ends: by how much. */
  JUMP: 4,
  JUMP_BACK: 8,
  /** Another row: by how much, and the offset in it. */
  ROW: 16,
  ROW_BACK: 32,
  /** Not the offset that was foreseen: by how much. */
  SKEW: 64,
  SKEW_BACK: 128,
} as const;

/** That byte, and at most four numbers: two of up to 53 bits, two of 32. */
const TOKEN_BYTES_MAX = 1 + 2 * 8 + 2 * 5;

/** Slabs have 1 MiB. A position in all of them is a u32; 0 means none. */
export const SLAB_BITS = 20;
export const SLAB_MASK = (1 << SLAB_BITS) - 1;
/** A block begins with two words: the block after it, and its sort. */
export const BLOCK_HEADER_BYTES = 8;
export const FIRST_BLOCK_BYTES = 64;

/** What the first operation of a chain is told by its difference to. */
export const NOTHING: Readonly<ContentOp> = {
  kind: ContentKind.DATA,
  row: 0,
  rowOffset: 0,
  at: 0,
  length: 0,
};

export function hasPlace(kind: number): boolean {
  return kind === ContentKind.DATA || kind === ContentKind.BASE;
}

/** Where the payload of the next event stands when it follows the one of this payload, and both are inline. */
export function foreseen(rowOffset: number, length: number): number {
  const rest = length % 8;
  return rowOffset + EVENT_FIXED_BYTES + length + (rest === 0 ? 0 : 8 - rest);
}

/** From where on a block of a sort has no room for a token. */
export function limitOf(block: number, sort: number): number {
  return block + (FIRST_BLOCK_BYTES << sort) - TOKEN_BYTES_MAX;
}

/** The token between operations that follow each other as foreseen, the first one with up to so many bytes. */
export const SHORT_LENGTH_MAX = 0x7f;
export const SHORT_TOKEN_BYTES = 2;

export function putShortToken(bytes: Uint8Array, first: number, length: number): void {
  bytes[first] = ContentKind.DATA;
  bytes[first + 1] = length;
}

/** Seven bits a byte, the low ones first. Returns where it ends. */
function putNumber(bytes: Uint8Array, at: number, value: number): number {
  let [to, rest] = [at, value];
  while (rest >= 0x80) {
    bytes[to++] = 0x80 | rest % 0x80;
    rest = Math.floor(rest / 0x80);
  }
  bytes[to++] = rest;
  return to;
}

/** Writes the token between two operations. Returns where it ends. */
export function putToken(
  bytes: Uint8Array,
  first: number,
  { last, op }: { last: Readonly<ContentOp>; op: Readonly<ContentOp> },
): number {
  let token = op.kind;
  let to = putNumber(bytes, first + 1, last.length);
  const jump = op.at - last.at - last.length;
  if (jump !== 0) {
    token |= jump < 0 ? Token.JUMP | Token.JUMP_BACK : Token.JUMP;
    to = putNumber(bytes, to, Math.abs(jump));
  }
  const isNear = op.kind === ContentKind.DATA && last.kind === ContentKind.DATA &&
    op.row === last.row;
  if (isNear) {
    const skew = op.rowOffset - foreseen(last.rowOffset, last.length);
    if (skew !== 0) {
      token |= skew < 0 ? Token.SKEW | Token.SKEW_BACK : Token.SKEW;
      to = putNumber(bytes, to, Math.abs(skew));
    }
  } else if (hasPlace(op.kind)) {
    token |= op.row < last.row ? Token.ROW | Token.ROW_BACK : Token.ROW;
    to = putNumber(bytes, to, Math.abs(op.row - last.row));
    to = putNumber(bytes, to, op.rowOffset);
  }
  bytes[first] = token;
  return to;
}

/** Where a chain's tokens are, and its last operation, whose length no token has. */
export interface ChainEnds {
  /** First block; 0: there are no tokens. */
  head: number;
  end: number;
  last: Readonly<ContentOp> | undefined;
}

/** Goes over a chain, the first operation first. */
export class OpCursor {
  kind = 0;
  row = 0;
  rowOffset = 0;
  at = 0;
  length = 0;
  /** Position of the byte that has the operation's kind; 0: no token has it. */
  token = 0;
  readonly #slabs: readonly Uint8Array[];
  readonly #words: readonly Uint32Array[];
  readonly #ends: ChainEnds;
  #slab: Uint8Array = new Uint8Array(0);
  /** Of the next token, in all slabs; the rest is of its block. */
  #position = 0;
  #limit = 0;
  #block = 0;
  /** Of the operation after this one, which the last token began. */
  #nextKind = 0;
  #nextRow = 0;
  #nextRowOffset = 0;
  #nextAt = 0;
  #nextToken = 0;
  #state: "tokens" | "last" | "over" = "tokens";

  constructor(
    memory: { slabs: readonly Uint8Array[]; words: readonly Uint32Array[] },
    ends: ChainEnds,
  ) {
    this.#slabs = memory.slabs;
    this.#words = memory.words;
    this.#ends = ends;
    if (ends.last === undefined) this.#state = "over";
    else if (ends.head === 0) this.#state = "last";
    else {
      this.#enter(ends.head);
      // from nothing to the first operation
      this.#read();
    }
  }

  /** It stands on the last operation of its chain, or behind it. */
  get isLast(): boolean {
    return this.#state === "over";
  }

  /** A copy of the operation it stands on. */
  op(): ContentOp {
    const { kind, row, rowOffset, at, length } = this;
    return { kind, row, rowOffset, at, length };
  }

  /** Moves to the next operation; false: there is none. */
  next(): boolean {
    if (this.#state === "tokens") {
      this.kind = this.#nextKind;
      this.row = this.#nextRow;
      this.rowOffset = this.#nextRowOffset;
      this.at = this.#nextAt;
      this.token = this.#nextToken;
      this.length = this.#read();
      return true;
    }
    const { last } = this.#ends;
    if (this.#state === "over" || last === undefined) return false;
    this.kind = last.kind;
    this.row = last.row;
    this.rowOffset = last.rowOffset;
    this.at = last.at;
    this.length = last.length;
    this.token = this.#nextToken;
    this.#state = "over";
    return true;
  }

  #enter(block: number): void {
    const slab = this.#slabs[block >>> SLAB_BITS];
    assert(slab !== undefined && block !== 0, "a chain's blocks lie in slabs");
    this.#slab = slab;
    this.#block = block;
    this.#position = block + BLOCK_HEADER_BYTES;
    this.#limit = limitOf(block, this.#word(block, 1));
  }

  #word(block: number, index: number): number {
    return this.#words[block >>> SLAB_BITS]?.[((block & SLAB_MASK) >>> 2) + index] ?? 0;
  }

  /** Reads a token: returns the length that it has, and keeps what it says of the next operation. */
  #read(): number {
    if (this.#position >= this.#limit) this.#enter(this.#word(this.#block, 0));
    const slab = this.#slab;
    const first = this.#position & SLAB_MASK;
    const token = slab[first] ?? 0;
    this.#nextToken = this.#position;
    const length = slab[first + 1] ?? 0;
    if (token !== ContentKind.DATA || length > SHORT_LENGTH_MAX) return this.#readLong(token);
    this.#position += SHORT_TOKEN_BYTES;
    this.#nextKind = ContentKind.DATA;
    this.#nextAt += length;
    this.#nextRowOffset = foreseen(this.#nextRowOffset, length);
    if (this.#position === this.#ends.end) this.#state = "last";
    return length;
  }

  #readLong(token: number): number {
    this.#position++;
    const length = this.#number();
    const expected = foreseen(this.#nextRowOffset, length);
    this.#nextKind = token & KIND;
    this.#nextAt += length;
    if ((token & Token.JUMP) !== 0) {
      const jump = this.#number();
      this.#nextAt += (token & Token.JUMP_BACK) === 0 ? jump : -jump;
    }
    if ((token & Token.ROW) !== 0) {
      const distance = this.#number();
      this.#nextRow += (token & Token.ROW_BACK) === 0 ? distance : -distance;
      this.#nextRowOffset = this.#number();
    } else if (this.#nextKind === ContentKind.DATA) {
      const skew = (token & Token.SKEW) === 0 ? 0 : this.#number();
      this.#nextRowOffset = expected + ((token & Token.SKEW_BACK) === 0 ? skew : -skew);
    }
    if (this.#position === this.#ends.end) this.#state = "last";
    return length;
  }

  #number(): number {
    const slab = this.#slab;
    let at = this.#position & SLAB_MASK;
    let value = 0;
    let byte = slab[at++] ?? 0;
    let scale = 1;
    while (byte >= 0x80) {
      value += (byte - 0x80) * scale;
      scale *= 0x80;
      byte = slab[at++] ?? 0;
    }
    this.#position += at - (this.#position & SLAB_MASK);
    return value + byte * scale;
  }
}
