/**
 * A small watched folder for tests of the Resolver: a tree with its baseline, a sink that keeps
 * events and folds them into a second tree, and an Assist where a test wants one.
 */
import type { KernelInode } from "../../src/format/kernel_decode.ts";
import { Op, type TraceEvent } from "../../src/format/trace_event.ts";
import { MTIME_UNKNOWN } from "../../src/resolve/node.ts";
import { Resolver } from "../../src/resolve/resolver.ts";
import type {
  Assist,
  EventSink,
  ProcessInfo,
  ResolverOptions,
  WriteView,
} from "../../src/resolve/sink.ts";
import { Tree } from "../../src/resolve/tree.ts";
import { inode, START_NS } from "./kernel_records.ts";

export const ROOT_PATH = "/w";
export const ROOT_INODE: KernelInode = inode({ ino: 2, mode: 0o40755, nlink: 2, gen: 0 });

/** Keeps everything; stored content is found again by its row. */
export class TestSink implements EventSink {
  readonly events: TraceEvent[] = [];
  readonly rows: Uint8Array[] = [];
  readonly processes: ProcessInfo[] = [];

  event(event: TraceEvent): void {
    this.events.push(structuredClone(event));
  }

  write(v: WriteView): void {
    const hasMtime = v.mtimeNsec !== MTIME_UNKNOWN;
    this.events.push({
      seq: 0,
      op: v.op,
      flags: v.flags,
      tNs: v.tNs,
      pid: v.pid,
      tid: v.tid,
      comm: v.comm,
      node: v.node,
      offset: v.offset,
      length: v.length,
      mtime: hasMtime ? { sec: v.mtimeSec, nsec: v.mtimeNsec } : undefined,
      inline: v.u8.slice(v.start, v.start + v.length),
    });
  }

  store(u8: Uint8Array, start: number, length: number) {
    this.rows.push(u8.slice(start, start + length));
    return { row: this.rows.length, offset: 0, length, at: 0 };
  }

  process(info: ProcessInfo): void {
    this.processes.push(info);
  }

  /** Bytes of a WRITE, OUTPUT or RESYNC event; holes are zeros. */
  bytes(event: TraceEvent): Uint8Array {
    if (event.inline) return event.inline;
    const all = new Uint8Array(event.length ?? 0);
    for (const e of event.extents ?? []) {
      const row = this.rows[e.row - 1] ?? new Uint8Array(0);
      all.set(row.subarray(e.offset, e.offset + e.length), e.at);
    }
    return all;
  }
}

/** A Resolver with one watched folder. */
export class World {
  readonly tree = new Tree();
  readonly sink = new TestSink();
  readonly resolver: Resolver;
  readonly #baseline: TraceEvent[] = [];

  constructor(more: Partial<ResolverOptions> & { assist?: Assist } = {}) {
    this.baseline(ROOT_INODE, { parent: 0, name: "", root: 0 });
    this.resolver = new Resolver(this.tree, {
      roots: [{ path: ROOT_PATH, node: 1 }],
      excluded: () => false,
      startNs: START_NS,
      ...more,
    }, this.sink);
  }

  /** Something that was there before; returns its node id. */
  baseline(
    state: KernelInode,
    at: { parent: number; name: string; root?: number; target?: string },
  ): number {
    const { dev, gen, ino, size, mode, uid, gid, nlink, rdev } = state;
    const event: TraceEvent = {
      ...{ seq: 0, op: Op.BASELINE, flags: 0, tNs: 0, pid: 0, tid: 0, comm: "" },
      node: this.tree.nextId,
      attr: { dev, gen, ino, size, mode, uid, gid, nlink, rdev },
      mtime: { sec: state.mtimeSec, nsec: state.mtimeNsec },
      ...at,
    };
    this.tree.apply(event);
    this.#baseline.push(event);
    return event.node;
  }

  /** One more name of something that was there before. */
  alias(node: number, at: { parent: number; name: string }): void {
    const event: TraceEvent = {
      ...{ seq: 0, op: Op.LINK, flags: 0, tNs: 0, pid: 0, tid: 0, comm: "", node },
      ...at,
    };
    this.tree.apply(event);
    this.#baseline.push(event);
  }

  /** Hands records to the Resolver, each at another place of a buffer. */
  feed(...records: Uint8Array[]): this {
    for (const record of records) {
      const u8 = new Uint8Array(record.length + 64);
      const at = 8 * (record.length % 7);
      u8.set(record, at);
      this.resolver.accept(u8, new Uint32Array(u8.buffer), at);
      u8.fill(0xee); // nothing of the ring may be kept
    }
    return this;
  }

  /** Paths of the tree; a folder ends with "/", a symlink says its target. */
  paths(tree = this.tree): string[] {
    const lines: string[] = [];
    for (const { node, path } of tree.walk()) {
      if (path === "") continue;
      const target = node.target === undefined ? "" : ` -> ${node.target}`;
      lines.push(`${path}${node.isDir ? "/" : ""}${target}`);
    }
    return lines;
  }

  /** Ops of all events, one word each. */
  ops(): string[] {
    const names = new Map<number, string>(Object.entries(Op).map(([k, v]) => [v, k]));
    return this.sink.events.map((e) => names.get(e.op) ?? "?");
  }

  /** Folds what a reader would: baseline, then events. Must be the Resolver's own tree. */
  readerTree(): Tree {
    const tree = new Tree();
    for (const event of this.#baseline) tree.apply(event);
    for (const event of this.sink.events) tree.apply(event);
    return tree;
  }

  last(): TraceEvent {
    const event = this.sink.events[this.sink.events.length - 1];
    if (!event) throw new Error("no event");
    return event;
  }
}

/** Everything about a tree that a reader could see, as text, for comparing two trees. */
export function dump(tree: Tree): string[] {
  const lines: string[] = [];
  for (const { node, path, root } of tree.walk()) {
    const { mode, uid, gid, size, mtimeSec, mtimeNsec, rdev } = node;
    const xattrs = [...node.xattrs ?? []].map(([k, v]) => `${k}=${v}`).sort().join(",");
    lines.push(
      `${root}:${path} #${node.id} ${mode.toString(8)} ${uid}:${gid} ${rdev} ${size} ` +
        `${mtimeSec}.${mtimeNsec} ${node.target ?? ""} ${xattrs}`,
    );
  }
  return lines;
}
