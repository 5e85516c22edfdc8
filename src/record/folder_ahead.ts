/**
 * Threads that look ahead of a scan: they open, list and stat folders that it is about to enter, so that a scan of a large tree takes
 * the time of its own work alone where there is a processor for them. What they found is taken as if the scan itself had read it a
 * moment ago. Where they are slow or there is none, the scan does all itself: it waits only for a folder that a thread has in hand.
 * Only one scan at a time may use them.
 */
import { availableParallelism } from "node:os";
import { libc } from "../../ffi/libc.ts";
import { SCAN_AHEAD_FOLDERS, SCAN_THREADS_MAX } from "../base/limits.ts";
import { workerUrl } from "../base/worker_url.ts";
import { FolderSlot, SLOT_BYTES } from "./folder_slot.ts";
import { InodeStat } from "./inode_stat.ts";

/** i32 words behind the slots: number of the last offer; 1: there will be none. */
const OFFERS = 0;
const CLOSED = 1;
const CONTROL_BYTES = 8;

/** A thread that nobody wakes looks for offers so often. */
const IDLE_MS = 1_000;

function slotsOf(memory: SharedArrayBuffer): { slots: FolderSlot[]; control: Int32Array } {
  const slots = Array.from({ length: SCAN_AHEAD_FOLDERS }, (_, i) => new FolderSlot(memory, i));
  return { slots, control: new Int32Array(memory, SCAN_AHEAD_FOLDERS * SLOT_BYTES, 2) };
}

/** A thread's part: serves until `close`. */
export function serveAhead(memory: SharedArrayBuffer): void {
  const { slots, control } = slotsOf(memory);
  const stat = new InodeStat();
  while (Atomics.load(control, CLOSED) === 0) {
    const offers = Atomics.load(control, OFFERS);
    let served = false;
    for (const slot of slots) served = slot.serve(stat) || served;
    if (!served) Atomics.wait(control, OFFERS, offers, IDLE_MS);
  }
}

/** A folder that comes next: in a slot that is done, or only its name. */
export interface NextFolder {
  name: string;
  slot?: FolderSlot;
}

/** See the head of the file. */
export class FolderAhead {
  readonly #memory = new SharedArrayBuffer(SCAN_AHEAD_FOLDERS * SLOT_BYTES + CONTROL_BYTES);
  readonly #control: Int32Array;
  readonly #free: FolderSlot[];
  readonly #workers: Worker[] = [];

  /** @param threads default: one for each processor but that of the scan. */
  constructor(threads = Math.min(availableParallelism() - 1, SCAN_THREADS_MAX)) {
    const { slots, control } = slotsOf(this.#memory);
    this.#control = control;
    this.#free = threads > 0 ? slots : [];
    for (let i = 0; i < threads; i++) {
      const worker = new Worker(workerUrl("src/record/ahead_worker.ts"));
      worker.postMessage(this.#memory);
      // a thread that cannot run has taken nothing
      worker.onerror = (event) => event.preventDefault();
      worker.unref();
      this.#workers.push(worker);
    }
  }

  /** Offers folders, taken from the end of `names`, as far as there is room; `offered` gets their slots. */
  offer(parent: number, names: string[], offered: FolderSlot[]): void {
    let count = 0;
    while (this.#free.length > 0 && names.length > 0) {
      const slot = this.#free[this.#free.length - 1] as FolderSlot;
      if (!slot.offer(parent, names[names.length - 1] as string)) break;
      this.#free.pop();
      names.pop();
      offered.push(slot);
      count++;
    }
    if (count === 0) return;
    Atomics.add(this.#control, OFFERS, 1);
    Atomics.notify(this.#control, OFFERS);
  }

  /** Takes one of those that were offered: one that is done, else one that nobody has taken; waits where there is neither. */
  take(offered: FolderSlot[]): NextFolder | undefined {
    while (offered.length > 0) {
      const done = offered.findIndex((slot) => slot.isDone);
      if (done >= 0) {
        const slot = offered.splice(done, 1)[0] as FolderSlot;
        return { name: slot.name, slot };
      }
      const back = offered.findLastIndex((slot) => slot.takeBack());
      if (back >= 0) {
        const slot = offered.splice(back, 1)[0] as FolderSlot;
        this.#free.push(slot);
        return { name: slot.name };
      }
      offered[0]?.wait();
    }
    return undefined;
  }

  /** A slot that was taken is not needed any more. */
  release(slot: FolderSlot): void {
    slot.free();
    this.#free.push(slot);
  }

  /** Gives up what was offered; returns the names. */
  withdraw(offered: FolderSlot[]): string[] {
    const names: string[] = [];
    for (let next = this.take(offered); next !== undefined; next = this.take(offered)) {
      names.push(next.name);
      if (next.slot === undefined) continue;
      if (next.slot.fd >= 0) libc.close(next.slot.fd);
      this.release(next.slot);
    }
    return names;
  }

  /** The threads end. */
  close(): void {
    Atomics.store(this.#control, CLOSED, 1);
    Atomics.notify(this.#control, OFFERS);
  }
}
