/**
 * The globals that recorder and BPF programs share: `struct dk_shared` of bpf/state.h, the whole .bss of the object, mapped.
 * Offsets are checked against the size that libbpf reports when the object is loaded. Little-endian, 216 bytes.
 */
import { assert } from "../../base/assert.ts";
import { DEVS_WATCHED_MAX } from "../../base/limits.ts";

export const SHARED_BYTES = 216;
const LOST_CLASSES = 8;
const LOCK_COUNTER_AT = 64;
const STOP_MARK_AT = 72;
const SELF_TGID_AT = 80;
const LAUNCHER_TGID_AT = 84;
const ENABLED_AT = 88;
const DEVS_AT = 96;
const OUT_DEV_AT = 160;
const OUT_INO_AT = 168;
const STOPS_AT = 184;
const LAYERED_AT = 200;

/** Names of the loss classes, in the order of `enum dk_lost_class`. */
export const LOSS_CLASSES = [
  "ring_full",
  "payload_unreadable",
  "task_storage",
  "inode_map_full",
  "touched_overflow",
  "walk_too_long",
  "scratch_busy",
  "ring_full_bytes",
] as const;

/** Loss counters by class name, since the programs were loaded. */
export type LossCounters = Record<(typeof LOSS_CLASSES)[number], number>;

/** A view on the shared memory. Counters are read with Atomics, because plain loads are hoisted out of polling loops. */
export class Shared {
  readonly #view: DataView;
  readonly #words: Int32Array;

  constructor(memory: ArrayBuffer) {
    assert(memory.byteLength >= SHARED_BYTES, "shared memory is smaller than dk_shared");
    this.#view = new DataView(memory);
    this.#words = new Int32Array(memory, 0, SHARED_BYTES / 4);
  }

  #u64(at: number): number {
    const low = Atomics.load(this.#words, at / 4) >>> 0;
    return (Atomics.load(this.#words, at / 4 + 1) >>> 0) * 2 ** 32 + low;
  }

  lost(): LossCounters {
    assert(LOSS_CLASSES.length === LOST_CLASSES, "a name for each loss class");
    const counts = LOSS_CLASSES.map((name, i) => [name, this.#u64(i * 8)]);
    return Object.fromEntries(counts) as LossCounters;
  }

  /** The last number given in the order of changes. */
  get lockCounter(): number {
    return this.#u64(LOCK_COUNTER_AT);
  }

  /** How often a task was stopped because the ring was nearly full or bytes had to be read back. */
  get stops(): number {
    return this.#u64(STOPS_AT);
  }

  set stopMark(bytes: number) {
    this.#view.setBigUint64(STOP_MARK_AT, BigInt(bytes), true);
  }
  set selfTgid(pid: number) {
    this.#view.setUint32(SELF_TGID_AT, pid, true);
  }
  /** The next exec of this process is the command: its tree begins there. */
  set launcherTgid(pid: number) {
    this.#view.setUint32(LAUNCHER_TGID_AT, pid, true);
  }
  set enabled(on: boolean) {
    this.#view.setUint32(ENABLED_AT, on ? 1 : 0, true);
  }

  /** Kernel device numbers of the watched filesystems, at most DEVS_WATCHED_MAX. */
  set devs(devs: number[]) {
    assert(devs.length <= DEVS_WATCHED_MAX, "more watched devices than the kernel side holds");
    for (let i = 0; i < DEVS_WATCHED_MAX; i++) {
      this.#view.setUint32(DEVS_AT + 4 * i, devs[i] ?? 0, true);
    }
  }

  /** A watched filesystem keeps its files on another one. */
  set layered(on: boolean) {
    this.#view.setUint32(LAYERED_AT, on ? 1 : 0, true);
  }

  /** Identity of the command's stdout (1) or stderr (2): kernel device number and inode. */
  setOutput(stream: 1 | 2, dev: number, ino: number): void {
    this.#view.setUint32(OUT_DEV_AT + 4 * (stream - 1), dev, true);
    this.#view.setBigUint64(OUT_INO_AT + 8 * (stream - 1), BigInt(ino), true);
  }
}
