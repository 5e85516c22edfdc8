/**
 * WRITE, CHUNK and OUTPUT records. The fast path takes a whole write on a known inode, in its turn,
 * straight from the ring to the sink: no object is made. Everything else becomes a WriteUnit: calls
 * of several records, writes that must wait, bytes that must be read back. Large payload is stored
 * by the sink as it arrives, so that a waiting unit holds little.
 */
import { PAYLOAD_INLINE_BYTES_MAX } from "../base/limits.ts";
import type { CopySource } from "../format/kernel_decode.ts";
import { Header, KernelFlag, Kind, WriteAt } from "../format/kernel_record.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { addExtent, readBack, resyncLive } from "./content.ts";
import { isIgnored } from "./announced.ts";
import type { Context, Head } from "./context.ts";
import { hasCapabilities } from "./implied_xattrs.ts";
import { InodeMap } from "./inode_map.ts";
import { LockOrder } from "./lock_order.ts";
import { MTIME_UNKNOWN, type Node, S_IFMT } from "./node.ts";
import type { Recent, WriteSpan } from "./recent.ts";
import type { WriteView } from "./sink.ts";
import type { Outcome, WriteUnit } from "./unit.ts";

const TWO32 = 4294967296;
const SLOTS = 256;
const WORDS = 4;

/** Word index of a field in a Uint32Array over the ring. */
const W = {
  tLo: Header.t_ns >> 2,
  pid: Header.pid >> 2,
  tid: Header.tid >> 2,
  nr: Header.nr >> 2,
  fd: Header.fd >> 2,
  ret: Header.ret >> 2,
  enterLo: Header.enter_ns >> 2,
  dev: WriteAt.dev >> 2,
  gen: WriteAt.gen >> 2,
  ino: WriteAt.ino >> 2,
  size: WriteAt.size >> 2,
  mtimeSec: WriteAt.mtime_sec >> 2,
  mtimeNsec: WriteAt.mtime_nsec >> 2,
  mode: WriteAt.mode >> 2,
  offset: WriteAt.offset >> 2,
  lockSeq: WriteAt.lock_seq >> 2,
  payloadOff: WriteAt.payload_off >> 2,
  payloadLen: WriteAt.payload_len >> 2,
} as const;

/** A u64 at word `i`. */
function u64(u32: Uint32Array, i: number): number {
  return (u32[i + 1] as number) * TWO32 + (u32[i] as number);
}

/** An i64 at word `i`. */
function i64(u32: Uint32Array, i: number): number {
  return ((u32[i + 1] as number) | 0) * TWO32 + (u32[i] as number);
}

/** The path of written bytes through the Resolver. */
export class WritePath {
  readonly order: LockOrder;
  /** Calls whose last record has not come, by task. */
  readonly partial = new Map<number, WriteUnit>();
  readonly #ctx: Context;
  readonly #recent: Recent;
  readonly #span = { t: 0, enter: 0, tid: 0, offset: 0, length: 0, seq: 0 };
  readonly #startLo: number;
  readonly #startHi: number;
  readonly #key = new Uint32Array(SLOTS * WORDS);
  readonly #node: (Node | undefined)[] = new Array(SLOTS).fill(undefined);
  /** Inodes that were waited for once, in vain. */
  readonly #unknown = new InodeMap<number>();
  #epoch = -1;
  readonly #view: WriteView = {
    op: Op.WRITE,
    flags: 0,
    tNs: 0,
    pid: 0,
    tid: 0,
    comm: "",
    node: 0,
    offset: 0,
    length: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
    u8: new Uint8Array(0),
    start: 0,
  };
  readonly #commKey = new Uint32Array(SLOTS * WORDS);
  readonly #comm: string[] = new Array(SLOTS).fill("");

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.#recent = ctx.recent;
    this.order = new LockOrder(ctx.options.firstLockSeq ?? 1);
    this.#startLo = Number(ctx.options.startNs & 0xffffffffn);
    this.#startHi = Number(ctx.options.startNs >> 32n);
  }

  /** Nanoseconds since the start of the command; word `i` holds a CLOCK_BOOTTIME. */
  time(u32: Uint32Array, i: number): number {
    const hi = (u32[i + 1] as number) - this.#startHi;
    return hi * TWO32 + ((u32[i] as number) - this.#startLo);
  }

  /** The comm of a record; the same text is the same string. */
  comm(u32: Uint32Array, base: number): string {
    const at = base + (Header.comm >> 2);
    const a = u32[at] as number;
    const b = u32[at + 1] as number;
    const c = u32[at + 2] as number;
    const d = u32[at + 3] as number;
    const slot = (a ^ b ^ (a >>> 8) ^ (b >>> 16) ^ c) & (SLOTS - 1);
    const key = slot * WORDS;
    const keys = this.#commKey;
    if (keys[key] === a && keys[key + 1] === b && keys[key + 2] === c && keys[key + 3] === d) {
      return this.#comm[slot] as string;
    }
    keys.set([a, b, c, d], key);
    let text = "";
    for (let i = 0; i < Header.COMM_BYTES; i++) {
      const char = ((u32[at + (i >> 2)] as number) >>> ((i & 3) * 8)) & 0xff;
      if (char === 0) break;
      text += String.fromCharCode(char);
    }
    this.#comm[slot] = text;
    return text;
  }

  /** The node of the record's inode, through a small cache that any change of names empties. */
  #lookup(u32: Uint32Array, base: number): Node | undefined {
    if (this.#epoch !== this.#ctx.epoch) {
      this.#node.fill(undefined);
      this.#epoch = this.#ctx.epoch;
    }
    const dev = u32[base + W.dev] as number;
    const gen = u32[base + W.gen] as number;
    const lo = u32[base + W.ino] as number;
    const hi = u32[base + W.ino + 1] as number;
    const slot = (lo ^ dev) & (SLOTS - 1);
    const key = slot * WORDS;
    const keys = this.#key;
    const known = this.#node[slot];
    const isHit = known !== undefined && keys[key] === lo && keys[key + 1] === hi &&
      keys[key + 2] === dev && keys[key + 3] === gen;
    if (isHit) return known;
    const node = this.#ctx.tree.lookup(dev, hi * TWO32 + lo, gen);
    keys[key] = lo;
    keys[key + 1] = hi;
    keys[key + 2] = dev;
    keys[key + 3] = gen;
    this.#node[slot] = node;
    return node;
  }

  /** Takes a single-record WRITE if nothing is special about it; false: make a unit of it. */
  fast(u8: Uint8Array, u32: Uint32Array, at: number): boolean {
    const base = at / 4;
    const lockSeq = u64(u32, base + W.lockSeq);
    if (lockSeq !== 0 && lockSeq !== this.order.next) return false;
    const node = this.#lookup(u32, base);
    if (node === undefined || this.#ctx.isMapped(node.id) || hasCapabilities(node)) return false;
    const length = u32[base + W.payloadLen] as number;
    const mode = u32[base + W.mode] as number;
    if (u32[base + W.ret] !== length || (mode !== node.mode && mode !== 0)) return false;
    const isCached = ((u32[base + 1] as number) >>> 16 & KernelFlag.CACHED) !== 0;
    const ctx = this.#ctx;
    const view = this.#view;
    const t = this.time(u32, base + W.tLo);
    view.tid = u32[base + W.tid] as number;
    view.offset = u64(u32, base + W.offset);
    view.length = length;
    const span = this.#span;
    span.t = t;
    span.enter = this.time(u32, base + W.enterLo);
    span.tid = view.tid;
    span.offset = view.offset;
    span.length = length;
    span.seq = lockSeq;
    if (this.#recent.isCut(node.id, span) || this.#recent.isCopied(node.id, span)) return false;
    if (this.#recent.clash(node.id, span)) return false;
    if (isCached && this.#recent.isOverlapped(node.id, span)) return false;
    this.#recent.set(node.id, span);
    if (lockSeq !== 0) {
      this.#recent.setSeq(node.id, lockSeq);
      this.order.advance();
    }
    view.op = Op.WRITE;
    view.flags = (u32[base + 1] as number) >>> 16 & KernelFlag.OUTSIDE ? EventFlag.OUTSIDE : 0;
    view.tNs = ctx.time(t);
    view.pid = u32[base + W.pid] as number;
    view.comm = this.comm(u32, base);
    view.node = node.id;
    view.mtimeSec = i64(u32, base + W.mtimeSec);
    view.mtimeNsec = u32[base + W.mtimeNsec] as number;
    view.u8 = u8;
    view.start = at + WriteAt.SIZE;
    ctx.tree.applyWrite(node, view.offset + length, view);
    ctx.stats.events++;
    ctx.stats.bytes += length;
    ctx.sink.write(view);
    return true;
  }

  /**
   * First record of a call that the fast path did not take. `mayDrop`: nothing waits that could
   * bring an ignored inode back, so its payload need not be kept.
   */
  begin(u8: Uint8Array, u32: Uint32Array, at: number, how: { head: Head; mayDrop: boolean }) {
    const { head } = how;
    const base = at / 4;
    const isOutput = ((u32[base + 1] as number) & 0xffff) === Kind.OUTPUT;
    const offset = u64(u32, base + W.offset);
    const size = u64(u32, base + W.size);
    const length = head.ret;
    const unit: WriteUnit = {
      kind: "write",
      head,
      output: isOutput,
      dev: u32[base + W.dev] as number,
      gen: u32[base + W.gen] as number,
      ino: u64(u32, base + W.ino),
      size,
      mode: u32[base + W.mode] as number,
      mtimeSec: i64(u32, base + W.mtimeSec),
      mtimeNsec: u32[base + W.mtimeNsec] as number,
      offset: isOutput ? head.fd : offset,
      lockSeq: u64(u32, base + W.lockSeq),
      length,
      bytes: length < PAYLOAD_INLINE_BYTES_MAX ? new Uint8Array(length) : undefined,
      extents: [],
      covered: 0,
      missing: [],
      dropped: false,
    };
    unit.dropped = how.mayDrop && !isOutput && isIgnored(this.#ctx, unit);
    this.add(unit, u8, u32, at);
    return unit;
  }

  /** Adds the payload of one record to its call. */
  add(unit: WriteUnit, u8: Uint8Array, u32: Uint32Array, at: number): void {
    const base = at / 4;
    const flags = (u32[base + 1] as number) >>> 16;
    const start = Math.min(u32[base + W.payloadOff] as number, unit.length);
    if (start > unit.covered) this.#miss(unit, unit.covered, start);
    const carried = u32[base + W.payloadLen] as number;
    const isMissing = (flags & KernelFlag.NO_PAYLOAD) !== 0;
    const length = Math.min(carried, unit.length - start);
    if (isMissing) this.#miss(unit, start, carried > 0 ? start + length : unit.length);
    else if (length > 0) {
      const from = at + WriteAt.SIZE;
      if (unit.bytes) unit.bytes.set(u8.subarray(from, from + length), start);
      else if (!unit.dropped) {
        addExtent(unit.extents, { ...this.#ctx.sink.store(u8, from, length), at: start });
      }
      unit.covered = start + length;
    }
    if ((flags & KernelFlag.LAST) !== 0) this.close(unit);
  }

  /** No more records of this call will come: what is not covered is missing. */
  close(unit: WriteUnit): void {
    if (unit.covered < unit.length) this.#miss(unit, unit.covered, unit.length);
  }

  #miss(unit: WriteUnit, from: number, to: number): void {
    if (to <= from) return;
    unit.missing.push({ at: from, length: to - from });
    unit.covered = to;
  }

  /** Sends a whole call. "wait": the record that made its inode must still come. */
  send(unit: WriteUnit, force: boolean): Outcome {
    const ctx = this.#ctx;
    if (unit.output) {
      this.#emit(unit, 0, 0);
      return "done";
    }
    if (unit.dropped) return "done";
    const node = ctx.tree.lookup(unit.dev, unit.ino, unit.gen);
    if (!node) {
      if (isIgnored(ctx, unit)) return "done";
      const isAwaited = this.#unknown.get(unit.dev, unit.ino) !== unit.gen;
      if (isAwaited && !force) return "wait";
      this.#unknown.set(unit.dev, unit.ino, unit.gen);
      const loss = { events: 1, bytes: unit.length };
      ctx.gap("a write to a file that was never announced", loss);
      return "done";
    }
    const { head, offset, length } = unit;
    let flags = 0;
    if (unit.lockSeq !== 0) {
      if (unit.lockSeq < this.#recent.seq(node.id)) flags = EventFlag.CONCURRENT;
      else this.#recent.setSeq(node.id, unit.lockSeq);
    }
    const { t, enter, tid } = head;
    const span = { t, enter, tid, offset, length, seq: unit.lockSeq };
    let clash = this.#recent.clash(node.id, span);
    const isCut = this.#recent.isCut(node.id, span);
    if (unit.source && this.#isTorn(unit, unit.source, { node, span })) {
      clash = { start: offset, end: offset + length };
    }
    const isCached = (head.flags & KernelFlag.CACHED) !== 0;
    if (isCached && this.#recent.isOverlapped(node.id, span)) flags = EventFlag.CONCURRENT;
    this.#recent.set(node.id, span);
    this.#emit(unit, node.id, flags | (clash || isCut ? EventFlag.CONCURRENT : 0));
    if (isCut) resyncLive(ctx, node);
    else if (clash) this.#settle(unit, node, clash);
    if (this.#recent.isCopied(node.id, span)) this.#resyncCopy(node.id);
    this.#syncMode(node, unit.mode);
    return "done";
  }

  /** A copy: known by its source, unless that is not in the tree, or mapped and not known to its last byte. True: another task changed the source meanwhile. */
  #isTorn(unit: WriteUnit, source: CopySource, to: { node: Node; span: WriteSpan }): boolean {
    const from = this.#ctx.tree.lookup(source.dev, source.ino, source.gen);
    if (from === undefined || this.#ctx.mapped?.has(from.id) === true) {
      delete unit.source;
      return false;
    }
    unit.copyOf = from.id;
    unit.missing = [];
    return this.#recent.copied(from.id, to.node.id, to.span);
  }

  /** What was copied from a file while another task wrote to it is read again. */
  #resyncCopy(node: number): void {
    const copy = this.#ctx.tree.node(this.#recent.copiedTo(node));
    if (copy) resyncLive(this.#ctx, copy);
  }

  /** Missing ranges are read back now; a call in one piece takes the sink's fast path. */
  #emit(unit: WriteUnit, node: number, extra: number): void {
    const ctx = this.#ctx;
    ctx.stats.bytes += unit.length;
    let flags = extra;
    const extents = unit.extents;
    const { source, copyOf } = unit;
    if (source && copyOf !== undefined) {
      ctx.emit(Op.WRITE, node, {
        offset: unit.offset,
        length: unit.length,
        mtime: unit.mtimeNsec === MTIME_UNKNOWN
          ? undefined
          : { sec: unit.mtimeSec, nsec: unit.mtimeNsec },
        source: { node: copyOf, offset: source.offset },
        flags,
      });
      return;
    }
    const whole = unit.bytes && unit.missing.length === 0;
    if (!whole && unit.bytes) this.#storePieces(unit);
    for (const { at, length } of unit.missing) {
      const target = { ...unit, pid: unit.head.pid, path: ctx.places.abs(node) };
      const range = { offset: unit.offset + at, length };
      const found = unit.output || length === 0
        ? { extents: [], complete: false, end: 0 }
        : readBack(ctx, { ...target, fd: unit.head.fd }, range);
      for (const piece of found.extents) extents.push({ ...piece, at: piece.at + at });
      flags |= found.complete ? EventFlag.SETTLED : EventFlag.UNREAD;
    }
    const hasMtime = !unit.output && unit.mtimeNsec !== MTIME_UNKNOWN;
    const mtime = { sec: unit.mtimeSec, nsec: unit.mtimeNsec };
    extents.sort((a, b) => a.at - b.at);
    ctx.emit(unit.output ? Op.OUTPUT : Op.WRITE, node, {
      offset: unit.offset,
      length: unit.length,
      mtime: hasMtime ? mtime : undefined,
      inline: whole ? unit.bytes : undefined,
      extents: whole ? undefined : extents,
      flags: whole ? flags : flags | EventFlag.EXTENTS,
    });
  }

  /** Captured ranges of a small call that is not whole. */
  #storePieces(unit: WriteUnit): void {
    const { bytes } = unit;
    if (!bytes) return;
    let at = 0;
    for (const gap of [...unit.missing, { at: unit.length, length: 0 }]) {
      if (gap.at > at) {
        unit.extents.push({ ...this.#ctx.sink.store(bytes, at, gap.at - at), at });
      }
      at = gap.at + gap.length;
    }
  }

  /** Two overlapping writes without an order: what the file holds now is the truth. */
  #settle(unit: WriteUnit, node: Node, clash: { start: number; end: number }): void {
    const ctx = this.#ctx;
    const length = Math.min(clash.end, Math.max(node.size, unit.size)) - clash.start;
    if (length <= 0) return;
    const { dev, gen, ino, head } = unit;
    const target = { dev, gen, ino, pid: head.pid, fd: head.fd, path: ctx.places.abs(node.id) };
    const found = readBack(ctx, target, { offset: clash.start, length });
    if (!found.complete) return;
    const flags = EventFlag.CONCURRENT | EventFlag.SETTLED | EventFlag.EXTENTS;
    ctx.emit(Op.WRITE, node.id, { offset: clash.start, length, extents: found.extents, flags });
  }

  /** A write clears set-id bits: the mode after it is known from the record. */
  #syncMode(node: Node, mode: number): void {
    if (mode === 0 || mode === node.mode || (mode & S_IFMT) !== (node.mode & S_IFMT)) return;
    this.#ctx.emit(Op.CHMOD, node.id, { attr: { ...node.attr(), mode } });
  }
}
