/**
 * `diffkeeper record`: records what a command does to the files of the watched folders. The command's own output is left
 * alone: all that this prints goes to stderr, after the command ended. Exit code: the command's own (128+n for signal n); 125 when
 * the recorder failed (while the command ran: instead of a 0, decision 0007) or the call makes no sense, 126 and 127 when the command
 * could not be run.
 */
import { type Command, Option } from "commander";
import { resolve } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { asDiffKeeperError, DiffKeeperError, EXIT_RECORDER_FAILED } from "../base/error.ts";
import {
  MAPPED_INTERVAL_MS,
  MAPPED_INTERVAL_MS_MAX,
  MAPPED_INTERVAL_MS_MIN,
  RING_BYTES,
  RING_BYTES_MAX,
  RING_BYTES_MIN,
} from "../base/limits.ts";
import { formatCount } from "../base/units.ts";
import { compareContents } from "../history/compare.ts";
import type { Budget } from "../compact/gc_trace.ts";
import type { BaselineMode } from "../record/baseline.ts";
import type { IoUring } from "../record/gate_session.ts";
import { type CommandUser, commandUser } from "../record/invoker.ts";
import { procStrings } from "../record/launcher.ts";
import type { AuditMode } from "../record/messages.ts";
import { type Reporter, runSession, type SessionResult } from "../record/session.ts";
import { ProgressLine, reportError, stderr } from "./output.ts";
import { budgetOption, keepTime, sizeOption } from "./budget_options.ts";
import { compactMode, RecordCompaction } from "./record_compaction.ts";
import { printSummary } from "./record_summary.ts";
import { testSettings } from "./test_settings.ts";
import { STATE_DIR_DEFAULT } from "./trace_options.ts";

/** From here on: ended by a signal. */
const SIGNAL_EXIT_CODE = 128;

interface RecordFlags {
  stateDir: string;
  watch?: string[];
  include?: string[];
  exclude?: string[];
  name?: string;
  user?: string;
  quiet?: boolean;
  json?: boolean;
  overwrite?: boolean;
  audit: AuditMode;
  wait?: boolean;
  mmapInterval?: string;
  baseline: BaselineMode;
  baselineMax?: string;
  ioUring: IoUring;
  ringSize?: string;
  compact: string;
  keepLast?: string;
  maxSize?: string;
}

const collect = (value: string, all: string[] = []) => [...all, value];

const EXAMPLES = `
Exit code: the command's own, 128+n for signal n; 125 when the recorder failed (while the command ran: in place
of a 0) or this call makes no sense, 126 and 127 when the command could not be run.

Patterns: *.log at any depth, src/** from a watched folder or from here, /absolute/path.

Examples:
  sudo diffkeeper record -- make test
  sudo diffkeeper record --watch src --exclude '*.o' -- make -j4
  sudo diffkeeper record --overwrite --wait -- sh -c 'echo hello >greeting.txt'
  sudo diffkeeper record --overwrite --keep-last 10m --max-size 2G -- make test
  sudo diffkeeper record --state-dir trace2 --name retry -- make test`;

/** Adds the command to the program. */
export function register(program: Command): void {
  program.command("record")
    .description("run a command and record every change to the watched folders")
    .argument("<command...>", "the command with its arguments, after --")
    .option("--state-dir <dir>", "where the trace goes", STATE_DIR_DEFAULT)
    .option("--watch <dir>", "folder to record; may repeat (default: the current folder)", collect)
    .option("--include <glob>", "record only files that match; may repeat", collect)
    .option("--exclude <glob>", "leave out what matches; may repeat", collect)
    .option("--name <name>", "a name for the recording")
    .option("--user <user>", "run the command as this user (default with sudo: you)")
    .option("--overwrite", "replace a trace that is in the state-dir")
    .addOption(
      new Option(
        "--baseline <mode>",
        "contents before the start: saved when needed, copied, or not kept",
      )
        .choices(["lazy", "full", "none"]).default("lazy"),
    )
    .option(
      "--baseline-max <size>",
      "with full: refuse to start when the folders hold more (default 8G)",
    )
    .addOption(
      new Option(
        "--io-uring <mode>",
        "deny: programs are told that there is none; trace: let it through",
      )
        .choices(["deny", "trace"]).default("deny"),
    )
    .option("--ring-size <size>", "kernel buffer, a power of two from 256K to 1G (default 32M)")
    .option("--mmap-interval <ms>", "how often mapped files are compared (default 20ms)")
    .option("--compact <when>", "make the trace small: on (beside the command), after, off", "on")
    .addOption(
      new Option(
        "--audit <how>",
        "what is compared with the trace at the end: all names, and all contents (full) or " +
          "those that a twentieth of the time is enough for (quick)",
      )
        .choices(["quick", "full", "none"]).default("quick"),
    )
    .option("--keep-last <time>", "drop what is older than this while it is recorded: 10m, 90s")
    .option(
      "--max-size <size>",
      "drop the oldest while it is recorded, to keep the trace below: 2G",
    )
    .option("--wait", "record until all processes that the command has started have ended")
    .option("--quiet", "print nothing but errors")
    .option("--json", "print the summary as one JSON object, on stderr")
    .passThroughOptions()
    .addHelpText("after", EXAMPLES)
    .action(async (command: string[], flags: RecordFlags) => {
      // the drain worker has said its last word; waiting for its thread to end would only take time
      process.exit(await record(command, flags));
    });
}

function budgetOf({ keepLast, maxSize }: RecordFlags): Budget {
  return {
    ...(keepLast === undefined ? {} : { keepNs: keepTime("--keep-last", keepLast) }),
    ...(maxSize === undefined ? {} : { maxBytes: budgetOption("--max-size", maxSize) }),
  };
}

function ringBytes(text: string | undefined): number {
  if (text === undefined) return RING_BYTES;
  const bytes = sizeOption("--ring-size", text);
  if (bytes < RING_BYTES_MIN || bytes > RING_BYTES_MAX || (bytes & (bytes - 1)) !== 0) {
    throw new DiffKeeperError(
      "usage",
      `cannot use --ring-size "${text}": it must be a power of two from 256K to 1G`,
    );
  }
  return bytes;
}

function mmapInterval(text: string | undefined): number {
  if (text === undefined) return MAPPED_INTERVAL_MS;
  const ms = Number(/^(\d{1,6})(ms)?$/.exec(text)?.[1] ?? "NaN");
  if (ms >= MAPPED_INTERVAL_MS_MIN && ms <= MAPPED_INTERVAL_MS_MAX) return ms;
  throw new DiffKeeperError(
    "usage",
    `cannot use --mmap-interval "${text}": it must be from 2ms to 60000ms`,
  );
}

/** How this program is started again: the binary alone, or the runtime with the source file. */
function selfCommand(): string[] {
  return Bun.main.startsWith("/$bunfs/") ? [process.execPath] : [process.execPath, Bun.main];
}

/** The cache folder of whoever called: XDG_CACHE_HOME, else ~/.cache; with sudo that of the user behind it. */
function cacheOf(user: CommandUser | undefined, viaSudo: boolean) {
  if (user !== undefined && viaSudo) {
    const owner = { uid: user.uid, gid: user.gid };
    return { cache: { home: `${user.home}/.cache`, owner } };
  }
  const { XDG_CACHE_HOME, HOME } = process.env;
  const own = XDG_CACHE_HOME?.startsWith("/") === true ? XDG_CACHE_HOME : undefined;
  return own === undefined && !HOME ? {} : { cache: { home: own ?? `${HOME}/.cache` } };
}

class ConsoleReporter implements Reporter {
  readonly #line = new ProgressLine();
  readonly #quiet: boolean;
  constructor(quiet: boolean) {
    this.#quiet = quiet;
  }
  progress(text: string): void {
    if (!this.#quiet) this.#line.update(() => text);
  }
  starting(): void {
    this.#line.end();
  }
  waiting(running: number): void {
    if (this.#quiet) return;
    const who = running === 1 ? "1 process" : `${formatCount(running)} processes`;
    stderr.write(
      `diffkeeper: the command ended; ${who} of it still run: recording on (Ctrl-C ends it)\n`,
    );
  }
}

async function record(command: string[], flags: RecordFlags): Promise<number> {
  const ring = ringBytes(flags.ringSize);
  const json = flags.json === true;
  const interval = mmapInterval(flags.mmapInterval);
  const stateDir = resolve(flags.stateDir);
  const compaction = new RecordCompaction(compactMode(flags.compact), stateDir, {
    ringBytes: ring,
    budget: budgetOf(flags),
  });
  const testing = testSettings(process.env);
  const baseline = flags.baselineMax === undefined
    ? undefined
    : sizeOption("--baseline-max", flags.baselineMax);
  const reporter = new ConsoleReporter(flags.quiet === true || json);
  try {
    const user = commandUser(flags.user, process.env);
    const viaSudo = flags.user === undefined && user !== undefined;
    const result = await runSession({
      open: {
        stateDir,
        overwrite: flags.overwrite === true,
        cwd: process.cwd(),
        folders: flags.watch ?? ["."],
        include: flags.include ?? [],
        exclude: flags.exclude ?? [],
        name: flags.name ?? "",
        argv: command,
        ringBytes: ring,
        testing,
        audit: flags.audit,
        mappedIntervalMs: interval,
        baseline: flags.baseline,
        ...cacheOf(user, viaSudo),
        version: manifest.version,
        ...compaction.wishes,
        ...(baseline === undefined ? {} : { baselineBytesMax: baseline }),
        ...(viaSudo ? { owner: { uid: user.uid, gid: user.gid } } : {}),
      },
      argv: procStrings("self", "cmdline").slice(-command.length),
      user,
      viaSudo,
      wait: flags.wait === true,
      ioUring: flags.ioUring,
      self: selfCommand(),
      companion: compaction,
      compare: (touched, timeMs) => compareContents(stateDir, { touched, timeMs }),
    }, reporter);
    if (result.summary?.started) {
      result.summary.notes.push(...compaction.finish((text) => reporter.progress(text)));
      reporter.starting();
    }
    return finish(result, flags);
  } catch (thrown) {
    const error = asDiffKeeperError(thrown);
    reportError(error, { json });
    return EXIT_RECORDER_FAILED;
  }
}

/** Says how it went, and gives the exit code of `record`. @throws {DiffKeeperError} `defect`. */
function finish(result: SessionResult, flags: RecordFlags): number {
  const { exitCode, summary, failure } = result;
  if (failure !== undefined) reportError(failure, { json: flags.json === true });
  if (summary === undefined) return exitCode;
  if (!summary.started) {
    // a signal ended it before it began
    if (failure !== undefined || exitCode > SIGNAL_EXIT_CODE) return exitCode;
    throw new DiffKeeperError("defect", "the command ran, but the kernel reported nothing of it");
  }
  const code = summary.failed === undefined ? exitCode : exitCode || EXIT_RECORDER_FAILED;
  const { stateDir, quiet = false, json = false } = flags;
  printSummary(summary, { stateDir, quiet, json }, code);
  return code;
}
