/**
 * What the bases learn from rows that are packed: which file's bytes stand where. The same walk serves rows just packed and rows
 * of an earlier run, so both lead to the same bases.
 */
import type { EventCursor } from "../format/event_codec.ts";
import type { EventPacker } from "../format/event_packer.ts";
import { isNameOp } from "../format/event_layout.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import { EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import type { ContentReader } from "../store/content_reader.ts";
import type { Bases, Part } from "./bases.ts";

/** A run of a file's bytes in one row. */
interface Run {
  node: number;
  row: number;
  offset: number;
  length: number;
  at: number;
}

/** Learns names, so that a file that replaces another finds its content. */
export function learnNames(bases: Bases, cursor: EventCursor): void {
  cursor.rewind();
  while (cursor.next()) if (isNameOp(cursor.op)) learnName(bases, cursor.event());
}

function learnName(bases: Bases, event: TraceEvent): void {
  const { op, node } = event;
  const isMove = op === Op.RENAME;
  const parent = (isMove ? event.toParent : event.parent) ?? 0;
  const name = isMove ? event.toName : event.name;
  if (op === Op.UNLINK || op === Op.RMDIR || parent === 0 || name === undefined) return;
  bases.named(node, `${parent}/${name}`);
}

/** Learns where the bytes of files went. `row` is the id of the events' own row. */
export function learnContent(
  bases: Bases,
  cursor: EventCursor,
  where: { row: number; content: ContentReader },
): void {
  const { content } = where;
  const runs = new Map<number, Run[]>();
  const [largeRuns, ownRuns] = [new Map<number, Run[]>(), new Map<number, Run[]>()];
  cursor.rewind();
  while (cursor.next()) {
    if ((cursor.flags & EventFlag.EXTENTS) === 0 || cursor.op === Op.OUTPUT) continue;
    const { node } = cursor;
    let list = runs.get(node);
    if (list === undefined) runs.set(node, list = []);
    const start = isNameOp(cursor.op) ? 0 : cursor.offset;
    for (let index = 0; index < cursor.extentCount; index++) {
      const { row, offset, length, at } = cursor.extent(index);
      const run = { node, row, offset, length, at: start + at };
      const last = list.at(-1);
      if (last !== undefined && isBehind(last, run)) last.length += length;
      else list.push(run);
      addLarge(row === where.row ? ownRuns : largeRuns, run);
    }
  }
  for (const [node, list] of runs) {
    const [large, own] = [largeRuns.get(node) ?? [], ownRuns.get(node) ?? []];
    // what stands in the row of its events is known as one run, or as none
    const learned = own.length === 1 ? [...large, ...own] : large;
    bases.learn(node, list.flatMap((run) => partsOf(run, content)), learned);
  }
  bases.settle();
}

/** Whether a run goes on in its row where another ends. */
function isBehind(before: Run, { row, offset }: Run): boolean {
  return before.row === row && before.offset + before.length === offset;
}

/** Adds a run that goes on in the file too. */
function addLarge(runs: Map<number, Run[]>, run: Run): void {
  let list = runs.get(run.node);
  if (list === undefined) runs.set(run.node, list = []);
  const last = list.at(-1);
  const goesOn = last !== undefined && isBehind(last, run) && last.at + last.length === run.at;
  if (goesOn) last.length += run.length;
  else list.push({ ...run });
}

/** As `learnContent`, for a row just packed whose events have no content elsewhere: the packer knows all of it. */
export function learnStreams(
  bases: Bases,
  packer: EventPacker,
  row: number,
  content: ContentReader,
): void {
  for (const [index, { key, bytes, at, isRun }] of packer.streams.entries()) {
    if (key < 0) continue;
    const offset = PACKED_POINTER + (packer.starts[index] ?? 0);
    const run = { node: key, row, offset, length: bytes, at };
    bases.learn(key, partsOf(run, content), isRun ? [run] : []);
  }
  bases.settle();
}

/** A run cut at the borders of blobs: a base lies in one. */
function partsOf(run: Run, content: ContentReader): Part[] {
  const parts: Part[] = [];
  const packed = content.packed(run.row);
  const pointerBase = run.offset >= PACKED_POINTER ? PACKED_POINTER : 0;
  for (let done = 0; done < run.length;) {
    const offset = run.offset + done;
    let end = run.offset + run.length;
    if (packed !== undefined) {
      const border = packed.starts.find((start) => start > offset - pointerBase);
      end = Math.min(end, pointerBase + (border ?? 0));
    }
    if (end <= offset) break;
    parts.push({ row: run.row, offset, length: end - offset, at: run.at + done });
    done += end - offset;
  }
  return parts;
}
