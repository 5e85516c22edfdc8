/**
 * Keyframes (docs/FORMAT.md, "Keyframes"): the whole state after an event, told as events that make it, so that what loads one
 * is the fold itself. Every node is a BASELINE event, folders before what they hold; then come further names, extended attributes,
 * what is not known of contents, and, beside the events, what only a History keeps.
 */
import { KEYFRAME_EXTENTS_MAX } from "../base/limits.ts";
import { EventFlag, type Extent, type Mtime, Op, type TraceEvent } from "../format/trace_event.ts";
import type { Node } from "../resolve/node.ts";
import type { ContentPiece } from "./content_log.ts";
import type { Gap, History } from "./fold.ts";
import { ContentKind } from "./op_tokens.ts";
import type { Places } from "./places.ts";

/** What a keyframe has beside its events, as JSON. */
export interface KeyframeRest {
  seq: number;
  tNs: number;
  /** Rows with events. */
  parts: number;
  nodes: number;
  gapCount: number;
  gaps: Gap[];
  unread: number[];
  readBack: number[];
  doubted: [number, Gap][];
  baselineGaps: number;
  /** See History; 0 where a trace does not say. */
  unseenSince: number;
}

const HEAD = { seq: 0, flags: 0, tNs: 0, pid: 0, tid: 0, comm: "" } as const;

/** What of a state is left out, or told otherwise. */
export interface KeyframeOptions {
  /** Nodes that nothing names any more. */
  dropped?: ReadonlySet<number>;
  /** Nodes whose content nobody can read any more: it is told as unknown. */
  emptied?: ReadonlySet<number>;
  /** Where contents of the start are that the state refers to on disk, by node; "lost": nowhere. */
  embedded?: ReadonlyMap<number, readonly Extent[] | "lost">;
}

/** The events that make the state. Where a node has no name any more, its last place is kept for the timeline. */
export function* keyframeEvents(
  history: History,
  places: Places,
  options: KeyframeOptions = {},
): Generator<TraceEvent> {
  const { tree } = history;
  const { dropped } = options;
  for (const node of foldersFirst(history)) {
    if (dropped?.has(node.id) !== true) yield* nodeEvents(history, places, node, options);
  }
  for (const node of tree.nodes()) {
    if (!node.isDir && dropped?.has(node.id) !== true) {
      yield* nodeEvents(history, places, node, options);
    }
  }
  for (const node of tree.nodes()) {
    if (dropped?.has(node.id) === true) continue;
    for (const { parent, name } of node.more ?? []) {
      yield { ...HEAD, op: Op.LINK, node: node.id, parent, name };
    }
  }
}

/** What the events do not say. */
export function keyframeRest(history: History, baselineGaps: number): Omit<KeyframeRest, "parts"> {
  return {
    seq: history.lastSeq,
    tNs: history.lastNs,
    nodes: history.tree.size,
    gapCount: history.gapCount,
    gaps: history.gaps,
    unread: [...history.unread],
    readBack: [...history.readBack],
    doubted: [...history.doubted],
    baselineGaps,
    unseenSince: history.unseenSince,
  };
}

/** Gives a History into which the events were folded the rest of its state. */
export function restoreRest(history: History, rest: KeyframeRest): void {
  history.lastSeq = rest.seq;
  history.lastNs = rest.tNs;
  history.unseenSince = rest.unseenSince;
  history.gapCount = rest.gapCount;
  history.gaps.splice(0, history.gaps.length, ...rest.gaps);
  for (const known of [history.unread, history.readBack, history.doubted]) known.clear();
  for (const node of rest.unread) history.unread.add(node);
  for (const node of rest.readBack) history.readBack.add(node);
  for (const [node, gap] of rest.doubted) history.doubted.set(node, gap);
}

/** Folders in an order in which each comes after the one it hangs in. */
function foldersFirst(history: History): Node[] {
  const { tree } = history;
  const order: Node[] = [];
  for (const node of tree.nodes()) {
    if (!node.isDir || (node.parent !== 0 && tree.node(node.parent) !== undefined)) continue;
    const stack = [node];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      order.push(next);
      for (const id of next.children?.values() ?? []) {
        const child = tree.node(id);
        if (child?.isDir === true) stack.push(child);
      }
    }
  }
  return order;
}

function* nodeEvents(
  history: History,
  places: Places,
  node: Node,
  options: KeyframeOptions,
): Generator<TraceEvent> {
  const size = node.isFile ? history.content.size(node.id) : node.size;
  const left = isLeft(history, node, options) ? history.left.get(node.id) : undefined;
  const pieces = node.isFile && left === undefined ? piecesOf(history, node.id, options) : [];
  const known = pieces.filter((piece) => piece.kind === ContentKind.DATA);
  const last = node.parent === 0 && node.root < 0 ? places.lastPlace(node.id) : undefined;
  const mtime = node.mtime();
  yield {
    ...HEAD,
    op: Op.BASELINE,
    node: node.id,
    attr: { ...node.attr(), size },
    parent: node.parent,
    ...(node.parent === 0 ? {} : { name: node.name }),
    ...(node.root < 0 ? {} : { root: node.root }),
    ...(node.target === undefined ? {} : { target: node.target }),
    ...(mtime === undefined ? {} : { mtime }),
    ...(known.length === 0 ? {} : { extents: known.slice(0, KEYFRAME_EXTENTS_MAX).map(extent) }),
    ...(last?.path === undefined ? {} : { path: last.path, victim: last.root + 1 }),
    ...(left === undefined ? {} : { flags: EventFlag.LAZY, ...timeOf("ctime", left.ctime) }),
  };
  if (left !== undefined) {
    const { path, ctime } = left;
    const event = { ...HEAD, op: Op.CONTENT, flags: EventFlag.LAZY, node: node.id, length: size };
    yield {
      ...event,
      ...timeOf("mtime", left.mtime),
      ...timeOf("ctime", ctime),
      ...(path === undefined ? {} : { path }),
    };
  }
  for (let at = KEYFRAME_EXTENTS_MAX; at < known.length; at += KEYFRAME_EXTENTS_MAX) {
    yield moreContent(node.id, known.slice(at, at + KEYFRAME_EXTENTS_MAX));
  }
  for (const { kind, at, length } of pieces) {
    if (kind !== ContentKind.UNKNOWN) continue;
    yield { ...HEAD, op: Op.WRITE, flags: EventFlag.UNREAD, node: node.id, offset: at, length };
  }
  if (node.size !== size) yield { ...HEAD, op: Op.CHMOD, node: node.id, attr: node.attr() };
  for (const [xattrName, xattrValue] of node.xattrs ?? []) {
    yield { ...HEAD, op: Op.XATTR, node: node.id, xattrName, xattrValue };
  }
}

function timeOf(name: "mtime" | "ctime", time: Mtime | undefined): Partial<TraceEvent> {
  return time === undefined ? {} : { [name]: time };
}

/** Whether the file is still as it was at the start, and that is to be found on disk. */
function isLeft(history: History, node: Node, { embedded, emptied }: KeyframeOptions): boolean {
  const isUntouched = history.left.has(node.id) && history.content.isUntouched(node.id);
  return isUntouched && embedded?.has(node.id) !== true && emptied?.has(node.id) !== true;
}

/** What the content consists of, with contents of the start where they were put. */
function piecesOf(history: History, node: number, options: KeyframeOptions): ContentPiece[] {
  if (options.emptied?.has(node) === true) {
    const length = history.content.size(node);
    return length === 0 ? [] : [{ kind: ContentKind.UNKNOWN, row: 0, rowOffset: 0, at: 0, length }];
  }
  return history.content.pieces(node, 0, history.content.size(node)).flatMap((piece) => {
    if (piece.kind !== ContentKind.BASE) return [piece];
    const found = options.embedded?.get(piece.row);
    if (found === undefined || found === "lost") return [{ ...piece, kind: ContentKind.UNKNOWN }];
    return found.flatMap((extent) => partOf(piece, extent));
  });
}

/** The part of a piece of the start's content that an extent of it has. */
function partOf(piece: ContentPiece, { row, offset, length, at }: Extent): ContentPiece[] {
  const from = Math.max(piece.rowOffset, at);
  const to = Math.min(piece.rowOffset + piece.length, at + length);
  if (from >= to) return [];
  return [{
    kind: ContentKind.DATA,
    row,
    rowOffset: offset + from - at,
    at: piece.at + from - piece.rowOffset,
    length: to - from,
  }];
}

function moreContent(node: number, pieces: readonly ContentPiece[]): TraceEvent {
  const [first] = pieces;
  const last = pieces.at(-1);
  const offset = first?.at ?? 0;
  const length = (last?.at ?? 0) + (last?.length ?? 0) - offset;
  const extents = pieces.map((piece) => ({ ...extent(piece), at: piece.at - offset }));
  return { ...HEAD, op: Op.WRITE, node, offset, length, extents };
}

function extent({ row, rowOffset, length, at }: ContentPiece): Extent {
  return { row, offset: rowOffset, length, at };
}
