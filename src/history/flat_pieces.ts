/**
 * What a file consists of after all of its operations: runs in ascending order that do not overlap. In n log n steps for n
 * operations, however they overlap: the borders of all operations cut the file into cells, and the operations, the last one first,
 * take the cells that are still free, which a union-find structure leads to. A file that was written from its beginning to its end
 * needs none of that, and no memory but for the runs.
 */
import { ContentKind, type ContentOp, type OpCursor } from "./op_tokens.ts";

/** The bytes of a file that are asked for. */
interface Range {
  from: number;
  to: number;
}

/** Zeros are left out: what no piece covers is zero. @param ops gives the file's operations, from the first one on. */
export function flatPieces(ops: () => OpCursor, range: Range): ContentOp[] {
  return inOrder(ops(), range) ?? paint(columnsOf(ops, range), range);
}

function within(at: number, { from, to }: Range): number {
  return Math.min(Math.max(at, from), to);
}

function isIn({ at, length }: Readonly<ContentOp>, { from, to }: Range): boolean {
  return at < to && at + length > from;
}

/** The runs of a file whose operations follow each other; undefined: they do not. */
function inOrder(ops: OpCursor, range: Range): ContentOp[] | undefined {
  const runs = new Runs();
  let end = range.from;
  while (ops.next()) {
    if (!isIn(ops, range)) continue;
    const start = within(ops.at, range);
    if (start < end) return undefined;
    end = within(ops.at + ops.length, range);
    if (ops.kind !== ContentKind.ZERO) runs.add(ops, start, end);
  }
  return runs.pieces;
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

function columnsOf(each: () => OpCursor, range: Range): Columns {
  let count = 0;
  for (const ops = each(); ops.next();) if (isIn(ops, range)) count++;
  const columns: Columns = {
    count,
    kind: new Uint8Array(count),
    row: new Uint32Array(count),
    rowOffset: new Uint32Array(count),
    at: new Float64Array(count),
    length: new Float64Array(count),
  };
  let index = 0;
  for (const ops = each(); ops.next();) {
    if (!isIn(ops, range)) continue;
    columns.kind[index] = ops.kind;
    columns.row[index] = ops.row;
    columns.rowOffset[index] = ops.rowOffset;
    columns.at[index] = ops.at;
    columns.length[index] = ops.length;
    index++;
  }
  return columns;
}

/** Pieces that are put together where one goes on after the other. */
class Runs {
  readonly pieces: ContentOp[] = [];

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

function paint(ops: Columns, range: Range): ContentOp[] {
  const borders = bordersOf(ops, range);
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
    const last = indexOf(borders, within(at + (ops.length[index] ?? 0), range));
    for (let cell = free(indexOf(borders, within(at, range))); cell < last;) {
      owner[cell] = index + 1;
      next[cell] = cell + 1;
      cell = free(cell + 1);
    }
  }
  return runsOf(ops, owner, borders);
}

function runsOf(ops: Columns, owner: Uint32Array, borders: Float64Array): ContentOp[] {
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

/** Every place in the range where an operation begins or ends, ascending, each once. */
function bordersOf(ops: Columns, range: Range): Float64Array {
  const all = new Float64Array(ops.count * 2);
  for (let index = 0; index < ops.count; index++) {
    const at = ops.at[index] ?? 0;
    all[index * 2] = within(at, range);
    all[index * 2 + 1] = within(at + (ops.length[index] ?? 0), range);
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
