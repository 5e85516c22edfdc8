/**
 * The recorder's side of a lazy baseline: knows which files of the start are still only on disk, takes what the gate saved into
 * the trace, notices when a file was changed or removed that was not saved first (said as a GAP where it happened, its content
 * UNREAD), and at the end writes down where content that nobody touched is to be found. docs/FORMAT.md, "Saved contents".
 */
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
} from "node:fs";
import { openDeep } from "../../ffi/deep_path.ts";
import { cString } from "../../ffi/libc.ts";
import { assert } from "../base/assert.ts";
import {
  GATE_CLOSE_MS_MAX,
  JOURNAL_BATCH_BYTES_MAX,
  JOURNAL_DATA_BYTES_MAX,
} from "../base/limits.ts";
import { EventBatchEncoder } from "../format/event_codec.ts";
import {
  isSavedName,
  savedFileName,
  SavedFlag,
  type SavedRecord,
  savedRecords,
  segmentName,
} from "../format/saved_record.ts";
import { EventFlag, type Extent, Op, type TraceEvent } from "../format/trace_event.ts";
import type { Node } from "../resolve/node.ts";
import type { Assist } from "../resolve/sink.ts";
import type { Tree } from "../resolve/tree.ts";
import { BaseState, BaseTable, Control } from "./base_table.ts";
import { blank } from "./baseline_events.ts";
import { AT_FDCWD, InodeStat } from "./inode_stat.ts";
import type { Journal } from "./journal.ts";
import type { WatchSet } from "./watch.ts";

/** What a lazy baseline came to. */
export interface BaseSummary {
  /** Left where they are, unchanged: the trace refers to the files on disk. */
  referredFiles: number;
  referredBytes: number;
  /** Saved before they were destroyed. */
  savedFiles: number;
  savedBytes: number;
  /** Destroyed before they could be saved. */
  lostFiles: number;
}

/** What it works with. */
export interface BaseContentOptions {
  /** The state-dir. */
  dir: string;
  /** Of the recording, in what the gate saves. */
  id: number;
  watch: WatchSet;
  tree: Tree;
}

/** Where its events and contents go, once the command runs. */
interface Running {
  journal: Journal;
  assist: Assist;
  startNs: bigint;
}

const O_PATH = 0o10000000;
/** Marks of `#marks`: a file of the baseline that no event has named yet. */
const UNTOUCHED = 1;
const WRITES: ReadonlySet<number> = new Set([
  Op.WRITE,
  Op.TRUNCATE,
  Op.FALLOCATE,
  Op.COLLAPSE,
  Op.INSERT,
  Op.RESYNC,
]);
const LOST_TEXT = "what the file held at the start was destroyed before it could be saved";

/** See the head of the file. */
export class BaseContent {
  readonly table = new BaseTable();
  readonly summary: BaseSummary = {
    referredFiles: 0,
    referredBytes: 0,
    savedFiles: 0,
    savedBytes: 0,
    lostFiles: 0,
  };
  readonly #options: BaseContentOptions;
  readonly #encoder = new EventBatchEncoder();
  readonly #stat = new InodeStat();
  readonly #piece = new Uint8Array(JOURNAL_DATA_BYTES_MAX);
  /** By node. */
  #marks = new Uint8Array(0);
  /** At the start, of those that the tree does not remember. */
  readonly #sizes = new Map<number, number>();
  /** Saved after they had been changed: told at the end. */
  readonly #late: number[] = [];
  /** When a node's content was changed first. */
  readonly #changedNs = new Map<number, number>();
  readonly #lost = new Set<number>();
  readonly #movedFolders = new Set<number>();
  readonly #movedFiles = new Set<number>();
  #running: Running | undefined;
  #nextSegment = 0;
  /** Files to be removed once what they hold is committed. */
  #done: string[] = [];

  constructor(options: BaseContentOptions) {
    this.#options = options;
  }

  /** Before the command starts: others changed or removed something, and the baseline was brought up to date. */
  settled(event: TraceEvent): void {
    const isGone = event.op === Op.UNLINK && this.#options.tree.node(event.node)?.parent === 0;
    if (isGone || event.op === Op.RESYNC) this.table.setState(event.node, BaseState.NONE);
  }

  /** The baseline is taken and the command is about to start. */
  start(running: Running): void {
    this.#running = running;
    // what the command inherits open is saved already
    this.#marks = this.table.marks(UNTOUCHED);
    for (const { id, size } of this.#options.tree.unpacked()) {
      if (this.#marks[id] === UNTOUCHED) this.#sizes.set(id, size);
    }
    running.journal.base = this;
  }

  /** Whether a change of this node's content must be told by `changed`. Cheap: asked for each write. */
  isUntouched(node: number): boolean {
    return this.#marks[node] === UNTOUCHED;
  }

  /** The content of a file was changed for the first time. Returns the GAP to be written, if it was not saved before. */
  changed(node: number, tNs: number): TraceEvent | undefined {
    this.#marks[node] = 0;
    this.#changedNs.set(node, tNs);
    const state = this.table.state(node);
    const isSaved = state === BaseState.SAVED || state === BaseState.LINKED;
    return isSaved ? undefined : this.#lose(node, tNs);
  }

  /** Any other event than a plain write; the tree has it already. Returns the GAP to be written after it. */
  see(event: TraceEvent): TraceEvent | undefined {
    const { node, op, tNs } = event;
    if (WRITES.has(op)) return this.isUntouched(node) ? this.changed(node, tNs) : undefined;
    const { tree } = this.#options;
    if (op === Op.UNLINK) {
      return this.#removed(node, tNs, tree.pathOf(event.parent ?? 0, event.name ?? ""));
    }
    if (op !== Op.RENAME) return undefined;
    this.#moved(node);
    if ((event.flags & EventFlag.EXCHANGE) !== 0) this.#moved(event.victim ?? 0);
    const target = tree.pathOf(event.toParent ?? 0, event.toName ?? "");
    return this.#removed(event.victim ?? 0, tNs, target);
  }

  /** A name went elsewhere: what had it has a new ctime, and what lies below it another path. */
  #moved(id: number): void {
    const node = this.#options.tree.node(id);
    if (node?.isDir === true) this.#movedFolders.add(id);
    else if (node !== undefined) this.#movedFiles.add(id);
  }

  /** Takes what the gate saved into the trace: segments that are full, with `all` the last one too. */
  take(all = false): void {
    const end = Atomics.load(this.table.control, Control.SEGMENT) + (all ? 1 : 0);
    for (; this.#nextSegment < end; this.#nextSegment++) this.#takeSegment(this.#nextSegment);
  }

  /**
   * The command has ended: takes the rest, and says of every file what became of its content.
   * @param endNs time of events from here on.
   */
  seal(endNs: () => number): void {
    const { control } = this.table;
    Atomics.store(control, Control.CLOSED, 1);
    const deadline = performance.now() + GATE_CLOSE_MS_MAX;
    while (Atomics.load(control, Control.BUSY) !== 0 && performance.now() < deadline) {
      Bun.sleepSync(1);
    }
    this.take(true);
    const moved = this.#filesInMovedFolders();
    const unread = [...this.#late];
    for (const node of this.table.nodes(BaseState.LAZY)) {
      if (!this.#settle(node, moved)) unread.push(node);
    }
    // who was killed while it was held did no harm: the file is what it was
    for (const node of this.table.nodes(BaseState.FAILED)) {
      if (!this.isUntouched(node) || !this.#settle(node, moved)) unread.push(node);
    }
    const { journal } = this.#need();
    for (const node of unread) {
      if (!this.#lost.has(node)) journal.event(this.#lose(node, endNs()));
      this.#put({ ...blank(Op.CONTENT, node), flags: EventFlag.UNREAD, length: 0 });
    }
    this.#finishBatch();
  }

  #removed(id: number, tNs: number, path: string | undefined): TraceEvent | undefined {
    const node = id === 0 ? undefined : this.#options.tree.node(id);
    const isGone = node !== undefined && node.parent === 0 && node.nlink === 0;
    if (!isGone || this.table.state(id) !== BaseState.LAZY || this.#lost.has(id)) return undefined;
    return this.#lose(id, tNs, path);
  }

  #lose(node: number, tNs: number, path = this.#options.tree.path(node)): TraceEvent {
    this.#lost.add(node);
    this.summary.lostFiles++;
    const loss = { events: 0, bytes: this.#sizeAtStart(node) ?? 0 };
    const where = path === undefined ? {} : { path };
    return { ...blank(Op.GAP, node), tNs, text: LOST_TEXT, loss, ...where };
  }

  #sizeAtStart(node: number): number | undefined {
    return this.#sizes.get(node) ?? this.#options.tree.leftSize(node);
  }

  #takeSegment(n: number): void {
    const { dir } = this.#options;
    const path = `${dir}/${segmentName(n)}`;
    let segment: Uint8Array;
    try {
      segment = readFileSync(path);
    } catch {
      return; // the gate has saved nothing
    }
    for (const record of savedRecords(segment)) {
      if (record.id === this.#options.id) this.#takeRecord(segment, record);
    }
    this.#done.push(path);
    this.#finishBatch();
  }

  #takeRecord(segment: Uint8Array, record: SavedRecord): void {
    const { journal, startNs } = this.#need();
    const { node, size } = record;
    const changedNs = this.#changedNs.get(node);
    const savedNs = record.savedNs - Number(startNs);
    const isLate = changedNs !== undefined && changedNs < savedNs;
    if (isLate || size !== this.#sizeAtStart(node)) {
      this.#late.push(node);
      return;
    }
    const extents: Extent[] = [];
    if ((record.flags & SavedFlag.FILE) === 0) {
      for (let at = 0; at < record.length; at += JOURNAL_DATA_BYTES_MAX) {
        const length = Math.min(record.length - at, JOURNAL_DATA_BYTES_MAX);
        extents.push({ ...journal.store(segment, record.start + at, length), at });
      }
    } else if (!this.#takeFile(record, extents)) {
      this.#late.push(node);
      return;
    }
    this.summary.savedFiles++;
    this.summary.savedBytes += size;
    this.#put({ ...blank(Op.CONTENT, node), length: size, extents });
  }

  /** False: it cannot be read, or somebody wrote to it after it was saved. */
  #takeFile(record: SavedRecord, extents: Extent[]): boolean {
    const path = `${this.#options.dir}/${savedFileName(record.node)}`;
    for (let tries = 0; tries < 2; tries++) {
      if (this.#stat.readAt(AT_FDCWD, cString(path)) !== 0) return false;
      const { ino, size } = this.#stat;
      extents.length = 0;
      const isWhole = size === record.size && this.#readFile(path, record, extents);
      // a link may have become a copy meanwhile, and the file have been written then
      if (this.#stat.readAt(AT_FDCWD, cString(path)) !== 0) return false;
      if (this.#stat.ino !== ino) continue;
      if (isWhole) this.#done.push(path);
      return isWhole;
    }
    return false;
  }

  #readFile(path: string, record: SavedRecord, extents: Extent[]): boolean {
    const { journal } = this.#need();
    const fd = openSync(path, "r");
    try {
      for (let at = 0; at < record.size;) {
        const got = readSync(fd, this.#piece, 0, this.#piece.length, at);
        if (got === 0) return false;
        if (!isZero(this.#piece, got)) extents.push({ ...journal.store(this.#piece, 0, got), at });
        at += got;
      }
    } finally {
      closeSync(fd);
    }
    return true;
  }

  /** A file that nobody saved: where it is now. False: it is not what it was. */
  #settle(id: number, moved: ReadonlySet<number>): boolean {
    const { journal } = this.#need();
    const { tree, watch } = this.#options;
    if (this.#lost.has(id)) return false;
    const untouched = tree.untouchedSize(id);
    if (untouched !== undefined) {
      this.summary.referredFiles++;
      this.summary.referredBytes += untouched;
      return true;
    }
    const node = tree.need(id);
    const path = tree.path(id);
    const root = path === undefined ? undefined : watch.roots[tree.rootOf(id)]?.path;
    if (path === undefined || root === undefined) return this.#takeByHandle(node);
    if (journal.touched.has(id) || moved.has(id)) {
      const absolute = path === "" ? root : root === "/" ? `/${path}` : `${root}/${path}`;
      if (!this.#refer(node, absolute)) return false;
    }
    this.summary.referredFiles++;
    this.summary.referredBytes += node.size;
    return true;
  }

  /** Says where a file is that was renamed or got other attributes. */
  #refer(node: Node, path: string): boolean {
    const fd = openDeep(path, constants.O_NOFOLLOW | O_PATH);
    if (fd < 0) return false;
    const code = this.#stat.readFd(fd);
    closeSync(fd);
    if (code !== 0) return false;
    const { mtime, ctime } = this.#stat.mark();
    const isSame = this.#stat.ino === node.ino && this.#stat.size === node.size &&
      mtime.sec === node.mtimeSec && mtime.nsec === node.mtimeNsec;
    if (!isSame) return false;
    const event = { ...blank(Op.CONTENT, node.id), flags: EventFlag.LAZY, length: node.size };
    this.#put({ ...event, path, mtime, ctime });
    return true;
  }

  /** A file that left the watched folders: it is still on disk, under a name that nobody knows. */
  #takeByHandle(node: Node): boolean {
    const { journal, assist } = this.#need();
    const { dev, gen, ino, size } = node;
    const target = { dev, gen, ino, pid: 0, fd: -1, path: undefined };
    const extents: Extent[] = [];
    for (let at = 0; at < size; at += JOURNAL_DATA_BYTES_MAX) {
      const length = Math.min(size - at, JOURNAL_DATA_BYTES_MAX);
      const bytes = assist.read?.(target, { offset: at, length });
      if (bytes === undefined || bytes.length < length) return false;
      extents.push({ ...journal.store(bytes, 0, length), at });
    }
    this.summary.savedFiles++;
    this.summary.savedBytes += size;
    this.#put({ ...blank(Op.CONTENT, node.id), length: size, extents });
    return true;
  }

  #filesInMovedFolders(): ReadonlySet<number> {
    const moved = new Set(this.#movedFiles);
    for (const folder of this.#movedFolders) {
      for (const { node } of this.#options.tree.walk(folder)) {
        if (this.table.state(node.id) === BaseState.LAZY) moved.add(node.id);
      }
    }
    return moved;
  }

  #put(event: TraceEvent): void {
    this.#encoder.append(event);
    if (this.#encoder.bytes >= JOURNAL_BATCH_BYTES_MAX) this.#finishBatch();
  }

  /** Writes and commits what was gathered; only then what it was taken from may go. */
  #finishBatch(): void {
    const { journal } = this.#need();
    if (this.#encoder.count > 0) journal.putSaved(this.#encoder.finish(0));
    this.#encoder.reset();
    journal.flush();
    if (journal.failed !== undefined) return;
    for (const path of this.#done) rmSync(path, { force: true });
    this.#done = [];
  }

  #need(): Running {
    const running = this.#running;
    assert(running !== undefined, "contents are taken while the command runs, or after");
    return running;
  }
}

function isZero(bytes: Uint8Array, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** Removes what a gate left in a state-dir that is given up. */
export function removeSaved(dir: string): void {
  if (!existsSync(dir)) return;
  for (const name of readdirSync(dir)) {
    if (isSavedName(name)) rmSync(`${dir}/${name}`, { force: true });
  }
}
