/**
 * What proofs and kernel tests share: running the real binary, reading its answers, and a list of checks that becomes an
 * exit code. Everything here runs dist/diffkeeper as a user would; nothing looks inside the program.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";

export const ROOT = join(import.meta.dir, "../..");
/** The binary under test. */
export const BINARY = join(ROOT, "dist/diffkeeper");
const RUN_MS_MAX = 60_000;

/** Why recording cannot be tried here; empty: it can. */
export function obstacle(): string {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync("/sys/kernel/btf/vmlinux")) return "needs a kernel with BTF";
  if (!existsSync(BINARY)) return "needs dist/diffkeeper";
  return "";
}

/** The name of a test with the reason why it is skipped, if it is. */
export function named(name: string): string {
  return obstacle() === "" ? name : `${name} (skipped: ${obstacle()})`;
}

/** How a program ended. */
export interface Ran {
  /** Exit code as a shell sees it: 128+n for signal n. */
  code: number;
  stdout: string;
  stderr: string;
  ms: number;
}

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string | undefined>;
  stdin?: string;
  timeoutMs?: number;
}

/** Runs a program to its end; a program that does not end is killed and has code 137. */
export function run(argv: readonly string[], options: RunOptions = {}): Ran {
  const startedAt = performance.now();
  const done = Bun.spawnSync([...argv], {
    cwd: options.cwd ?? ROOT,
    env: options.env ?? process.env,
    stdin: options.stdin === undefined ? "ignore" : Buffer.from(options.stdin),
    stdout: "pipe",
    stderr: "pipe",
    timeout: options.timeoutMs ?? RUN_MS_MAX,
    killSignal: "SIGKILL",
  });
  const signal = done.signalCode === undefined ? 0 : signalNumber(String(done.signalCode));
  return {
    code: signal === 0 ? done.exitCode : 128 + signal,
    stdout: done.stdout.toString(),
    stderr: done.stderr.toString(),
    ms: performance.now() - startedAt,
  };
}

function signalNumber(name: string): number {
  const numbers: Record<string, number> = { SIGKILL: 9, SIGTERM: 15, SIGINT: 2, SIGSEGV: 11 };
  return numbers[name] ?? 1;
}

/** Runs diffkeeper. */
export function dk(args: readonly string[], options: RunOptions = {}): Ran {
  return run([BINARY, ...args], options);
}

/** One line of `timeline --json`. */
export interface EventLine {
  seq: number;
  t_ns: number;
  op: string;
  path: string | null;
  to?: string;
  path_b64?: string;
  pid?: number;
  comm?: string;
  length?: number;
  offset?: number;
  text?: string;
  stream?: string;
  exit_code?: number;
  outside?: boolean;
  settled?: boolean;
}

/** All events of a trace. @throws when timeline fails. */
export function events(stateDir: string, ...args: string[]): EventLine[] {
  const ran = dk(["timeline", "--json", "--state-dir", stateDir, ...args]);
  if (ran.code !== 0) throw new Error(`timeline exits with ${ran.code}: ${ran.stderr}`);
  return ran.stdout.split("\n").filter((line) => line !== "").map((line) =>
    JSON.parse(line) as EventLine
  );
}

/** What `info --json` says. @throws when it fails. */
export function info(stateDir: string): Record<string, unknown> {
  const ran = dk(["info", "--json", "--state-dir", stateDir]);
  if (ran.code !== 0) throw new Error(`info exits with ${ran.code}: ${ran.stderr}`);
  return JSON.parse(ran.stdout) as Record<string, unknown>;
}

const folders: string[] = [];

/** A folder that is gone when the program ends; a test calls `removeScratch` in `afterAll`. */
export function scratch(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `diffkeeper-${name}-`));
  if (folders.length === 0) process.on("exit", removeScratch);
  folders.push(folder);
  return folder;
}

export function removeScratch(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/**
 * Runs a program on a terminal of its own (Python's pty) and types `keys` into it, each after its delay in seconds.
 * `stdout` is what the terminal showed.
 */
export function onTerminal(
  argv: readonly string[],
  options: RunOptions & { keys?: [number, string][] } = {},
): Ran {
  const request = JSON.stringify({ argv, keys: options.keys ?? [] });
  return run(["python3", join(import.meta.dir, "_terminal.py"), request], options);
}

/** Results of a proof, printed as they come. */
export class Checks {
  readonly failures: string[] = [];
  count = 0;
  readonly #quiet: boolean;

  constructor(options: { quiet?: boolean } = {}) {
    this.#quiet = options.quiet === true;
  }

  /** One line that must hold. `detail` is shown when it does not. */
  that(name: string, holds: boolean, detail = ""): void {
    this.count++;
    if (!holds) this.failures.push(detail === "" ? name : `${name}: ${detail}`);
    if (!this.#quiet) console.log(`  ${holds ? "ok  " : "FAIL"}  ${name}`);
    if (!holds && !this.#quiet && detail !== "") console.log(`        ${detail}`);
  }

  equal(name: string, found: unknown, expected: unknown): void {
    const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
    this.that(name, a === b, `expected ${b}, found ${a}`);
  }

  note(text: string): void {
    if (!this.#quiet) console.log(`  ${text}`);
  }

  /** Prints the figure of the proof and ends the process with 0 or 1. */
  end(figure: string): never {
    console.log(
      `${figure}: ${this.count - this.failures.length} of ${this.count} checks hold (${machine()})`,
    );
    process.exit(this.failures.length === 0 ? 0 : 1);
  }
}

/** The machine in a few words. */
export function machine(): string {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} x ${cpu?.model.trim() ?? "cpu"}, ${memory} GiB, Linux ${release()}`;
}

/** Ends a proof that cannot be tried here. */
export function requireKernel(): void {
  const reason = obstacle();
  if (reason === "") return;
  console.error(`proof: error: cannot run here: ${reason}`);
  process.exit(1);
}
