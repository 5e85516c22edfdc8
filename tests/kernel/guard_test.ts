/**
 * The guard: frees the command of a recorder that was killed, with a cgroup and without, ends with the recorder in every case, and
 * sleeps until then.
 */
import { afterAll, afterEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BINARY, named, obstacle, removeScratch, scratch } from "../proofs/_kit.ts";

const WAIT_MS_MAX = 10_000;
/** More than are copied before the start. */
const FILES = 3_000;
const WITHOUT_CGROUP = `for at in $(awk '/ - cgroup2 /{print $5}' ` +
  `/proc/self/mountinfo); do umount -l "$at"; done; exec "$@"`;
/** Writes as fast as it can, so that a small ring holds it back, or slowly. */
const WRITER = `import os, sys, time
fd = os.open("log", os.O_CREAT | os.O_WRONLY)
while True:
    os.pwrite(fd, b"x" * 4000, 0)
    os.utime("log")
    if len(sys.argv) > 1: time.sleep(float(sys.argv[1]))
`;

const started: number[] = [];

afterEach(() => {
  for (const pid of started.splice(0)) if (stat(pid) !== undefined) process.kill(pid, "SIGKILL");
});
afterAll(removeScratch);

interface Stat {
  state: string;
  parent: number;
  /** Clock ticks of 10 ms, user and system. */
  ticks: number;
}

/** proc(5): the fields of /proc/PID/stat behind the name. */
function stat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const [state = "", parent] = fields;
    return { state, parent: Number(parent), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined;
  }
}

function isGone(pid: number): boolean {
  return (stat(pid)?.state ?? "Z") === "Z";
}

function childOf(parent: number, words: string): number | undefined {
  return readdirSync("/proc").map(Number).find((pid) => {
    if (!Number.isInteger(pid) || stat(pid)?.parent !== parent) return false;
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").includes(words);
  });
}

async function until<T>(what: string, find: () => T | undefined | false): Promise<T> {
  const deadline = performance.now() + WAIT_MS_MAX;
  while (performance.now() < deadline) {
    const found = find();
    if (found !== undefined && found !== false) return found;
    await Bun.sleep(10);
  }
  throw new Error(`waited in vain: ${what}`);
}

/** Records the writer; resolves when recorder, guard and command are there and the command writes. */
async function start(options: { pause?: string; flags?: string[]; cgroup?: boolean } = {}) {
  const folder = scratch("guard");
  const work = join(folder, "work");
  mkdirSync(work);
  const { pause = "0.01", flags = [] } = options;
  const command = ["python3", "-c", WRITER, ...pause === "" ? [] : [pause]];
  const record = [BINARY, "record", "--quiet", "--state-dir", join(folder, "t"), ...flags, "--"];
  const wrapper = options.cgroup === false
    ? ["unshare", "-m", "sh", "-c", WITHOUT_CGROUP, "sh"]
    : [];
  const recorder = Bun.spawn([...wrapper, ...record, ...command], {
    cwd: work,
    stdio: ["ignore", "ignore", "ignore"],
  });
  const guard = await until("a guard", () => childOf(recorder.pid, "__guard"));
  const writer = await until("the command", () => childOf(recorder.pid, "python3 -c"));
  started.push(recorder.pid, guard, writer);
  const log = join(work, "log");
  await until("a write", () => existsSync(log) && statSync(log).size > 0);
  return { recorder, guard, writer, log };
}

function cgroupOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cgroup`, "latin1");
}

for (const cgroup of [true, false]) {
  const name = cgroup ? "with a cgroup" : "without a cgroup";
  test.skipIf(obstacle() !== "")(
    named(`kill -9 of a recorder that holds the command back, ${name}: it goes on`),
    async () => {
      const { recorder, guard, writer, log } = await start({
        pause: "",
        flags: ["--ring-size", "256K"],
        cgroup,
      });
      expect(cgroupOf(writer).includes("diffkeeper.")).toBe(cgroup);
      await Bun.sleep(300);
      recorder.kill("SIGKILL");
      await recorder.exited;
      await until("the guard's end", () => isGone(guard));
      const { mtimeNs } = statSync(log, { bigint: true });
      await until("another write", () => statSync(log, { bigint: true }).mtimeNs > mtimeNs);
      expect(stat(writer)?.state).not.toBe("T");
      expect(cgroupOf(writer)).not.toContain("diffkeeper.");
    },
  );
}

test.skipIf(obstacle() !== "")(
  named("kill -9 of a recorder with a gate before its command runs leaves nothing"),
  async () => {
    const folder = scratch("guard");
    const work = join(folder, "work");
    mkdirSync(work);
    for (let i = 0; i < FILES; i++) writeFileSync(join(work, `f${i}`), "x");
    const argv = [BINARY, "record", "--quiet", "--state-dir", join(folder, "t"), "--", "true"];
    const recorder = Bun.spawn(argv, { cwd: work, stdio: ["ignore", "ignore", "ignore"] });
    // it is there before the folder is scanned
    const guard = await until("a guard", () => childOf(recorder.pid, "__guard"));
    const words = readFileSync(`/proc/${guard}/cmdline`, "latin1").split("\0");
    recorder.kill("SIGKILL");
    await recorder.exited;
    started.push(guard);
    await until("the guard's end", () => isGone(guard));
    expect(words).toContain("--gate");
    const cgroup = words.find((word) => word.includes("/diffkeeper."));
    expect(cgroup !== undefined && existsSync(cgroup)).toBe(false);
  },
);

for (const signal of ["SIGINT", "SIGHUP", "SIGQUIT", "SIGTERM"] as const) {
  test.skipIf(obstacle() !== "")(named(`the guard ends with the recorder: ${signal}`), async () => {
    const { recorder, guard } = await start();
    // as kill(2) does to a group of processes: nothing but the recorder's end ends it
    process.kill(guard, signal);
    await Bun.sleep(50);
    expect(isGone(guard)).toBe(false);
    recorder.kill(signal);
    await recorder.exited;
    await until("the guard's end", () => isGone(guard));
  });
}

test.skipIf(obstacle() !== "")(named("the guard ends when the command ends"), async () => {
  const { recorder, guard, writer } = await start();
  process.kill(writer, "SIGKILL");
  expect(await recorder.exited).toBe(137);
  await until("the guard's end", () => isGone(guard));
});

test.skipIf(obstacle() !== "")(named("the guard sleeps while the command writes"), async () => {
  const { guard } = await start({ pause: "" });
  await Bun.sleep(500);
  const before = stat(guard)?.ticks ?? Number.NaN;
  await Bun.sleep(1500);
  expect((stat(guard)?.ticks ?? Number.NaN) - before).toBeLessThanOrEqual(2);
});

test.skipIf(obstacle() !== "")(named("cgroups of killed recorders are removed"), async () => {
  const first = await start();
  // to the guard first: nobody tidies up
  process.kill(first.guard, "SIGKILL");
  first.recorder.kill("SIGKILL");
  await first.recorder.exited;
  const name = `diffkeeper.${first.recorder.pid}`;
  expect(cgroupOf(first.writer)).toContain(name);
  const second = await start();
  expect(cgroupOf(first.writer)).not.toContain(name);
  expect(cgroupOf(second.writer)).toContain(`diffkeeper.${second.recorder.pid}`);
});
