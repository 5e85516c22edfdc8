/**
 * The main thread's side of the seccomp filter and the gate: asks the launcher to install the filter, takes a copy of its
 * listener, runs the gate's thread, and at the end leaves the listener to the guard where processes of the command live on (a
 * filter whose listener is gone would make their calls fail). src/record/gate.ts serves the calls, guard.ts lets them go when the
 * recorder is dead.
 */
import { closeSync, writeSync } from "node:fs";
import { errno, errnoText, pinned } from "../../ffi/libc.ts";
import { libcGate } from "../../ffi/libc_gate.ts";
import { DiffKeeperError } from "../base/error.ts";
import { workerUrl } from "../base/worker_url.ts";
import { makeTableMemory } from "./base_table.ts";
import type { GateOptions } from "./gate.ts";
import type { Launcher } from "./launcher.ts";
import { installFilter, Listener, takeDescriptor } from "./seccomp.ts";

/** What programs that ask for io_uring get. */
export type IoUring = "deny" | "trace";

/** Time for the last tasks to let go of the filter, in milliseconds. */
const LAST_TASKS_MS = 20;
/** A listener stands above us already. */
const EBUSY = 16;
const EFD_CLOEXEC = 0o2000000;

/** The filter of one recording. */
export class GateSession {
  /** What the user should know. */
  note: string | undefined;
  /** Descriptor of the listener; -1: no call waits for anybody. */
  listener = -1;
  /** Memory file of the table that gate and guard share. */
  tableFd = -1;
  #stopFd = -1;
  #worker: Worker | undefined;
  #over: Promise<unknown> = Promise.resolve();

  /** Has the filter installed: with the gate if it is wanted and the kernel allows it. */
  install(launcher: Launcher, wanted: { gate: boolean; ioUring: IoUring }): void {
    const denyIoUring = wanted.ioUring === "deny";
    const ask = (gate: boolean) =>
      installFilter(
        { gate, denyIoUring },
        (flags, program) => launcher.installFilter(flags, program),
      );
    if (wanted.gate) {
      const fd = ask(true);
      const own = fd < 0 ? fd : takeDescriptor(launcher.pid, fd);
      if (own >= 0) {
        this.listener = own;
        this.tableFd = makeTableMemory();
        // while the folders are scanned its thread gets ready
        this.#worker = new Worker(workerUrl("src/record/gate_worker.ts"));
        return;
      }
      if (fd >= 0) throw new DiffKeeperError("no_privilege", cannotTake(-own));
      const why = -fd === EBUSY ? "another program holds them already" : errnoText(-fd);
      this.note = `the folders were copied before the start: calls cannot be held here: ${why}`;
    }
    if (!denyIoUring) return;
    const code = ask(false);
    if (code < 0) this.note = `io_uring cannot be refused here: ${errnoText(-code)}`;
  }

  /** Starts the gate; the command may go when this resolves. `onFailure`: somebody else must serve from now on. */
  async start(
    options: Pick<GateOptions, "dir" | "owner" | "inherited">,
    onFailure: () => void,
  ): Promise<void> {
    this.#stopFd = libcGate.eventfd(0, EFD_CLOEXEC);
    if (this.#stopFd < 0) throw new DiffKeeperError("io", `cannot wait: ${errnoText(errno())}`);
    const worker = this.#worker;
    if (worker === undefined) throw new DiffKeeperError("defect", "there is no gate to start");
    const said: ((text: string) => void)[] = [];
    worker.onmessage = (event: MessageEvent<string>) => said.shift()?.(event.data);
    const failed = new Promise<never>((_, reject) => {
      worker.onerror = (event) => {
        onFailure();
        reject(new DiffKeeperError("defect", `the gate failed: ${event.message}`));
      };
    });
    const serving = new Promise((resolve) => said.push(resolve));
    const over = new Promise((resolve) => said.push(resolve));
    // a gate that failed was taken over
    this.#over = Promise.race([over, failed]).catch(() => undefined);
    const request: GateOptions = {
      ...options,
      listener: this.listener,
      stopFd: this.#stopFd,
      tableFd: this.tableFd,
    };
    worker.postMessage(request);
    await Promise.race([serving, failed]);
  }

  /** Ends the gate. Returns whether processes live on that have the filter: then somebody must go on serving. */
  async end(): Promise<boolean> {
    if (this.listener < 0) return false;
    const waiting = new Listener(this.listener).next(LAST_TASKS_MS, false) !== "gone";
    const one = pinned(8);
    one.bytes[0] = 1;
    writeSync(this.#stopFd, one.bytes);
    await this.#over;
    this.#worker?.unref();
    closeSync(this.listener);
    closeSync(this.tableFd);
    closeSync(this.#stopFd);
    return waiting;
  }
}

function cannotTake(code: number): string {
  return `cannot hold calls of the command: its listener cannot be taken over: ${errnoText(code)}`;
}
