/**
 * The gate: before a call of the command destroys what a file held at the start, the content is saved, and only then the call goes
 * on. Every call of the filter comes here; most are about files that are new or saved already and go on at once. The look at a
 * name and the call itself are two steps: where another task changes the name in between, the recorder notices that a file was
 * written that is not saved (base_content.ts) and says so.
 */
import type { Pointer } from "bun:ffi";
import { cString, Errno, libc } from "../../ffi/libc.ts";
import { BaseState, BaseTable, Control } from "./base_table.ts";
import { Harm, HeldCall } from "./gate_calls.ts";
import { GateSaver } from "./gate_saver.ts";
import { FileType, InodeStat } from "./inode_stat.ts";
import { Listener, seccompMachine } from "./seccomp.ts";

const F_GETFL = 3;
const O_ACCMODE = 3;
const O_PATH = 0o10000000;
const { ENOENT, ENOTDIR } = Errno;
const ESRCH = 3;
/** Errors of a look through /proc/PID of who asked, and of a name that stands for another file. */
const NOT_THERE: ReadonlySet<number> = new Set([ENOENT, ENOTDIR, ESRCH, Errno.ESTALE]);

/** What the gate's thread is given. */
export interface GateOptions {
  /** Descriptor of the filter's listener. */
  listener: number;
  /** Readable: end. */
  stopFd: number;
  /** The memory file of the table. */
  tableFd: number;
  /** The state-dir. */
  dir: string;
  owner?: { uid: number; gid: number };
  /** Descriptors that the command inherits. */
  inherited: readonly number[];
}

/** See the head of the file. */
export class Gate {
  readonly #options: GateOptions;
  readonly #table: BaseTable;
  readonly #saver: GateSaver;
  readonly #listener: Listener;
  readonly #call: HeldCall;
  readonly #stat = new InodeStat();
  readonly #dev = () => this.#stat.dev;
  /** By node: removals that were let go while other names were left. */
  readonly #removals = new Map<number, number>();

  constructor(options: GateOptions) {
    this.#options = options;
    this.#table = BaseTable.open(options.tableFd);
    const { dir, owner } = options;
    this.#listener = new Listener(options.listener, options.stopFd, this.#table.notification);
    this.#call = new HeldCall(this.#listener.words, seccompMachine() ?? "x64");
    this.#saver = new GateSaver({
      dir,
      control: this.#table.control,
      ...(owner === undefined ? {} : { owner }),
    });
  }

  /** Saves files that the command gets open for writing. */
  saveInherited(): void {
    for (const fd of this.#options.inherited) {
      const flags = libc.fcntl(fd, F_GETFL, 0);
      if (flags < 0 || (flags & O_ACCMODE) === 0 || (flags & O_PATH) !== 0) continue;
      const path = cString(`/proc/self/fd/${fd}`);
      if (this.#stat.readFd(fd) === 0) this.#protect(path, true, false);
    }
  }

  /** Serves until no task has the filter any more, it is told to stop, or nothing comes for so long. */
  serve(idleMs = -1): void {
    if (this.#listener.hasCall) this.#answer();
    while (this.#listener.next(idleMs) === "call") this.#answer();
  }

  #answer(): void {
    Atomics.add(this.#table.control, Control.CALLS, 1);
    if (this.#call.look()) this.#consider(this.#call);
    this.#listener.proceed();
  }

  #consider(call: HeldCall): void {
    const code = this.#stat.readPath(call.path, call.follows);
    if (code === 0) this.#protect(call.path, call.follows, call.harm === Harm.REMOVE);
    else if (code !== ENOENT && code !== ENOTDIR) return;
  }

  /** `#stat` has the state of what the path names. */
  #protect(path: Pointer | Uint8Array, follows: boolean, isRemoval: boolean): void {
    const { inoLow, inoHigh } = this.#stat;
    const table = this.#table;
    const node = table.find(inoLow, inoHigh, this.#dev);
    const state = node === 0 ? BaseState.NONE : table.state(node);
    const isLink = state === BaseState.LINKED && !isRemoval;
    if (state !== BaseState.LAZY && !isLink) return;
    if (this.#stat.type !== FileType.REGULAR) return;
    if (isRemoval && this.#keepsName(node)) return;
    Atomics.store(table.control, Control.BUSY, 1);
    if (Atomics.load(table.control, Control.CLOSED) === 0) {
      this.#save({ path, follows, node, inoLow, inoHigh, isRemoval });
    }
    Atomics.store(table.control, Control.BUSY, 0);
  }

  /** Whether the file has names left after this removal and all that were let go before and may not have happened yet. */
  #keepsName(node: number): boolean {
    const before = this.#removals.get(node) ?? 0;
    if (this.#stat.nlink <= 1 + before) return false;
    this.#removals.set(node, before + 1);
    return true;
  }

  #save(file: Parameters<GateSaver["save"]>[0]): void {
    const { control } = this.#table;
    const isLink = this.#table.state(file.node) === BaseState.LINKED;
    const code = this.#saver.save(file, isLink);
    if (code === 0) {
      this.#table.setState(file.node, this.#saver.isLink ? BaseState.LINKED : BaseState.SAVED);
      if (!isLink) Atomics.add(control, Control.SAVED, 1);
      return;
    }
    // who asked was killed, or the name stands for another file by now: the next who asks finds it as it is
    if (NOT_THERE.has(code)) return;
    this.#table.setState(file.node, BaseState.FAILED);
    Atomics.add(control, Control.FAILED, 1);
    Atomics.compareExchange(control, Control.FAILED_ERRNO, 0, code);
  }
}
