/**
 * Turns the chain of a node's content operations into its bytes, in windows of bounded memory, so that files far larger
 * than memory and millions of tiny writes both work. Relies on ContentLog for the operations and on a `PayloadSource`
 * for the bytes they point at. What no operation wrote is never handed out: holes stay holes.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { ContentKind, type ContentLog } from "./content_log.ts";

/** Bytes of a file that are put together at once. A larger file takes several windows. */
export const CONTENT_WINDOW_BYTES = 32 * 1024 * 1024;

/** Bytes that are copied at once from a file that is as it was at the start. */
const CONTENT_PIECE_BYTES = 1024 * 1024;

/** Grain of holes: as the block size of the usual filesystems. Must divide the window. */
export const CONTENT_PAGE_BYTES = 4096;

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
    if (this.#log.isUntouched(node)) this.#writeBase(node, sink);
    else if (this.#isDirect(node)) this.#writeDirect(node, sink);
    else this.#writeWindows(node, sink);
  }

  /** All bytes of a node in one array, for files known to be small. */
  read(node: number): Uint8Array {
    const bytes = new Uint8Array(this.#log.size(node));
    this.write(node, (at, run) => bytes.set(run, at));
    return bytes;
  }

  /** True if the chain is ascending, without overlap, inside the size, and made of large pieces (or just one). */
  #isDirect(node: number): boolean {
    const log = this.#log;
    let [end, total, count] = [0, 0, 0];
    for (let op = log.first(node); op !== 0; op = log.next(op)) {
      if (log.kind(op) !== ContentKind.DATA || log.at(op) < end) return false;
      end = log.at(op) + log.length(op);
      total += log.length(op);
      count++;
    }
    return end <= log.size(node) && (count <= 1 || total / count >= DIRECT_AVERAGE_BYTES);
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
    const log = this.#log;
    for (let op = log.first(node); op !== 0; op = log.next(op)) {
      const length = log.length(op);
      for (let done = 0; done < length;) {
        const part = this.#part(op, done, length);
        sink(log.at(op) + done, part);
        done += part.length;
      }
    }
  }

  /** Bytes of an operation from `from` on: up to `to`, or fewer where they lie in several runs. */
  #part(op: number, from: number, to: number): Uint8Array {
    const row = this.#log.row(op);
    const offset = this.#log.rowOffset(op) + from;
    // Mostly thousands of operations in a row lie in the same run.
    let start = offset - this.#lastStart;
    if (row !== this.#lastRow || start < 0 || start >= this.#lastBytes.length) {
      const piece = this.#payloads.piece(row, offset);
      this.#lastRow = row;
      this.#lastStart = piece.start;
      this.#lastBytes = piece.bytes;
      start = offset - piece.start;
    }
    const part = this.#lastBytes.subarray(start, start + to - from);
    if (part.length > 0) return part;
    throw new DiffKeeperError(
      "data_corrupt",
      `cannot read content: a pointer leads outside row ${row}`,
    );
  }

  #writeWindows(node: number, sink: ContentSink): void {
    const size = this.#log.size(node);
    const plan = planWindows(this.#log, node);
    const room = Math.min(
      CONTENT_WINDOW_BYTES,
      Math.ceil(size / CONTENT_PAGE_BYTES) * CONTENT_PAGE_BYTES,
    );
    if (this.#window.length < room) this.#window = new Uint8Array(room);
    for (let i = 0; i < plan.windows.length; i++) {
      const base = (plan.windows[i] ?? 0) * CONTENT_WINDOW_BYTES;
      const end = Math.min(base + CONTENT_WINDOW_BYTES, size);
      this.#pages.fill(0, 0, Math.max(0, Math.ceil((end - base) / CONTENT_PAGE_BYTES)));
      for (let k = plan.starts[i] ?? 0; k < (plan.starts[i + 1] ?? 0); k++) {
        this.#apply(plan.ops[k] ?? 0, base, end);
      }
      this.#handOut(base, end, sink);
    }
  }

  /** Applies one operation to the window [base, end). */
  #apply(op: number, base: number, end: number): void {
    const log = this.#log;
    const at = log.at(op);
    const from = Math.max(at, base) - base;
    const to = Math.min(at + log.length(op), end) - base;
    if (from >= to) return;
    if (log.kind(op) === ContentKind.BASE) {
      this.#touch(from, to);
      const source = log.rowOffset(op) + (from + base - at);
      this.#needBase().read(log.row(op), source, this.#window.subarray(from, to));
      return;
    }
    if (log.kind(op) !== ContentKind.DATA) {
      this.#zero(from, to);
      return;
    }
    this.#touch(from, to);
    for (let next = from; next < to;) {
      const part = this.#part(op, next + base - at, to + base - at);
      if (part.length > LOOP_COPY_BYTES) this.#window.set(part, next);
      else for (let i = 0; i < part.length; i++) this.#window[next + i] = part[i] ?? 0;
      next += part.length;
    }
  }

  /** Makes the pages of [from, to) data; a page that was a hole is zeroed where the operation does not cover it. */
  #touch(from: number, to: number): void {
    const last = Math.floor((to - 1) / CONTENT_PAGE_BYTES);
    for (let page = Math.floor(from / CONTENT_PAGE_BYTES); page <= last; page++) {
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

/** Windows that data touches, ascending, and for each the operations that reach into it, in order. */
interface WindowPlan {
  windows: number[];
  /** `ops` from starts[i] to starts[i + 1] belong to windows[i]. */
  starts: Uint32Array;
  ops: Uint32Array;
}

function planWindows(log: ContentLog, node: number): WindowPlan {
  const touched = new Set<number>();
  for (let op = log.first(node); op !== 0; op = log.next(op)) {
    if (log.kind(op) !== ContentKind.DATA && log.kind(op) !== ContentKind.BASE) continue;
    const last = lastWindow(log, op);
    for (let w = firstWindow(log, op); w <= last; w++) touched.add(w);
  }
  const windows = [...touched].sort((a, b) => a - b);
  const starts = new Uint32Array(windows.length + 1);
  eachReach(log, node, windows, (i) => starts[i + 1] = (starts[i + 1] ?? 0) + 1);
  for (let i = 0; i < windows.length; i++) starts[i + 1] = (starts[i + 1] ?? 0) + (starts[i] ?? 0);
  const fill = starts.slice();
  const ops = new Uint32Array(starts[windows.length] ?? 0);
  eachReach(log, node, windows, (i, op) => {
    const at = fill[i] ?? 0;
    ops[at] = op;
    fill[i] = at + 1;
  });
  assert(windows.length === 0 || fill[0] === starts[1], "both passes see the same operations");
  return { windows, starts, ops };
}

function firstWindow(log: ContentLog, op: number): number {
  return Math.floor(log.at(op) / CONTENT_WINDOW_BYTES);
}

function lastWindow(log: ContentLog, op: number): number {
  return Math.floor((log.at(op) + log.length(op) - 1) / CONTENT_WINDOW_BYTES);
}

/** Calls `visit` for each operation and each index of `windows` that it reaches into. */
function eachReach(
  log: ContentLog,
  node: number,
  windows: readonly number[],
  visit: (index: number, op: number) => void,
): void {
  for (let op = log.first(node); op !== 0; op = log.next(op)) {
    const last = lastWindow(log, op);
    for (let i = lowerBound(windows, firstWindow(log, op)); i < windows.length; i++) {
      if ((windows[i] ?? 0) > last) break;
      visit(i, op);
    }
  }
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
  for (let op = log.first(node); op !== 0; op = log.next(op)) {
    const isUnknown = log.kind(op) === ContentKind.UNKNOWN;
    if (!isUnknown && ranges.length === 0) continue;
    const [from, to] = [log.at(op), log.at(op) + log.length(op)];
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
