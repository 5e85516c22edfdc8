/**
 * What happened to the content of every file, as one append-only log in typed arrays: 29 bytes per operation instead of
 * an object, so that millions of small writes fit. The operations of one node form a chain in the order of the journal.
 * Invariant: bytes of a node that no operation of its chain covers are zero, and its size is kept here, after every
 * event folded so far. Nothing is read here: an operation points at payload by row, offset and length.
 */
import { assert } from "../base/assert.ts";
import type { Extent } from "../format/trace_event.ts";

/**
 * Kinds of operations: DATA has payload, ZERO makes zeros (or a hole), UNKNOWN is content that was not captured, BASE is the
 * content at the start, which is not in the trace but in a file beside it or on disk (base_files.ts).
 */
export const ContentKind = { DATA: 0, ZERO: 1, UNKNOWN: 2, BASE: 3 } as const;

/** Offsets in rows are u32; nobody copies from further behind in a file that was left on disk, or those bytes are unknown. */
const OFFSET_MAX = 0xffff_ffff;
const FIRST_CAPACITY = 4096;
const FIRST_NODES = 1024;

function grown<T extends Float64Array | Uint32Array | Uint8Array>(
  make: new (size: number) => T,
  old: T,
  size: number,
): T {
  const next = new make(size);
  next.set(old);
  return next;
}

/** A run of bytes of a file: DATA (at `rowOffset` of `row`) or UNKNOWN. */
export interface ContentPiece {
  kind: number;
  row: number;
  rowOffset: number;
  at: number;
  length: number;
}

/** The operations of all files. Index 0 means none, so that a chain ends with 0. */
export class ContentLog {
  #count = 1;
  #kind = new Uint8Array(FIRST_CAPACITY);
  #row = new Uint32Array(FIRST_CAPACITY);
  #rowOffset = new Uint32Array(FIRST_CAPACITY);
  #at = new Float64Array(FIRST_CAPACITY);
  #length = new Float64Array(FIRST_CAPACITY);
  #next = new Uint32Array(FIRST_CAPACITY);
  #head = new Uint32Array(FIRST_NODES);
  #tail = new Uint32Array(FIRST_NODES);
  #size = new Float64Array(FIRST_NODES);
  /** Nodes with operations of kind BASE, now or before. */
  readonly #based = new Set<number>();

  /** Operations held, for progress and tests. */
  get count(): number {
    return this.#count - 1;
  }

  /** Size of a node's content in bytes; 0 for a node never seen. */
  size(node: number): number {
    return this.#size[node] ?? 0;
  }

  /** First operation of a node's chain, 0 if there is none. */
  first(node: number): number {
    return this.#head[node] ?? 0;
  }

  /** Operation after `op` in its chain, 0 at the end. */
  next(op: number): number {
    return this.#next[op] ?? 0;
  }

  kind(op: number): number {
    return this.#kind[op] ?? 0;
  }

  row(op: number): number {
    return this.#row[op] ?? 0;
  }

  rowOffset(op: number): number {
    return this.#rowOffset[op] ?? 0;
  }

  at(op: number): number {
    return this.#at[op] ?? 0;
  }

  length(op: number): number {
    return this.#length[op] ?? 0;
  }

  /** `length` bytes at `at`, found at `rowOffset` of row `row`; the file grows to cover them. */
  data(
    node: number,
    at: number,
    payload: { row: number; rowOffset: number; length: number },
  ): void {
    if (payload.length === 0) return;
    const tail = this.#tail[node] ?? 0;
    if (tail !== 0 && this.#goesOn(tail, at, payload)) {
      this.#length[tail] = (this.#length[tail] ?? 0) + payload.length;
      this.#growTo(node, at + payload.length);
      return;
    }
    const op = this.#append(node, ContentKind.DATA, at, payload.length);
    this.#row[op] = payload.row;
    this.#rowOffset[op] = payload.rowOffset;
    this.#growTo(node, at + payload.length);
  }

  /** Whether bytes are the next ones of an operation, in the file and in the row: then it can cover them too. */
  #goesOn(op: number, at: number, payload: { row: number; rowOffset: number }): boolean {
    const length = this.length(op);
    return this.kind(op) === ContentKind.DATA && this.at(op) + length === at &&
      this.row(op) === payload.row && this.rowOffset(op) + length === payload.rowOffset;
  }

  /** Bytes [at, at+length) become what the extents say and zero elsewhere; the file grows to cover them. */
  extents(node: number, at: number, content: { length: number; extents: readonly Extent[] }): void {
    let covered = 0;
    for (const extent of content.extents) {
      if (extent.at !== covered) break;
      covered += extent.length;
    }
    if (covered !== content.length) this.zero(node, at, content.length);
    for (const { row, offset, length, at: within } of content.extents) {
      this.data(node, at + within, { row, rowOffset: offset, length });
    }
  }

  /** Bytes [at, at+length) become zero. With `keepSize` the file does not grow. */
  zero(node: number, at: number, length: number, keepSize = false): void {
    this.#range(node, ContentKind.ZERO, at, length, keepSize);
  }

  /** Bytes [at, at+length) become those of another node (or of this one) from `offset` on, as they are now. */
  copy(node: number, at: number, from: { node: number; offset: number; length: number }): void {
    const { offset, length } = from;
    const pieces = this.pieces(from.node, offset, offset + length);
    this.zero(node, at, length);
    for (const piece of pieces) this.#put(node, at - offset, piece);
  }

  /** Bytes [at, at+length) go; what is behind them moves there. */
  collapse(node: number, at: number, length: number): void {
    const size = this.size(node);
    const before = this.pieces(node, 0, at);
    const behind = this.pieces(node, at + length, size);
    this.reset(node);
    for (const piece of before) this.#put(node, 0, piece);
    for (const piece of behind) this.#put(node, -length, piece);
    this.#size[node] = size - Math.max(0, Math.min(length, size - at));
  }

  /** Zeros come in at `at`; what was there moves behind them. */
  insert(node: number, at: number, length: number): void {
    const size = this.size(node);
    const before = this.pieces(node, 0, at);
    const behind = this.pieces(node, at, size);
    this.reset(node);
    for (const piece of before) this.#put(node, 0, piece);
    for (const piece of behind) this.#put(node, length, piece);
    this.#size[node] = Math.max(size, at) + length;
  }

  #put(node: number, shift: number, piece: ContentPiece): void {
    const { at, length } = piece;
    const isTooFar = piece.kind === ContentKind.BASE && piece.rowOffset > OFFSET_MAX;
    if (piece.kind === ContentKind.UNKNOWN || isTooFar) this.unknown(node, at + shift, length);
    else if (piece.kind === ContentKind.BASE) this.#fromBase(node, at + shift, piece);
    else this.data(node, at + shift, piece);
  }

  /** What bytes [from, to) of a node consist of: pieces in ascending order without overlap; zeros are left out. */
  pieces(node: number, from: number, to: number): ContentPiece[] {
    const ops: number[] = [];
    for (let op = this.first(node); op !== 0; op = this.next(op)) ops.push(op);
    const found: ContentPiece[] = [];
    const end = Math.min(to, this.size(node));
    // not yet explained by a later operation, ascending
    let open = from < end ? [{ from, to: end }] : [];
    for (let i = ops.length - 1; i >= 0 && open.length > 0; i--) {
      const op = ops[i] ?? 0;
      const low = this.at(op);
      const high = low + this.length(op);
      if (high <= (open[0]?.from ?? 0) || low >= (open.at(-1)?.to ?? 0)) continue;
      const rest: typeof open = [];
      for (const range of open) {
        const [a, b] = [Math.max(range.from, low), Math.min(range.to, high)];
        if (a >= b) {
          rest.push(range);
          continue;
        }
        if (this.kind(op) !== ContentKind.ZERO) found.push(this.#piece(op, a, b));
        if (range.from < a) rest.push({ from: range.from, to: a });
        if (b < range.to) rest.push({ from: b, to: range.to });
      }
      open = rest;
    }
    return found.sort((a, b) => a.at - b.at);
  }

  #piece(op: number, from: number, to: number): ContentPiece {
    const rowOffset = this.rowOffset(op) + from - this.at(op);
    return { kind: this.kind(op), row: this.row(op), rowOffset, at: from, length: to - from };
  }

  /** Bytes [at, at+length) are not known; they are restored as zeros. */
  unknown(node: number, at: number, length: number): void {
    this.#range(node, ContentKind.UNKNOWN, at, length, false);
  }

  /** The node's content is what its file held at the start, `length` bytes. */
  base(node: number, length: number): void {
    this.reset(node);
    this.#fromBase(node, 0, { row: node, rowOffset: 0, length });
    this.#growTo(node, length);
  }

  /** Bytes of what the file of node `row` held at the start, from `rowOffset` on. */
  #fromBase(
    node: number,
    at: number,
    from: { row: number; rowOffset: number; length: number },
  ): void {
    if (from.length === 0) return;
    const op = this.#append(node, ContentKind.BASE, at, from.length);
    this.#row[op] = from.row;
    this.#rowOffset[op] = from.rowOffset;
    this.#based.add(node);
    this.#growTo(node, at + from.length);
  }

  /** Whether a node's whole content is what its file held at the start. */
  isUntouched(node: number): boolean {
    const op = this.first(node);
    return op !== 0 && this.kind(op) === ContentKind.BASE && this.row(op) === node &&
      this.next(op) === 0 && this.at(op) === 0 && this.length(op) === this.size(node);
  }

  /** Nodes of which a node's content has what their files held at the start; mostly itself. */
  bases(node: number): number[] {
    if (!this.#based.has(node)) return [];
    const nodes = new Set<number>();
    for (let op = this.first(node); op !== 0; op = this.next(op)) {
      if (this.kind(op) === ContentKind.BASE) nodes.add(this.row(op));
    }
    return [...nodes];
  }

  /** What the file of `base` held at the start cannot be had: those bytes of the node are unknown. */
  loseBase(node: number, base: number): void {
    for (let op = this.first(node); op !== 0; op = this.next(op)) {
      const isIt = this.kind(op) === ContentKind.BASE && this.row(op) === base;
      if (isIt) this.#kind[op] = ContentKind.UNKNOWN;
    }
  }

  #range(node: number, kind: number, at: number, length: number, keepSize: boolean): void {
    const end = keepSize ? Math.min(at + length, this.size(node)) : at + length;
    const isNews = kind !== ContentKind.ZERO || at < this.size(node);
    if (end > at && isNews) this.#append(node, kind, at, end - at);
    this.#growTo(node, end);
  }

  /** The size becomes `size`; what is cut off comes back as zeros if the file grows again. */
  truncate(node: number, size: number): void {
    const old = this.size(node);
    if (size === 0) this.reset(node);
    else if (size < old) this.#append(node, ContentKind.ZERO, size, old - size);
    this.#ensureNode(node);
    this.#size[node] = size;
  }

  /** Forgets all content of the node: it is empty. */
  reset(node: number): void {
    this.#ensureNode(node);
    this.#head[node] = 0;
    this.#tail[node] = 0;
    this.#size[node] = 0;
  }

  #growTo(node: number, size: number): void {
    this.#ensureNode(node);
    if (size > this.size(node)) this.#size[node] = size;
  }

  #append(node: number, kind: number, at: number, length: number): number {
    assert(at >= 0 && length > 0, "a content operation covers bytes");
    if (this.#count === this.#kind.length) this.#growLog();
    this.#ensureNode(node);
    const op = this.#count++;
    this.#kind[op] = kind;
    this.#at[op] = at;
    this.#length[op] = length;
    this.#next[op] = 0;
    const tail = this.#tail[node] ?? 0;
    if (tail === 0) this.#head[node] = op;
    else this.#next[tail] = op;
    this.#tail[node] = op;
    return op;
  }

  #growLog(): void {
    const size = Math.ceil(this.#count * 1.6);
    assert(size < 2 ** 32, "the content log holds fewer than 2^32 operations");
    this.#kind = grown(Uint8Array, this.#kind, size);
    this.#row = grown(Uint32Array, this.#row, size);
    this.#rowOffset = grown(Uint32Array, this.#rowOffset, size);
    this.#at = grown(Float64Array, this.#at, size);
    this.#length = grown(Float64Array, this.#length, size);
    this.#next = grown(Uint32Array, this.#next, size);
  }

  #ensureNode(node: number): void {
    if (node < this.#head.length) return;
    const size = Math.ceil((node + 1) * 1.6);
    this.#head = grown(Uint32Array, this.#head, size);
    this.#tail = grown(Uint32Array, this.#tail, size);
    this.#size = grown(Float64Array, this.#size, size);
  }
}
