/**
 * Works on one unit: tells each kind to the part that knows it. Returns "wait" without any effect
 * when the unit contradicts the tree and is not forced.
 */
import { DiffKeeperError } from "../base/error.ts";
import { KernelFlag, NoteKind } from "../format/kernel_record.ts";
import { CallKind } from "../format/kernel_syscall.ts";
import { EventFlag, IO_URING_NOTE, Op } from "../format/trace_event.ts";
import { adopt } from "./announced.ts";
import { attribute, touchedOnly, truncated } from "./attributes.ts";
import { SEEN_MAX } from "./bounds.ts";
import type { Context } from "./context.ts";
import { created, link, make, remove } from "./names.ts";
import type { Processes } from "./processes.ts";
import { rename } from "./renames.ts";
import { type CallUnit, lockSeqOf, type Outcome, type Unit } from "./unit.ts";
import type { WritePath } from "./write_path.ts";

const NOTE_TEXT = new Map<number, string>([
  [NoteKind.IO_URING, IO_URING_NOTE],
  [NoteKind.NO_IO_URING, "asked for io_uring and was told that there is none"],
  [NoteKind.IA32, "is a 32-bit program: its system calls are not recorded"],
  [NoteKind.AIO, "uses asynchronous I/O: its writes are shown when they were submitted"],
]);

/** How a unit is worked on. */
export interface Manner {
  /** Do not wait: the kernel's facts win over the tree. */
  force: boolean;
  /** It did not keep its place in the ring's order. */
  concurrent: boolean;
}

/** Dispatch by kind. */
export class Worker {
  readonly #ctx: Context;
  readonly #writes: WritePath;
  readonly #processes: Processes;
  #seen = new Set<string>();

  constructor(ctx: Context, writes: WritePath, processes: Processes) {
    this.#ctx = ctx;
    this.#writes = writes;
    this.#processes = processes;
  }

  /** Tries one unit. A unit that does not fit the tree even by force is counted and noted. */
  work(unit: Unit, manner: Manner): Outcome {
    const ctx = this.#ctx;
    ctx.head = unit.head;
    ctx.ordered = lockSeqOf(unit) !== 0;
    ctx.extra = manner.concurrent ? EventFlag.CONCURRENT : 0;
    try {
      if (manner.force) this.#adopt(unit);
      return this.#dispatch(unit, manner.force);
    } catch (error) {
      // The tree refuses an event before it changes anything; the record is the one that is wrong.
      if (!(error instanceof DiffKeeperError) || error.code !== "data_corrupt") throw error;
      ctx.stats.unresolved++;
      ctx.gap(`a change could not be placed: ${error.message}`, { events: 1, bytes: 0 });
      return "done";
    } finally {
      ctx.extra = 0;
    }
  }

  /** Inodes that were announced and never made are made now. */
  #adopt(unit: Unit): void {
    const ctx = this.#ctx;
    if (unit.kind === "write") adopt(ctx, unit);
    if (unit.kind === "open") {
      adopt(ctx, unit.open.parent);
      if ((unit.head.flags & KernelFlag.TRUNCATED) !== 0) adopt(ctx, unit.open.inode);
    }
    if (unit.kind !== "call") return;
    for (const base of unit.call.base) if (base.ino !== 0) adopt(ctx, base);
    const target = unit.call.touched[0];
    if (target && (unit.head.flags & KernelFlag.BY_FD) !== 0) adopt(ctx, target);
  }

  #dispatch(unit: Unit, force: boolean): Outcome {
    const ctx = this.#ctx;
    switch (unit.kind) {
      case "write":
        return this.#writes.send(unit, force);
      case "open":
        return (unit.head.flags & KernelFlag.TRUNCATED) !== 0
          ? truncated(ctx, unit, force)
          : created(ctx, unit, force);
      case "call":
        return this.#call(unit, force);
      case "touched":
        return touchedOnly(ctx, unit.touched);
      case "exec": {
        const { exec, head } = unit;
        ctx.mapped?.gone(head.pid);
        this.#processes.exec(head, exec, this.#cwd(exec.cwdDev, exec.cwdIno));
        ctx.emit(Op.EXEC, 0, { path: exec.exe, argv: exec.argv });
        return "done";
      }
      case "exit":
        ctx.mapped?.gone(unit.head.pid);
        this.#processes.exit(unit.head, unit.code);
        ctx.emit(Op.EXIT, 0, { length: unit.code >>> 0 });
        return "done";
      case "mmap":
        return this.#mmap(unit);
      case "sync":
        return this.#sync(unit);
      case "note":
        if (this.#isNew(`n${unit.head.pid}:${unit.note}`)) {
          ctx.emit(Op.NOTE, 0, { text: NOTE_TEXT.get(unit.note) ?? `note ${unit.note}` });
        }
        return "done";
      case "gap":
        ctx.gap(unit.text, unit.loss);
        return "done";
    }
  }

  #cwd(dev: number, ino: number): string | undefined {
    const node = this.#ctx.tree.lookup(dev, ino, 0);
    if (node) return this.#ctx.places.abs(node.id);
    return this.#ctx.places.outsidePath(dev, ino);
  }

  #call(unit: CallUnit, force: boolean): Outcome {
    const ctx = this.#ctx;
    switch (unit.syscall.kind) {
      case CallKind.MKDIR:
      case CallKind.MKNOD:
      case CallKind.SYMLINK:
      case CallKind.BIND:
        return make(ctx, unit, force);
      case CallKind.UNLINK:
      case CallKind.RMDIR:
        return remove(ctx, unit, force);
      case CallKind.LINK:
        return link(ctx, unit, force);
      case CallKind.RENAME:
        return rename(ctx, unit, force);
      default:
        return attribute(ctx, unit, force);
    }
  }

  #mmap(unit: Extract<Unit, { kind: "mmap" }>): Outcome {
    const { inode, offset, length } = unit.mmap;
    const node = this.#ctx.tree.lookup(inode.dev, inode.ino, inode.gen);
    if (!node) return "done";
    if (this.#isNew(`m${unit.head.pid}:${node.id}`)) {
      this.#ctx.emit(Op.MMAP, node.id, { offset, length });
    }
    if (this.#ctx.mapped) this.#ctx.mapped.map(unit, node);
    else this.#ctx.recent.suspects.add(node.id);
    return "done";
  }

  #sync(unit: Extract<Unit, { kind: "sync" }>): Outcome {
    const { dev, ino, gen } = unit.mmap.inode;
    const node = ino === 0 ? undefined : this.#ctx.tree.lookup(dev, ino, gen);
    if (ino === 0 || node) this.#ctx.mapped?.sync(unit, node);
    return "done";
  }

  /** Has this not been noted before? */
  #isNew(key: string): boolean {
    if (this.#seen.has(key)) return false;
    if (this.#seen.size >= SEEN_MAX) this.#seen = new Set();
    this.#seen.add(key);
    return true;
  }
}
