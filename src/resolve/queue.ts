/**
 * Units that wait for an older one, in their order. Empty nearly always. The head is what waits;
 * everything behind it waits because order must be kept. A unit whose call began before the first
 * of the waiting calls returned may be what the head waits for: it may go before them.
 */
import {
  RACE_RECORDS_MAX,
  RACE_WAIT_NS,
  REORDER_LOSS_NS,
  REORDER_RECORDS_MAX,
  REORDER_WAIT_NS,
} from "./bounds.ts";
import type { KernelInode } from "../format/kernel_decode.ts";
import { KernelFlag } from "../format/kernel_record.ts";
import { CallKind } from "../format/kernel_syscall.ts";
import type { Context } from "./context.ts";
import type { LockOrder } from "./lock_order.ts";
import { lockSeqOf, type Outcome, type Unit } from "./unit.ts";
import type { Worker } from "./worker.ts";

/** Inode numbers that a unit changes; empty when they are not known. */
function inodesOf(unit: Unit): number[] {
  if (unit.kind === "open") return [unit.open.inode.ino, unit.open.parent.ino];
  if (unit.kind === "call") return unit.call.touched.map((t) => t.ino);
  if (unit.kind === "touched") return unit.touched.map((t) => t.ino);
  return unit.kind === "write" ? [unit.ino] : [];
}

/** The inode that a unit makes and that the tree does not have. */
function madeBy(unit: Unit, ctx: Context): KernelInode | undefined {
  if (unit.kind === "open") {
    return (unit.head.flags & KernelFlag.CREATED) !== 0 ? unit.open.inode : undefined;
  }
  if (unit.kind !== "call") return undefined;
  const { kind } = unit.syscall;
  const makes = kind === CallKind.MKDIR || kind === CallKind.MKNOD || kind === CallKind.SYMLINK;
  if (!makes) return undefined;
  return unit.call.touched.find((t) => !ctx.tree.lookup(t.dev, t.ino, t.gen));
}

/** Can one unit be what the other waits for? Only if both change the same inode. */
function isRelated(unit: Unit, other: Unit): boolean {
  const mine = inodesOf(unit);
  const theirs = inodesOf(other);
  if (mine.length === 0 || theirs.length === 0) return true;
  return mine.some((ino) => theirs.includes(ino));
}

/** The waiting units. */
export class Queue {
  readonly #ctx: Context;
  readonly #order: LockOrder;
  readonly #worker: Worker;
  #units: Unit[] = [];
  /** The head was tried, and nothing that could help it has come since. */
  #isStuck = false;
  #now = 0;
  /** Units taken so far. */
  #taken = 0;
  /** The head whose turn had come and that could not go, and when that was. */
  #doubt: { head: Unit; t: number; taken: number } | undefined;

  constructor(ctx: Context, order: LockOrder, worker: Worker) {
    this.#ctx = ctx;
    this.#order = order;
    this.#worker = worker;
    ctx.isAwaited = (ino, pid) =>
      this.#units.some((unit) => unit.head.pid !== pid && inodesOf(unit).includes(ino));
  }

  get isEmpty(): boolean {
    return this.#units.length === 0;
  }

  /** Latest record time seen, ns since the start. */
  get now(): number {
    return this.#now;
  }

  /** Record time goes on. */
  see(t: number): void {
    if (t > this.#now) this.#now = t;
  }

  /** Does a write of this process wait whose bytes must still be read back? It must not run on until then. */
  needs(pid: number): boolean {
    const isMapped = (this.#ctx.mapped?.count ?? 0) > 0;
    return this.#units.some((unit) => {
      if (unit.head.pid !== pid) return false;
      // at whatever happens to a mapped file its task stands still until the file was compared
      if (isMapped || unit.kind === "mmap" || unit.kind === "sync") return true;
      return unit.kind === "write" && unit.missing.length > 0;
    });
  }

  /** Takes a unit in ring order: it is worked on now, or it waits. */
  take(unit: Unit): void {
    this.#taken++;
    const seq = lockSeqOf(unit);
    if (seq !== 0) this.#order.arrived(seq);
    if (this.#units.length === 0) {
      if (this.#try(unit, false) === "done") return;
      this.#ctx.stats.held++;
      this.#units.push(unit);
      this.#isStuck = true;
      return;
    }
    this.#ctx.stats.held++;
    if (!this.#overtakes(unit)) this.#insert(unit);
    this.#drain();
  }

  /** A number of the order that no record carries. */
  skip(seq: number): void {
    this.#order.arrived(seq);
    this.#isStuck = false;
    this.#drain();
  }

  /** Time went on without records: gives up waiting where a bound is reached. */
  expire(): void {
    this.#drain();
  }

  /** Nothing more will come: all go now, in order. */
  flush(): void {
    while (this.#units.length > 0) {
      this.#isStuck = false;
      this.#drain();
      if (this.#units.length > 0) this.#force();
    }
  }

  /** Is it this unit's turn? One that comes after it was given up goes at once. */
  #isReady(unit: Unit): boolean {
    const seq = lockSeqOf(unit);
    return seq === 0 || this.#order.isReady(seq);
  }

  #try(unit: Unit, concurrent: boolean): Outcome {
    if (!this.#isReady(unit)) return "wait";
    return this.#worker.work(unit, { force: false, concurrent });
  }

  /** A name operation that was running when the first waiting call returned may explain it. */
  #overtakes(unit: Unit): boolean {
    if (unit.kind !== "open" && unit.kind !== "call") return false;
    const head = this.#units[0];
    if (!this.#isReady(unit) || (head && !this.#isReady(head))) return false; // only order is missing
    if (!this.#beganBefore(unit, this.#units.length)) return false;
    if (!this.#isFirst(unit, this.#units.length)) return false;
    if (head && !isRelated(unit, head)) return false;
    if (this.#worker.work(unit, { force: false, concurrent: true }) === "wait") return false;
    this.#isStuck = false;
    return true;
  }

  /** Has none of the first `count` waiting units a lower number and the same inodes? Their order is known then. */
  #isFirst(unit: Unit, count: number): boolean {
    const seq = lockSeqOf(unit);
    for (let i = 0; seq !== 0 && i < count; i++) {
      const other = this.#units[i] as Unit;
      const before = lockSeqOf(other);
      if (before !== 0 && before < seq && isRelated(other, unit)) return false;
    }
    return true;
  }

  /** Did the call of `unit` begin before any of the first `count` waiting calls returned? */
  #beganBefore(unit: Unit, count: number): boolean {
    for (let i = 0; i < count; i++) {
      const other = this.#units[i] as Unit;
      if (other.head.t <= unit.head.enter || other.head.tid === unit.head.tid) return false;
    }
    return true;
  }

  /**
   * In ring order, but before what has a higher number in the order of changes. What the same task did
   * before, without a number, goes along.
   */
  #insert(unit: Unit): void {
    const seq = lockSeqOf(unit);
    const first = seq === 0 ? -1 : this.#units.findIndex((u) => lockSeqOf(u) > seq);
    if (first < 0) {
      this.#units.push(unit);
    } else {
      const isBefore = (u: Unit) => lockSeqOf(u) === 0 && u.head.tid === unit.head.tid;
      const rest = this.#units.splice(first);
      this.#units.push(...rest.filter(isBefore), unit, ...rest.filter((u) => !isBefore(u)));
      if (first === 0) this.#isStuck = false;
    }
    const head = this.#units[0];
    if (head && lockSeqOf(head) !== 0 && this.#isReady(head)) this.#isStuck = false;
  }

  /** Works on the head as long as it can; gives up waiting where a bound is reached. */
  #drain(): void {
    for (let head = this.#units[0]; head; head = this.#units[0]) {
      if (!this.#isStuck) {
        if (this.#try(head, false) === "done") {
          this.#units.shift();
          continue;
        }
        // a head whose turn has not come only waits: nothing about it is in doubt
        if (this.#isReady(head) && (this.#helper() || this.#cancels(head))) continue;
        this.#isStuck = true;
      }
      if (!this.#isExpired(head)) return;
      this.#force();
    }
  }

  /** A waiting unit that may go before all that stand before it, and can. */
  #helper(): boolean {
    for (let i = 1; i < this.#units.length; i++) {
      const unit = this.#units[i] as Unit;
      if (unit.kind !== "open" && unit.kind !== "call") continue;
      if (!this.#isReady(unit)) continue;
      if (!this.#beganBefore(unit, i) || !this.#isFirst(unit, i)) continue;
      if (!isRelated(unit, this.#units[0] as Unit)) continue;
      if (this.#worker.work(unit, { force: false, concurrent: true }) === "wait") continue;
      this.#units.splice(i, 1);
      return true;
    }
    return false;
  }

  /**
   * The head makes an inode under a name that is taken, and a waiting call removes it again:
   * both happened before what has the name now. They are dropped; nothing of them is left.
   */
  #cancels(head: Unit): boolean {
    const made = madeBy(head, this.#ctx);
    if (!made) return false;
    const at = this.#units.findIndex((u) =>
      u.kind === "call" && u.syscall.kind !== CallKind.RENAME &&
      u.call.touched.some((t) => t.ino === made.ino && t.gen === made.gen && t.nlink === 0)
    );
    if (at < 1) return false;
    this.#units.splice(at, 1);
    this.#units.shift();
    this.#ctx.ignored.set(made.dev, made.ino, made.gen);
    this.#ctx.stats.unresolved++;
    return true;
  }

  #isExpired(head: Unit): boolean {
    if (this.#units.length >= REORDER_RECORDS_MAX) return true;
    if (!this.#isReady(head)) {
      const wait = this.#ctx.stats.lostEvents > 0 ? REORDER_LOSS_NS : REORDER_WAIT_NS;
      return this.#now - head.head.t >= wait;
    }
    if (lockSeqOf(head) === 0) {
      return this.#units.length >= RACE_RECORDS_MAX || this.#now - head.head.t >= RACE_WAIT_NS;
    }
    // many may have come, and much time gone by, while only its turn was missing
    if (this.#doubt?.head !== head) this.#doubt = { head, t: this.#now, taken: this.#taken };
    const { t, taken } = this.#doubt;
    return this.#taken - taken >= RACE_RECORDS_MAX || this.#now - t >= RACE_WAIT_NS;
  }

  /** The head waits no longer. */
  #force(): void {
    const head = this.#units[0];
    if (!head) return;
    this.#isStuck = false;
    if (!this.#isReady(head)) {
      this.#order.skipTo(lockSeqOf(head));
      return;
    }
    this.#units.shift();
    const outcome = this.#worker.work(head, { force: true, concurrent: true });
    if (outcome === "wait") this.#ctx.stats.unresolved++;
  }
}
