/**
 * The state of a recording at one point: baseline and journal folded up to a position. Names and attributes go through
 * the same Tree that the recorder used, contents into a ContentLog, and what is missing (gaps, content that could not be
 * read) is kept beside them, so that whoever shows the state can say so. Writes, nearly all of a large journal, are
 * folded from the cursor's fields without an object per event.
 */
import { DiffKeeperError } from "../base/error.ts";
import type { EventCursor } from "../format/event_codec.ts";
import { isAfterSpan, type TimeSpan } from "../format/time_expr.ts";
import {
  EventFlag,
  IO_URING_NOTE,
  type Mtime,
  Op,
  type TraceEvent,
} from "../format/trace_event.ts";
import { Tree } from "../resolve/tree.ts";
import { ContentLog } from "./content_log.ts";

/** Gaps of which the details are kept; of further ones only their number and sums. */
const GAPS_KEPT_MAX = 1000;

/** Something that was lost before the folded point. */
export interface Gap {
  /** 0: in the baseline, before the command. */
  seq: number;
  tNs: number;
  node: number;
  events: number;
  bytes: number;
  text: string;
  /** What it is about, a binary string; "" for nothing in particular. */
  path: string;
}

/** A file whose content at the start is not in the trace: in which state the file on disk has it. */
export interface LeftFile {
  mtime: Mtime | undefined;
  ctime: Mtime | undefined;
  /** Where it is since it was renamed, an absolute path; undefined: where the tree has it. */
  path?: string | undefined;
}

/** The state at a point. */
export class History {
  readonly tree = new Tree();
  readonly content = new ContentLog();
  /** The first gaps, in order; `gapCount` counts all. */
  readonly gaps: Gap[] = [];
  gapCount = 0;
  /** Nodes with content that was not captured at some time; unknownRanges tells what is still unknown. */
  readonly unread = new Set<number>();
  /** Nodes with content that was read back after the call that wrote it. */
  readonly readBack = new Set<number>();
  /** Files whose content at the start is not in the trace. */
  readonly left = new Map<number, LeftFile>();
  /** Nodes that a gap concerns and that were not read back since, with the last gap. */
  readonly doubted = new Map<number, Gap>();
  /** The first event from which on changes may be missing, because a program made them through io_uring; 0: none is. */
  unseenSince = 0;
  /** It begins with a state in the middle of the recording. */
  isFolded = false;
  /** Number and time of the last event folded; 0 after the baseline. */
  lastSeq = 0;
  lastNs = 0;

  /**
   * Folds the rest of a batch up to the end of the span.
   * @param rowId of the batch: small payloads are pointers into it.
   * @returns false when an event after the span was met: nothing more is to be folded.
   */
  fold(cursor: EventCursor, rowId: number, until?: TimeSpan): boolean {
    while (cursor.next()) {
      const { seq, tNs } = cursor;
      if (until !== undefined && seq !== 0 && isAfterSpan(until, seq, tNs)) return false;
      if (seq !== 0) [this.lastSeq, this.lastNs] = [seq, tNs];
      if (cursor.op === Op.WRITE && this.#foldPlainWrite(cursor, rowId)) continue;
      this.#foldEvent(cursor.event(), { rowId, rowOffset: cursor.payloadOffset });
    }
    return true;
  }

  /** A write of one piece, inline or packed, without an object for it; false: it is another. */
  #foldPlainWrite(cursor: EventCursor, rowId: number): boolean {
    const { flags, offset, length } = cursor;
    if ((flags & SLOW_FLAGS) !== 0) return false;
    let row = rowId;
    let rowOffset = cursor.payloadOffset;
    if ((flags & EventFlag.EXTENTS) === 0) {
      if (cursor.payloadLength !== length) return false;
    } else {
      if (cursor.extentCount !== 1) return false;
      const extent = cursor.extent(0);
      if (extent.length !== length || extent.at !== 0) return false;
      ({ row, offset: rowOffset } = extent);
    }
    const node = this.tree.node(cursor.node);
    if (node === undefined) throw unknownNode(cursor.node);
    this.tree.applyWrite(node, offset + length, cursor);
    this.content.data(node.id, offset, { row, rowOffset, length });
    return true;
  }

  #foldEvent(event: TraceEvent, at: { rowId: number; rowOffset: number }): void {
    const isNew = this.tree.node(event.node) === undefined;
    this.tree.apply(event);
    const { node, length = 0, offset = 0 } = event;
    switch (event.op) {
      case Op.WRITE:
        this.#write(event, at);
        return;
      case Op.MMAP:
        if (event.extents !== undefined || event.inline !== undefined) this.#write(event, at);
        return;
      case Op.CONTENT:
        this.#startContent(event, at);
        return;
      case Op.BASELINE:
        if ((event.flags & EventFlag.LAZY) !== 0) {
          this.content.base(node, event.attr?.size ?? 0);
          this.left.set(node, { mtime: event.mtime, ctime: event.ctime });
        } else this.#whole(event, event.attr?.size ?? 0, at);
        return;
      case Op.RESYNC:
        this.#whole(event, length, at);
        this.doubted.delete(node);
        // pid 0 is the recorder itself, at the end: what it read is what was there then
        if (event.pid === 0) this.readBack.delete(node);
        else if ((event.flags & EventFlag.SETTLED) !== 0) this.readBack.add(node);
        return;
      case Op.RENAME:
      case Op.LINK:
        if (isNew || event.parent === 0) this.#cameIn(event, at);
        return;
      case Op.TRUNCATE:
        this.content.truncate(node, length);
        return;
      case Op.FALLOCATE:
        this.content.zero(node, offset, length, (event.flags & EventFlag.KEEP_SIZE) !== 0);
        return;
      case Op.COLLAPSE:
        this.content.collapse(node, offset, length);
        return;
      case Op.INSERT:
        this.content.insert(node, offset, length);
        return;
      case Op.GAP:
        this.#gap(event);
        return;
      case Op.NOTE:
        if (event.text === IO_URING_NOTE) this.unseenSince ||= event.seq;
        return;
      default:
        return;
    }
  }

  #write(event: TraceEvent, at: { rowId: number; rowOffset: number }): void {
    const { node, length = 0, offset = 0 } = event;
    if ((event.flags & EventFlag.SETTLED) !== 0) this.readBack.add(node);
    if (event.source !== undefined) {
      const from = event.source.node;
      this.content.copy(node, offset, { node: from, offset: event.source.offset, length });
      if (this.unread.has(from)) this.unread.add(node);
      if (this.readBack.has(from)) this.readBack.add(node);
      return;
    }
    if ((event.flags & EventFlag.UNREAD) !== 0) {
      this.content.unknown(node, offset, length);
      this.unread.add(node);
    }
    const extents = event.extents ?? inlineExtents(event, at);
    const isPartial = (event.flags & EventFlag.UNREAD) !== 0;
    if (!isPartial) this.content.extents(node, offset, { length, extents });
    else {
      for (const { row, offset: rowOffset, length: part, at: within } of extents) {
        this.content.data(node, offset + within, { row, rowOffset, length: part });
      }
    }
  }

  /** The whole content of a node becomes what the event says. */
  #whole(event: TraceEvent, size: number, at: { rowId: number; rowOffset: number }): void {
    const node = this.tree.need(event.node);
    if (!node.isFile) return;
    this.content.reset(node.id);
    this.content.truncate(node.id, size);
    this.#write({ ...event, offset: 0, length: size }, at);
    this.content.truncate(node.id, size);
  }

  /** What a file held at the start, or where it is. */
  #startContent(event: TraceEvent, at: { rowId: number; rowOffset: number }): void {
    const { node, path, mtime, ctime } = event;
    if (!this.left.has(node)) {
      // of the start of a history whose beginning was folded, where the file had been saved already
      if (this.isFolded) return;
      throw unknownNode(node);
    }
    if ((event.flags & EventFlag.LAZY) !== 0) {
      this.left.set(node, { mtime, ctime, path });
      return;
    }
    this.left.delete(node);
    this.#whole(event, this.content.size(node), at);
  }

  /** Came from outside the watched folders: unless the event has its content, that is not known yet. */
  #cameIn(event: TraceEvent, at: { rowId: number; rowOffset: number }): void {
    const hasContent = event.extents !== undefined || event.inline !== undefined;
    const flags = hasContent ? event.flags : event.flags | EventFlag.UNREAD;
    if (event.attr !== undefined) this.#whole({ ...event, flags }, event.attr.size, at);
  }

  #gap(event: TraceEvent): void {
    this.gapCount++;
    const { seq, tNs, node, loss, text = "" } = event;
    const { events, bytes } = loss ?? { events: 0, bytes: 0 };
    const gap = { seq, tNs, node, events, bytes, text, path: event.path ?? "" };
    if (node !== 0) this.doubted.set(node, gap);
    if (this.gaps.length < GAPS_KEPT_MAX) this.gaps.push(gap);
  }
}

const SLOW_FLAGS = EventFlag.TLVS | EventFlag.UNREAD | EventFlag.SETTLED;

function inlineExtents(
  event: TraceEvent,
  at: { rowId: number; rowOffset: number },
): { row: number; offset: number; length: number; at: number }[] {
  const length = event.inline?.length ?? 0;
  return length === 0 ? [] : [{ row: at.rowId, offset: at.rowOffset, length, at: 0 }];
}

function unknownNode(node: number): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", `cannot apply an event: node ${node} is not known`);
}
