/**
 * The guard: a process that outlives a killed recorder by a moment. It waits for the end of its stdin, which the recorder holds; if
 * the recorder was killed, the command may be frozen or stopped: everything in its cgroup is let go. The BPF programs may detach
 * a little after our pipe has closed, and stop a task once more that finds the ring full: so this looks for a while.
 */
import { readFileSync, readSync, rmdirSync, writeFileSync } from "node:fs";

const LET_GO_MS = 1_000;
const LET_GO_PAUSE_MS = 10;
const REMOVE_TRIES_MAX = 40;
const REMOVE_PAUSE_MS = 50;

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

/** Stopped by a signal: state T in /proc/PID/stat (proc(5)). */
function isStopped(pid: string): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.startsWith("T", stat.lastIndexOf(")") + 2);
  } catch {
    return false;
  }
}

/** Waits for the recorder's end, then frees what is in the cgroup `folder` and removes it. */
export function guard(folder: string): void {
  const byte = new Uint8Array(1);
  while (readSync(0, byte) > 0);
  attempt(() => writeFileSync(`${folder}/cgroup.freeze`, "0"));
  const deadline = performance.now() + LET_GO_MS;
  do {
    for (const pid of processesIn(folder)) {
      if (isStopped(pid)) attempt(() => process.kill(Number(pid), "SIGCONT"));
    }
    Bun.sleepSync(LET_GO_PAUSE_MS);
  } while (performance.now() < deadline && processesIn(folder).length > 0);
  for (let i = 0; i < REMOVE_TRIES_MAX; i++) {
    for (const pid of processesIn(folder)) {
      attempt(() => writeFileSync(`${folder}/../cgroup.procs`, pid));
    }
    if (attempt(() => rmdirSync(folder))) return;
    Bun.sleepSync(REMOVE_PAUSE_MS);
  }
}
