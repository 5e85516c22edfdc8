/**
 * Operations on contents in a few bytes each: one chain per file, in the order of the journal. Chains are tokens (op_tokens.ts) in
 * blocks that double, blocks lie in slabs that are never copied, and the blocks of a chain that is cleared are used again. A cursor goes
 * forward only, and must not be used any more once its chain has changed.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { CONTENT_SLABS_MAX } from "../base/limits.ts";
import {
  BLOCK_HEADER_BYTES,
  ContentKind,
  type ContentOp,
  FIRST_BLOCK_BYTES,
  foreseen,
  hasPlace,
  limitOf,
  NOTHING,
  OpCursor,
  putShortToken,
  putToken,
  SHORT_LENGTH_MAX,
  SHORT_TOKEN_BYTES,
  SLAB_BITS,
  SLAB_MASK,
} from "./op_tokens.ts";

const SLAB_BYTES = 1 << SLAB_BITS;
/** The largest block has 16 KiB. */
const BLOCK_SORTS = 9;
const FIRST_CHAINS = 1024;

function grown<T extends Float64Array | Uint32Array | Uint8Array>(
  make: new (size: number) => T,
  old: T,
  size: number,
): T {
  const next = new make(size);
  next.set(old);
  return next;
}

/** What some operations of a chain are, as bits. */
const Some = {
  /** Begins before the end of the one before. */
  BACK: 1,
  /** Not DATA. */
  OTHER: 2,
} as const;

/** What can be said of a chain without reading it. */
export interface ChainShape {
  /** No operation begins before the end of the one before. */
  isAscending: boolean;
  /** All are DATA. */
  isData: boolean;
  /** Of operations; more are not counted. */
  count: number;
  /** Of the last operation. */
  end: number;
}

const COUNT_MAX = 0xffff_ffff;

/** See the head of the file. Chains are named by small whole numbers. */
export class OpChains {
  #count = 0;
  readonly #slabs: Uint8Array[] = [];
  readonly #words: Uint32Array[] = [];
  /** Where the next new block goes. */
  #fresh = 0;
  /** By sort: blocks that are free, each with the next one in its first word. */
  readonly #free = new Uint32Array(BLOCK_SORTS);
  /** The last operation of each chain, whose length no token has yet. Kinds count from 1: 0 where there is none. */
  #kind = new Uint8Array(FIRST_CHAINS);
  #row = new Uint32Array(FIRST_CHAINS);
  #rowOffset = new Uint32Array(FIRST_CHAINS);
  #at = new Float64Array(FIRST_CHAINS);
  #length = new Float64Array(FIRST_CHAINS);
  /** First block, 0: there are no tokens; where the next token goes; from where on that is in another block; the last block's sort. */
  #head = new Uint32Array(FIRST_CHAINS);
  #end = new Uint32Array(FIRST_CHAINS);
  #limit = new Uint32Array(FIRST_CHAINS);
  #sort = new Uint8Array(FIRST_CHAINS);
  /** Operations of the chain, up to a bound, and what some of them are (`Some`). */
  #number = new Uint32Array(FIRST_CHAINS);
  #some = new Uint8Array(FIRST_CHAINS);

  /** Operations that were added, also those that were cleared since. */
  get count(): number {
    return this.#count;
  }

  /** Bytes taken for tokens, used or free. */
  get bytes(): number {
    return this.#slabs.length * SLAB_BYTES;
  }

  isEmpty(chain: number): boolean {
    return (this.#kind[chain] ?? 0) === 0;
  }

  /** The only operation of a chain; undefined: it has none or several. */
  single(chain: number): ContentOp | undefined {
    return this.isEmpty(chain) || this.#head[chain] !== 0 ? undefined : this.#last(chain);
  }

  /** All operations of a chain, the first one first. */
  ops(chain: number): OpCursor {
    const memory = { slabs: this.#slabs, words: this.#words };
    if (this.isEmpty(chain)) return new OpCursor(memory, { head: 0, end: 0, last: undefined });
    const [head, end] = [this.#head[chain] ?? 0, this.#end[chain] ?? 0];
    return new OpCursor(memory, { head, end, last: this.#last(chain) });
  }

  shape(chain: number): ChainShape {
    const some = this.#some[chain] ?? 0;
    return {
      isAscending: (some & Some.BACK) === 0,
      isData: (some & Some.OTHER) === 0,
      count: this.#number[chain] ?? 0,
      end: (this.#at[chain] ?? 0) + (this.#length[chain] ?? 0),
    };
  }

  append(chain: number, op: Readonly<ContentOp>): void {
    assert(op.at >= 0 && op.length > 0, "a content operation covers bytes");
    if (chain >= this.#kind.length) this.#growTo(chain);
    let some = this.#some[chain] ?? 0;
    if (!this.isEmpty(chain)) {
      if (!this.#tellNear(chain, op)) this.#tell(chain, op);
      if (op.at < (this.#at[chain] ?? 0) + (this.#length[chain] ?? 0)) some |= Some.BACK;
    }
    if (op.kind !== ContentKind.DATA) some |= Some.OTHER;
    this.#some[chain] = some;
    this.#number[chain] = Math.min((this.#number[chain] ?? 0) + 1, COUNT_MAX);
    this.#count++;
    this.#kind[chain] = op.kind + 1;
    this.#at[chain] = op.at;
    this.#length[chain] = op.length;
    if (!hasPlace(op.kind)) return;
    this.#row[chain] = op.row;
    this.#rowOffset[chain] = op.rowOffset;
  }

  /** Makes the last operation longer where this one goes on behind it, in the file and in the row. Returns whether it did. */
  extend(chain: number, op: Readonly<ContentOp>): boolean {
    if (this.#kind[chain] !== ContentKind.DATA + 1 || op.kind !== ContentKind.DATA) return false;
    const length = this.#length[chain] ?? 0;
    const goesOn = (this.#at[chain] ?? 0) + length === op.at && this.#row[chain] === op.row &&
      (this.#rowOffset[chain] ?? 0) + length === op.rowOffset;
    if (goesOn) this.#length[chain] = length + op.length;
    return goesOn;
  }

  /** The chain has no operations any more. */
  clear(chain: number): void {
    if (this.isEmpty(chain)) return;
    for (let block = this.#head[chain] ?? 0; block !== 0;) {
      const words = this.#wordsOf(block);
      const at = (block & SLAB_MASK) >>> 2;
      const [next, sort] = [words[at] ?? 0, words[at + 1] ?? 0];
      words[at] = this.#free[sort] ?? 0;
      this.#free[sort] = block;
      block = next;
    }
    for (const column of [this.#kind, this.#row, this.#rowOffset, this.#head]) column[chain] = 0;
    for (const column of [this.#number, this.#some]) column[chain] = 0;
  }

  /** Operations of kind BASE with this row become UNKNOWN. */
  lose(chain: number, row: number): void {
    const cursor = this.ops(chain);
    while (cursor.next()) {
      if (cursor.kind !== ContentKind.BASE || cursor.row !== row) continue;
      const { token } = cursor;
      const slab = token === 0 ? undefined : this.#slabs[token >>> SLAB_BITS];
      // the bits of the kind are the lowest ones
      if (slab !== undefined) {
        slab[token & SLAB_MASK] = (slab[token & SLAB_MASK] ?? 0) - ContentKind.BASE +
          ContentKind.UNKNOWN;
      }
      if (!cursor.isLast) continue;
      this.#kind[chain] = ContentKind.UNKNOWN + 1;
      // no token has told its row, and none will
      if (token === 0) this.#row[chain] = 0;
    }
  }

  /** The usual write, without an object: the next event of the same row goes on where the last one ends. Returns whether it is that. */
  #tellNear(chain: number, op: Readonly<ContentOp>): boolean {
    const length = this.#length[chain] ?? 0;
    const end = this.#end[chain] ?? 0;
    const isNear = this.#kind[chain] === ContentKind.DATA + 1 && op.kind === ContentKind.DATA &&
      length <= SHORT_LENGTH_MAX && op.row === this.#row[chain] &&
      op.at === (this.#at[chain] ?? 0) + length &&
      op.rowOffset === foreseen(this.#rowOffset[chain] ?? 0, length);
    if (!isNear || this.#head[chain] === 0 || end >= (this.#limit[chain] ?? 0)) return false;
    const slab = this.#slabs[end >>> SLAB_BITS];
    assert(slab !== undefined, "a chain's end lies in a slab");
    putShortToken(slab, end & SLAB_MASK, length);
    this.#end[chain] = end + SHORT_TOKEN_BYTES;
    return true;
  }

  #tell(chain: number, op: Readonly<ContentOp>): void {
    const last = this.#last(chain);
    if (this.#head[chain] === 0) this.#write(chain, NOTHING, last);
    this.#write(chain, last, op);
  }

  #last(chain: number): ContentOp {
    return {
      kind: (this.#kind[chain] ?? 0) - 1,
      row: this.#row[chain] ?? 0,
      rowOffset: this.#rowOffset[chain] ?? 0,
      at: this.#at[chain] ?? 0,
      length: this.#length[chain] ?? 0,
    };
  }

  #write(chain: number, last: Readonly<ContentOp>, op: Readonly<ContentOp>): void {
    let end = this.#end[chain] ?? 0;
    // the cursor goes on to the next block by the same rule
    const isFull = this.#head[chain] === 0 || end >= (this.#limit[chain] ?? 0);
    if (isFull) end = this.#addBlock(chain);
    const slab = this.#slabs[end >>> SLAB_BITS];
    assert(slab !== undefined, "a chain's end lies in a slab");
    const first = end & SLAB_MASK;
    this.#end[chain] = end + putToken(slab, first, { last, op }) - first;
  }

  /** Each block is twice as large as the one before, up to a bound. Returns where tokens go in it. */
  #addBlock(chain: number): number {
    const isFirst = this.#head[chain] === 0;
    const before = this.#sort[chain] ?? 0;
    const sort = isFirst ? 0 : Math.min(before + 1, BLOCK_SORTS - 1);
    const block = this.#takeBlock(sort);
    if (isFirst) this.#head[chain] = block;
    else {
      const old = (this.#limit[chain] ?? 0) - limitOf(0, before);
      this.#wordsOf(old)[(old & SLAB_MASK) >>> 2] = block;
    }
    this.#limit[chain] = limitOf(block, sort);
    this.#sort[chain] = sort;
    return block + BLOCK_HEADER_BYTES;
  }

  #takeBlock(sort: number): number {
    let block = this.#free[sort] ?? 0;
    if (block !== 0) this.#free[sort] = this.#wordsOf(block)[(block & SLAB_MASK) >>> 2] ?? 0;
    else block = this.#freshBlock(FIRST_BLOCK_BYTES << sort);
    const words = this.#wordsOf(block);
    const at = (block & SLAB_MASK) >>> 2;
    words[at] = 0;
    words[at + 1] = sort;
    return block;
  }

  #freshBlock(size: number): number {
    const room = this.#slabs.length * SLAB_BYTES - this.#fresh;
    if (room < size) {
      if (this.#slabs.length === CONTENT_SLABS_MAX) throw tooMany();
      // position 0 means none
      this.#fresh = Math.max(this.#slabs.length * SLAB_BYTES, FIRST_BLOCK_BYTES);
      const slab = new Uint8Array(new ArrayBuffer(SLAB_BYTES));
      this.#slabs.push(slab);
      this.#words.push(new Uint32Array(slab.buffer));
    }
    const block = this.#fresh;
    this.#fresh += size;
    return block;
  }

  #wordsOf(block: number): Uint32Array {
    const words = this.#words[block >>> SLAB_BITS];
    assert(words !== undefined && block !== 0, "a block lies in a slab");
    return words;
  }

  #growTo(chain: number): void {
    const size = Math.ceil((chain + 1) * 1.6);
    this.#kind = grown(Uint8Array, this.#kind, size);
    this.#row = grown(Uint32Array, this.#row, size);
    this.#rowOffset = grown(Uint32Array, this.#rowOffset, size);
    this.#at = grown(Float64Array, this.#at, size);
    this.#length = grown(Float64Array, this.#length, size);
    this.#head = grown(Uint32Array, this.#head, size);
    this.#end = grown(Uint32Array, this.#end, size);
    this.#limit = grown(Uint32Array, this.#limit, size);
    this.#sort = grown(Uint8Array, this.#sort, size);
    this.#number = grown(Uint32Array, this.#number, size);
    this.#some = grown(Uint8Array, this.#some, size);
  }
}

function tooMany(): DiffKeeperError {
  return new DiffKeeperError(
    "limit_exceeded",
    `cannot read on: the operations on contents take more than ${CONTENT_SLABS_MAX} MiB`,
    { hint: "`diffkeeper compact` puts states into the trace that reading can begin from" },
  );
}
