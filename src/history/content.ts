/**
 * Turns the chain of a node's content operations into its bytes, in windows of bounded memory, so that files far larger
 * than memory and millions of tiny writes both work. Relies on ContentLog for the operations and on a `PayloadSource`
 * for the bytes they point at. What no operation wrote is never handed out: holes stay holes.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import type { ContentLog } from "./content_log.ts";
import { OpChains } from "./op_chains.ts";
import { ContentKind, type ContentOp, hasPlace, type OpCursor } from "./op_tokens.ts";

/** Bytes of a file that are put together at once. A larger file takes several windows. */
export const CONTENT_WINDOW_BYTES = 32 * 1024 * 1024;

/** Bytes that are copied at once from a file that is as it was at the start. */
const CONTENT_PIECE_BYTES = 1024 * 1024;

/** Grain of holes: as the block size of the usual filesystems. Must divide the window. */
export const CONTENT_PAGE_BYTES = 4096;
const CONTENT_PAGE_BITS = 12;

/** From this average size on, operations that do not overlap are handed out as they lie, without a copy. */
const DIRECT_AVERAGE_BYTES = 64 * 1024;

/** Below this length a loop copies faster than a typed array's `set`. */
const LOOP_COPY_BYTES = 48;

/** Where payload comes from, verified. The caller does not keep it. */
export interface PayloadSource {
  /** A run of a row's content in which a pointer's offset lies; its first byte has the offset `start`. */
  piece(row: number, offset: number): { bytes: Uint8Array; start: number };
}

/** What files held at the start, where the trace itself does not have it. */
export interface BaseSource {
  /** Fills `into` with the bytes from `at` on. @throws {DiffKeeperError} `io`, `data_corrupt`. */
  read(node: number, at: number, into: Uint8Array): void;
  /** Where data begins at or after `at`: a hole is left out. The size where there is none. */
  nextData(node: number, at: number): number;
}

/** Takes a run of a file's bytes; runs come in ascending order. `bytes` is only valid during the call. */
export type ContentSink = (at: number, bytes: Uint8Array) => void;

/** Puts contents together; keeps its window between files. */
export class Materializer {
  readonly #log: ContentLog;
  readonly #payloads: PayloadSource;
  readonly #pages = new Uint8Array(CONTENT_WINDOW_BYTES / CONTENT_PAGE_BYTES);
  #window = new Uint8Array(0);
  readonly #base: BaseSource | undefined;
  #lastRow = -1;
  #lastStart = 0;
  #lastBytes: Uint8Array = new Uint8Array(0);

  /** @param base must be there where the log has operations of kind BASE. */
  constructor(log: ContentLog, payloads: PayloadSource, base?: BaseSource) {
    this.#log = log;
    this.#payloads = payloads;
    this.#base = base;
  }

  /**
   * Hands out every run of bytes of a node that was written; all else up to its size is zero.
   * @throws {DiffKeeperError} code `data_corrupt` when an operation points outside its row.
   */
  write(node: number, sink: ContentSink): void {
    if (this.#log.isUntouched(node)) return this.#writeBase(node, sink);
    const size = this.#log.size(node);
    const { isAscending, isData, count, end } = this.#log.shape(node);
    const isLarge = count <= 1 || size / count >= DIRECT_AVERAGE_BYTES;
    if (isAscending && isData && isLarge && end <= size) this.#writeDirect(node, sink);
    else if (isAscending || size <= CONTENT_WINDOW_BYTES) {
      this.#writeInOrder(node, { isAscending, sink });
    } else this.#writeWindows(node, sink);
  }

  /** All bytes of a node in one array, for files known to be small. */
  read(node: number): Uint8Array {
    const bytes = new Uint8Array(this.#log.size(node));
    this.write(node, (at, run) => bytes.set(run, at));
    return bytes;
  }

  /** The file is as it was at the start. */
  #writeBase(node: number, sink: ContentSink): void {
    const size = this.#log.size(node);
    if (this.#window.length < CONTENT_PIECE_BYTES) {
      this.#window = new Uint8Array(CONTENT_PIECE_BYTES);
    }
    const base = this.#needBase();
    for (let at = base.nextData(node, 0); at < size;) {
      const piece = this.#window.subarray(0, Math.min(CONTENT_PIECE_BYTES, size - at));
      base.read(node, at, piece);
      sink(at, piece);
      at = base.nextData(node, at + piece.length);
    }
  }

  #needBase(): BaseSource {
    assert(this.#base !== undefined, "contents of the start need their source");
    return this.#base;
  }

  #writeDirect(node: number, sink: ContentSink): void {
    const ops = this.#log.ops(node);
    while (ops.next()) {
      for (let done = 0; done < ops.length;) {
        const start = this.#find(ops.row, ops.rowOffset + done);
        const part = this.#lastBytes.subarray(start, start + ops.length - done);
        sink(ops.at + done, part);
        done += part.length;
      }
    }
  }

  /** Has the run in `#lastBytes` in which a pointer lies; returns where it does. Mostly thousands of operations lie in the same. */
  #find(row: number, offset: number): number {
    const start = offset - this.#lastStart;
    if (row === this.#lastRow && start >= 0 && start < this.#lastBytes.length) return start;
    const piece = this.#payloads.piece(row, offset);
    this.#lastRow = row;
    this.#lastStart = piece.start;
    this.#lastBytes = piece.bytes;
    if (offset >= piece.start && offset - piece.start < piece.bytes.length) {
      return offset - piece.start;
    }
    throw new DiffKeeperError(
      "data_corrupt",
      `cannot read content: a pointer leads outside row ${row}`,
    );
  }

  /** Window after window in one go: there is but one, or no operation goes back. */
  #writeInOrder(node: number, options: { isAscending: boolean; sink: ContentSink }): void {
    const { isAscending, sink } = options;
    const size = this.#log.size(node);
    this.#makeRoom(size);
    let base = -1;
    let end = 0;
    const ops = this.#log.ops(node);
    while (ops.next()) {
      // there is nothing before it that it could wipe out
      if (isAscending && !hasPlace(ops.kind)) continue;
      const to = Math.min(ops.at + ops.length, size);
      for (let from = ops.at; from < to; from = end) {
        if (base < 0 || from >= end) {
          if (base >= 0) this.#handOut(base, end, sink);
          base = from - from % CONTENT_WINDOW_BYTES;
          end = Math.min(base + CONTENT_WINDOW_BYTES, size);
          this.#openWindow(base, end);
        }
        this.#apply(ops, base, end);
      }
    }
    if (base >= 0) this.#handOut(base, end, sink);
  }

  #writeWindows(node: number, sink: ContentSink): void {
    const size = this.#log.size(node);
    this.#makeRoom(size);
    const { windows, chains } = byWindow(this.#log, node);
    for (const [index, window] of windows.entries()) {
      const base = window * CONTENT_WINDOW_BYTES;
      const end = Math.min(base + CONTENT_WINDOW_BYTES, size);
      this.#openWindow(base, end);
      for (const ops = chains.ops(index); ops.next();) this.#apply(ops, base, end);
      chains.clear(index);
      this.#handOut(base, end, sink);
    }
  }

  #makeRoom(size: number): void {
    const pages = Math.ceil(size / CONTENT_PAGE_BYTES) * CONTENT_PAGE_BYTES;
    const room = Math.min(CONTENT_WINDOW_BYTES, pages);
    if (this.#window.length < room) this.#window = new Uint8Array(room);
  }

  #openWindow(base: number, end: number): void {
    this.#pages.fill(0, 0, Math.max(0, Math.ceil((end - base) / CONTENT_PAGE_BYTES)));
  }

  /** Applies one operation to the window [base, end). */
  #apply(op: OpCursor, base: number, end: number): void {
    const { at, kind } = op;
    const from = Math.max(at, base) - base;
    const to = Math.min(at + op.length, end) - base;
    if (from >= to) return;
    if (!hasPlace(kind)) return this.#zero(from, to);
    this.#touch(from, to);
    const offset = op.rowOffset + (from + base - at);
    if (kind === ContentKind.BASE) {
      this.#needBase().read(op.row, offset, this.#window.subarray(from, to));
      return;
    }
    for (let next = from; next < to;) {
      const start = this.#find(op.row, offset + next - from);
      const length = Math.min(to - next, this.#lastBytes.length - start);
      const [window, bytes] = [this.#window, this.#lastBytes];
      if (length > LOOP_COPY_BYTES) window.set(bytes.subarray(start, start + length), next);
      else for (let i = 0; i < length; i++) window[next + i] = bytes[start + i] ?? 0;
      next += length;
    }
  }

  /** Makes the pages of [from, to) data; a page that was a hole is zeroed where the operation does not cover it. */
  #touch(from: number, to: number): void {
    // windows are small: whole numbers of 32 bits
    const last = (to - 1) >>> CONTENT_PAGE_BITS;
    for (let page = from >>> CONTENT_PAGE_BITS; page <= last; page++) {
      if (this.#pages[page] === 1) continue;
      this.#pages[page] = 1;
      const start = page * CONTENT_PAGE_BYTES;
      if (from <= start && to >= start + CONTENT_PAGE_BYTES) continue;
      this.#window.fill(0, start, start + CONTENT_PAGE_BYTES);
    }
  }

  /** Makes [from, to) zero: whole pages become holes, parts of data pages are filled. */
  #zero(from: number, to: number): void {
    const last = Math.floor((to - 1) / CONTENT_PAGE_BYTES);
    for (let page = Math.floor(from / CONTENT_PAGE_BYTES); page <= last; page++) {
      if (this.#pages[page] === 0) continue;
      const start = page * CONTENT_PAGE_BYTES;
      const low = Math.max(from, start);
      const high = Math.min(to, start + CONTENT_PAGE_BYTES);
      if (high - low === CONTENT_PAGE_BYTES) this.#pages[page] = 0;
      else this.#window.fill(0, low, high);
    }
  }

  #handOut(base: number, end: number, sink: ContentSink): void {
    const pages = Math.ceil((end - base) / CONTENT_PAGE_BYTES);
    let first = -1;
    for (let page = 0; page <= pages; page++) {
      const isData = page < pages && this.#pages[page] === 1;
      if (isData && first < 0) first = page;
      if (isData || first < 0) continue;
      const from = first * CONTENT_PAGE_BYTES;
      const to = Math.min(page * CONTENT_PAGE_BYTES, end - base);
      sink(base + from, this.#window.subarray(from, to));
      first = -1;
    }
  }
}

/** Windows that data touches, ascending, and for each a chain of the operations that reach into it, in order. */
function byWindow(log: ContentLog, node: number): { windows: number[]; chains: OpChains } {
  const touched = new Set<number>();
  for (const ops = log.ops(node); ops.next();) {
    if (!hasPlace(ops.kind)) continue;
    const last = lastWindow(ops);
    for (let window = firstWindow(ops); window <= last; window++) touched.add(window);
  }
  const windows = [...touched].sort((a, b) => a - b);
  const chains = new OpChains();
  for (const ops = log.ops(node); ops.next();) {
    const last = lastWindow(ops);
    for (let i = lowerBound(windows, firstWindow(ops)); i < windows.length; i++) {
      if ((windows[i] ?? 0) > last) break;
      chains.append(i, ops);
    }
  }
  return { windows, chains };
}

function firstWindow(op: Readonly<ContentOp>): number {
  return Math.floor(op.at / CONTENT_WINDOW_BYTES);
}

function lastWindow(op: Readonly<ContentOp>): number {
  return Math.floor((op.at + op.length - 1) / CONTENT_WINDOW_BYTES);
}

/** Index of the first element that is not less than `value`. */
function lowerBound(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Bytes [from, to) of a file that are not known. */
export interface UnknownRange {
  from: number;
  to: number;
}

/** The parts of a node's content that were never captured and not overwritten since; at most `max` are told. */
export function unknownRanges(log: ContentLog, node: number, max = 16): UnknownRange[] {
  let ranges: UnknownRange[] = [];
  for (const ops = log.ops(node); ops.next();) {
    const isUnknown = ops.kind === ContentKind.UNKNOWN;
    if (!isUnknown && ranges.length === 0) continue;
    const [from, to] = [ops.at, ops.at + ops.length];
    ranges = ranges.flatMap((range) => [
      { from: range.from, to: Math.min(range.to, from) },
      { from: Math.max(range.from, to), to: range.to },
    ]).filter((range) => range.from < range.to);
    if (isUnknown) ranges.push({ from, to });
  }
  const size = log.size(node);
  return ranges.map(({ from, to }) => ({ from, to: Math.min(to, size) }))
    .filter((range) => range.from < range.to).sort((a, b) => a.from - b.from).slice(0, max);
}
