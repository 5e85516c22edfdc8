/**
 * The command cannot tell that it is recorded: terminal, stdin, cwd, environment, arguments, limits, signals, descriptors.
 * A probe prints all that a process can see of itself; it runs natively and recorded under the same conditions, and both
 * must print the same. What it prints is on the timeline as OUTPUT.
 */
import { chownSync, existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BINARY, Checks, dk, events, onTerminal, requireKernel, run, scratch } from "./_kit.ts";

/** What a process sees of itself. The recorder's own doing, the cgroup and the parent, is left out. */
const PROBE = `#!/bin/sh
for fd in 0 1 2; do if [ -t $fd ]; then echo "terminal $fd"; fi; done
pwd
umask
env | grep -v '^_=' | sort
for fd in /proc/$$/fd/*; do echo "$(basename $fd) $(readlink $fd | sed 's/[0-9][0-9]*/N/')"; done
cat /proc/$$/limits
grep -E '^(Sig(Blk|Ign)|Cap|NoNewPrivs|Uid|Gid|Groups|Cpus_allowed|Umask)' /proc/self/status
cat /proc/$$/oom_score_adj /proc/$$/coredump_filter /proc/$$/timerslack_ns /proc/$$/personality
awk '{ print "nice", $19, "foreground", ($5 == $8), "group leader", ($1 == $5), "terminal", $7 }' /proc/$$/stat
for word; do printf '%s' "$word" | od -An -tx1; done
`;

/** The shell condition under which the probe runs; "$@" is the probe, natively or recorded. */
const CONDITIONS: readonly (readonly [string, string])[] = [
  ["plain", `"$@"`],
  ["ignored signals", `trap '' HUP USR1; "$@"`],
  [
    "blocked signals",
    `python3 -c 'import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
for s in (signal.SIGPIPE, signal.SIGXFSZ): signal.signal(s, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' "$@"`,
  ],
  ["limits", `ulimit -n 333; ulimit -c 7; ulimit -s 4096; "$@"`],
  ["umask, nice", `umask 027; nice -n 5 "$@"`],
  ["environment", `export ODD="$(printf 'a\\377b\\nc=d')" EMPTY=; unset HOME; "$@"`],
  ["another folder", `mkdir -p sub && cd sub && "$@"`],
  ["an open descriptor", `exec 7</dev/null; "$@"`],
  ["two open descriptors", `exec 3</dev/zero 250</dev/null; "$@"`],
];

function condition(checks: Checks, name: string, script: string): void {
  const folder = scratch("terminal");
  writeFileSync(join(folder, "probe"), PROBE, { mode: 0o755 });
  const probe = [join(folder, "probe"), "--out=zz", "--", "", "two words", "\u00e9$*"];
  const state = join(folder, "trace");
  const record = [BINARY, "record", "--quiet", "--overwrite", "--state-dir", state, "--"];
  for (const [kind, runner] of [["pipe", run], ["terminal", onTerminal]] as const) {
    const native = runner(["sh", "-c", script, "sh", ...probe], { cwd: folder });
    const recorded = runner(["sh", "-c", script, "sh", ...record, ...probe], { cwd: folder });
    const differs = difference(native.stdout + native.stderr, recorded.stdout + recorded.stderr);
    checks.that(`${name}, on a ${kind}: the same natively and recorded`, differs === "", differs);
    if (recorded.code !== 0 || kind === "pipe") continue;
    const shown = recorded.stdout.replaceAll("\r\n", "\n");
    const text = events(state, "--op", "output").map((event) => event.text ?? "").join("");
    checks.that(
      `${name}: all that the terminal showed is on the timeline`,
      difference(shown, text) === "",
      difference(shown, text),
    );
  }
}

/** The first lines that differ; empty: none. */
function difference(expected: string, found: string): string {
  const [a, b] = [expected.split("\n"), found.split("\n")];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] !== b[i]) return `line ${i + 1}: "${a[i] ?? ""}", recorded "${b[i] ?? ""}"`;
  }
  return "";
}

/** Arguments are bytes: the probe's `od` shows them. */
function byteArguments(checks: Checks): void {
  const folder = scratch("terminal");
  const script =
    `"$@" sh -c 'for w; do printf %s "$w" | od -An -tx1; done' sh "$(printf '\\377\\001z')"`;
  const record = [BINARY, "record", "--quiet", "--state-dir", "trace", "--"];
  const native = run(["sh", "-c", script, "sh", "env"], { cwd: folder });
  const recorded = run(["sh", "-c", script, "sh", ...record], { cwd: folder });
  checks.equal("arguments that are not UTF-8", recorded.stdout, native.stdout);
}

function streams(checks: Checks): void {
  const folder = scratch("terminal");
  const args = ["record", "--quiet", "--state-dir", "trace", "--"];
  const script = "echo one; sleep 0.3; echo two >&2; cat; exit 3";
  const ran = dk([...args, "sh", "-c", script], { cwd: folder, stdin: "typed\n" });
  checks.equal("piped stdin, stdout, exit code", [ran.stdout, ran.code], ["one\ntyped\n", 3]);
  const shown = events(join(folder, "trace"), "--op", "output");
  checks.equal("output events", shown.map(({ stream, text }) => [stream, text]), [
    ["stdout", "one\n"],
    ["stderr", "two\n"],
    ["stdout", "typed\n"],
  ]);
  const pause = ((shown[1]?.t_ns ?? 0) - (shown[0]?.t_ns ?? 0)) / 1e6;
  checks.that("with their time", pause > 290 && pause < 600, `${pause} ms instead of 300`);
}

/** Runs a command under the recorder and sends the recorder a signal once the command says that it is ready. */
async function signalled(argv: string[], how: { cwd: string; name: NodeJS.Signals }) {
  // a group of its own, as a supervisor would have it
  const child = Bun.spawn(argv, { cwd: how.cwd, stdout: "pipe", stdin: "ignore", detached: true });
  const said = child.stdout.getReader();
  await said.read();
  child.kill(how.name);
  while (!(await said.read()).done);
  return await child.exited;
}

async function signals(checks: Checks): Promise<void> {
  const folder = scratch("terminal");
  const record = [BINARY, "record", "--quiet", "--overwrite", "--state-dir", "trace", "--"];
  const trap = "trap 'echo got; n=$((n+1))' INT TERM HUP USR1; n=0; i=0; echo ready; " +
    "while [ $i -lt 40 ]; do sleep 0.05; i=$((i+1)); done; exit $n";
  for (const name of ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT"] as const) {
    const code = await signalled([...record, "sh", "-c", trap], { cwd: folder, name });
    checks.equal(`${name} to the recorder reaches the command once`, code, 1);
  }
  const keys = (text: string) => ({ cwd: folder, keys: [[0.2, text]] as [number, string][] });
  const typed = onTerminal([...record, "sh", "-c", trap], keys("\x03"));
  checks.equal("Ctrl-C reaches the command once", typed.code, 1);
  const deaf = ["sh", "-c", "echo ready; exec sleep 9"];
  const killed = onTerminal([...record, ...deaf], keys("\x03"));
  checks.equal("Ctrl-C ends a command that does not care: 130", killed.code, 130);
  const quit = onTerminal([...record, ...deaf], keys("\x1c"));
  checks.equal("Ctrl-\\ too: 131", quit.code, 131);
  const stop = `"$@" & sleep 3; kill -TSTP -$!; sleep 0.2; kill -CONT -$!; wait $!`;
  const stopped = run([
    "setsid",
    "-w",
    "bash",
    "-mc",
    stop,
    "sh",
    ...record,
    "sh",
    "-c",
    "sleep 4; exit 6",
  ], {
    cwd: folder,
  });
  checks.equal("stopped and continued as a job", stopped.code, 6);
}

async function background(checks: Checks): Promise<void> {
  const folder = scratch("terminal");
  const record = ["record", "--quiet", "--state-dir", "trace", "--"];
  const script = "(until [ -e go ]; do sleep 0.1; done; echo late >late) >/dev/null 2>&1 & exit 4";
  const ran = dk([...record, "sh", "-c", script], { cwd: folder });
  checks.equal("a background child does not keep the recorder", ran.code, 4);
  checks.that("which ends with the command", !existsSync(join(folder, "late")));
  writeFileSync(join(folder, "go"), "");
  const deadline = performance.now() + 10_000;
  while (!existsSync(join(folder, "late")) && performance.now() < deadline) await Bun.sleep(50);
  checks.that("and does not end with it", existsSync(join(folder, "late")));
}

/** With sudo the command is the invoking user's, and so is the trace. */
function sudo(checks: Checks): void {
  const folder = scratch("terminal");
  const [uid, gid] = [12_345, 23_456];
  chownSync(folder, uid, gid);
  const env = {
    ...process.env,
    SUDO_UID: String(uid),
    SUDO_GID: String(gid),
    SUDO_USER: "somebody",
  };
  const script = "id -u; id -g; id -G; echo mine >file; ls -ldn file | cut -d' ' -f3,4";
  const ran = dk(["record", "--quiet", "--", "sh", "-c", script], { cwd: folder, env });
  checks.equal("the command runs as the invoking user", ran.stdout.trim().split("\n"), [
    `${uid}`,
    `${gid}`,
    `${gid}`,
    `${uid} ${gid}`,
  ]);
  const state = join(folder, "diffkeeper-trace");
  for (const path of [state, join(state, "trace.db")]) {
    const stat = statSync(path);
    checks.equal(`${path.slice(folder.length + 1)} belongs to them`, [stat.uid, stat.gid], [
      uid,
      gid,
    ]);
    checks.equal("and to nobody else", stat.mode & 0o077, 0);
  }
  const reader = ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", BINARY];
  const read = run([...reader, "timeline", "--op", "create"], { cwd: folder });
  checks.that("they read it without root", read.stdout.includes("CREATE file"), read.stderr);
  const out = run([...reader, "export", "--time", "end", "--out", "out"], { cwd: folder });
  checks.that("and export it", out.code === 0 && existsSync(join(folder, "out/file")), out.stderr);
  const root = dk(["record", "--quiet", "--overwrite", "--user", "root", "--", "id", "-u"], {
    cwd: folder,
    env,
  });
  checks.equal("--user root says otherwise", root.stdout.trim(), "0");
}

/** All of it. */
export async function checkTerminal(checks: Checks): Promise<void> {
  for (const [name, script] of CONDITIONS) condition(checks, name, script);
  byteArguments(checks);
  streams(checks);
  await signals(checks);
  await background(checks);
  sudo(checks);
}

if (import.meta.main) {
  requireKernel();
  const checks = new Checks();
  await checkTerminal(checks);
  checks.end("the command cannot tell");
}
