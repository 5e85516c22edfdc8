/** `diffkeeper gc`: frees what nothing in a trace refers to, and drops old history where a budget asks for it. */
import type { Command } from "commander";
import { formatBytes, formatCount } from "../base/units.ts";
import { type Budget, type GcReport, gcTrace } from "../compact/gc_trace.ts";
import { formatTime } from "../format/time_expr.ts";
import { budgetOption, keepTime } from "./budget_options.ts";
import { ResultWriter, stderr } from "./output.ts";
import { aboutTrace, onTrace } from "./trace_options.ts";

interface GcFlags {
  stateDir: string;
  keepLast?: string;
  maxSize?: string;
  json?: boolean;
}

const HELP = `
Without a budget nothing that the trace says changes. With one, the trace is packed (see compact), and what is then too
old or too much is folded into the state that the recording begins with: what remains is as exact as before, and
times before it are refused. Killed at any point, the trace is as it was or as it should be.

Examples:
  diffkeeper gc
  diffkeeper gc --keep-last 10m
  diffkeeper gc --max-size 100M --json`;

/** Adds the command to the program. */
export function register(program: Command): void {
  aboutTrace(program.command("gc"))
    .description("free what nothing refers to; drop old history to fit a budget")
    .option("--keep-last <time>", "drop what is older than this, from the end: 10m, 90s")
    .option("--max-size <size>", "drop the oldest until the trace fits: 500M, 2G")
    .option("--json", "one JSON object")
    .addHelpText("after", HELP)
    .action(onTrace(run));
}

function run(flags: GcFlags): void {
  const { stateDir, keepLast, maxSize } = flags;
  const budget: Budget = {
    ...(keepLast === undefined ? {} : { keepNs: keepTime("--keep-last", keepLast) }),
    ...(maxSize === undefined ? {} : { maxBytes: budgetOption("--max-size", maxSize) }),
  };
  const report = gcTrace(stateDir, budget);
  const { maxBytes = Number.POSITIVE_INFINITY } = budget;
  if (report.bytesAfter > maxBytes) {
    stderr.write(
      `diffkeeper: warning: the trace still takes ${formatBytes(report.bytesAfter)}: ` +
        "no events are left, the state of the files alone is larger than --max-size\n",
    );
  }
  const writer = new ResultWriter();
  if (flags.json === true) writer.line(jsonOf(report));
  else writer.line(`${stateDir}: ${textOf(report)}`);
  writer.flush();
}

function textOf({ bytesBefore, bytesAfter, events, seq, tNs }: GcReport): string {
  const sizes = `${formatBytes(bytesBefore)} before, ${formatBytes(bytesAfter)} now`;
  const freed = `${formatBytes(Math.max(0, bytesBefore - bytesAfter))} freed`;
  if (events === 0) return `${sizes}, ${freed}`;
  const what = `${formatCount(events)} ${events === 1 ? "event" : "events"} dropped`;
  return `${sizes}, ${freed}; ${what}, the earliest moment is #${seq} at ${formatTime(tNs)}`;
}

function jsonOf({ bytesBefore, bytesAfter, rows, events, seq, tNs }: GcReport): string {
  return JSON.stringify({
    before: bytesBefore,
    after: bytesAfter,
    freed: Math.max(0, bytesBefore - bytesAfter),
    rows,
    dropped_events: events,
    first_seq: seq + 1,
    earliest_ns: tNs,
  });
}
