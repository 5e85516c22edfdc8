/**
 * The process that becomes the command: a small native program (starter.ts) that installs the seccomp filter the recorder asks for (as
 * root, so that no_new_privs is not needed and sudo works in the command), waits until the recorder has armed the kernel side,
 * becomes the user the command runs as, and replaces itself with the command. Arguments and environment stay bytes from end to
 * end. Exit codes as env(1): 127 not found, 126 found but not executable. States: waiting -> gone (become the command, or ended).
 */
import { closeSync, existsSync, readFileSync, readSync, statSync, writeSync } from "node:fs";
import { Errno, errno, errnoText, libc, pinned } from "../../ffi/libc.ts";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { LAUNCH_PLAN_BYTES_MAX } from "../base/limits.ts";
import {
  candidates,
  decodeReply,
  encodeFilter,
  encodeGo,
  encodePlan,
  type LaunchSpec,
  REPLY_BYTES,
  ReplyKind,
} from "../format/launch_plan.ts";
import { freeFd } from "./inherited.ts";
import { starterPath } from "./starter.ts";

const O_CLOEXEC = 0o2000000;
const EXIT_NOT_EXECUTABLE = 126;
const EXIT_NOT_FOUND = 127;
/** Time for a launcher to end by itself. */
const ABANDON_MS = 200;

/** A command that could not be started: the error, and the exit code that shells give it. */
export interface LaunchFailure {
  error: DiffKeeperError;
  exitCode: number;
}

/** A pipe; both ends close on exec. */
function makePipe(): { readFd: number; writeFd: number } {
  const fds = pinned(8);
  if (libc.pipe2(fds.address, O_CLOEXEC) !== 0) {
    throw new DiffKeeperError("io", `cannot make a pipe: ${errnoText(errno())}`);
  }
  const view = new DataView(fds.bytes.buffer);
  return { readFd: view.getInt32(0, true), writeFd: view.getInt32(4, true) };
}

/** Starts the program with the descriptors that the command gets, and our pipes on the first free ones. */
function spawn(fds: readonly number[], pipes: { commandFd: number; replyFd: number }) {
  const commandFd = freeFd(fds);
  const replyFd = freeFd([...fds, commandFd]);
  const stdio: ("inherit" | "ignore" | number)[] = ["inherit", "inherit", "inherit"];
  const end = Math.max(commandFd, replyFd, ...fds) + 1;
  for (let fd = stdio.length; fd < end; fd++) {
    if (fd === commandFd) stdio.push(pipes.commandFd);
    else if (fd === replyFd) stdio.push(pipes.replyFd);
    else stdio.push(fds.includes(fd) ? fd : "ignore");
  }
  try {
    return Bun.spawn([starterPath(), "launch", String(commandFd), String(replyFd)], {
      argv0: "diffkeeper",
      stdio: stdio as ["inherit", "inherit", "inherit"],
    });
  } catch (thrown) {
    if (thrown instanceof DiffKeeperError) throw thrown;
    const why = (thrown as NodeJS.ErrnoException).code ?? String(thrown);
    throw new DiffKeeperError("io", `cannot start the process that becomes the command: ${why}`, {
      cause: thrown,
    });
  }
}

/** See the head of the file. */
export class Launcher {
  readonly child: Bun.Subprocess;
  readonly #spec: LaunchSpec;
  #commandFd: number | undefined;
  readonly #replyFd: number;

  private constructor(spec: LaunchSpec) {
    const command = makePipe();
    const reply = makePipe();
    this.#spec = spec;
    this.child = spawn(spec.fds, { commandFd: command.readFd, replyFd: reply.writeFd });
    closeSync(command.readFd);
    closeSync(reply.writeFd);
    this.#commandFd = command.writeFd;
    this.#replyFd = reply.readFd;
  }

  /** Starts the process and tells it what to become. @throws {DiffKeeperError} `io`, `no_privilege`, `limit_exceeded`. */
  static start(spec: LaunchSpec): Launcher {
    const plan = encodePlan(spec);
    if (plan.length > LAUNCH_PLAN_BYTES_MAX) {
      throw new DiffKeeperError(
        "limit_exceeded",
        `cannot start: arguments and environment have ${plan.length} bytes, ` +
          `at most ${LAUNCH_PLAN_BYTES_MAX} are passed on`,
      );
    }
    const launcher = new Launcher(spec);
    launcher.#tell(plan);
    return launcher;
  }

  get pid(): number {
    return this.child.pid;
  }

  /**
   * Has a seccomp filter installed. Returns what seccomp(2) said: a descriptor of the launcher, 0, or a negative errno.
   * @throws {DiffKeeperError} `io`: it has ended; `child` says how.
   */
  installFilter(flags: number, program: Uint8Array): number {
    this.#tell(encodeFilter(flags, program));
    const reply = this.#readReply();
    if (reply === undefined) {
      throw new DiffKeeperError("io", "cannot start: the launcher went away");
    }
    return reply.value;
  }

  /** Lets the command go. One that was ended meanwhile by a signal says so by its exit code. */
  go(): void {
    try {
      this.#tell(encodeGo());
    } finally {
      this.#hangUp();
    }
  }

  #hangUp(): void {
    if (this.#commandFd !== undefined) closeSync(this.#commandFd);
    this.#commandFd = undefined;
  }

  /** Gives up: the command is not started. Resolves when the process has ended: to true where a signal had ended it before. */
  async abandon(): Promise<boolean> {
    // nothing more is said to it, so it ends; a stopped one has to be killed
    this.#hangUp();
    const isOver = await Promise.race([
      this.child.exited.then(() => true),
      Bun.sleep(ABANDON_MS).then(() => false),
    ]);
    if (!isOver) this.child.kill("SIGKILL");
    await this.child.exited;
    return isOver && this.child.signalCode !== null;
  }

  /** After its end: why it did not become the command; undefined: it did, or a signal ended it before. */
  failure(): LaunchFailure | undefined {
    const reply = this.#readReply();
    closeSync(this.#replyFd);
    if (reply === undefined) return undefined;
    if (reply.kind === ReplyKind.EXEC) return failureOf(this.#spec, reply.value);
    const why = `cannot run the command as user ${this.#spec.user?.uid}: ${errnoText(reply.value)}`;
    return { error: new DiffKeeperError("no_privilege", why), exitCode: this.child.exitCode ?? 1 };
  }

  #tell(bytes: Uint8Array): void {
    const fd = this.#commandFd;
    assert(fd !== undefined, "a launcher is spoken to before it may go");
    try {
      for (let done = 0; done < bytes.length;) {
        done += writeSync(fd, bytes, done);
      }
    } catch (thrown) {
      // a signal ended it, and its exit code tells of that
      if ((thrown as NodeJS.ErrnoException).code !== "EPIPE") throw thrown;
    }
  }

  #readReply(): { kind: number; value: number } | undefined {
    const bytes = new Uint8Array(REPLY_BYTES);
    for (let done = 0; done < bytes.length;) {
      const got = readSync(this.#replyFd, bytes, done, bytes.length - done, null);
      if (got === 0) return undefined;
      done += got;
    }
    return decodeReply(bytes);
  }
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
  const isFolder = code === Errno.EACCES && isFolderAt(spec, name);
  const why = missing
    ? (name.includes("/") ? "no such file" : "command not found")
    : isFolder
    ? "it is a folder"
    : errnoText(code);
  const hint = missing
    ? "check the spelling, or give its path"
    : isFolder
    ? "name a program; a folder to record goes behind --watch"
    : code === Errno.EACCES
    ? "check its mode: chmod +x makes it executable"
    : undefined;
  const options = hint === undefined ? {} : { hint };
  const error = new DiffKeeperError("not_found", `cannot run "${name}": ${why}`, options);
  return { error, exitCode: missing ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE };
}

/** What has several places on PATH may be a folder in one and a program without permission in another: only a path says. */
function isFolderAt({ argv: [path = ""] }: LaunchSpec, name: string): boolean {
  return name.includes("/") &&
    statSync(Buffer.from(path, "latin1"), { throwIfNoEntry: false })?.isDirectory() === true;
}

/** The raw bytes of a process's file under /proc, split at NUL, as binary strings. */
export function procStrings(pid: number | "self", file: "cmdline" | "environ"): string[] {
  const parts = readFileSync(`/proc/${pid}/${file}`).toString("latin1").split("\0");
  if (parts.at(-1) === "") parts.pop();
  return parts;
}
