/**
 * A recording that ends badly still opens, lacks at most the last 200 ms, says that it was cut and when, and frees the command.
 * kill -9 of the recorder at random moments (also while the command is held back), of the command, Ctrl-C, SIGTERM, a full
 * disk, and a power cut (the files copied at a random moment, with the log torn at a random byte).
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import {
  BINARY,
  Checks,
  dk,
  info,
  onTerminal,
  type Ran,
  requireKernel,
  run,
  scratch,
} from "./_kit.ts";

/** What kill -9 may take (issue 3, item 11). */
const LAG_MS_MAX = 200;
const WAIT_MS_MAX = 10_000;

/** Appends lines `number monotonic-ns` for a while; then exits with 5. argv: seconds, pause between lines. */
const WRITER = `
import os, sys, time
fd = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
os.close(os.open("started-%d" % os.getpid(), os.O_CREAT))
end = time.monotonic() + float(sys.argv[1])
pause = float(sys.argv[2])
n = 0
while time.monotonic() < end:
    os.write(fd, b"%d %d\\n" % (n, time.monotonic_ns()))
    n += 1
    if pause: time.sleep(pause)
sys.exit(5)
`;

interface Running {
  folder: string;
  state: string;
  recorder: Bun.Subprocess;
  commandPid: number;
}

async function until(condition: () => boolean): Promise<boolean> {
  const deadline = performance.now() + WAIT_MS_MAX;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await Bun.sleep(5);
  }
  return true;
}

/** Starts recording the writer and waits until it writes. */
async function start(seconds: number, pause: number, ...flags: string[]): Promise<Running> {
  const folder = scratch("crash");
  const state = join(folder, "trace");
  const work = join(folder, "work");
  mkdirSync(work);
  const command = ["python3", "-c", WRITER, String(seconds), String(pause)];
  const recorder = Bun.spawn(
    [BINARY, "record", "--quiet", "--state-dir", state, ...flags, "--", ...command],
    { cwd: work, stdio: ["ignore", "ignore", "ignore"] },
  );
  let pid = "";
  await until(() => {
    pid = [...new Bun.Glob("started-*").scanSync({ cwd: work })][0] ?? "";
    return pid !== "";
  });
  return { folder: work, state, recorder, commandPid: Number(pid.slice("started-".length)) };
}

function processState(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);
  } catch {
    return "gone";
  }
}

function linesOf(path: string): string[] {
  return existsSync(path) ? readFileSync(path, "latin1").split("\n").slice(0, -1) : [];
}

/** When a line was written, in ns of the writer's clock. */
function timeOf(line: string | undefined): bigint {
  return BigInt(line?.split(" ")[1] ?? "0");
}

/** Reads a cut trace: it must open, be a prefix of what was written, and say that it is cut. Returns the lag in ms. */
function checkCut(
  checks: Checks,
  name: string,
  one: { state: string; folder: string; lastNs: bigint },
): number {
  const out = join(scratch("crash"), "out");
  const exported = dk(["export", "--state-dir", one.state, "--time", "end", "--out", out]);
  checks.that(`${name}: exports`, exported.code === 0, exported.stderr);
  checks.that(`${name}: says so`, exported.stderr.includes("cut at"), exported.stderr);
  const found = linesOf(join(out, "log"));
  const truth = linesOf(join(one.folder, "log")).slice(0, found.length);
  checks.that(
    `${name}: what is there is exact`,
    Bun.deepEquals(found, truth),
    `${found.length} lines`,
  );
  const facts = info(one.state);
  checks.equal(`${name}: info`, [facts["clean"], facts["state"], facts["lost"]], [false, "cut", 0]);
  checks.that(`${name}: info says when`, typeof facts["cut_at_ns"] === "number");
  return Math.max(0, Number(one.lastNs - timeOf(found.at(-1))) / 1e6);
}

/** kill -9 of the recorder at a random moment. Returns the lag. */
async function killRecorder(checks: Checks, name: string, pause: number, ...flags: string[]) {
  const running = await start(6, pause, ...flags);
  const { folder, state, commandPid } = running;
  await Bun.sleep(100 + Math.random() * 900);
  const lastNs = timeOf(linesOf(join(folder, "log")).at(-1));
  running.recorder.kill("SIGKILL");
  await running.recorder.exited;
  await Bun.sleep(150);
  const size = statSync(join(folder, "log")).size;
  const goesOn = await until(() => statSync(join(folder, "log")).size > size);
  checks.that(`${name}: the command goes on`, goesOn, `state ${processState(commandPid)}`);
  const held = ["T", "t", "D"].includes(processState(commandPid));
  checks.that(`${name}: and is not stopped`, !held || goesOn, processState(commandPid));
  process.kill(commandPid, "SIGKILL");
  const lagMs = checkCut(checks, name, { state, folder, lastNs });
  if (pause > 0) {
    checks.that(
      `${name}: at most ${LAG_MS_MAX} ms are missing`,
      lagMs <= LAG_MS_MAX,
      `${lagMs} ms`,
    );
  }
  return lagMs;
}

/** The files of a running recording, copied at one instant, as a power cut leaves them. */
async function powerCut(checks: Checks, name: string, torn: boolean): Promise<number> {
  const { recorder, state, folder, commandPid } = await start(6, 0.0005);
  await Bun.sleep(200 + Math.random() * 900);
  const copy = join(scratch("crash"), "copy");
  mkdirSync(copy);
  const lastNs = timeOf(linesOf(join(folder, "log")).at(-1));
  recorder.kill("SIGSTOP");
  await until(() => processState(recorder.pid) === "T");
  for (const file of ["trace.db", "trace.db-wal"]) {
    copyFileSync(join(state, file), join(copy, file));
  }
  recorder.kill("SIGCONT");
  const wal = join(copy, "trace.db-wal");
  if (torn) truncateSync(wal, Math.floor(statSync(wal).size * (0.3 + 0.7 * Math.random())));
  process.kill(commandPid, "SIGKILL");
  checks.equal(`${name}: the original goes on to its end`, await recorder.exited, 137);
  const lagMs = checkCut(checks, name, { state: copy, folder, lastNs });
  if (!torn) {
    checks.that(
      `${name}: at most ${LAG_MS_MAX} ms are missing`,
      lagMs <= LAG_MS_MAX,
      `${lagMs} ms`,
    );
  }
  return lagMs;
}

/** The recording ends in order with the given code and holds everything. */
function checkClean(
  checks: Checks,
  name: string,
  one: { state: string; folder: string; code: number },
  expected: number,
): void {
  checks.equal(`${name}: exit code`, one.code, expected);
  const facts = info(one.state);
  checks.equal(`${name}: ended in order`, [facts["clean"], facts["exit_code"], facts["lost"]], [
    true,
    expected,
    0,
  ]);
  const out = join(scratch("crash"), "out");
  dk(["export", "--state-dir", one.state, "--time", "end", "--out", out]);
  const [found, truth] = [linesOf(join(out, "log")), linesOf(join(one.folder, "log"))];
  checks.that(
    `${name}: all is there`,
    Bun.deepEquals(found, truth),
    `${found.length}/${truth.length}`,
  );
}

async function ends(checks: Checks): Promise<void> {
  const killed = await start(10, 0.0005);
  process.kill(killed.commandPid, "SIGKILL");
  checkClean(
    checks,
    "kill -9 of the command",
    { ...killed, code: await killed.recorder.exited },
    137,
  );
  const term = await start(10, 0.0005);
  term.recorder.kill("SIGTERM");
  checkClean(checks, "SIGTERM to the recorder", { ...term, code: await term.recorder.exited }, 143);
  const folder = scratch("crash");
  const script = 'echo begins; exec python3 -c "$0" 10 0.0005';
  const command = ["sh", "-c", script, WRITER];
  const typed = onTerminal([BINARY, "record", "--quiet", "--", ...command], {
    cwd: folder,
    keys: [[1.2, "\x03"]],
  });
  // Python ends itself by SIGINT after KeyboardInterrupt.
  const state = join(folder, "diffkeeper-trace");
  checkClean(checks, "Ctrl-C", { state, folder, code: typed.code }, 130);
}

/** The trace on a disk of 6 MB; the command writes 40 MB that do not compress. Its own disk is not full. */
function fullDisk(checks: Checks): void {
  const folder = scratch("crash");
  const script = `mkdir small work && mount -t tmpfs -o size=6m none small && cd work &&
    "$DK" record --state-dir ../small/t -- sh -c 'i=0; while [ $i -lt 40 ]; do i=$((i+1))
      head -c 1000000 /dev/urandom >>log; sleep 0.05; done; echo last >>log; exit 5'
    echo "code $?"; cp -r ../small/t ../copy`;
  const ran: Ran = run(["unshare", "-m", "sh", "-c", script], {
    cwd: folder,
    env: { ...process.env, DK: BINARY },
  });
  checks.that(
    "full disk: the command runs to its end with its own code",
    ran.stdout.includes("code 5"),
    ran.stdout + ran.stderr,
  );
  checks.equal(
    "full disk: and writes all it wants",
    statSync(join(folder, "work/log")).size,
    40_000_005,
  );
  checks.that(
    "full disk: one error that says so",
    /^diffkeeper: error: .*no space left/m.test(ran.stderr),
    ran.stderr,
  );
  const state = join(folder, "copy");
  const facts = info(state);
  checks.equal("full disk: info", [facts["clean"], facts["state"]], [false, "cut"]);
  const out = join(folder, "out");
  const exported = dk(["export", "--state-dir", state, "--time", "end", "--out", out]);
  checks.that(
    "full disk: exports, and says it was cut",
    exported.code === 0 && exported.stderr.includes("cut at"),
    exported.stderr,
  );
  const found = readFileSync(join(out, "log"));
  const truth = readFileSync(join(folder, "work/log")).subarray(0, found.length);
  checks.that(
    "full disk: what is there is exact",
    found.length > 0 && found.equals(truth),
    `${found.length} bytes`,
  );
}

/** All of it, the random ones `rounds` times. Returns the longest lag in ms. */
export async function checkCrashes(checks: Checks, rounds: number): Promise<number> {
  let worstMs = 0;
  for (let round = 1; round <= rounds; round++) {
    worstMs = Math.max(
      worstMs,
      await killRecorder(checks, `kill -9 of the recorder, ${round}`, 0.0005),
    );
    worstMs = Math.max(worstMs, await powerCut(checks, `power cut, ${round}`, false));
    await powerCut(checks, `power cut with a torn log, ${round}`, true);
    const name = `kill -9 of the recorder while it holds the command back, ${round}`;
    await killRecorder(checks, name, 0, "--ring-size", "256K");
  }
  await ends(checks);
  fullDisk(checks);
  return worstMs;
}

if (import.meta.main) {
  requireKernel();
  const checks = new Checks();
  const worstMs = await checkCrashes(checks, Number(process.argv[2] ?? 10));
  checks.end(`at most ${worstMs.toFixed(0)} ms lost`);
}
