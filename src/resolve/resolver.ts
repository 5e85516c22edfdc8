/**
 * The Resolver: kernel records in ring order in, trace events in the order of their effects out.
 *
 * Most records pass straight through. A record that must not take effect yet (a write whose lock
 * number is ahead of its turn, a name operation that contradicts the tree) stops the stream: it and
 * everything after it wait in one queue, except for records of calls that were already running when
 * the first waiting one returned: only they can be what is missing, and they go first if they can.
 * The wait is bounded in records and in record time; then the order of the ring stands, or the
 * kernel's facts are forced on the tree, and the event says CONCURRENT.
 */
import {
  type CallRecord,
  decodeCall,
  decodeCopySource,
  decodeExec,
  decodeExit,
  decodeFork,
  decodeMmap,
  decodeNode,
  decodeNote,
  decodeOpen,
  decodeTouched,
  type RecordBytes,
} from "../format/kernel_decode.ts";
import { Header, KernelFlag, Kind } from "../format/kernel_record.ts";
import { type Syscall, syscallTable } from "../format/kernel_syscall.ts";
import { announce } from "./announced.ts";
import { Context, type Head, type ResolverStats } from "./context.ts";
import type { Mapped } from "./mapped.ts";
import { Processes } from "./processes.ts";
import { Queue } from "./queue.ts";
import type { EventSink, ProcessInfo, ResolverOptions } from "./sink.ts";
import type { Tree } from "./tree.ts";
import type { Unit } from "./unit.ts";
import { Worker } from "./worker.ts";
import { WritePath } from "./write_path.ts";

const PLAIN_WRITE = Kind.WRITE | (KernelFlag.LAST << 16);
const PLAIN_MASK = 0xffff | ((KernelFlag.LAST | KernelFlag.NO_PAYLOAD) << 16);

/** Turns kernel records into trace events. One per recording; not reentrant. */
export class Resolver {
  readonly #ctx: Context;
  readonly #writes: WritePath;
  readonly #queue: Queue;
  readonly #processes: Processes;
  readonly #syscalls: Map<number, Syscall>;
  #view: DataView | undefined;

  constructor(tree: Tree, options: ResolverOptions, sink: EventSink) {
    this.#ctx = new Context(tree, options, sink);
    this.#writes = new WritePath(this.#ctx);
    this.#processes = new Processes(sink);
    const worker = new Worker(this.#ctx, this.#writes, this.#processes);
    this.#queue = new Queue(this.#ctx, this.#writes.order, worker);
    this.#syscalls = syscallTable(options.arch ?? "x64");
  }

  get stats(): Readonly<ResolverStats> {
    return this.#ctx.stats;
  }

  /** Nodes whose content is in doubt until it is read again. */
  get suspects(): ReadonlySet<number> {
    return this.#ctx.recent.suspects;
  }

  /** Ids of the command's processes that have not ended, as far as the records say. */
  running(): number[] {
    return this.#processes.pids();
  }

  /** A process of the command that is alive. */
  process(pid: number): ProcessInfo | undefined {
    return this.#processes.get(pid);
  }

  /**
   * Takes the record at byte `at` (a multiple of 8) of the ring; `u32` views the bytes of `u8`.
   * Nothing of the ring is kept.
   * @throws {DiffKeeperError} data_corrupt, when the record is malformed.
   */
  accept(u8: Uint8Array, u32: Uint32Array, at: number): void {
    const word = u32[at / 4 + 1] as number;
    const isPlain = (word & PLAIN_MASK) === PLAIN_WRITE;
    if (isPlain && this.#queue.isEmpty && this.#writes.fast(u8, u32, at)) return;
    this.#slow(u8, u32, at);
  }

  /** Something is missing in the stream here: a counter of the kernel side grew. */
  gap(text: string, loss: { events: number; bytes: number }): void {
    const head = { ...this.#ctx.head, t: this.#queue.now, flags: 0 };
    this.#queue.take({ kind: "gap", head, text, loss });
  }

  /** Must this stopped process stay stopped: its bytes are still to be read back? */
  needs(pid: number): boolean {
    return this.#queue.needs(pid);
  }

  /** Nothing came for a while: `nowNs` is the kernel's clock (CLOCK_BOOTTIME). Ends waits that have reached their bound. */
  idle(nowNs: bigint): void {
    if (this.#queue.isEmpty) return;
    this.#queue.see(Number(nowNs - this.#ctx.options.startNs));
    this.#queue.expire();
  }

  /** Nothing waits: what was taken so far has taken effect. */
  get isSettled(): boolean {
    return this.#queue.isEmpty && this.#writes.partial.size === 0;
  }

  /** Files mapped shared and writable, to be looked at between sync points. */
  get mapped(): Mapped | undefined {
    return this.#ctx.mapped;
  }

  /** Lets everything go that still waits. After it, the tree is the state after the last record. */
  flush(): void {
    for (const unit of this.#writes.partial.values()) {
      this.#writes.close(unit);
      this.#queue.take(unit);
    }
    this.#writes.partial.clear();
    this.#queue.flush();
  }

  #head(u32: Uint32Array, at: number): Head {
    const base = at / 4;
    const low = u32[base + (Header.ret >> 2)] as number;
    const high = (u32[base + (Header.ret >> 2) + 1] as number) | 0;
    return {
      flags: (u32[base + 1] as number) >>> 16,
      t: this.#writes.time(u32, base + (Header.t_ns >> 2)),
      enter: this.#writes.time(u32, base + (Header.enter_ns >> 2)),
      pid: u32[base + (Header.pid >> 2)] as number,
      tid: u32[base + (Header.tid >> 2)] as number,
      nr: u32[base + (Header.nr >> 2)] as number,
      fd: u32[base + (Header.fd >> 2)] as number,
      ret: high * 4294967296 + low,
      comm: this.#writes.comm(u32, base),
    };
  }

  #slow(u8: Uint8Array, u32: Uint32Array, at: number): void {
    if (this.#view?.buffer !== u8.buffer || this.#view.byteOffset !== u8.byteOffset) {
      this.#view = new DataView(u8.buffer, u8.byteOffset, u8.byteLength);
    }
    const record: RecordBytes = { u8, view: this.#view, at };
    const kind = (u32[at / 4 + 1] as number) & 0xffff;
    const head = this.#head(u32, at);
    this.#queue.see(head.t);
    switch (kind) {
      case Kind.WRITE:
      case Kind.OUTPUT:
        this.#write(u8, u32, at, head);
        return;
      case Kind.CHUNK:
        this.#chunk(u8, u32, at, head);
        return;
      case Kind.COPY: {
        const unit = this.#writes.begin(u8, u32, at, { head, mayDrop: false });
        unit.source = decodeCopySource(record);
        this.#queue.take(unit);
        return;
      }
      case Kind.NODE:
        announce(this.#ctx, decodeNode(record), (head.flags & KernelFlag.DELETED) !== 0);
        return;
      case Kind.SKIP:
        this.#queue.skip(head.ret);
        return;
      case Kind.FORK:
        if ((head.flags & KernelFlag.THREAD) === 0) {
          const { childPid } = decodeFork(record);
          this.#processes.fork(head, childPid);
          this.#ctx.mapped?.fork(head.pid, childPid);
        }
        return;
      default: {
        const unit = this.#unit(record, kind, head);
        if (unit) this.#queue.take(unit);
      }
    }
  }

  #unit(record: RecordBytes, kind: number, head: Head): Unit | undefined {
    switch (kind) {
      case Kind.OPEN:
        return { kind: "open", head, open: decodeOpen(record) };
      case Kind.CALL: {
        const syscall = this.#syscalls.get(head.nr);
        if (syscall) return this.#call(head, decodeCall(record), syscall);
        this.#ctx.stats.unresolved++;
        return undefined;
      }
      case Kind.TOUCHED:
        return { kind: "touched", head, ...decodeTouched(record) };
      case Kind.EXEC:
        return { kind: "exec", head, exec: decodeExec(record) };
      case Kind.EXIT: {
        const exit = decodeExit(record);
        return exit.groupDead ? { kind: "exit", head, code: exit.code } : undefined;
      }
      case Kind.MMAP:
        return { kind: "mmap", head, mmap: decodeMmap(record) };
      case Kind.SYNC:
        return { kind: "sync", head, mmap: decodeMmap(record) };
      case Kind.NOTE:
        return { kind: "note", head, note: decodeNote(record).note };
      case Kind.LOSS:
        return { kind: "gap", head, text: "records were lost", loss: { events: 1, bytes: 0 } };
      default:
        return undefined; // STOP is the drain's business; unknown kinds are newer than this build
    }
  }

  /** Strings that were away when the call returned are read from the task, which is stopped for that. */
  #call(head: Head, call: CallRecord, syscall: Syscall): Unit {
    for (const [i, address] of call.away.entries()) {
      if (address === 0) continue;
      const length = i === 2 ? call.arg[3] : undefined;
      const text = this.#ctx.options.assist?.memory?.(head.pid, address, length);
      if (text === undefined) {
        const loss = { events: 1, bytes: 0 };
        return { kind: "gap", head, text: `${syscall.name}: its path could not be read`, loss };
      }
      call.str[i] = text;
    }
    return { kind: "call", head, call, syscall };
  }

  #write(u8: Uint8Array, u32: Uint32Array, at: number, head: Head): void {
    const left = this.#writes.partial.get(head.tid);
    if (left) this.#finish(head.tid);
    const unit = this.#writes.begin(u8, u32, at, { head, mayDrop: this.#queue.isEmpty });
    if ((head.flags & KernelFlag.LAST) !== 0) this.#queue.take(unit);
    else this.#writes.partial.set(head.tid, unit);
  }

  #chunk(u8: Uint8Array, u32: Uint32Array, at: number, head: Head): void {
    const unit = this.#writes.partial.get(head.tid);
    if (!unit) {
      this.#queue.take({
        kind: "gap",
        head,
        text: "the first part of a write was lost",
        loss: { events: 1, bytes: 0 },
      });
      return;
    }
    this.#writes.add(unit, u8, u32, at);
    if ((head.flags & KernelFlag.LAST) !== 0) this.#finish(head.tid);
  }

  /** A call is whole, or will not become more. */
  #finish(tid: number): void {
    const unit = this.#writes.partial.get(tid);
    if (!unit) return;
    this.#writes.partial.delete(tid);
    this.#writes.close(unit);
    this.#queue.take(unit);
  }
}
