/**
 * What a file consists of after all of its operations: runs in ascending order that do not overlap. In n log n steps for n
 * operations, however they overlap: the borders of all operations cut the file into cells, and the operations, the last one first,
 * take the cells that are still free, which a union-find structure leads to. A file that was written from its beginning to its end
 * needs none of that, and no memory but for the runs.
 */
import type { ContentLog, ContentPiece } from "./content_log.ts";
import { ContentKind, type ContentOp } from "./op_tokens.ts";

/** Zeros are left out: what no piece covers, up to the size, is zero. Extents longer than a row's u32 do not come up. */
export function flatPieces(log: ContentLog, node: number): ContentPiece[] {
  return inOrder(log, node) ?? paint(columnsOf(log, node), log.size(node));
}

/** The runs of a file whose operations follow each other; undefined: they do not. */
function inOrder(log: ContentLog, node: number): ContentPiece[] | undefined {
  const runs = new Runs();
  const ops = log.ops(node);
  let end = 0;
  while (ops.next()) {
    if (ops.at < end || ops.kind === ContentKind.ZERO) return undefined;
    end = ops.at + ops.length;
    runs.add(ops, ops.at, end);
  }
  return end <= log.size(node) ? runs.pieces : undefined;
}

/** Operations that can be asked for by their number. */
interface Columns {
  count: number;
  kind: Uint8Array;
  row: Uint32Array;
  rowOffset: Uint32Array;
  at: Float64Array;
  length: Float64Array;
}

function columnsOf(log: ContentLog, node: number): Columns {
  let count = 0;
  for (const ops = log.ops(node); ops.next();) count++;
  const columns: Columns = {
    count,
    kind: new Uint8Array(count),
    row: new Uint32Array(count),
    rowOffset: new Uint32Array(count),
    at: new Float64Array(count),
    length: new Float64Array(count),
  };
  const ops = log.ops(node);
  for (let index = 0; ops.next(); index++) {
    columns.kind[index] = ops.kind;
    columns.row[index] = ops.row;
    columns.rowOffset[index] = ops.rowOffset;
    columns.at[index] = ops.at;
    columns.length[index] = ops.length;
  }
  return columns;
}

/** Pieces that are put together where one goes on after the other. */
class Runs {
  readonly pieces: ContentPiece[] = [];

  /** The bytes [from, to) of an operation. */
  add(op: Readonly<ContentOp>, from: number, to: number): void {
    const { kind, row } = op;
    const rowOffset = op.rowOffset + from - op.at;
    const last = this.pieces.at(-1);
    const goesOn = last !== undefined && last.kind === kind && last.at + last.length === from &&
      (kind === ContentKind.UNKNOWN ||
        (last.row === row && last.rowOffset + last.length === rowOffset));
    if (goesOn) last.length += to - from;
    else this.pieces.push({ kind, row, rowOffset, at: from, length: to - from });
  }
}

function paint(ops: Columns, size: number): ContentPiece[] {
  const borders = bordersOf(ops, size);
  const cells = Math.max(borders.length - 1, 0);
  /** By cell: one more than the number of the operation that has it; 0: none. */
  const owner = new Uint32Array(cells);
  const next = new Uint32Array(cells + 1);
  for (let cell = 0; cell <= cells; cell++) next[cell] = cell;
  const free = (cell: number): number => {
    let root = cell;
    while ((next[root] ?? root) !== root) root = next[root] ?? root;
    for (let at = cell; at !== root;) {
      const following = next[at] ?? root;
      next[at] = root;
      at = following;
    }
    return root;
  };
  for (let index = ops.count - 1; index >= 0; index--) {
    const at = ops.at[index] ?? 0;
    const last = indexOf(borders, Math.min(at + (ops.length[index] ?? 0), size));
    for (let cell = free(indexOf(borders, Math.min(at, size))); cell < last;) {
      owner[cell] = index + 1;
      next[cell] = cell + 1;
      cell = free(cell + 1);
    }
  }
  return runsOf(ops, owner, borders);
}

function runsOf(ops: Columns, owner: Uint32Array, borders: Float64Array): ContentPiece[] {
  const runs = new Runs();
  for (let cell = 0; cell < owner.length; cell++) {
    const index = (owner[cell] ?? 0) - 1;
    if (index < 0 || ops.kind[index] === ContentKind.ZERO) continue;
    const op = {
      kind: ops.kind[index] ?? 0,
      row: ops.row[index] ?? 0,
      rowOffset: ops.rowOffset[index] ?? 0,
      at: ops.at[index] ?? 0,
      length: ops.length[index] ?? 0,
    };
    runs.add(op, borders[cell] ?? 0, borders[cell + 1] ?? 0);
  }
  return runs.pieces;
}

/** Every place where an operation begins or ends, up to the size, ascending, each once. */
function bordersOf(ops: Columns, size: number): Float64Array {
  const all = new Float64Array(ops.count * 2);
  for (let index = 0; index < ops.count; index++) {
    const at = ops.at[index] ?? 0;
    all[index * 2] = Math.min(at, size);
    all[index * 2 + 1] = Math.min(at + (ops.length[index] ?? 0), size);
  }
  all.sort();
  let count = 0;
  for (const border of all) {
    if (count === 0 || border !== all[count - 1]) all[count++] = border;
  }
  return all.subarray(0, count);
}

function indexOf(borders: Float64Array, value: number): number {
  let [low, high] = [0, borders.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((borders[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
