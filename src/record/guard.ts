/**
 * The guard: a process that outlives a killed recorder by a moment. It waits for the end of its stdin, which the recorder holds; if
 * the recorder was killed, the command may be frozen or stopped: everything in its cgroup is let go.
 */
import { readFileSync, readSync, rmdirSync, writeFileSync } from "node:fs";

/** Waits for the recorder's end, then frees what is in the cgroup `folder`. */
export function guard(folder: string): void {
  const byte = new Uint8Array(1);
  while (readSync(0, byte) > 0);
  writeFileSync(`${folder}/cgroup.freeze`, "0");
  const pids = readFileSync(`${folder}/cgroup.procs`, "latin1").trim().split("\n").filter((pid) =>
    pid !== ""
  );
  for (const pid of pids) {
    try {
      process.kill(Number(pid), "SIGCONT");
      writeFileSync(`${folder}/../cgroup.procs`, pid);
    } catch {
      // it has ended meanwhile
    }
  }
  rmdirSync(folder);
}
