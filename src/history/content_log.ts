/**
 * What happened to the content of every file, in one pass over the journal: a chain of operations per file (op_chains.ts), a few bytes
 * each, so that millions of small writes fit. Invariant: bytes of a node that no operation of its chain covers are zero, and its size is
 * kept here, after every event folded so far. Nothing is read here: an operation points at payload by row, offset and length.
 */
import type { Extent } from "../format/trace_event.ts";
import { flatPieces } from "./flat_pieces.ts";
import { type ChainShape, OpChains } from "./op_chains.ts";
import { ContentKind, type ContentOp, type OpCursor } from "./op_tokens.ts";

/** Offsets in rows are u32; nobody copies from further behind in a file that was left on disk, or those bytes are unknown. */
const OFFSET_MAX = 0xffff_ffff;
const FIRST_NODES = 1024;

/** A run of bytes of a file: DATA (at `rowOffset` of `row`), UNKNOWN or BASE. */
export type ContentPiece = ContentOp;

/** The operations of all files. */
export class ContentLog {
  readonly #chains = new OpChains();
  #size = new Float64Array(FIRST_NODES);
  /** Nodes with operations of kind BASE, now or before, and the sizes of their files at the start; 0: has of others' alone. */
  readonly #based = new Map<number, number>();

  /** Operations that were added, for progress and tests. */
  get count(): number {
    return this.#chains.count;
  }

  /** Bytes that operations take, for tests. */
  get bytes(): number {
    return this.#chains.bytes;
  }

  /** Size of a node's content in bytes; 0 for a node never seen. */
  size(node: number): number {
    return this.#size[node] ?? 0;
  }

  /** The operations of a node in the order of the journal; to be used before the log changes. */
  ops(node: number): OpCursor {
    return this.#chains.ops(node);
  }

  /** What can be said of a node's operations without reading them. */
  shape(node: number): ChainShape {
    return this.#chains.shape(node);
  }

  /** `length` bytes at `at`, found at `rowOffset` of row `row`; the file grows to cover them. */
  data(
    node: number,
    at: number,
    payload: { row: number; rowOffset: number; length: number },
  ): void {
    const { row, rowOffset, length } = payload;
    if (length === 0) return;
    const op = { kind: ContentKind.DATA, row, rowOffset, at, length };
    if (!this.#chains.extend(node, op)) {
      // nothing of what was there before can be seen any more
      if (at === 0 && length >= this.size(node)) this.#chains.clear(node);
      this.#chains.append(node, op);
    }
    this.#growTo(node, at + length);
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
    const end = Math.min(to, this.size(node));
    return from < end ? flatPieces(() => this.ops(node), { from, to: end }) : [];
  }

  /** Bytes [at, at+length) are not known; they are restored as zeros. */
  unknown(node: number, at: number, length: number): void {
    this.#range(node, ContentKind.UNKNOWN, at, length, false);
  }

  /** The node's content is what its file held at the start, `length` bytes. */
  base(node: number, length: number): void {
    this.reset(node);
    this.#based.set(node, length);
    this.#fromBase(node, 0, { row: node, rowOffset: 0, length });
    this.#growTo(node, length);
  }

  /** Size of what the node's file held at the start, of one that was left there (`base`). */
  startSize(node: number): number {
    return this.#based.get(node) ?? 0;
  }

  /** Bytes of what the file of node `row` held at the start, from `rowOffset` on. */
  #fromBase(
    node: number,
    at: number,
    from: { row: number; rowOffset: number; length: number },
  ): void {
    if (from.length === 0) return;
    const { row, rowOffset, length } = from;
    this.#chains.append(node, { kind: ContentKind.BASE, row, rowOffset, at, length });
    if (!this.#based.has(node)) this.#based.set(node, 0);
    this.#growTo(node, at + from.length);
  }

  /** Whether a node's whole content is what its file held at the start. */
  isUntouched(node: number): boolean {
    const op = this.#chains.single(node);
    return op?.kind === ContentKind.BASE && op.row === node && op.at === 0 &&
      op.length === this.size(node);
  }

  /** Nodes of which a node's content has what their files held at the start; mostly itself. */
  bases(node: number): number[] {
    if (!this.#based.has(node)) return [];
    const nodes = new Set<number>();
    const cursor = this.ops(node);
    while (cursor.next()) if (cursor.kind === ContentKind.BASE) nodes.add(cursor.row);
    return [...nodes];
  }

  /** What the file of `base` held at the start cannot be had: those bytes of the node are unknown. */
  loseBase(node: number, base: number): void {
    this.#chains.lose(node, base);
  }

  #range(node: number, kind: number, at: number, length: number, keepSize: boolean): void {
    const end = keepSize ? Math.min(at + length, this.size(node)) : at + length;
    const isNews = kind !== ContentKind.ZERO || at < this.size(node);
    if (end > at && isNews) this.#add(node, kind, { at, length: end - at });
    this.#growTo(node, end);
  }

  /** The size becomes `size`; what is cut off comes back as zeros if the file grows again. */
  truncate(node: number, size: number): void {
    const old = this.size(node);
    if (size === 0) this.reset(node);
    else if (size < old) this.#add(node, ContentKind.ZERO, { at: size, length: old - size });
    this.#ensureNode(node);
    this.#size[node] = size;
  }

  /** Forgets all content of the node: it is empty. */
  reset(node: number): void {
    this.#chains.clear(node);
    this.#ensureNode(node);
    this.#size[node] = 0;
  }

  /** An operation without payload. */
  #add(node: number, kind: number, { at, length }: { at: number; length: number }): void {
    this.#chains.append(node, { kind, row: 0, rowOffset: 0, at, length });
  }

  #growTo(node: number, size: number): void {
    this.#ensureNode(node);
    if (size > this.size(node)) this.#size[node] = size;
  }

  #ensureNode(node: number): void {
    if (node < this.#size.length) return;
    const grown = new Float64Array(Math.ceil((node + 1) * 1.6));
    grown.set(this.#size);
    this.#size = grown;
  }
}
