/**
 * What this process was given when it started and the command must get from us as it was: open descriptors above stderr (a
 * shell's `<(...)`, make's job server), signals that are ignored or blocked. The runtime marks descriptors close-on-exec and
 * changes some dispositions at its start, so this is read back from /proc: the descriptors when this module is loaded, which is
 * before the runtime copies stdout and stderr for streams.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Descriptors from here on are not passed on: the launcher would have to be given as many. */
const FD_END = 1024;
const FIRST_FD = 3;
const SIGNALS = 31;
/** The runtime ignores these two from its start, so what they were before is not known: the default is the rule. */
const SIGPIPE = 13;
const SIGXFSZ = 25;

function target(pid: number | "self", fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`, "latin1");
  } catch {
    return undefined;
  }
}

/** True for what the runtime opens for itself: event queues, memory, and /dev/null unless our parent has it there too. */
function isOwn(fd: number, path: string): boolean {
  if (path.startsWith("anon_inode:") || path.startsWith("/memfd:")) return true;
  return path === "/dev/null" && target(process.ppid, fd) !== path;
}

/** Descriptors above stderr that were open when this process started, ascending. */
export const inheritedFds: readonly number[] = listFds();

function listFds(): number[] {
  const listing = readlinkSync("/proc/self");
  return readdirSync("/proc/self/fd").map(Number).filter((fd) => {
    if (fd < FIRST_FD || fd >= FD_END) return false;
    const path = target("self", fd);
    return path !== undefined && path !== `/proc/${listing}/fd` && !isOwn(fd, path);
  }).sort((a, b) => a - b);
}

/** The smallest descriptor above stderr that is not taken. */
export function freeFd(taken: readonly number[]): number {
  for (let fd = FIRST_FD; fd < FD_END; fd++) if (!taken.includes(fd)) return fd;
  return FD_END;
}

function signalsOf(field: "SigIgn" | "SigBlk"): number[] {
  const status = readFileSync("/proc/self/status", "latin1");
  const bits = BigInt(`0x${new RegExp(`^${field}:\\s*([0-9a-f]+)`, "m").exec(status)?.[1] ?? "0"}`);
  const all = Array.from({ length: SIGNALS }, (_, i) => i + 1);
  return all.filter((n) => (bits >> BigInt(n - 1) & 1n) === 1n);
}

/** Numbers of the signals that were ignored. */
export function ignoredSignals(): number[] {
  return signalsOf("SigIgn").filter((n) => n !== SIGPIPE && n !== SIGXFSZ);
}

/** Numbers of the signals that were blocked. */
export function blockedSignals(): number[] {
  return signalsOf("SigBlk");
}

/** Which of descriptors 0, 1 and 2 are non-blocking: flags of /proc/PID/fdinfo/FD, octal (proc(5)). */
export function nonBlockingFds(): number[] {
  return [0, 1, 2].filter((fd) => {
    try {
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))
        ?.[1];
      return (Number.parseInt(flags ?? "0", 8) & 0o4000) !== 0;
    } catch {
      return false;
    }
  });
}
