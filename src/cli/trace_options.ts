/** What all commands that read a trace have in common: which one, what is said of a cut one, and how values are read. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { DiffKeeperError } from "../base/error.ts";
import { formatCount } from "../base/units.ts";
import { Glob } from "../format/glob.ts";
import {
  formatTime,
  parseTime,
  resolveTime,
  type TimeRange,
  type TimeSpan,
} from "../format/time_expr.ts";
import { Trace } from "../history/trace.ts";
import { ProgressLine, stderr } from "./output.ts";

/** Where a trace is when nobody says. */
export const STATE_DIR_DEFAULT = "diffkeeper-trace";

/** Gives a command the trace it is about: as an argument, or by `--state-dir`. `onTrace` says which was meant. */
export function aboutTrace(command: Command): Command {
  return command
    .argument("[trace]", `a state-dir or a packed file (default: ${STATE_DIR_DEFAULT})`)
    .addOption(new Option("--state-dir <dir>", "the same by name"));
}

/** The action of a command that `aboutTrace` made: its flags, with the trace that is meant as `stateDir`. */
export function onTrace<F extends { stateDir: string }>(
  run: (flags: F) => void | Promise<void>,
): (argument: string | undefined, flags: F) => void | Promise<void> {
  return (argument, flags) => run({ ...flags, stateDir: traceOf(argument, flags.stateDir) });
}

/** @throws {DiffKeeperError} `usage`: two traces are named. */
function traceOf(argument: string | undefined, stateDir: string | undefined): string {
  if (argument !== undefined && stateDir !== undefined && argument !== stateDir) {
    throw new DiffKeeperError(
      "usage",
      `cannot use "${argument}" and --state-dir "${stateDir}": that is two traces`,
      { hint: "leave one of them out" },
    );
  }
  return argument ?? stateDir ?? STATE_DIR_DEFAULT;
}

/** Opens the trace and says on stderr when it was cut. @throws {DiffKeeperError} as Trace.open */
export function openTrace(stateDir: string): Trace {
  const trace = Trace.open(stateDir);
  const cut = trace.cutText();
  if (cut !== undefined) stderr.write(`diffkeeper: ${cut}\n`);
  return trace;
}

/** What to say of a trace whose beginning was dropped; undefined: it begins at the start. */
export function droppedText(trace: Trace): string | undefined {
  const fold = trace.fold();
  if (fold === undefined) return undefined;
  const { seq, tNs } = fold;
  const what = seq === 1 ? "1 earlier event was" : `${formatCount(seq)} earlier events were`;
  return `${what} dropped, up to #${seq} at ${formatTime(tNs)}`;
}

/** A time option of a trace. @throws {DiffKeeperError} `usage`, `out_of_range` */
export function spanOf(
  value: string | undefined,
  range: () => TimeRange,
  open = false,
): TimeSpan | undefined {
  return value === undefined ? undefined : resolveTime(parseTime(value), range(), { open });
}

/**
 * A glob option. @param from where the recording was made: `record --watch src`, then `timeline --path 'src/*.c'`.
 * @throws {DiffKeeperError} `usage`
 */
export function globOf(value: string | undefined, from?: string): Glob | undefined {
  return value === undefined ? undefined : new Glob(value, from, { printed: true });
}

/** A count given as an option. */
export function parseCount(value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw new InvalidArgumentError("it is not a whole number");
  return Number(value);
}

/** A count that must not be 0: an answer of no lines says nothing. */
export function parseLines(value: string): number {
  const count = /^-\d+$/.test(value) ? 0 : parseCount(value);
  if (count === 0) throw new InvalidArgumentError("it must be 1 or more");
  return count;
}

/** Runs work with a progress line that counts events. @param total how many there are, asked when the line is shown. */
export function withProgress<T>(
  what: string,
  total: () => number,
  work: (onProgress: (done: number) => void) => T,
): T {
  const line = new ProgressLine();
  try {
    return work((done) =>
      line.update(() => `${what}: ${formatCount(done)} of ${formatCount(Math.max(done, total()))}`)
    );
  } finally {
    line.end();
  }
}

/** A wrong value of an option, with what would be right. */
export function wrongValue(option: string, value: string, hint: string): DiffKeeperError {
  return new DiffKeeperError("usage", `cannot use ${option} "${value}": there is no such value`, {
    hint,
  });
}
