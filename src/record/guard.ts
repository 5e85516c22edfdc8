/**
 * The guard: a process that outlives a killed recorder by a moment. It waits for the end of its stdin, which the recorder holds; if
 * the recorder was killed, the command may be frozen or stopped: everything in its cgroup is let go.
 */
import { readFileSync, readSync, rmdirSync, writeFileSync } from "node:fs";

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

/** Waits for the recorder's end, then frees what is in the cgroup `folder` and removes it. */
export function guard(folder: string): void {
  const byte = new Uint8Array(1);
  while (readSync(0, byte) > 0);
  attempt(() => writeFileSync(`${folder}/cgroup.freeze`, "0"));
  for (let i = 0; i < REMOVE_TRIES_MAX; i++) {
    for (const pid of readFileSync(`${folder}/cgroup.procs`, "latin1").split("\n")) {
      if (pid === "") continue;
      attempt(() => process.kill(Number(pid), "SIGCONT"));
      attempt(() => writeFileSync(`${folder}/../cgroup.procs`, pid));
    }
    if (attempt(() => rmdirSync(folder))) return;
    Bun.sleepSync(REMOVE_PAUSE_MS);
  }
}
