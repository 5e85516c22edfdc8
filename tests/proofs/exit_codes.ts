/**
 * Exit codes and error texts of `record` and of reading: the command's own code, and one clear line with a hint.
 * Each case runs the binary as a user would and compares its exit code and the whole shape of stderr: one line
 * `diffkeeper: error: ...`, then `caused by:` and `hint:` lines, no stack trace, no second error.
 */
import { cpSync, mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { BINARY, Checks, dk, type Ran, requireKernel, run, scratch } from "./_kit.ts";

const NOBODY = 65_534;

/** One way to end. */
export interface Case {
  name: string;
  ran(folder: string): Ran;
  code: number;
  /** Parts of the error message; none: no error. */
  error?: readonly string[];
  /** Part of the hint. */
  hint?: string;
}

function record(folder: string, ...command: string[]): Ran {
  return dk(["record", "--quiet", "--overwrite", "--state-dir", "trace", "--", ...command], {
    cwd: folder,
  });
}

function shell(folder: string, script: string): Ran {
  return run(["sh", "-c", script], {
    cwd: folder,
    env: { ...process.env, DK: BINARY },
  });
}

/** Records once, then damages a copy of the trace and reads it. */
function damaged(folder: string, damage: (file: string) => void, ...args: string[]): Ran {
  record(folder, "sh", "-c", "head -c 300000 /dev/urandom >data");
  const copy = join(folder, "damaged");
  cpSync(join(folder, "trace"), copy, { recursive: true });
  damage(join(copy, "trace.db"));
  return dk([...args, "--state-dir", copy], { cwd: folder });
}

function setVersion(file: string): void {
  const db = new Database(file);
  db.run("PRAGMA user_version = 99");
  db.close();
}

function plainFile(folder: string): Ran {
  writeFileSync(join(folder, "plain"), "text\n", { mode: 0o644 });
  return record(folder, "./plain");
}

/** How the command ended decides. */
export const COMMAND_CASES: readonly Case[] = [
  { name: "the command's own code", ran: (f) => record(f, "sh", "-c", "exit 7"), code: 7 },
  { name: "success", ran: (f) => record(f, "true"), code: 0 },
  { name: "SIGSEGV is 139", ran: (f) => record(f, "sh", "-c", "kill -SEGV $$"), code: 139 },
  { name: "SIGKILL is 137", ran: (f) => record(f, "sh", "-c", "kill -KILL $$"), code: 137 },
  { name: "SIGTERM is 143", ran: (f) => record(f, "sh", "-c", "kill -TERM $$"), code: 143 },
  {
    name: "unknown command",
    ran: (f) => record(f, "no-such-command"),
    code: 127,
    error: [`cannot run "no-such-command": command not found`],
    hint: "check the spelling",
  },
  {
    name: "command at a path that is not there",
    ran: (f) => record(f, "./no/such"),
    code: 127,
    error: [`cannot run "./no/such": no such file`],
    hint: "check the spelling",
  },
  {
    name: "not executable",
    ran: plainFile,
    code: 126,
    error: [`cannot run "./plain": permission denied`],
    hint: "chmod +x",
  },
  {
    name: "a folder as command",
    ran: (f) => record(f, "/tmp"),
    code: 126,
    error: [`cannot run "/tmp": it is a folder`],
    hint: "--watch",
  },
];

/** Records `true`, fails to record over it, and looks at what is there. */
function kept(folder: string, ...failing: string[]): Ran {
  record(folder, "true");
  dk(["record", "--overwrite", "--state-dir", "trace", ...failing], { cwd: folder });
  return shell(
    folder,
    `"$DK" info --state-dir trace >out; grep -q "^command    true$" out && ls -A trace`,
  );
}

/** A trace that was to be replaced is there again when the command did not start. */
export const OVERWRITE_CASES: readonly Case[] = [
  { name: "kept: unknown command", ran: (f) => kept(f, "--", "no-such-command"), code: 0 },
  { name: "kept: not executable", ran: (f) => kept(f, "--", "/etc/passwd"), code: 0 },
  {
    name: "kept: the folders hold too much",
    ran: (f) => {
      writeFileSync(join(f, "data"), "more than one byte");
      return kept(f, "--baseline-max", "1", "--", "true");
    },
    code: 0,
  },
  {
    name: "kept: no such folder to watch",
    ran: (f) => kept(f, "--watch", "nowhere", "--", "true"),
    code: 0,
  },
];

/** The recorder cannot work. */
export const RECORDER_CASES: readonly Case[] = [
  {
    name: "no privilege",
    ran: (f) => {
      mkdirSync(join(f, "open"), { recursive: true, mode: 0o777 });
      return shell(
        f,
        `chmod 711 . && chmod 777 open && cd open && exec setpriv --reuid=${NOBODY} ` +
          `--regid=${NOBODY} --clear-groups "$DK" record --state-dir t -- true`,
      );
    },
    code: 125,
    error: ["cannot load the recorder into the kernel: permission denied"],
    hint: "sudo",
  },
  {
    name: "no BTF",
    ran: (f) =>
      shell(
        f,
        `mkdir -p empty && exec unshare -m sh -c 'mount --bind empty /sys/kernel/btf && ` +
          `exec "$DK" record -- true'`,
      ),
    code: 125,
    error: ["cannot record: this kernel lacks", "/sys/kernel/btf/vmlinux", "needs Linux 5.4"],
    hint: "5.15",
  },
  {
    name: "few open files allowed",
    ran: (f) => shell(f, `ulimit -n 100; exec "$DK" record -- true`),
    code: 125,
    error: ["cannot record: 100 files may be open at a time, the recorder needs 256"],
    hint: "ulimit -Hn",
  },
  {
    name: "state-dir in use",
    ran: (f) =>
      shell(
        f,
        `"$DK" record --quiet --state-dir busy -- sh -c 'echo >started; sleep 2' & ` +
          `until [ -e started ]; do sleep 0.05; done; ` +
          `"$DK" record --state-dir busy -- true; code=$?; wait; exit $code`,
      ),
    code: 125,
    error: [`busy": the recorder with process id `, " is using it"],
    hint: "choose another --state-dir",
  },
  {
    name: "read-only state-dir",
    ran: (f) =>
      shell(
        f,
        `mkdir -p ro && exec unshare -m sh -c 'mount --bind ro ro && ` +
          `mount -o remount,bind,ro ro && exec "$DK" record --state-dir ro/new -- true'`,
      ),
    code: 125,
    error: [`cannot make the state-dir`, "ro/new", "read-only"],
    hint: "choose another --state-dir",
  },
  {
    name: "read-only state-dir that exists",
    ran: (f) =>
      shell(
        f,
        `mkdir -p ro2 && exec unshare -m sh -c 'mount --bind ro2 ro2 && ` +
          `mount -o remount,bind,ro ro2 && exec "$DK" record --state-dir ro2 -- true'`,
      ),
    code: 125,
    error: [`ro2`, "read-only"],
    hint: "choose another --state-dir",
  },
  {
    name: "state-dir that holds a trace",
    ran: (f) => {
      record(f, "true");
      return dk(["record", "--state-dir", "trace", "--", "true"], { cwd: f });
    },
    code: 125,
    error: [`cannot record into`, "it holds a trace"],
    hint: "--overwrite",
  },
  {
    name: "watched folder that is not there",
    ran: (f) => dk(["record", "--watch", "nowhere", "--", "true"], { cwd: f }),
    code: 125,
    error: [`cannot watch "nowhere": no such folder`],
    hint: "check the spelling",
  },
];

/** The call makes no sense, or the trace cannot be read. */
export const READER_CASES: readonly Case[] = [
  {
    name: "unknown flag",
    ran: (f) => dk(["record", "--nope", "--", "true"], { cwd: f }),
    code: 125,
    error: ["unknown option '--nope'"],
    hint: "diffkeeper record --help",
  },
  {
    name: "no command",
    ran: (f) => dk(["record"], { cwd: f }),
    code: 125,
    error: ["missing required argument 'command'"],
    hint: "diffkeeper record --help",
  },
  {
    name: "a ring of no size",
    ran: (f) => dk(["record", "--ring-size", "3", "--", "true"], { cwd: f }),
    code: 125,
    error: ["it must be a power of two"],
  },
  {
    name: "a file that is to be watched",
    ran: (f) => {
      writeFileSync(join(f, "file"), "");
      return dk(["record", "--watch", "file/", "--", "true"], { cwd: f });
    },
    code: 125,
    error: [`cannot watch "file/": it is a file, not a folder`],
    hint: "--include NAME",
  },
  {
    name: "unknown flag of another command",
    ran: (f) => dk(["info", "--nope"], { cwd: f }),
    code: 2,
    error: ["unknown option '--nope'"],
    hint: "diffkeeper info --help",
  },
  {
    name: "unknown user",
    ran: (f) => dk(["record", "--user", "no-such-user", "--", "true"], { cwd: f }),
    code: 125,
    error: [`cannot run the command as "no-such-user": no such user`],
    hint: "/etc/passwd",
  },
  {
    name: "a time that is none",
    ran: (f) => damaged(f, () => undefined, "export", "--out", "out", "--time", "noon"),
    code: 2,
    error: [`cannot read the time "noon"`],
    hint: "2m14s",
  },
  {
    name: "no trace",
    ran: (f) => dk(["timeline", "--state-dir", "nothing"], { cwd: f }),
    code: 1,
    error: [`cannot open trace "nothing": there is no trace`],
    hint: "diffkeeper record -- CMD",
  },
  {
    name: "trace of a newer version",
    ran: (f) => damaged(f, setVersion, "timeline"),
    code: 1,
    error: ["it is version 99, this build reads up to 4"],
    hint: "newer diffkeeper",
  },
  ...["timeline", "info"].map((verb): Case => ({
    name: `truncated trace, ${verb}`,
    ran: (f) => damaged(f, (file) => truncateSync(file, 70_000), verb),
    code: 1,
    error: ["it ends after 70000 of"],
    hint: "copy the trace again",
  })),
  {
    name: "empty trace file",
    ran: (f) => damaged(f, (file) => truncateSync(file, 0), "timeline"),
    code: 1,
    error: ["it ends after 0 bytes"],
    hint: "copy the trace again",
  },
  {
    name: "a file that is no trace",
    ran: (f) => damaged(f, (file) => writeFileSync(file, "hello\n".repeat(1000)), "timeline"),
    code: 1,
    error: ["it is not a DiffKeeper trace"],
    hint: "diffkeeper record -- CMD",
  },
];

/** What is wrong with the outcome of a case; empty: nothing. */
export function problemOf(one: Case, ran: Ran): string {
  if (ran.code !== one.code) return `exit code ${ran.code}, not ${one.code}: ${ran.stderr}`;
  const lines = ran.stderr.split("\n").filter((line) => line !== "");
  if (one.error === undefined) return lines.length === 0 ? "" : `stderr: ${ran.stderr}`;
  const [first = "", ...rest] = lines;
  if (!first.startsWith("diffkeeper: error: ")) return `no error line: ${ran.stderr}`;
  const missing = one.error.find((part) => !first.includes(part));
  if (missing !== undefined) return `no "${missing}" in: ${first}`;
  const stray = rest.find((line) => !/^(caused by|hint): /.test(line));
  if (stray !== undefined) return `stray line: ${stray}`;
  const hint = rest.findLast((line) => line.startsWith("hint: ")) ?? "";
  if (one.hint !== undefined && !hint.includes(one.hint)) return `no "${one.hint}" in: ${hint}`;
  return "";
}

if (import.meta.main) {
  requireKernel();
  const checks = new Checks();
  for (const one of [...COMMAND_CASES, ...OVERWRITE_CASES, ...RECORDER_CASES, ...READER_CASES]) {
    const problem = problemOf(one, one.ran(scratch("codes")));
    checks.that(`${one.name} (${one.code})`, problem === "", problem);
  }
  checks.end("exit codes and errors");
}
