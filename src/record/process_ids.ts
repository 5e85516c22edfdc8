/**
 * What process numbers mean here: those of the kernel side are of the initial pid namespace, so the recorder must be in it, too. Then
 * /proc says which of them are alive.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { DiffKeeperError } from "../base/error.ts";

/** Whether a process runs; one that has ended and waits for its parent (Z in proc(5)) does not. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

/** PROC_PID_INIT_INO (include/uapi/linux/nsfs.h): the initial pid namespace, whose numbers the kernel side reports. */
const INITIAL_PID_NAMESPACE = "pid:[4026531836]";

/** @throws {DiffKeeperError} `unsupported_kernel` in a container with process numbers of its own. */
export function checkPidNamespace(): void {
  if (readlinkSync("/proc/self/ns/pid") === INITIAL_PID_NAMESPACE) return;
  throw new DiffKeeperError(
    "unsupported_kernel",
    "cannot record in a container with a pid namespace of its own",
    { hint: "start the container with --pid=host, or record on the host" },
  );
}
