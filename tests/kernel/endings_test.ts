/** How a recording ends: with children that live on, waited for or not, and with a recorder that could not store all. */
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  BINARY,
  dk,
  events,
  info,
  named,
  obstacle,
  removeScratch,
  run,
  scratch,
} from "../proofs/_kit.ts";

afterAll(removeScratch);

function kernelTest(name: string, body: () => void | Promise<void>): void {
  test.skipIf(obstacle() !== "")(named(name), body);
}

/** Two processes that live on after the command: a shell and its sleep, which has begun by then. */
const LIVES_ON = "(sleep 1; echo later >late) & sleep 0.4; echo now >early";

kernelTest("children that live on are said", () => {
  const folder = scratch("endings");
  const ran = dk(["record", "--", "sh", "-c", LIVES_ON], { cwd: folder });
  expect(ran.code).toBe(0);
  expect(ran.stderr).toContain("2 processes of the command still run; what they do now is not");
  const state = join(folder, "diffkeeper-trace");
  expect(info(state)["running"]).toBe(2);
  expect(dk(["info"], { cwd: folder }).stdout).toContain("ended      in order; 2 processes of the");
  expect(events(state).map((event) => event.path)).not.toContain("late");
});

kernelTest("--wait records until they have ended", () => {
  const folder = scratch("endings");
  const ran = dk(["record", "--wait", "--", "sh", "-c", `${LIVES_ON}; exit 3`], { cwd: folder });
  expect(ran.code).toBe(3);
  expect(ran.stderr).toContain("the command ended; 2 processes of it still run: recording on");
  expect(ran.stderr).not.toContain("not recorded");
  const state = join(folder, "diffkeeper-trace");
  expect(events(state).map((event) => event.path)).toContain("late");
  expect(info(state)["running"]).toBe(0);
});

kernelTest("--wait without children that live on waits for nothing", () => {
  const folder = scratch("endings");
  const ran = dk(["record", "--wait", "--", "true"], { cwd: folder });
  expect(ran.stderr).not.toContain("recording on");
});

kernelTest(
  "a signal before the command has begun: its exit code, and nothing is left",
  async () => {
    for (const delayMs of [40, 80, 120, 160]) {
      const folder = scratch("endings");
      const argv = [BINARY, "record", "--quiet", "--", "sh", "-c", "sleep 5"];
      const recorder = Bun.spawn(argv, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
      await Bun.sleep(delayMs);
      recorder.kill("SIGTERM");
      expect(await recorder.exited).toBe(143);
      expect(await new Response(recorder.stderr).text()).toBe("");
      // a command that had begun has a trace, else there is none
      const trace = join(folder, "diffkeeper-trace");
      if (existsSync(trace)) expect(events(trace).length).toBeGreaterThan(0);
    }
  },
);

kernelTest("a signal ends --wait, not the trace", async () => {
  const folder = scratch("endings");
  const argv = [BINARY, "record", "--wait", "--", "sh", "-c", "sleep 5 & echo $! >pid; exit 4"];
  const recorder = Bun.spawn(argv, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  const reader = recorder.stderr.getReader();
  const said = new TextDecoder().decode((await reader.read()).value);
  expect(said).toContain("recording on");
  recorder.kill("SIGTERM");
  expect(await recorder.exited).toBe(4);
  expect(info(join(folder, "diffkeeper-trace"))).toMatchObject({ clean: true, running: 1 });
  process.kill(Number(readFileSync(join(folder, "pid"), "utf8")));
});

kernelTest(
  "a full disk: the command's code stays, but a 0 becomes 125; only what is stored is counted",
  () => {
    const folder = scratch("endings");
    mkdirSync(join(folder, "work"));
    const record = `"$DK" record --json --state-dir ../small/t -- sh -c ` +
      `'for i in 1 2 3 4 5 6 7 8 9; do head -c 1000000 /dev/urandom >>log; sleep 0.15; done; exit '`;
    const script = `mkdir small && mount -t tmpfs -o size=6m none small && cd work && ` +
      `${record}"0" 2>../zero; echo $?; rm -r log ../small/t; ${record}"7" 2>../seven; echo $?; ` +
      `"$DK" export --state-dir ../small/t --time end --out ../out 2>&1; ` +
      `"$DK" info --json --state-dir ../small/t 2>../said >../info; ` +
      `"$DK" info --state-dir ../small/t >../shown 2>&1`;
    const ran = run(["unshare", "-m", "sh", "-c", script], {
      cwd: folder,
      env: { ...process.env, DK: BINARY },
    });
    expect(ran.stdout.split("\n").slice(0, 2)).toEqual(["125", "7"]);
    const summary = JSON.parse(readFileSync(join(folder, "seven"), "utf8"));
    expect(summary).toMatchObject({ exit_code: 7, error: { code: "disk_full" }, verified: null });
    expect(summary.fidelity.exact).toBe(false);
    const stored = readFileSync(join(folder, "out/log")).length;
    expect(summary.bytes).toBe(stored);
    expect(stored).toBeLessThan(6_000_000);
    // the trace says itself why it ends there
    const facts = JSON.parse(readFileSync(join(folder, "info"), "utf8"));
    expect(facts).toMatchObject({ state: "cut", cut_error: { code: "disk_full" } });
    for (const name of ["said", "shown"]) {
      expect(readFileSync(join(folder, name), "utf8")).toContain("no space left on the disk");
    }
    expect(readFileSync(join(folder, "shown"), "utf8")).toMatch(
      /^ended +cut at \S+: cannot write trace .*: no space left on the disk$/m,
    );
  },
);

kernelTest(
  "an export onto a full disk is an error, and leaves no part that looks like a whole",
  () => {
    const folder = scratch("endings");
    const script =
      `mkdir small && mount -t tmpfs -o size=3m none small && mkdir work && cd work && ` +
      `"$DK" record --quiet --state-dir ../t -- sh -c '` +
      `for i in 1 2 3 4 5; do mkdir d$i; head -c 1000000 /dev/urandom >d$i/f; done'; ` +
      `"$DK" export --time end --out ../small/out ../t 2>../said; echo $?; find ../small/out; ` +
      `echo mine >../small/mine; "$DK" export --time '#1' --out ../small/out ../t >/dev/null; echo $?`;
    const ran = run(["unshare", "-m", "sh", "-c", script], {
      cwd: folder,
      env: { ...process.env, DK: BINARY },
    });
    expect(ran.stdout.split("\n")).toEqual(["1", "../small/out", "0", ""]);
    expect(readFileSync(join(folder, "said"), "utf8")).toBe(
      'diffkeeper: error: cannot export to "../small/out": cannot write the file "f": ' +
        "no space left on device\n" +
        "hint: free some space, or choose another --out; what was made until then is removed\n",
    );
  },
);

kernelTest("the JSON summary has the keys of info, in one style", () => {
  const folder = scratch("endings");
  const ran = dk(["record", "--json", "--", "sh", "-c", "echo 1 >a"], { cwd: folder });
  const summary = JSON.parse(ran.stderr) as Record<string, unknown>;
  const facts = info(join(folder, "diffkeeper-trace"));
  for (const [key, value] of Object.entries(summary)) {
    expect(key).toMatch(/^[a-z]+(_[a-z]+)*$/);
    if (key in facts && key !== "verified") expect([key, facts[key]]).toEqual([key, value]);
  }
  expect(Object.keys(summary)).toContain("exit_code");
});

kernelTest("files touched are no folders", () => {
  const folder = scratch("endings");
  const script = "mkdir a; echo 1 >a/x; mv a b; chmod 700 b; ln -s x b/l; rm b/x; mkdir c; rmdir c";
  const ran = dk(["record", "--", "sh", "-c", script], { cwd: folder });
  expect(ran.stderr).toContain(" 2 files touched, ");
  expect(info(join(folder, "diffkeeper-trace"))["files"]).toBe(2);
});

kernelTest("an unknown command is found out before anything is made", () => {
  const folder = scratch("endings");
  const ran = dk(["record", "--", "no-such-command"], { cwd: folder });
  expect([ran.code, existsSync(join(folder, "diffkeeper-trace"))]).toEqual([127, false]);
});

const GONE: readonly [string, string, string[]][] = [
  ["removed", "rm -rf wd; sleep 0.3; exit 5", ["UNLINK f"]],
  ["moved", "mv wd wd9; echo x >wd9/n; exit 5", ["CREATE n", "WRITE n"]],
  ["replaced by a folder", "rm -rf wd; mkdir wd; echo b >wd/b; exit 5", ["UNLINK f"]],
  ["replaced by a file", "rm -rf wd; echo b >wd; exit 5", ["UNLINK f"]],
];
for (const [name, script, wanted] of GONE) {
  kernelTest(`the watched folder itself is ${name}: it is said, and nothing else is lost`, () => {
    const folder = scratch("endings");
    for (const sub of ["wd", "other"]) mkdirSync(join(folder, sub));
    writeFileSync(join(folder, "wd/f"), "a");
    const argv = ["record", "--watch", "wd", "--watch", "other", "--state-dir", "tr", "--"];
    const ran = dk([...argv, "sh", "-c", `echo o >other/o; ${script}`], { cwd: folder });
    expect(ran.code).toBe(5);
    expect(ran.stderr).toContain("/wd: the watched folder itself was removed, moved or replaced");
    expect(ran.stderr).not.toContain("/other: the watched");
    const state = join(folder, "tr");
    expect(info(state)["clean"]).toBe(true);
    const changes = events(state).map(({ op, path }) => `${op} ${path}`);
    for (const change of ["CREATE o", ...wanted]) expect(changes).toContain(change);
    expect(changes.filter((change) => change.startsWith("NOTE"))).toHaveLength(1);
    expect(dk(["verify", state]).code).toBe(0);
    // of the end: what is recorded of both, side by side
    const out = join(folder, "out");
    expect(dk(["export", "--time", "end", "--out", out, state]).code).toBe(0);
    expect(readFileSync(join(out, folder, "other/o"), "utf8")).toBe("o\n");
    expect(existsSync(join(out, folder, "wd/f"))).toBe(name === "moved");
  });
}
