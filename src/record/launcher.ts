/**
 * The child's side of starting the command: this process installs the seccomp filter that the recorder asks for (as root, so that
 * no_new_privs is not needed and sudo works in the command), waits on a pipe until the recorder has armed the kernel side, becomes the
 * user the command runs as, and replaces itself with the command. Arguments and environment stay bytes from end to end. What the
 * runtime changed for itself (signal dispositions, the limit of open files) is put back first. Exit codes as env(1): 127 not
 * found, 126 found but not executable.
 */
import { ptr } from "bun:ffi";
import { closeSync, existsSync, readFileSync, readSync, writeSync } from "node:fs";
import { cString, Errno, errno, errnoText, libc, pinned } from "../../ffi/libc.ts";
import { DiffKeeperError } from "../base/error.ts";
import { LAUNCH_SPEC_BYTES_MAX } from "../base/limits.ts";
import { installFilter } from "./seccomp.ts";

/** What the recorder tells the launcher; bytes are binary strings. */
export interface LaunchSpec {
  argv: string[];
  /** Each `NAME=value`. */
  env: string[];
  user?: { uid: number; gid: number; groups: number[] };
  /** Signals that were ignored when the recorder started, as in SigIgn of /proc/PID/status; they stay ignored. */
  ignoredSignals: number[];
  /** Signals that were blocked then, as in SigBlk; they stay blocked. */
  blockedSignals: number[];
  /** Descriptors above stderr that the command gets. */
  fds: readonly number[];
  /** Which of descriptors 0, 1 and 2 were non-blocking when the recorder started. */
  nonBlocking: number[];
  /** Soft limit of open files before the runtime raised it. */
  openFilesMax?: number;
}

const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const SIGNALS = 31;
const SIG_IGN = 1;
const SIG_SETMASK = 2;
const F_SETFD = 2;
const RLIMIT_NOFILE = 7;
const ENOEXEC = 8;
const POINTER_BYTES = 8;

/** Bits of the filter that the recorder asks for: `f` and one digit. */
export const FilterBits = { DENY_IO_URING: 1, GATE: 2 } as const;

/** The recorder lets the command go. */
const GO = 0x67;
/** The recorder wants a filter. */
const FILTER = 0x66;
const DIGIT_0 = 0x30;

/** The spec, and the commands that came with it. */
function readSpec(fd: number): { text: string; rest: Uint8Array } {
  const block = new Uint8Array(65_536);
  const parts: Uint8Array[] = [];
  let total = 0;
  while (total < LAUNCH_SPEC_BYTES_MAX) {
    const count = readSync(fd, block);
    if (count === 0) throw new DiffKeeperError("io", "cannot start: the recorder went away");
    const end = block.subarray(0, count).indexOf(10);
    parts.push(block.slice(0, end === -1 ? count : end));
    total += count;
    if (end !== -1) {
      return { text: Buffer.concat(parts).toString("utf8"), rest: block.slice(end + 1, count) };
    }
  }
  throw new DiffKeeperError(
    "limit_exceeded",
    "cannot start: arguments and environment are too large",
  );
}

/** Does what the recorder asks for until it lets the command go. False: it gave up before the command began. */
function obey(fd: number, replyFd: number, rest: Uint8Array): boolean {
  let at = 0;
  const one = new Uint8Array(1);
  const next = (): number => {
    if (at < rest.length) return rest[at++] ?? 0;
    return readSync(fd, one) === 0 ? 0 : one[0] ?? 0;
  };
  for (let word = next(); word !== GO; word = next()) {
    if (word !== FILTER) return false;
    const bits = next() - DIGIT_0;
    const done = installFilter({
      gate: (bits & FilterBits.GATE) !== 0,
      denyIoUring: (bits & FilterBits.DENY_IO_URING) !== 0,
    });
    writeSync(replyFd, `${done}\n`);
  }
  return true;
}

/** Pointers to C strings; the strings are kept alive by the second value. */
function pointerArray(texts: readonly string[]): { table: Uint8Array; keep: Uint8Array[] } {
  const keep = texts.map(cString);
  const table = new Uint8Array(new ArrayBuffer((texts.length + 1) * POINTER_BYTES));
  const view = new DataView(table.buffer);
  keep.forEach((text, i) => view.setBigUint64(i * POINTER_BYTES, BigInt(ptr(text)), true));
  return { table, keep };
}

function restoreProcess(spec: LaunchSpec): void {
  for (const fd of spec.fds) libc.fcntl(fd, F_SETFD, 0);
  // the runtime may have made a shared pipe non-blocking; the flag would break the command
  for (const fd of [0, 1, 2]) {
    const flags = libc.fcntl(fd, F_GETFL, 0);
    if (flags >= 0 && !spec.nonBlocking.includes(fd)) libc.fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  }
  const mask = pinned(128);
  let blocked = 0;
  for (const signal of spec.blockedSignals) blocked |= 1 << (signal - 1);
  new DataView(mask.bytes.buffer).setInt32(0, blocked, true);
  libc.sigprocmask(SIG_SETMASK, mask.address, null);
  for (let signal = 1; signal <= SIGNALS; signal++) {
    libc.signal(signal, (spec.ignoredSignals.includes(signal) ? SIG_IGN : 0) as never);
  }
  if (spec.openFilesMax === undefined) return;
  const limit = pinned(16);
  if (libc.getrlimit(RLIMIT_NOFILE, limit.address) !== 0) return;
  new DataView(limit.bytes.buffer).setBigUint64(0, BigInt(spec.openFilesMax), true);
  libc.setrlimit(RLIMIT_NOFILE, limit.address);
}

function become(user: NonNullable<LaunchSpec["user"]>): void {
  const groups = new Uint32Array(new ArrayBuffer(Math.max(4, user.groups.length * 4)));
  groups.set(user.groups);
  const failed = libc.setgroups(user.groups.length, ptr(groups)) !== 0 ||
    libc.setresgid(user.gid, user.gid, user.gid) !== 0 ||
    libc.setresuid(user.uid, user.uid, user.uid) !== 0;
  if (failed) {
    throw new DiffKeeperError(
      "no_privilege",
      `cannot run the command as user ${user.uid}: ${errnoText(errno())}`,
    );
  }
}

function candidates(name: string, env: readonly string[]): string[] {
  if (name.includes("/")) return [name];
  const path = env.find((entry) => entry.startsWith("PATH="))?.slice(5) ??
    "/usr/local/bin:/usr/bin:/bin";
  return path.split(":").map((folder) => `${folder === "" ? "." : folder}/${name}`);
}

/** execvp(3) with our own environment. Returns the errno that says most. */
function exec(spec: LaunchSpec): number {
  const [name = ""] = spec.argv;
  const argv = pointerArray(spec.argv);
  const envp = pointerArray(spec.env);
  let denied = 0;
  for (const path of candidates(name, spec.env)) {
    libc.execve(cString(path), ptr(argv.table), ptr(envp.table));
    const code = errno();
    if (code === ENOEXEC) {
      const shell = pointerArray(["/bin/sh", path, ...spec.argv.slice(1)]);
      libc.execve(cString("/bin/sh"), ptr(shell.table), ptr(envp.table));
      return errno();
    }
    if (code === Errno.EACCES) denied = code;
    else if (code !== Errno.ENOENT && code !== Errno.ENOTDIR) return code;
  }
  return denied === 0 ? Errno.ENOENT : denied;
}

/** A command that could not be started: the error, and the exit code that shells give it. */
export interface LaunchFailure {
  error: DiffKeeperError;
  exitCode: 126 | 127;
}

/** The failure of a command that is not there; undefined: something has its name, and exec will tell. */
export function missingCommand(spec: LaunchSpec): LaunchFailure | undefined {
  const paths = candidates(spec.argv[0] ?? "", spec.env);
  if (paths.some((path) => existsSync(Buffer.from(path, "latin1")))) return undefined;
  return failureOf(spec, Errno.ENOENT);
}

function failureOf(spec: LaunchSpec, code: number): LaunchFailure {
  const name = Buffer.from(spec.argv[0] ?? "", "latin1").toString("utf8");
  const missing = code === Errno.ENOENT;
  const why = missing
    ? (name.includes("/") ? "no such file" : "command not found")
    : errnoText(code);
  const hint = missing
    ? "check the spelling, or give its path"
    : "check its mode: chmod +x makes it executable";
  const error = new DiffKeeperError("not_found", `cannot run "${name}": ${why}`, { hint });
  return { error, exitCode: missing ? 127 : 126 };
}

/**
 * Reads the spec, waits for the go, becomes the command. Returns only when that failed; undefined: nothing was to be started.
 * @param fd the pipe that carries the spec and then commands, the last of them: go.
 * @param replyFd where answers go.
 */
export function launch(fd: number, replyFd: number): LaunchFailure | undefined {
  const { text, rest } = readSpec(fd);
  const spec = JSON.parse(text) as LaunchSpec;
  if (!obey(fd, replyFd, rest)) return undefined;
  closeSync(fd);
  closeSync(replyFd);
  restoreProcess(spec);
  if (spec.user !== undefined) become(spec.user);
  return failureOf(spec, exec(spec));
}

/** The raw bytes of a process's file under /proc, split at NUL, as binary strings. */
export function procStrings(pid: number | "self", file: "cmdline" | "environ"): string[] {
  const parts = readFileSync(`/proc/${pid}/${file}`).toString("latin1").split("\0");
  if (parts.at(-1) === "") parts.pop();
  return parts;
}
