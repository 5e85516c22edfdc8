/**
 * The main thread's side of a recording: starts the drain worker and the launcher, lets the command go when the kernel side is
 * armed, passes signals on, and waits for both ends. It never prints: a Reporter does.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { resolve } from "node:path";
import { asDiffKeeperError, DiffKeeperError } from "../base/error.ts";
import { OPEN_FILES_MIN } from "../base/limits.ts";
import { blockedSignals, ignoredSignals, inheritedFds, nonBlockingFds } from "./inherited.ts";
import { GateSession, type IoUring } from "./gate_session.ts";
import { KEEP, TAKE_OVER } from "./guard.ts";
import { commandEnvironment, type CommandUser } from "./invoker.ts";
import type { LaunchSpec } from "../format/launch_plan.ts";
import { CLOCK_BOOTTIME, clockNs } from "./kernel_clock.ts";
import { Launcher, missingCommand } from "./launcher.ts";
import type { ContentVerdict, OpenRequest, RecordingSummary } from "./messages.ts";
import { RecorderObject } from "../capture/ebpf/object.ts";
import { WorkerLink } from "./worker_link.ts";
import { filesystemOf } from "./pseudo_fs.ts";
import { starterPath } from "./starter.ts";
import { forwardSignals, onEndSignals } from "./signals.ts";

/** Told how the recording goes. */
export interface Reporter {
  progress(text: string): void;
  /** The command is about to start. */
  starting(notes: string[]): void;
  /** It has ended, and so many processes that came from it are waited for. */
  waiting(running: number): void;
}

/** Works on the trace while it is recorded. */
export interface Companion {
  /** The command is about to start; the trace is there. */
  start(): void;
  /** The command has ended; the companion must have let the trace go when this resolves. */
  stop(): Promise<unknown>;
}

/** What to record and how. */
export interface SessionOptions {
  open: Omit<OpenRequest, "kind" | "envNames" | "launcherPid" | "bell">;
  /** Exact bytes of the command line, binary strings. */
  argv: string[];
  user: CommandUser | undefined;
  viaSudo: boolean;
  /** Record until all processes that came from the command have ended. */
  wait: boolean;
  /** What programs get that ask for io_uring. */
  ioUring: IoUring;
  /** How to start this program again, for the guard. */
  self: string[];
  companion?: Companion;
  /** Compares contents of the trace with the files; this room does not read traces. */
  compare: (touched: Uint32Array, timeMs: number) => ContentVerdict;
}

/** The end of a session; `exitCode`: the command's, 128+n for signal n, as env(1) where it could not be run. */
export type SessionResult =
  /** `failure`: it could not be started. */
  | { exitCode: number; summary: RecordingSummary; failure?: DiffKeeperError }
  /** There is no such command: nothing was recorded or changed. Or the recorder failed while the command ran. */
  | { exitCode: number; summary?: undefined; failure: DiffKeeperError }
  /** A signal ended it before it began. */
  | { exitCode: number; summary?: undefined; failure?: undefined };

/** Answers of the worker that can be on their way when it is told to abort. */
const ANSWERS_BEFORE_MAX = 3;

/** The soft limit of open files that the shell gave us; the runtime raised ours. */
function openFilesMax(): number | undefined {
  try {
    const text = readFileSync(`/proc/${process.ppid}/limits`, "latin1");
    const soft = /^Max open files\s+(\d+)/m.exec(text)?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

/** @throws {DiffKeeperError} `limit_exceeded`; without it the runtime fails somewhere in the middle. */
function refuseFewFiles(): void {
  const text = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
  if (text === undefined || Number(text) >= OPEN_FILES_MIN) return;
  throw new DiffKeeperError(
    "limit_exceeded",
    `cannot record: ${text} files may be open at a time, the recorder needs ${OPEN_FILES_MIN}`,
    { hint: "raise the limit: ulimit -Hn 1024" },
  );
}

function launchSpec(options: SessionOptions): LaunchSpec {
  const env = commandEnvironment(options.user, options.viaSudo);
  const { user } = options;
  const filesMax = openFilesMax();
  return {
    argv: options.argv,
    env,
    ...(user === undefined ? {} : { user: { uid: user.uid, gid: user.gid, groups: user.groups } }),
    nonBlocking: nonBlockingFds(),
    ignoredSignals: ignoredSignals(),
    blockedSignals: blockedSignals(),
    fds: inheritedFds,
    ...(filesMax === undefined ? {} : { openFilesMax: filesMax }),
  };
}

/** What the guard needs where there is a gate. */
interface GuardedGate {
  listener: number;
  tableFd: number;
  stateDir: string;
  owner: { uid: number; gid: number } | undefined;
}

/** Starts the guard: a small program that sleeps, and becomes this one when there is something to do. */
function spawnGuard(
  self: readonly string[],
  held: { pid: number; cgroup: string | undefined; gate?: GuardedGate },
): Guard {
  const { pid, cgroup, gate } = held;
  const argv = [starterPath(), "wait", ...self, "__guard", String(pid)];
  if (cgroup !== undefined) argv.push("--cgroup", cgroup);
  if (gate?.owner !== undefined) argv.push("--owner", `${gate.owner.uid}:${gate.owner.gid}`);
  if (gate !== undefined) argv.push("--gate", gate.stateDir);
  argv.push("--after");
  // it prints nothing; /dev/null need not exist in a chroot, and our own pipes must end with us
  const stdio: ("pipe" | number)[] = ["pipe", "pipe", "pipe"];
  if (gate !== undefined) stdio.push(gate.listener, gate.tableFd);
  return Bun.spawn(argv, { argv0: "diffkeeper", stdio: stdio as ["pipe", "pipe", "pipe"] });
}

type Guard = Bun.Subprocess<"pipe", "pipe", "pipe">;

/** Processes of the command live on with the filter: the guard serves them until they end. */
async function keepGuard(guard: Guard): Promise<void> {
  guard.stdin.write(Uint8Array.of(KEEP));
  await guard.stdin.end();
  guard.unref();
}

function exitCodeOfChild(child: Bun.Subprocess): number {
  if (child.signalCode === null) return child.exitCode ?? 1;
  const numbers: Record<string, number> = constants.signals;
  return 128 + (numbers[child.signalCode] ?? 0);
}

/**
 * Records a command from start to end.
 * @throws {DiffKeeperError} the recorder could not start, or failed; the command has not run, or has run to its end.
 */
export async function runSession(
  options: SessionOptions,
  reporter: Reporter,
): Promise<SessionResult> {
  // first: what was open before we opened anything
  const spec = launchSpec(options);
  refuseFewFiles();
  const missing = missingCommand(spec);
  if (missing !== undefined) return { exitCode: missing.exitCode, failure: missing.error };
  const { compare } = options;
  const onProgress = (text: string) => reporter.progress(text);
  const link = new WorkerLink({ onProgress, compare });
  try {
    return await runWith(link, { ...options, spec }, reporter);
  } finally {
    link.release();
  }
}

/** Loads and attaches the kernel side, on this thread: meanwhile the worker starts, and makes what needs none of it. */
function attach(link: WorkerLink, options: SessionOptions): void {
  const { ringBytes, testing, folders, cwd } = options.open;
  const filesystems = folders.map((folder) => filesystemOf(resolve(cwd, folder)));
  const kernel = RecorderObject.load({ ringBytes, filesystems, room: testing });
  kernel.attach(process.pid);
  link.say({ kind: "attached", handles: kernel.handles });
}

/** The command will not start: the worker removes what it has made. */
async function abort(link: WorkerLink): Promise<void> {
  link.say({ kind: "abort" });
  // answers that were on their way come before, and its own error, if any, is the lesser
  for (let i = 0; i < ANSWERS_BEFORE_MAX; i++) {
    if (await link.next("aborted").catch(() => undefined) !== undefined) return;
  }
}

/** Sets up the filter and the baseline, starts the guard and arms; the command may go afterwards. */
async function prepare(
  link: WorkerLink,
  options: SessionOptions & { spec: LaunchSpec },
  parts: { launcher: Launcher; gate: GateSession },
): Promise<{ guard: Guard; notes: string[] }> {
  const { launcher, gate } = parts;
  const { owner, stateDir } = options.open;
  attach(link, options);
  const { wantsGate, cgroup } = await link.next("connected");
  gate.install(launcher, { gate: wantsGate, ioUring: options.ioUring });
  const { note, tableFd, listener } = gate;
  const isGated = listener >= 0;
  const { pid } = launcher;
  link.say({
    ...{ kind: "baseline", tableFd },
    ...note !== undefined && { note },
    ...!isGated && { armPid: pid },
  });
  // from the go on calls may wait at the gate, and somebody must be there whatever happens to us
  const gated = isGated ? { gate: { listener, tableFd, stateDir, owner } } : {};
  const guard = spawnGuard(options.self, { pid, cgroup, ...gated });
  try {
    const { notes, dir } = await link.next("ready");
    if (!isGated) return { guard, notes };
    const inherited = [0, 1, 2, ...options.spec.fds];
    const gateOptions = { dir, inherited, ...owner !== undefined && { owner } };
    await gate.start(gateOptions, () => {
      guard.stdin.write(Uint8Array.of(TAKE_OVER));
      guard.stdin.flush();
    });
    link.say({ kind: "arm", pid });
    await link.next("armed");
    return { guard, notes };
  } catch (thrown) {
    guard.kill("SIGKILL");
    throw thrown;
  }
}

async function runWith(
  link: WorkerLink,
  options: SessionOptions & { spec: LaunchSpec },
  reporter: Reporter,
): Promise<SessionResult> {
  const { spec } = options;
  const envNames = spec.env.map((entry) => entry.slice(0, entry.indexOf("=")));
  const launcher = Launcher.start(spec);
  const { child, pid } = launcher;
  const gate = new GateSession();
  let guard: Guard | undefined;
  const { bell } = link;
  link.say({ kind: "open", envNames, launcherPid: pid, bell, ...options.open });
  const signals = forwardSignals(pid);
  try {
    const prepared = await prepare(link, options, { launcher, gate });
    guard = prepared.guard;
    reporter.starting(prepared.notes);
    options.companion?.start();
    launcher.go();
  } catch (thrown) {
    guard?.kill("SIGKILL");
    await abort(link);
    signals.stop();
    // a signal that was meant for the command ended what was to become it
    if (await launcher.abandon()) return { exitCode: exitCodeOfChild(child) };
    throw thrown;
  }
  await child.exited;
  signals.stop();
  const exitCode = exitCodeOfChild(child);
  const failure = launcher.failure();
  try {
    if (options.wait) await waitForOthers(link, reporter);
    const endedNs = clockNs(CLOCK_BOOTTIME);
    await options.companion?.stop();
    link.say({ kind: "ended", exitCode, endedNs });
    const { summary } = await link.next("done");
    if (await gate.end()) await keepGuard(guard);
    else guard.kill("SIGKILL");
    return { exitCode, summary, ...failure !== undefined && { failure: failure.error } };
  } catch (thrown) {
    // the command has run: a code other than 0 stays its own
    if (exitCode === 0) throw thrown;
    return { exitCode, failure: asDiffKeeperError(thrown) };
  }
}

/** Goes on recording until all processes of the command have ended, or a signal says that this is enough. */
async function waitForOthers(link: WorkerLink, reporter: Reporter): Promise<void> {
  const signals = onEndSignals(() => link.say({ kind: "stop_waiting" }));
  link.say({ kind: "wait" });
  const { running } = await link.next("waiting");
  if (running > 0) reporter.waiting(running);
  await link.next("alone");
  signals.stop();
}
