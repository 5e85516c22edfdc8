/** `diffkeeper compact`: makes a trace small, from where the recorder or an earlier run left it. */
import type { Command } from "commander";
import { statSync } from "node:fs";
import { formatBytes } from "../base/units.ts";
import { EFFORT_FAST, EFFORT_SMALL } from "../compact/blob_maker.ts";
import { compactTrace } from "../compact/compact_trace.ts";
import { settingsOf } from "../compact/compactor.ts";
import { findTraceFile } from "../store/trace_open.ts";
import { ProgressLine, ResultWriter } from "./output.ts";
import { progressText } from "./compact_progress.ts";
import { aboutTrace, onTrace } from "./trace_options.ts";

interface CompactFlags {
  stateDir: string;
  fast?: boolean;
  json?: boolean;
}

const HELP = `
Nothing that the trace says changes: every event stays, and each file at each event. It can be stopped at any
time, even killed; the next run goes on where it was. What was packed fast, beside the command or with
--fast, is packed once more, smaller.

Examples:
  diffkeeper compact
  diffkeeper compact --fast --json`;

/** Adds the command to the program. */
export function register(program: Command): void {
  aboutTrace(program.command("compact"))
    .description("make a trace small; nothing that it says changes")
    .option("--fast", "less time, a larger trace")
    .option("--json", "one JSON object")
    .addHelpText("after", HELP)
    .action(onTrace(run));
}

function run(flags: CompactFlags): void {
  const path = findTraceFile(flags.stateDir);
  const before = statSync(path).size +
    (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0);
  const line = new ProgressLine();
  try {
    compactTrace(flags.stateDir, {
      settings: settingsOf(flags.fast === true ? EFFORT_FAST : EFFORT_SMALL),
      onProgress: (progress) => line.update(() => progressText(progress)),
    });
  } finally {
    line.end();
  }
  const after = statSync(path).size;
  const writer = new ResultWriter();
  if (flags.json === true) writer.line(JSON.stringify({ before, after }));
  else writer.line(`${flags.stateDir}: ${formatBytes(before)} before, ${formatBytes(after)} now`);
  writer.flush();
}
