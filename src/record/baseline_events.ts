/**
 * Trace events of what a scan found (docs/FORMAT.md, op BASELINE), and the batches of `b:` rows they go into. Baseline
 * events have no seq and no process; their time is 0, before the command. Every event is applied to the tree first, so
 * that the Resolver starts from exactly what a reader will fold.
 */
import { assert } from "../base/assert.ts";
import { JOURNAL_BATCH_BYTES_MAX } from "../base/limits.ts";
import { EventBatchEncoder } from "../format/event_codec.ts";
import type { LeftFile } from "../format/left_file.ts";
import type { LeftFiles } from "../format/left_files.ts";
import { Op, type TraceEvent } from "../format/trace_event.ts";
import type { Tree } from "../resolve/tree.ts";
import type { ScanItem, ScannedInode } from "./scan_item.ts";

/** Where finished batches go. */
export interface BaselineRows {
  putBaseline(n: number, value: Uint8Array): void;
}

/** The events of one item, in order. `root`: index of the watched folder that the top of the scan is. */
export function eventsOf(item: ScanItem, root?: number): TraceEvent[] {
  switch (item.kind) {
    case "inode":
      return inodeEvents(item, root);
    case "link":
      return [{ ...blank(Op.LINK, item.node), parent: item.parent, name: item.name }];
    case "gap":
      return [{ ...blank(Op.GAP, item.node), ...remark(item) }];
    case "note":
      return [{ ...blank(Op.NOTE, item.node), ...remark(item) }];
  }
}

function remark(item: { path: string; text: string }): { path: string; text: string } {
  return { path: item.path, text: `baseline: ${item.text}` };
}

function inodeEvents(item: ScannedInode, root: number | undefined): TraceEvent[] {
  const event = blank(Op.BASELINE, item.node);
  event.flags = item.flags;
  event.attr = item.attr;
  event.mtime = item.mtime;
  if (item.ctime !== undefined) event.ctime = item.ctime;
  if (item.parent !== 0) {
    event.parent = item.parent;
    event.name = item.name;
  } else if (root !== undefined) event.root = root;
  if (item.target !== undefined) event.target = item.target;
  if (item.extents.length > 0) event.extents = item.extents;
  if (item.xattrs.length === 0) return [event];
  return [event, ...xattrEvents(item)];
}

/** One XATTR event for each attribute of an inode. */
export function xattrEvents(item: ScannedInode): TraceEvent[] {
  return item.xattrs.map(({ name, value }) => {
    return { ...blank(Op.XATTR, item.node), xattrName: name, xattrValue: value };
  });
}

/** An event with nothing but its op and node, by no process, before the command unless the caller gives a time. */
export function blank(op: TraceEvent["op"], node: number): TraceEvent {
  return { seq: 0, op, flags: 0, tNs: 0, pid: 0, tid: 0, comm: "", node };
}

function nameOf({ source, nameAt, nameLength }: LeftFile): string {
  return Buffer.from(source.buffer, source.byteOffset + nameAt, nameLength).toString("latin1");
}

/** Where events of a scan go; `put` applies them to the tree first. */
export interface EventTarget {
  put(event: TraceEvent): void;
}

/**
 * Takes an item, unless a name is there twice (a folder that changed while it was listed gives names twice) or what
 * holds it was refused so. Returns whether it was taken.
 */
export function putItem(target: EventTarget, tree: Tree, item: ScanItem, root?: number): boolean {
  const named = item.kind === "inode" || item.kind === "link";
  if (named && item.parent !== 0) {
    if (tree.node(item.parent) === undefined) return false;
    if (tree.child(item.parent, item.name) !== 0) return false;
  }
  for (const event of eventsOf(item, root)) target.put(event);
  return true;
}

/** Applies events to the tree and packs them into rows. */
export class BaselineEvents implements EventTarget {
  readonly #rows: BaselineRows;
  readonly #tree: Tree;
  readonly #encoder = new EventBatchEncoder();
  #next: number;
  /** Of `addLeft`, since the last `finish`: how many, and one more than the last node. */
  #lefts = 0;
  #leftEnd = 0;
  /** Folders of those, and the last of them. */
  readonly #leftParents = new Set<number>();
  #leftParent = 0;
  /** Which part of the last one's listing. */
  #fill = 0;

  /** @param first number of the first row. */
  constructor(rows: BaselineRows, tree: Tree, first = 0) {
    this.#rows = rows;
    this.#tree = tree;
    this.#next = first;
  }

  /** Number that the next row gets. */
  get nextRow(): number {
    return this.#next;
  }

  /** As `putItem`; a name that cannot be there twice is not looked for. */
  add(item: ScanItem, root?: number): boolean {
    const isOnly = (item.kind === "inode" || item.kind === "link") && item.isOnly === true;
    if (!isOnly) {
      // its name is looked for among all that came before
      if ("parent" in item && this.#leftParents.has(item.parent)) this.finish();
      return putItem(this, this.#tree, item, root);
    }
    if (this.#tree.node(item.parent) === undefined) return false;
    for (const event of eventsOf(item, root)) this.put(event);
    return true;
  }

  /**
   * Takes a file whose content is left where it is, which are nearly all of a large tree; the tree learns of them when their batch is
   * full. Returns false, and nothing has happened, where it must be an item as others.
   * @param fill how many times the folder's listing went on before this name. Only later parts can have a name again.
   */
  addLeft(file: LeftFile, fill: number): boolean {
    const { parent } = file;
    if (fill !== this.#fill) this.finish();
    if (fill > 0 && this.#tree.child(parent, nameOf(file)) !== 0) return false;
    this.#fill = fill;
    if (parent !== this.#leftParent || fill > 0) {
      if (!this.#tree.expectLeft(parent)) return false;
      this.#leftParents.add(parent);
      this.#leftParent = parent;
    }
    this.#encoder.appendLeft(file);
    this.#lefts++;
    this.#leftEnd = file.node + 1;
    if (this.#encoder.bytes >= JOURNAL_BATCH_BYTES_MAX) this.finish();
    return true;
  }

  /** Takes those of a folder together, of which none was taken before; else as `addLeft`. */
  addLeftFiles(files: LeftFiles): boolean {
    const { parent, node } = files;
    if (this.#fill !== 0) this.finish();
    this.#fill = 0;
    if (!this.#tree.expectLeft(parent)) return false;
    this.#leftParents.add(parent);
    this.#leftParent = parent;
    this.#encoder.appendLeftFiles(files);
    this.#lefts += files.files;
    this.#leftEnd = node + files.files;
    if (this.#encoder.bytes >= JOURNAL_BATCH_BYTES_MAX) this.finish();
    return true;
  }

  /** Takes one event as it is. */
  put(event: TraceEvent): void {
    assert(event.tNs === 0 && event.pid === 0, "a baseline event is before the command");
    this.#tree.apply(event);
    this.#encoder.append(event);
    if (this.#encoder.bytes >= JOURNAL_BATCH_BYTES_MAX) this.finish();
  }

  /** Writes what is left as a row. */
  finish(): void {
    if (this.#encoder.count === 0) return;
    this.#rows.putBaseline(this.#next++, this.#encoder.finish(0));
    if (this.#lefts > 0) {
      this.#tree.addLeft(this.#encoder.copyEvents(), this.#lefts, this.#leftEnd);
      this.#lefts = 0;
      this.#leftParents.clear();
      this.#leftParent = 0;
    }
    this.#encoder.reset();
  }
}
