/**
 * Changes through shared writable mappings. A store is no system call, so the file is compared with what is known of it: at
 * each sync point (SYNC, EXEC, EXIT), before every other event on it, and now and then in between. What differs becomes WRITE events
 * with flag MAPPED. They are exact when the only process that maps the file stood still meanwhile (the kernel side stops it at the end
 * of the call) and no later call of another process reached the file; else they are SETTLED as well: the bytes were there when the
 * file was read, which was a little later, or while stores went on. Of several ranges found at one moment only the last event can be exact, because they came at once.
 */
import { MAPPED_LOOK_BYTES_MAX, PAYLOAD_INLINE_BYTES_MAX } from "../base/limits.ts";
import { KernelFlag } from "../format/kernel_record.ts";
import { EventFlag, type Extent, Op, type TraceEvent } from "../format/trace_event.ts";
import { addExtent } from "./content.ts";
import type { Context, Head } from "./context.ts";
import type { Node } from "./node.ts";
import type { MappedFiles, MappedRange } from "./sink.ts";
import type { Unit } from "./unit.ts";

type MmapUnit = Extract<Unit, { kind: "mmap" }>;
type SyncUnit = Extract<Unit, { kind: "sync" }>;

/** A file that is followed, by whom it is mapped: the latest head of each process. */
type Mappers = Map<number, Head>;

/** An event that is being put together from ranges that touch each other. */
interface Piece {
  offset: number;
  length: number;
  inline: Uint8Array | undefined;
  extents: Extent[];
  doubtful: boolean;
}

/** Events after which the file is not what it was before, so that there is nothing to compare; MMAP changes nothing. */
const NOT_BEFORE: ReadonlySet<number> = new Set([Op.RESYNC, Op.COLLAPSE, Op.INSERT, Op.MMAP]);

/** A look at a file between sync points. */
interface Look {
  node: Node;
  found: MappedRange[];
  mtime: { sec: number; nsec: number } | undefined;
}

/** See the head of the file. One per recording. */
export class Mapped {
  readonly #ctx: Context;
  readonly #files: MappedFiles;
  readonly #mappers = new Map<number, Mappers>();
  #looks: Look[] = [];
  #isBusy = false;
  /** Files that were ever mapped shared and writable. */
  readonly seen = new Set<number>();

  constructor(ctx: Context, files: MappedFiles) {
    this.#ctx = ctx;
    this.#files = files;
  }

  /** Files followed now. */
  get count(): number {
    return this.#mappers.size;
  }

  has(node: number): boolean {
    return this.#mappers.has(node);
  }

  /** A process mapped a file. What it holds now is what the trace says: the process waits. */
  map(unit: MmapUnit, node: Node): void {
    const { head } = unit;
    this.seen.add(node.id);
    const mappers = this.#mappers.get(node.id);
    if (mappers !== undefined) {
      mappers.set(head.pid, head);
      return;
    }
    const { dev, gen, ino } = node;
    const path = this.#ctx.places.abs(node.id);
    const target = { dev, gen, ino, pid: head.pid, fd: head.fd, path };
    if (!this.#files.follow(node.id, target, node.size)) {
      this.#giveUp(node.id);
      return;
    }
    this.#mappers.set(node.id, new Map([[head.pid, head]]));
    const waits = (head.flags & KernelFlag.STOPPED) !== 0;
    if (!waits) this.#files.unsure(node.id, { offset: 0, length: node.size });
  }

  /** A call after which files must be exact; `node` undefined: all that the process maps. */
  sync(unit: SyncUnit, node: Node | undefined): void {
    const { head } = unit;
    const nodes = node === undefined ? this.#of(head.pid) : [node.id];
    for (const id of nodes) this.#compare(id, { pid: head.pid });
    if (node === undefined || head.ret !== 0) return;
    this.#leave(node.id, head.pid);
  }

  fork(parent: number, child: number): void {
    for (const mappers of this.#mappers.values()) {
      const head = mappers.get(parent);
      if (head !== undefined) mappers.set(child, { ...head, pid: child, tid: child });
    }
  }

  /** The process ended or became another program: it has no mappings any more. */
  gone(pid: number): void {
    for (const id of this.#of(pid)) {
      this.#compare(id, { pid });
      this.#leave(id, pid);
    }
  }

  /** Something else happens to a file: what was stored before comes first. */
  before(event: TraceEvent): void {
    if (this.#isBusy) return;
    if (NOT_BEFORE.has(event.op)) return;
    for (const id of [event.node, event.victim ?? 0]) {
      if (!this.#mappers.has(id)) continue;
      const isRange = id === event.node && (event.op === Op.WRITE || event.op === Op.FALLOCATE);
      const except = isRange ? { offset: event.offset ?? 0, length: event.length ?? 0 } : undefined;
      const isHeld = (this.#ctx.head.flags & KernelFlag.OUTSIDE) === 0;
      const pid = isHeld ? event.pid : 0;
      // the event's own time, if it sets one, is on the file already
      const hasTime = id === event.node && event.mtime !== undefined;
      this.#compare(id, { pid, hasTime, ...(except ? { except } : {}) });
    }
  }

  /** An event on a followed file took effect: it is known from now on. */
  after(event: TraceEvent): void {
    const { node, op } = event;
    if (this.#isBusy || !this.#mappers.has(node)) return;
    const range = { offset: event.offset ?? 0, length: event.length ?? 0 };
    if (op === Op.WRITE && event.inline !== undefined) {
      this.#files.wrote(node, { offset: range.offset, bytes: event.inline });
    } else if (op === Op.WRITE) this.#files.unsure(node, range);
    else if (op === Op.TRUNCATE) this.#files.resized(node, range.length);
    else if (op === Op.FALLOCATE) {
      const size = this.#ctx.tree.need(node).size;
      const length = Math.max(0, Math.min(range.length, size - range.offset));
      this.#files.zeroed(node, { offset: range.offset, length });
    } else if (op === Op.RESYNC || op === Op.COLLAPSE || op === Op.INSERT) {
      const { size } = this.#ctx.tree.need(node);
      const offset = op === Op.RESYNC ? 0 : Math.min(range.offset, size);
      this.#files.resized(node, size);
      this.#files.unsure(node, { offset, length: size - offset });
    }
    this.#checkLost();
  }

  /**
   * Reads all followed files; `take` makes events of it, once what happened meanwhile was worked on. Returns false when there is more
   * than one look takes: the next goes on.
   */
  look(): boolean {
    this.#looks = [];
    let isWhole = true;
    for (const id of this.#mappers.keys()) {
      const node = this.#ctx.tree.need(id);
      const mtime = this.#files.mtime(id);
      const found = this.#files.look(id);
      this.#looks.push({ node, found, mtime });
      const bytes = found.reduce((sum, range) => sum + range.bytes.length, 0);
      if (bytes >= MAPPED_LOOK_BYTES_MAX) isWhole = false;
    }
    return isWhole;
  }

  /** `t` in ns since the start: the moment of `look`. */
  take(t: number): void {
    const looks = this.#looks;
    this.#looks = [];
    for (const { node, found, mtime } of looks) {
      if (!this.#mappers.has(node.id)) continue;
      const isQuiet = this.#files.mtime(node.id) !== undefined;
      const fresh = this.#files.take(node.id, found);
      const after = isQuiet ? mtime : undefined;
      this.#emit(node, fresh, { mtime: after, flags: EventFlag.SETTLED, t });
    }
    this.#checkLost();
  }

  /** Nothing of a look is to be used: what happened meanwhile is still waiting. */
  drop(): void {
    for (const { node } of this.#looks) this.#files.take(node.id, []);
    this.#looks = [];
  }

  #of(pid: number): number[] {
    const found: number[] = [];
    for (const [id, mappers] of this.#mappers) if (mappers.has(pid)) found.push(id);
    return found;
  }

  #leave(id: number, pid: number): void {
    const mappers = this.#mappers.get(id);
    if (mappers === undefined) return;
    mappers.delete(pid);
    if (mappers.size > 0) return;
    this.#mappers.delete(id);
    this.#files.forget(id);
  }

  /** Makes events of what differs. `pid` stands still (0: nobody does). */
  #compare(
    id: number,
    by: { pid: number; except?: { offset: number; length: number }; hasTime?: boolean },
  ): void {
    const mappers = this.#mappers.get(id);
    const node = this.#ctx.tree.node(id);
    if (mappers === undefined || node === undefined) return;
    const isStill = mappers.size === 1 && mappers.has(by.pid);
    const { ino } = node;
    const isLast = this.#ctx.options.isChangedSince?.(ino, by.pid) !== true &&
      !this.#ctx.isAwaited(ino, by.pid);
    const flags = isStill && isLast ? 0 : EventFlag.SETTLED;
    const mtime = by.hasTime === true ? undefined : this.#files.mtime(id);
    this.#emit(node, this.#files.changes(id, by.except), { mtime, flags, t: undefined });
    this.#checkLost();
  }

  #emit(
    node: Node,
    ranges: Iterable<MappedRange>,
    how: { mtime: { sec: number; nsec: number } | undefined; flags: number; t: number | undefined },
  ): void {
    const ctx = this.#ctx;
    const { head } = ctx;
    const mapper = this.#mapper(node.id);
    ctx.head = { ...mapper, t: how.t ?? head.t, enter: how.t ?? head.enter };
    const extra = ctx.extra;
    ctx.extra = 0;
    this.#isBusy = true;
    try {
      let piece: Piece | undefined;
      for (const range of ranges) {
        if (piece !== undefined && piece.offset + piece.length !== range.offset) {
          this.#send(node, piece, { mtime: undefined, flags: EventFlag.SETTLED });
          piece = undefined;
        }
        piece = this.#join(piece, range);
      }
      if (piece !== undefined) this.#send(node, piece, how);
      else this.#times(node, how);
    } finally {
      this.#isBusy = false;
      ctx.head = head;
      ctx.extra = extra;
    }
  }

  #join(piece: Piece | undefined, range: MappedRange): Piece {
    const { offset, bytes, doubtful } = range;
    const { sink } = this.#ctx;
    if (piece === undefined) {
      const isSmall = bytes.length < PAYLOAD_INLINE_BYTES_MAX;
      const extents = isSmall ? [] : [{ ...sink.store(bytes, 0, bytes.length), at: 0 }];
      const inline = isSmall ? bytes.slice() : undefined;
      return { offset, length: bytes.length, inline, extents, doubtful };
    }
    const { inline } = piece;
    if (inline !== undefined) {
      addExtent(piece.extents, { ...sink.store(inline, 0, inline.length), at: 0 });
      piece.inline = undefined;
    }
    addExtent(piece.extents, { ...sink.store(bytes, 0, bytes.length), at: piece.length });
    piece.length += bytes.length;
    piece.doubtful ||= doubtful;
    return piece;
  }

  #send(
    node: Node,
    piece: Piece,
    how: { mtime: { sec: number; nsec: number } | undefined; flags: number },
  ): void {
    const { offset, length, inline, extents } = piece;
    const settled = piece.doubtful ? EventFlag.SETTLED : 0;
    const flags = EventFlag.MAPPED | how.flags | settled;
    this.#ctx.stats.bytes += length;
    this.#ctx.emit(Op.WRITE, node.id, {
      offset,
      length,
      mtime: how.mtime,
      flags: inline === undefined ? flags | EventFlag.EXTENTS : flags,
      inline,
      extents: inline === undefined ? extents : undefined,
    });
  }

  /** A store of what was there already changes the time alone. */
  #times(
    node: Node,
    how: { mtime: { sec: number; nsec: number } | undefined; flags: number },
  ): void {
    const { mtime } = how;
    if (mtime === undefined) return;
    if (mtime.sec === node.mtimeSec && mtime.nsec === node.mtimeNsec) return;
    const flags = EventFlag.MAPPED | how.flags;
    this.#ctx.emit(Op.UTIMES, node.id, { attr: node.attr(), mtime, flags });
  }

  /** Who is said to have stored: the process that maps it, or the last one that began to. */
  #mapper(id: number): Head {
    const heads = [...this.#mappers.get(id)?.values() ?? []];
    return heads.at(-1) ?? this.#ctx.head;
  }

  #checkLost(): void {
    for (const id of this.#files.lost()) {
      this.#mappers.delete(id);
      this.#giveUp(id);
    }
  }

  /** The file cannot be followed: it is read again at the end, and the trace says so. */
  #giveUp(id: number): void {
    const ctx = this.#ctx;
    ctx.recent.suspects.add(id);
    const path = ctx.tree.path(id) ?? "a file";
    const why = "mapped shared, and not followed (too much, or unreadable): its content is read";
    ctx.emit(Op.NOTE, 0, { text: `${path}: ${why} at the end` });
  }
}
