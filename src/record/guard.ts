/**
 * The guard: a process that outlives a killed recorder by a moment. A small program (native/starter.c, `wait`) sleeps until its stdin
 * ends, which the recorder holds, and then becomes this one. If the recorder was killed, the command may be frozen or stopped:
 * everything in its cgroup is let go. The BPF programs may detach a little after our pipe has closed, and stop a task once more
 * that finds the ring full: so this looks for a while. It also holds the listener of the seccomp filter: from a dead recorder it
 * takes the gate over, for as long as a task has the filter.
 */
import { readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { Gate } from "./gate.ts";
import { Listener } from "./seccomp.ts";

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

/** What the small program saw: the recorder has ended without a word, or in order but with KEEP, or its gate has failed. */
export type Happened = "ended" | "keep" | "take";

/**
 * Frees the command: what is in the cgroup `folder`, which is removed, or without one the process `pid` and its descendants. `gated`:
 * there is a gate, which it takes over. A Ctrl-C is meant for the command: the small program has it ignored for us too.
 */
export function guard(
  pid: number,
  folder: string | undefined,
  { after, gated }: { after: Happened; gated?: GatedBy },
): void {
  if (after === "keep") return letCallsGo();
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
