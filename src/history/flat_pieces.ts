/**
 * What a file consists of after all of its operations: runs in ascending order that do not overlap. In n log n steps for n
 * operations, however they overlap: the borders of all operations cut the file into cells, and the operations, the last one first,
 * take the cells that are still free, which a union-find structure leads to.
 */
import { ContentKind, type ContentLog, type ContentPiece } from "./content_log.ts";

/** Zeros are left out: what no piece covers, up to the size, is zero. Extents longer than a row's u32 do not come up. */
export function flatPieces(log: ContentLog, node: number): ContentPiece[] {
  const ops: number[] = [];
  let ascending = true;
  let end = 0;
  for (let op = log.first(node); op !== 0; op = log.next(op)) {
    ops.push(op);
    ascending &&= log.at(op) >= end && log.kind(op) !== ContentKind.ZERO;
    end = log.at(op) + log.length(op);
  }
  const size = log.size(node);
  if (ascending && end <= size) {
    return joined(
      log,
      ops.map((op) => ({ op, from: log.at(op), to: log.at(op) + log.length(op) })),
    );
  }
  return joined(log, paint(log, ops, size));
}

interface Run {
  op: number;
  from: number;
  to: number;
}

function paint(log: ContentLog, ops: readonly number[], size: number): Run[] {
  const borders = bordersOf(log, ops, size);
  const cells = borders.length - 1;
  const owner = new Uint32Array(Math.max(cells, 0));
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
  for (let index = ops.length - 1; index >= 0; index--) {
    const op = ops[index] ?? 0;
    const last = indexOf(borders, Math.min(log.at(op) + log.length(op), size));
    for (let cell = free(indexOf(borders, Math.min(log.at(op), size))); cell < last;) {
      owner[cell] = op;
      next[cell] = cell + 1;
      cell = free(cell + 1);
    }
  }
  const runs: Run[] = [];
  for (let cell = 0; cell < cells; cell++) {
    const op = owner[cell] ?? 0;
    if (op === 0 || log.kind(op) === ContentKind.ZERO) continue;
    const [from, to] = [borders[cell] ?? 0, borders[cell + 1] ?? 0];
    const last = runs.at(-1);
    if (last?.op === op && last.to === from) last.to = to;
    else runs.push({ op, from, to });
  }
  return runs;
}

/** Every place where an operation begins or ends, up to the size, ascending, each once. */
function bordersOf(log: ContentLog, ops: readonly number[], size: number): Float64Array {
  const all = new Float64Array(ops.length * 2);
  for (const [index, op] of ops.entries()) {
    all[index * 2] = Math.min(log.at(op), size);
    all[index * 2 + 1] = Math.min(log.at(op) + log.length(op), size);
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

/** Runs that go on in the same row become one piece. */
function joined(log: ContentLog, runs: readonly Run[]): ContentPiece[] {
  const pieces: ContentPiece[] = [];
  for (const { op, from, to } of runs) {
    const kind = log.kind(op);
    const row = log.row(op);
    const rowOffset = log.rowOffset(op) + from - log.at(op);
    const last = pieces.at(-1);
    const goesOn = last !== undefined && last.kind === kind && last.at + last.length === from &&
      (kind !== ContentKind.DATA ||
        (last.row === row && last.rowOffset + last.length === rowOffset));
    if (goesOn) last.length += to - from;
    else pieces.push({ kind, row, rowOffset, at: from, length: to - from });
  }
  return pieces;
}
