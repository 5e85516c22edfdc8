/**
 * What a held call is about to do, read from the notification and from the memory of the task: which path it opens for writing,
 * cuts, removes or renames onto, as a path that this process can use (below /proc/PID/cwd, /proc/PID/fd/N or /proc/PID/root, so
 * that the task's own working folder, descriptors, root and mounts count). No allocation per call: one buffer holds the path.
 */
import type { Pointer } from "bun:ffi";
import { pinned } from "../../ffi/libc.ts";
import { libcGate } from "../../ffi/libc_gate.ts";
import { type AbiCalls, abisOf } from "./seccomp_filter.ts";

/** PATH_MAX: no path in a call is longer, its NUL counted. */
const PATH_BYTES_MAX = 4096;
/** Room for `/proc/4194304/fd/2147483647/` before a path. */
const PREFIX_BYTES_MAX = 64;
const PAGE_BYTES = 4096;
const AT_FDCWD = -100;
const O_NOFOLLOW = 0o400000;
const O_NOFOLLOW_ARM = 0o100000;
const OPEN_HOW_BYTES = 24;
const SLASH = 0x2f;

/** Words of struct seccomp_notif (linux/seccomp.h). */
const NotifWord = { PID: 2, NR: 4, ARCH: 5, ARGS: 8 } as const;

/** What a call does to the file it names. */
export const Harm = { NONE: 0, WRITE: 1, REMOVE: 2 } as const;

/** Where a call has what matters. */
interface Shape {
  harm: number;
  path: number;
  /** Index of the folder's descriptor; -1: the working folder. */
  folder: number;
  /** Index of the open flags, or of struct open_how; -1: none. */
  flags: number;
  isHow: boolean;
}

function shapesOf(abi: AbiCalls): Map<number, Shape> {
  const shapes = new Map<number, Shape>();
  const add = (nr: number | undefined, shape: Partial<Shape> & { harm: number; path: number }) => {
    if (nr !== undefined) shapes.set(nr, { folder: -1, flags: -1, isHow: false, ...shape });
  };
  add(abi.open, { harm: Harm.WRITE, path: 0, flags: 1 });
  add(abi.creat, { harm: Harm.WRITE, path: 0 });
  add(abi.openat, { harm: Harm.WRITE, path: 1, folder: 0, flags: 2 });
  add(abi.openat2, { harm: Harm.WRITE, path: 1, folder: 0, flags: 2, isHow: true });
  for (const nr of abi.truncate) add(nr, { harm: Harm.WRITE, path: 0 });
  add(abi.unlink, { harm: Harm.REMOVE, path: 0 });
  add(abi.unlinkat, { harm: Harm.REMOVE, path: 1, folder: 0 });
  add(abi.rename, { harm: Harm.REMOVE, path: 1 });
  add(abi.renameat, { harm: Harm.REMOVE, path: 3, folder: 2 });
  add(abi.renameat2, { harm: Harm.REMOVE, path: 3, folder: 2 });
  return shapes;
}

/** See the head of the file. */
export class HeldCall {
  readonly #words: Uint32Array;
  readonly #path = pinned(PREFIX_BYTES_MAX + PATH_BYTES_MAX + 1);
  readonly #how = pinned(OPEN_HOW_BYTES);
  readonly #vector = pinned(48);
  readonly #vectorWords = new Uint32Array(this.#vector.bytes.buffer);
  readonly #native: Map<number, Shape>;
  readonly #compat: Map<number, Shape>;
  readonly #nativeArch: number;
  readonly #noFollow: number;
  /** What it does; set by `look`. */
  harm: number = Harm.NONE;
  /** Whether a symlink at the end of the path is followed. */
  follows = false;
  /** The path as a C string; valid until the next `look`. */
  path: Pointer = this.#path.address;

  /** @param notification struct seccomp_notif, filled anew before each `look`. */
  constructor(notification: Uint32Array, machine: "x64" | "arm64") {
    this.#words = notification;
    const [native, compat] = abisOf(machine) as [AbiCalls, AbiCalls];
    this.#native = shapesOf(native);
    this.#compat = shapesOf(compat);
    this.#nativeArch = native.arch;
    this.#noFollow = machine === "arm64" ? O_NOFOLLOW_ARM : O_NOFOLLOW;
  }

  /** Reads the call. False: it does no harm, or the task is gone. */
  look(): boolean {
    const words = this.#words;
    const shapes = words[NotifWord.ARCH] === this.#nativeArch ? this.#native : this.#compat;
    const shape = shapes.get((words[NotifWord.NR] ?? 0) & 0xbfff_ffff);
    if (shape === undefined) return false;
    this.harm = shape.harm;
    this.follows = shape.harm === Harm.WRITE && (this.#flags(shape) & this.#noFollow) === 0;
    const length = this.#read(shape.path, this.#path.address, PREFIX_BYTES_MAX, PATH_BYTES_MAX);
    if (length <= 0) return false;
    this.#path.bytes[PREFIX_BYTES_MAX + length] = 0;
    this.#prefix(shape);
    return true;
  }

  /** Flags of an open; what struct open_how has in its first word. */
  #flags(shape: Shape): number {
    if (shape.flags < 0) return 0;
    if (!shape.isHow) return this.#low(shape.flags);
    if (this.#read(shape.flags, this.#how.address, 0, OPEN_HOW_BYTES) < 4) return 0;
    return new DataView(this.#how.bytes.buffer).getUint32(0, true);
  }

  #low(argument: number): number {
    return this.#words[NotifWord.ARGS + argument * 2] ?? 0;
  }

  /** Copies from the task, up to the end of what is mapped there; returns the bytes copied. */
  #read(argument: number, to: Pointer, skip: number, length: number): number {
    const low = this.#low(argument);
    const high = this.#words[NotifWord.ARGS + argument * 2 + 1] ?? 0;
    const first = Math.min(length, PAGE_BYTES - (low & (PAGE_BYTES - 1)));
    const target = Number(to) + skip;
    const vector = this.#vectorWords;
    vector[0] = target;
    vector[1] = target / 0x1_0000_0000;
    vector[2] = length;
    vector[4] = low;
    vector[5] = high;
    vector[6] = first;
    vector[8] = low + first;
    vector[9] = low + first > 0xffff_ffff ? high + 1 : high;
    vector[10] = length - first;
    const remote = Number(this.#vector.address) + 16 as Pointer;
    const pid = this.#words[NotifWord.PID] ?? 0;
    const pieces = first < length ? 2 : 1;
    return Number(libcGate.process_vm_readv(pid, this.#vector.address, 1, remote, pieces, 0));
  }

  /** Puts the folder that the path counts from before it. */
  #prefix(shape: Shape): void {
    const bytes = this.#path.bytes;
    const isAbsolute = bytes[PREFIX_BYTES_MAX] === SLASH;
    const folder = shape.folder < 0 ? AT_FDCWD : this.#low(shape.folder) | 0;
    const pid = this.#words[NotifWord.PID] ?? 0;
    const text = isAbsolute
      ? `/proc/${pid}/root`
      : folder === AT_FDCWD
      ? `/proc/${pid}/cwd/`
      : `/proc/${pid}/fd/${folder}/`;
    const start = PREFIX_BYTES_MAX - text.length;
    for (let i = 0; i < text.length; i++) bytes[start + i] = text.charCodeAt(i);
    this.path = Number(this.#path.address) + start as Pointer;
  }
}
