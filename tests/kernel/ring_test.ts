/**
 * A recording that keeps only its last part: history is dropped while the command runs, what is left is whole and right, also when
 * the recorder is killed. The files say themselves which state they are in, so that two of them can be compared at any moment.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  BINARY,
  dk,
  type EventLine,
  events,
  info,
  named,
  obstacle,
  removeScratch,
  run,
  scratch,
} from "../proofs/_kit.ts";

afterAll(removeScratch);

const SECONDS = 8;
const FILES = 300;
const RECORD_MS_MAX = 60_000;
/** A log, a counter that is replaced, a file that is copied from the start's, large files that come and go. */
const PROGRAM = `
import os, shutil, sys, time
end = time.time() + float(sys.argv[1])
log = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
n = 0
while time.time() < end:
    n += 1
    os.write(log, b"line %d\\n" % n)
    with open("temporary", "wb") as f: f.write(os.urandom(100000))
    if n % 3 == 0: os.unlink("temporary")
    if n % 10 == 1: shutil.copyfile("file-%d" % (n % 200), "copy")
    with open("counter.tmp", "w") as f: f.write(str(n))
    os.rename("counter.tmp", "counter")
    time.sleep(0.005)
`;

function makeTree(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (let i = 0; i < FILES; i++) {
    writeFileSync(join(folder, `file-${i}`), `file ${i}\n`.repeat(900));
  }
}

interface Dropped {
  events: number;
  earliest_ns: number;
}

/** Whole, and at some of its moments log and counter agree. */
function check(trace: string, base: string): void {
  const verified = dk(["verify", trace]);
  expect({ code: verified.code, said: verified.stdout }).toMatchObject({ code: 0 });
  const { dropped } = info(trace) as { dropped: Dropped | null };
  expect(dropped?.events).toBeGreaterThan(0);
  const lines = events(trace, "--op", "rename").filter((line: EventLine) => line.to === "counter");
  expect(lines.length).toBeGreaterThan(20);
  for (const part of [0, 0.5, 0.99]) {
    const { seq = 0 } = lines[Math.floor(part * lines.length)] ?? {};
    const out = join(base, `at-${seq}`);
    const made = dk(["export", trace, "--time", `#${seq}`, "--out", out, "--strict"]);
    expect({ code: made.code, said: made.stderr }).toEqual({ code: 0, said: expect.anything() });
    const counter = Number(readFileSync(join(out, "counter"), "utf8"));
    const log = readFileSync(join(out, "log"), "utf8").trimEnd().split("\n");
    expect([log.length, log.at(-1)]).toEqual([counter, `line ${counter}`]);
    const from = readFileSync(join(out, "copy"), "utf8").split("\n")[0];
    const n = counter - (counter - 1) % 10;
    expect(from).toBe(`file ${n % 200}`);
  }
  const early = dk(["export", trace, "--time", "0s", "--out", join(base, "early")]);
  expect(early.code).toBe(1);
  expect(early.stderr).toContain(`the earliest moment is '#${dropped?.events}'`);
}

for (const options of [["--keep-last", "2s"], ["--max-size", "12M", "--compact", "on"]]) {
  const name = `a recording with ${options.join(" ")} keeps its last part`;
  test.skipIf(obstacle() !== "")(named(name), () => {
    const base = scratch("ring");
    const [folder, trace] = [join(base, "work"), join(base, "trace")];
    makeTree(folder);
    const argv = ["record", ...options, "--state-dir", trace, "--", "python3", "-c", PROGRAM];
    const ran = dk([...argv, String(SECONDS)], { cwd: folder, timeoutMs: RECORD_MS_MAX });
    expect({ code: ran.code, said: ran.stderr }).toMatchObject({ code: 0 });
    expect(ran.stderr).toContain("was dropped");
    expect(ran.stderr).toContain(" 0 differences");
    expect(ran.stderr).not.toContain("ended early");
    check(trace, base);
    if (options[0] === "--max-size") {
      expect(statSync(join(trace, "trace.db")).size).toBeLessThan(12 << 20);
    }
    const out = join(base, "end");
    expect(dk(["export", trace, "--time", "end", "--out", out, "--strict"]).code).toBe(0);
    expect(run(["diff", "-r", folder, out]).stdout).toBe("");
  }, 120_000);
}

test.skipIf(obstacle() !== "")(named("a killed recorder leaves the last part"), async () => {
  const base = scratch("ring-killed");
  const [folder, trace] = [join(base, "work"), join(base, "trace")];
  makeTree(folder);
  const argv = [BINARY, "record", "--keep-last", "1500ms", "--state-dir", trace, "--"];
  const child = Bun.spawn([...argv, "python3", "-c", PROGRAM, "7"], {
    cwd: folder,
    stdio: ["ignore", "ignore", "ignore"],
  });
  await Bun.sleep(6_000);
  child.kill("SIGKILL");
  await child.exited;
  // the command may go on for a second
  await Bun.sleep(2_000);
  check(trace, base);
  expect(dk(["gc", trace, "--keep-last", "500ms"]).code).toBe(0);
  const { dropped } = info(trace) as { dropped: Dropped | null };
  expect(dropped?.events).toBeGreaterThan(0);
  expect(dk(["verify", trace]).code).toBe(0);
}, 120_000);
