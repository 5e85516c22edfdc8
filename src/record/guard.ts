/**
 * The guard: a process that outlives a killed recorder by a moment. It waits for the end of its stdin, which the recorder holds; if
 * the recorder was killed, the command may be frozen or stopped: everything in its cgroup is let go. The BPF programs may detach
 * a little after our pipe has closed, and stop a task once more that finds the ring full: so this looks for a while. It also holds
 * the listener of the seccomp filter: from a dead recorder it takes the gate over, for as long as a task has the filter.
 */
import { readdirSync, readFileSync, readSync, rmdirSync, writeFileSync } from "node:fs";
import { libc } from "../../ffi/libc.ts";
import { Gate } from "./gate.ts";
import { Listener } from "./seccomp.ts";

/** SIGHUP, SIGINT, SIGQUIT, SIGTSTP. */
const TERMINAL_SIGNALS = [1, 2, 3, 20] as const;
const SIG_IGN = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
/** On stdin: the recording has ended in order, but processes live on that have the filter. */
export const KEEP = 0x6b;
/** On stdin: the gate of the recorder has failed, and is to be taken over at once. */
export const TAKE_OVER = 0x74;
const LET_GO_MS = 1_000;
const LET_GO_PAUSE_MS = 10;
const REMOVE_TRIES_MAX = 40;
const REMOVE_PAUSE_MS = 50;

/** Descriptors that a guard of a gate is given, above stderr. */
const LISTENER_FD = 3;
const TABLE_FD = 4;

/** Where the gate of the recorder saves. */
export interface GatedBy {
  /** The state-dir. */
  dir: string;
  owner: { uid: number; gid: number } | undefined;
}

function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    // it has ended meanwhile, or is ending: nothing is left to free
    return false;
  }
}

function processesIn(folder: string): string[] {
  try {
    return readFileSync(`${folder}/cgroup.procs`, "latin1").split("\n").filter((pid) => pid !== "");
  } catch {
    return [];
  }
}

/** The process and all that descend from it: where there is no cgroup. Those whose parent has ended are not found. */
function descendantsOf(top: number): string[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    attempt(() => {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      children.set(parent, [...children.get(parent) ?? [], pid]);
    });
  }
  const found = [top];
  for (let at = 0; at < found.length; at++) found.push(...children.get(found[at] ?? 0) ?? []);
  return found.map(String);
}

/** Stopped by a signal: state T in /proc/PID/stat (proc(5)). */
function isStopped(pid: string): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.startsWith("T", stat.lastIndexOf(")") + 2);
  } catch {
    return false;
  }
}

/** Sleeps until the recorder's end of our stdin is closed, whatever ended it. True: it ended in order and says KEEP. */
function waitForEnd(): boolean {
  // a read must sleep: a descriptor left non-blocking by whoever made it would fail at once
  libc.fcntl(0, F_SETFL, libc.fcntl(0, F_GETFL, 0) & ~O_NONBLOCK);
  const byte = new Uint8Array(1);
  let isKept = false;
  while (readSync(0, byte) > 0) {
    if (byte[0] === TAKE_OVER) return false;
    isKept ||= byte[0] === KEEP;
  }
  return isKept;
}

/**
 * Waits for the recorder's end, then frees the command: what is in the cgroup `folder`, which is removed, or without one the
 * process `pid` and its descendants. `gated`: there is a gate, which it takes over.
 */
export function guard(pid: number, folder: string | undefined, gated?: GatedBy): void {
  // a Ctrl-C is meant for the command, and may not take the guard along
  for (const signal of TERMINAL_SIGNALS) libc.signal(signal, SIG_IGN as never);
  if (waitForEnd()) return letCallsGo();
  const gate = gated === undefined ? undefined : takeOver(gated);
  if (folder !== undefined) attempt(() => writeFileSync(`${folder}/cgroup.freeze`, "0"));
  const held = () => folder === undefined ? descendantsOf(pid) : processesIn(folder);
  const deadline = performance.now() + LET_GO_MS;
  do {
    for (const one of held()) {
      if (isStopped(one)) attempt(() => process.kill(Number(one), "SIGCONT"));
    }
    if (gate === undefined) Bun.sleepSync(LET_GO_PAUSE_MS);
    else gate.serve(LET_GO_PAUSE_MS);
  } while (performance.now() < deadline && held().length > 0);
  if (folder !== undefined) remove(folder);
  gate?.serve();
}

/** The recording is over: every call goes on, until no task has the filter any more. */
function letCallsGo(): void {
  const listener = new Listener(LISTENER_FD);
  while (listener.next() === "call") listener.proceed();
}

/** The gate of the dead recorder: what the command destroys from now on is still saved, else no moment could be restored. */
function takeOver({ dir, owner }: GatedBy): Gate {
  return new Gate({
    listener: LISTENER_FD,
    stopFd: -1,
    tableFd: TABLE_FD,
    dir,
    inherited: [],
    ...(owner === undefined ? {} : { owner }),
  });
}

/** Gives the cgroup's processes back to the one above, and removes it. */
function remove(folder: string): void {
  for (let i = 0; i < REMOVE_TRIES_MAX; i++) {
    for (const pid of processesIn(folder)) {
      attempt(() => writeFileSync(`${folder}/../cgroup.procs`, pid));
    }
    if (attempt(() => rmdirSync(folder))) return;
    Bun.sleepSync(REMOVE_PAUSE_MS);
  }
}
