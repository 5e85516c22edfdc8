/**
 * What all parts of the Resolver share while one kernel record is worked on: the tree, the record's
 * header, and the one way an event leaves. `emit` applies the event to the tree first and gives it
 * to the sink then, so the tree never holds what the trace does not.
 */
import type { KernelInode } from "../format/kernel_decode.ts";
import { KernelFlag } from "../format/kernel_record.ts";
import {
  type Attr,
  EventFlag,
  type Mtime,
  Op,
  type OpCode,
  type TraceEvent,
} from "../format/trace_event.ts";
import { changedAcl, inheritedXattrs, lostXattrs } from "./implied_xattrs.ts";
import { InodeMap } from "./inode_map.ts";
import { Mapped } from "./mapped.ts";
import { MTIME_UNKNOWN, type Node } from "./node.ts";
import { Places } from "./places.ts";
import { Recent } from "./recent.ts";
import type { EventSink, ResolverOptions } from "./sink.ts";
import type { Tree } from "./tree.ts";

/** Header of a kernel record; times in ns since the start of the command, not yet monotonic. */
export interface Head {
  flags: number;
  t: number;
  enter: number;
  pid: number;
  tid: number;
  nr: number;
  fd: number;
  ret: number;
  comm: string;
}

/** Counters of a recording. */
export interface ResolverStats {
  events: number;
  /** Bytes written by WRITE and OUTPUT events. */
  bytes: number;
  /** GAP events, and what they say is lost. */
  gaps: number;
  lostEvents: number;
  lostBytes: number;
  /** Calls that could not be placed, or only by force. */
  unresolved: number;
  /** Records that had to wait for an older one. */
  held: number;
}

const NO_HEAD: Head = {
  flags: 0,
  t: 0,
  enter: 0,
  pid: 0,
  tid: 0,
  nr: 0,
  fd: 0,
  ret: 0,
  comm: "",
};

/** Shared state of the Resolver. */
export class Context {
  readonly tree: Tree;
  readonly sink: EventSink;
  readonly options: ResolverOptions;
  readonly places: Places;
  /** Inodes whose records are dropped: left out by the user, or gone from the watched folders. */
  readonly ignored = new InodeMap<number>();
  /** Last writes of every node. */
  readonly recent = new Recent();
  /** Files mapped shared and writable. */
  readonly mapped: Mapped | undefined;
  /** Devices whose file system says which inodes a call touched. */
  readonly touching = new Set<number>();
  readonly stats: ResolverStats = {
    events: 0,
    bytes: 0,
    gaps: 0,
    lostEvents: 0,
    lostBytes: 0,
    unresolved: 0,
    held: 0,
  };
  head: Head = NO_HEAD;
  /** Event flags added to everything the current record causes. */
  extra = 0;
  /** Does a call of another process than `pid` on this inode still wait in the queue? Set by the queue. */
  isAwaited: (ino: number, pid: number) => boolean = () => false;
  /** The current unit has its place in the order of changes: nothing about it is in doubt. */
  ordered = false;
  /** Counts changes of names and identities; caches compare it. */
  epoch = 0;
  #lastNs = 0;

  constructor(tree: Tree, options: ResolverOptions, sink: EventSink) {
    this.tree = tree;
    this.options = options;
    this.sink = sink;
    this.places = new Places(tree, options);
    const files = options.assist?.mapped;
    this.mapped = files === undefined ? undefined : new Mapped(this, files);
  }

  /** Event time: never decreasing. */
  time(t: number): number {
    if (t > this.#lastNs) this.#lastNs = t;
    return this.#lastNs;
  }

  /** Is this file compared with what is known of it? Cheap while there is none. */
  isMapped(node: number): boolean {
    const { mapped } = this;
    return mapped !== undefined && mapped.count > 0 && mapped.has(node);
  }

  /** Applies an event to the tree and sends it, with the changes of extended attributes that the kernel makes along with it. */
  emit(op: OpCode, node: number, fields: Partial<TraceEvent> = {}): void {
    const event = this.#event(op, node, fields);
    const known = node === 0 ? undefined : this.tree.node(node);
    if (known?.xattrs === undefined || op === Op.XATTR) {
      this.#send(event);
      return;
    }
    for (const lost of lostXattrs(known, event)) this.#send(this.#event(Op.XATTR, node, lost));
    this.#send(event);
    if (event.attr === undefined) return;
    for (const changed of changedAcl(known)) this.#send(this.#event(Op.XATTR, node, changed));
  }

  /** Says which extended attributes an inode, just made in a folder, has from the start. */
  inherit(node: number, folder: Node): void {
    if (folder.xattrs === undefined) return;
    for (const had of inheritedXattrs(this.tree.need(node), folder)) this.emit(Op.XATTR, node, had);
  }

  #event(op: OpCode, node: number, fields: Partial<TraceEvent>): TraceEvent {
    const { head } = this;
    const outside = (head.flags & KernelFlag.OUTSIDE) !== 0 ? EventFlag.OUTSIDE : 0;
    return {
      seq: 0,
      op,
      tNs: this.time(head.t),
      pid: head.pid,
      tid: head.tid,
      comm: head.comm,
      node,
      ...fields,
      flags: outside | this.extra | (fields.flags ?? 0),
    };
  }

  #send(event: TraceEvent): void {
    const { node } = event;
    const mapped = node !== 0 && (this.mapped?.count ?? 0) > 0 ? this.mapped : undefined;
    mapped?.before(event);
    this.tree.apply(event);
    mapped?.after(event);
    this.stats.events++;
    this.epoch++;
    this.sink.event(event);
  }

  /** Says in the trace that something is missing here. */
  gap(text: string, loss: { events: number; bytes: number }, node = 0): void {
    this.stats.gaps++;
    this.stats.lostEvents += loss.events;
    this.stats.lostBytes += loss.bytes;
    this.emit(Op.GAP, node, { text, loss });
  }
}

/** The event's view of a kernel inode. */
export function attrOf(inode: KernelInode): Attr {
  const { mode, uid, gid, rdev, nlink, dev, gen, ino, size } = inode;
  return { mode, uid, gid, rdev, nlink, dev, gen, ino, size };
}

export function mtimeOf(inode: KernelInode): Mtime | undefined {
  if (inode.mtimeNsec === MTIME_UNKNOWN) return undefined;
  return { sec: inode.mtimeSec, nsec: inode.mtimeNsec };
}

/** Is this the node's inode? Generation 0 on either side is not compared. */
export function sameInode(inode: Pick<KernelInode, "dev" | "ino" | "gen">, node: Node): boolean {
  if (inode.ino === 0 || inode.dev !== node.dev || inode.ino !== node.ino) return false;
  return inode.gen === node.gen || inode.gen === 0 || node.gen === 0;
}
