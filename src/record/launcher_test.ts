/** The launcher against the real program: what the command gets, and what is said when it cannot be started. */
import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LaunchSpec } from "../format/launch_plan.ts";
import { Launcher, missingCommand } from "./launcher.ts";

const SIGUSR1 = 10;
const SIGUSR2 = 12;
const PLAIN: Omit<LaunchSpec, "argv" | "env"> = {
  ignoredSignals: [],
  blockedSignals: [],
  fds: [],
  nonBlocking: [],
};

/** What the command writes into a file, `OUT` in its arguments, run by the launcher. */
async function output(argv: string[], spec: Partial<LaunchSpec> = {}): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "diffkeeper-launcher-"));
  try {
    const path = join(folder, "out");
    const words = argv.map((word) => word === "OUT" ? path : word);
    const launcher = Launcher.start({
      ...PLAIN,
      argv: words,
      env: ["PATH=/usr/bin:/bin"],
      ...spec,
    });
    launcher.go();
    await launcher.child.exited;
    expect(launcher.failure()).toBeUndefined();
    return readFileSync(path, "latin1");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const SOURCE = readFileSync(new URL("../../native/starter.c", import.meta.url), "utf8");
const FIELDS = [
  ...["bytes", "argc", "envc", "pathc", "groupc", "fdc"],
  ...["has_user", "uid", "gid", "ignored", "blocked", "blocking", "files_max"],
];

test("the struct has the fields of the words, in their order", () => {
  const body = /struct plan \{([^}]*)\}/.exec(SOURCE)?.[1] ?? "";
  const names = [...body.replaceAll(/\/\*.*?\*\//g, "").matchAll(/\bu64 ([^;]*);/g)]
    .flatMap(([, list = ""]) => list.split(",").map((name) => name.trim()));
  expect(names).toEqual(FIELDS);
  expect(SOURCE).toContain("enum { COMMAND_GO = 1, COMMAND_FILTER = 2 };");
  expect(SOURCE).toContain("enum { REPLY_FILTER = 1, REPLY_EXEC = 2, REPLY_USER = 3 };");
});

test("arguments and environment are bytes", async () => {
  const env = ["PATH=/usr/bin:/bin", "WORD=\xff\xfe =\n", "EMPTY="];
  const copied = await output(["cp", "/proc/self/environ", "OUT"], { env });
  expect(copied).toBe(`${env.join("\0")}\0`);
  expect(await output(["sh", "-c", 'printf %s "$1" > "$0"', "OUT", "\xff\n\xfe"])).toBe(
    "\xff\n\xfe",
  );
});

test("signals are ignored and blocked as they were, all others are as at the start", async () => {
  const status = await output(["cp", "/proc/self/status", "OUT"], {
    ignoredSignals: [SIGUSR1],
    blockedSignals: [SIGUSR2],
  });
  expect(status).toContain("\nSigBlk:\t0000000000000800\nSigIgn:\t0000000000000200\n");
});

test("descriptors that it is given are there, and no others", async () => {
  const given = openSync("/dev/zero", "r");
  try {
    // the shell keeps its own at 10 and above
    const script = 'for n in 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && echo $n; done > "$0"';
    const listed = await output(["sh", "-c", script, "OUT"], { fds: [given] });
    expect(listed).toBe(`${given}\n`);
  } finally {
    closeSync(given);
  }
});

test("the soft limit of open files", async () => {
  const limit = await output(["sh", "-c", 'ulimit -Sn > "$0"', "OUT"], { openFilesMax: 77 });
  expect(limit).toBe("77\n");
});

test("a script without #! is the shell's", async () => {
  const folder = mkdtempSync(join(tmpdir(), "diffkeeper-launcher-"));
  const script = join(folder, "script");
  writeFileSync(script, 'echo "$0 $1" > "$2"\n', { mode: 0o755 });
  const out = join(folder, "out");
  const launcher = Launcher.start({ ...PLAIN, argv: [script, "one", out], env: [] });
  launcher.go();
  expect(await launcher.child.exited).toBe(0);
  expect(readFileSync(out, "utf8")).toBe(`${script} one\n`);
  rmSync(folder, { recursive: true });
});

test("what is not executable, and what is not there", async () => {
  const launcher = Launcher.start({ ...PLAIN, argv: ["/etc/passwd"], env: [] });
  launcher.go();
  expect(await launcher.child.exited).toBe(126);
  const failure = launcher.failure();
  expect(failure?.exitCode).toBe(126);
  expect(failure?.error.message).toBe('cannot run "/etc/passwd": permission denied');
  const missing = missingCommand({ ...PLAIN, argv: ["nosuch-command"], env: ["PATH=/bin"] });
  expect(missing?.exitCode).toBe(127);
});

test("a launcher that was killed before the go says nothing, and nobody fails", async () => {
  const launcher = Launcher.start({ ...PLAIN, argv: ["true"], env: ["PATH=/bin"] });
  launcher.child.kill("SIGTERM");
  await launcher.child.exited;
  launcher.go();
  expect(launcher.failure()).toBeUndefined();
  expect(launcher.child.signalCode).toBe("SIGTERM");
});

test("too much for one command is refused with figures", () => {
  const spec = { ...PLAIN, argv: ["true", "x".repeat(1 << 24)], env: [] };
  expect(() => Launcher.start(spec)).toThrow("cannot start: arguments and environment have");
});
