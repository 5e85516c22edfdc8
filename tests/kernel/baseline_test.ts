/** A lazy baseline restores whatever is destroyed (tests/proofs/baseline.ts has the checks, and the large tree). */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Checks, dk, info, named, obstacle, removeScratch, scratch } from "../proofs/_kit.ts";
import {
  checkFates,
  checkIoUring,
  checkKill,
  checkOutsider,
  checkRemoval,
  makeTree,
} from "../proofs/baseline.ts";

afterAll(removeScratch);

const FILES = 3_000;
const KILLED_FILES = 400;
const isSkipped = obstacle() !== "";

test.skipIf(isSkipped)(
  named("a removed tree is restored, also when the recorder is killed"),
  async () => {
    const checks = new Checks({ quiet: true });
    const top = scratch("baseline");
    makeTree(join(top, "tree"), FILES);
    checkRemoval(checks, top, join(top, "tree"));
    await checkKill(checks, top, join(top, "tree"));
    expect(checks.failures).toEqual([]);
  },
);

test.skipIf(isSkipped)(named("every way to destroy what a file held is undone"), () => {
  const checks = new Checks({ quiet: true });
  checkFates(checks, scratch("fates"));
  expect(checks.failures).toEqual([]);
});

test.skipIf(isSkipped)(named("what an outsider destroys is named as lost"), async () => {
  const checks = new Checks({ quiet: true });
  await checkOutsider(checks, scratch("outsider"));
  expect(checks.failures).toEqual([]);
});

test.skipIf(isSkipped)(named("who is killed while it is held back destroys nothing"), () => {
  // opens each file to write, is killed at once, and writes nothing; then others do
  const program = `
import os, random, signal, time
random.seed(7)
names = sorted(os.listdir("."))
for name in names:
    pid = os.fork()
    if pid == 0:
        os.close(os.open(name, os.O_RDWR))
        os._exit(0)
    time.sleep(random.random() * 0.0015)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
for name in names[::2]:
    with open(name, "r+") as f: f.write("changed")
`;
  const top = scratch("killed-held");
  const [watched, state, out] = [join(top, "w"), join(top, "trace"), join(top, "out")];
  mkdirSync(watched);
  for (let i = 0; i < KILLED_FILES; i++) {
    writeFileSync(join(watched, `f${i}`), `file ${i}\n`.repeat(900));
  }
  const argv = ["record", "--quiet", "--state-dir", state, "--", "python3", "-c", program];
  expect(dk(argv, { cwd: watched }).code).toBe(0);
  expect(info(state)["fidelity"]).toMatchObject({ exact: true });
  expect(dk(["export", state, "--time", "0s", "--out", out, "--strict"]).code).toBe(0);
  for (let i = 0; i < KILLED_FILES; i++) {
    expect(readFileSync(join(out, `f${i}`), "utf8")).toBe(`file ${i}\n`.repeat(900));
  }
});

test.skipIf(isSkipped)(named("io_uring is refused, and that is said"), () => {
  const checks = new Checks({ quiet: true });
  checkIoUring(checks, scratch("uring"));
  expect(checks.failures).toEqual([]);
});
