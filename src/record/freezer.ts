/**
 * Holds the command back while the ring is too full: its own cgroup (v2) is frozen from half full until nearly empty. The
 * second line is the kernel's: a task that finds the ring three quarters full is stopped by SIGSTOP before its next
 * instruction and leaves a STOP record; it is resumed here once there is room. Without cgroup v2 only the second line works.
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { assert } from "../base/assert.ts";
import { KernelFlag, Kind } from "../format/kernel_record.ts";
import { isAlive } from "./process_ids.ts";

const FREEZE_PART = 0.5;
const THAW_PART = 0.1;
const HEADER_WORDS = { KIND: 1, PID: 6 } as const;
const KIND_MASK = 0xffff;
/** The recorder's process id follows. */
const CGROUP_NAME = "diffkeeper.";

/** Mount point of the cgroup v2 hierarchy, pure or beside v1. */
function cgroupMount(): string | undefined {
  const mounts = readFileSync("/proc/self/mountinfo", "latin1").split("\n");
  const line = mounts.find((text) => text.includes(" - cgroup2 "));
  return line?.split(" ")[4];
}

/** The folder of our own cgroup. */
function ownCgroup(): string | undefined {
  try {
    const mount = cgroupMount();
    const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "latin1"))?.[1];
    return mount === undefined || own === undefined ? undefined : mount + (own === "/" ? "" : own);
  } catch {
    return undefined;
  }
}

/**
 * Puts a process into a cgroup of its own; what it starts is born there. Takes about 15 ms (the kernel waits for a grace period), so
 * it is done while the kernel side is being loaded. Returns its folder; undefined: not available.
 */
export function makeCommandCgroup(pid: number): string | undefined {
  const parent = ownCgroup();
  if (parent === undefined) return undefined;
  removeStale(parent);
  const folder = `${parent}/${CGROUP_NAME}${process.pid}`;
  try {
    mkdirSync(folder);
    writeFileSync(`${folder}/cgroup.procs`, String(pid));
    return folder;
  } catch {
    removeCommandCgroup(folder);
    return undefined;
  }
}

/**
 * Removes what recorders left that were killed together with their guards. Whoever is still in such a cgroup is thawed and moved up; a
 * cgroup whose recorder lives is left alone.
 */
function removeStale(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = Number(name.startsWith(CGROUP_NAME) ? name.slice(CGROUP_NAME.length) : "no");
    if (!Number.isInteger(pid) || isAlive(pid)) continue;
    try {
      writeFileSync(`${parent}/${name}/cgroup.freeze`, "0");
    } catch {
      // gone meanwhile, or no freezer in this kernel: nobody was frozen
    }
    removeCommandCgroup(`${parent}/${name}`);
  }
}

/** Gives the cgroup back; processes still in it return to the recorder's own. */
export function removeCommandCgroup(folder: string): void {
  try {
    const rest = readFileSync(`${folder}/cgroup.procs`, "latin1").trim().split("\n");
    for (const pid of rest) if (pid !== "") writeFileSync(`${folder}/../cgroup.procs`, pid);
    rmdirSync(folder);
  } catch {
    // a process that will not move keeps its cgroup: harmless, and gone with it
  }
}

/** See the head of the file. */
export class Freezer {
  readonly #ringBytes: number;
  /** Folder of the command's cgroup; undefined: not available. */
  folder: string | undefined;
  #fd = -1;
  #frozen = false;
  readonly #stopped = new Set<number>();

  constructor(ringBytes: number) {
    this.#ringBytes = ringBytes;
  }

  /** From now on the cgroup of makeCommandCgroup is held back by freezing it. */
  hold(folder: string): void {
    try {
      this.#fd = openSync(`${folder}/cgroup.freeze`, "w");
      this.folder = folder;
    } catch {
      // no freezer in this kernel: SIGSTOP alone
    }
  }

  /** Freezes or thaws, by how much waits in the ring. `needs`: this stopped process must not run on yet. */
  look(pendingBytes: number, needs: (pid: number) => boolean = () => false): void {
    if (!this.#frozen && this.#fd >= 0 && pendingBytes > this.#ringBytes * FREEZE_PART) {
      this.#freeze(true);
    }
    if (pendingBytes > this.#ringBytes * THAW_PART) return;
    this.#resume(needs);
    if (this.#frozen) this.#freeze(false);
  }

  /** A STOP record says nothing else. */
  isStop(words: Uint32Array, offset: number): boolean {
    return ((words[(offset >> 2) + HEADER_WORDS.KIND] ?? 0) & KIND_MASK) === Kind.STOP;
  }

  /** Does the process that this record is about wait for us? Also at a sync point of a mapped file, where no STOP is sent. */
  isHeld(words: Uint32Array, offset: number): boolean {
    const word = words[(offset >> 2) + HEADER_WORDS.KIND] ?? 0;
    const kind = word & KIND_MASK;
    if (kind === Kind.STOP) return true;
    return (kind === Kind.MMAP || kind === Kind.SYNC) && (word >>> 16 & KernelFlag.STOPPED) !== 0;
  }

  /** The process of this record waits for us. */
  stopped(words: Uint32Array, offset: number): void {
    const pid = words[(offset >> 2) + HEADER_WORDS.PID] ?? 0;
    assert(pid > 1, "a STOP record names a process");
    this.#stopped.add(pid);
  }

  #resume(needs: (pid: number) => boolean = () => false): void {
    for (const pid of this.#stopped) {
      if (needs(pid)) continue;
      this.#stopped.delete(pid);
      try {
        process.kill(pid, "SIGCONT");
      } catch {
        // it was killed meanwhile: nothing waits any more
      }
    }
  }

  #freeze(on: boolean): void {
    writeSync(this.#fd, on ? "1" : "0");
    this.#frozen = on;
  }

  /** Lets everything run and gives the cgroup back; processes still in it return to the recorder's own. */
  release(): void {
    this.#resume();
    if (this.#frozen) this.#freeze(false);
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    const { folder } = this;
    this.folder = undefined;
    if (folder !== undefined) removeCommandCgroup(folder);
  }
}
