/**
 * Stops a running workload from outside, in no call: its cgroup (v2) is frozen, and a frozen task has left the kernel, so what
 * it did is done and recorded. The workload moved itself into a child of the recorder's cgroup, which the recorder's own
 * freezer does not undo.
 */
import { existsSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";

const FREEZE_MS_MAX = 20_000;
const REMOVE_TRIES_MAX = 200;

/** Why this way of stopping is not there; empty: it is. */
export function freezerObstacle(): string {
  const mounts = readFileSync("/proc/self/mountinfo", "latin1");
  return mounts.includes(" - cgroup2 ") ? "" : "needs cgroup v2";
}

/** The workload's cgroup. */
export class Frozen {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Waits until every thread of every process stands still; false: nothing runs any more. */
  async freeze(): Promise<boolean> {
    writeFileSync(`${this.#folder}/cgroup.freeze`, "1");
    const until = performance.now() + FREEZE_MS_MAX;
    while (!readFileSync(`${this.#folder}/cgroup.events`, "latin1").includes("frozen 1")) {
      if (performance.now() > until) throw new Error("the workload does not freeze");
      await Bun.sleep(1);
    }
    return readFileSync(`${this.#folder}/cgroup.procs`, "latin1") !== "";
  }

  thaw(): void {
    writeFileSync(`${this.#folder}/cgroup.freeze`, "0");
  }

  /** Ends all processes at once, wherever they are. */
  kill(): void {
    if (existsSync(`${this.#folder}/cgroup.kill`)) {
      writeFileSync(`${this.#folder}/cgroup.kill`, "1");
      return;
    }
    for (const pid of readFileSync(`${this.#folder}/cgroup.procs`, "latin1").split("\n")) {
      if (pid !== "") process.kill(Number(pid), "SIGKILL");
    }
  }

  /** Removes the cgroup, and the recorder's above it, which it could not remove while this was there. */
  async remove(): Promise<void> {
    for (const folder of [this.#folder, `${this.#folder}/..`]) {
      if (folder.endsWith("/..") && !/\/diffkeeper\.\d+\/[^/]+\/\.\.$/.test(folder)) return;
      for (let i = 0; i < REMOVE_TRIES_MAX && existsSync(folder); i++) {
        try {
          rmdirSync(folder);
        } catch {
          await Bun.sleep(10);
        }
      }
    }
  }
}
