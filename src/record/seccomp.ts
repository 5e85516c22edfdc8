/**
 * The kernel's side of seccomp filters, through the C library: what the one of a recording is, and speaking with the tasks that wait
 * at its listener (seccomp_unotify(2)). One `Listener` has its buffers for the life of a recording: nothing is allocated per call.
 */
import type { Pointer } from "bun:ffi";
import { Errno, errno, libc, type Pinned, pinned } from "../../ffi/libc.ts";
import { libcGate } from "../../ffi/libc_gate.ts";
import { type FilterOptions, seccompProgram } from "./seccomp_filter.ts";

const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;
/** SPEC_ALLOW: no slower branches for the command. WAIT_KILLABLE_RECV (5.19): a signal does not undo a call that was seen. */
const SPEC_ALLOW = 4;
const NEW_LISTENER = 8;
const WAIT_KILLABLE_RECV = 32;
const EINTR = 4;

/** ioctl numbers (linux/seccomp.h). */
const NOTIF_RECV = 0xc050_2100;
const NOTIF_SEND = 0xc018_2101;
const NOTIF_SET_FLAGS = 0x4008_2104;
const SYNC_WAKE_UP = 1;
const FLAG_CONTINUE = 1;
const POLLIN = 1;
const POLLHUP = 16;

/** Words of struct seccomp_notif and struct seccomp_notif_resp. */
export const NOTIFICATION_BYTES = 80;
const RESPONSE_BYTES = 24;
const RESPONSE_FLAGS_WORD = 5;

/** The machine as filters know it; undefined: no filter is made for it. */
export function seccompMachine(): "x64" | "arm64" | undefined {
  return process.arch === "x64" || process.arch === "arm64" ? process.arch : undefined;
}

/**
 * Installs a filter by `install`, which gives flags and instructions to seccomp(2) in the task that is to have it (it needs CAP_SYS_ADMIN)
 * and returns the result. Returns the listener's descriptor there with `gate`, else 0; a negative error number when the kernel refuses.
 */
export function installFilter(
  options: Omit<FilterOptions, "machine">,
  install: (flags: number, program: Uint8Array) => number,
): number {
  const machine = seccompMachine();
  if (machine === undefined) return -Errno.EINVAL;
  const program = seccompProgram({ ...options, machine });
  const wanted = options.gate ? [NEW_LISTENER | WAIT_KILLABLE_RECV, NEW_LISTENER] : [0];
  let result: number = -Errno.EINVAL;
  for (const flags of wanted) {
    result = install(flags | SPEC_ALLOW, program);
    // EINVAL: a kernel before 5.19 does not know the flag
    if (result !== -Errno.EINVAL) break;
  }
  return result;
}

/** A copy of another process's descriptor; a negative error number where that is not allowed. */
export function takeDescriptor(pid: number, fd: number): number {
  const pidfd = Number(libcGate.syscall(SYS_PIDFD_OPEN, pid, 0, 0, 0, 0, 0));
  if (pidfd < 0) return -errno();
  const taken = Number(libcGate.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0, 0, 0, 0));
  const code = taken < 0 ? -errno() : taken;
  libc.close(pidfd);
  return code;
}

/** A listener and the call in hand. */
export class Listener {
  readonly #fd: number;
  readonly #notification: Pinned;
  /** Struct seccomp_notif of the call in hand. */
  readonly words: Uint32Array;
  readonly #response = pinned(RESPONSE_BYTES);
  readonly #answer = new Uint32Array(this.#response.bytes.buffer);
  readonly #poll = pinned(16);
  readonly #polled = new Int32Array(this.#poll.bytes.buffer);

  /**
   * @param stopFd becomes readable when waiting is to end; -1: never.
   * @param room for the call in hand; in shared memory another process can go on with it.
   */
  constructor(fd: number, stopFd = -1, room: Pinned = pinned(NOTIFICATION_BYTES)) {
    this.#notification = room;
    const { buffer, byteOffset } = room.bytes;
    this.words = new Uint32Array(buffer, byteOffset, NOTIFICATION_BYTES / 4);
    this.#fd = fd;
    this.#polled[0] = fd;
    this.#polled[2] = stopFd;
    // 6.6+: the supervisor is woken on the task's own processor, which halves the time; elsewhere it fails, and is not needed
    libc.ioctl(fd, NOTIF_SET_FLAGS, SYNC_WAKE_UP as Pointer);
  }

  /** Whether the room has a call that somebody took and did not let go on: he is dead. */
  get hasCall(): boolean {
    return this.words[0] !== 0 || this.words[1] !== 0;
  }

  /** Waits for a call. `gone`: no task has the filter any more; `stopped`: asked to stop, or the time is over. `takes` false: calls are left to others. */
  next(timeoutMs = -1, takes = true): "call" | "gone" | "stopped" {
    for (;;) {
      this.#polled[1] = takes ? POLLIN : 0;
      this.#polled[3] = POLLIN;
      const ready = libcGate.poll(this.#poll.address, 2, timeoutMs);
      if (ready < 0 && errno() === EINTR) continue;
      const events = (this.#polled[1] ?? 0) >>> 16;
      if ((events & POLLIN) !== 0 && this.#receive()) return "call";
      if ((events & POLLHUP) !== 0) return "gone";
      if (ready === 0 || (this.#polled[3] ?? 0) >>> 16 !== 0) return "stopped";
    }
  }

  /** Lets the call in hand go on. A task that was killed meanwhile has nothing to go on with. */
  proceed(): void {
    this.#answer[0] = this.words[0] ?? 0;
    this.#answer[1] = this.words[1] ?? 0;
    this.#answer[RESPONSE_FLAGS_WORD] = FLAG_CONTINUE;
    libc.ioctl(this.#fd, NOTIF_SEND, this.#response.address);
    this.words[0] = 0;
    this.words[1] = 0;
  }

  /** False: the task was interrupted before its call was taken. */
  #receive(): boolean {
    this.words.fill(0);
    return libc.ioctl(this.#fd, NOTIF_RECV, this.#notification.address) === 0;
  }
}
