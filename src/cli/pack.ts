/** `diffkeeper pack`: a trace as one small file, to keep or to send. */
import type { Command } from "commander";
import { rmSync, statSync } from "node:fs";
import { formatBytes } from "../base/units.ts";
import { compactTrace } from "../compact/compact_trace.ts";
import { copyTrace } from "../store/trace_copy.ts";
import { ProgressLine, ResultWriter } from "./output.ts";
import { progressText } from "./record_compaction.ts";
import { stateDirOption } from "./trace_options.ts";

interface PackFlags {
  stateDir: string;
  out: string;
  json?: boolean;
}

const HELP = `
The trace itself stays as it is. Every command reads the file: diffkeeper timeline --state-dir FILE.

Examples:
  diffkeeper pack --out test.dktrace && diffkeeper info --state-dir test.dktrace`;

/** Adds the command to the program. */
export function register(program: Command): void {
  program.command("pack")
    .description("write a trace as one small file")
    .addOption(stateDirOption())
    .requiredOption("--out <file>", "the file to write: new, by habit NAME.dktrace")
    .option("--json", "one JSON object")
    .addHelpText("after", HELP)
    .action(run);
}

function run(flags: PackFlags): void {
  const { stateDir, out } = flags;
  copyTrace(stateDir, out);
  const line = new ProgressLine();
  try {
    compactTrace(out, { onProgress: (progress) => line.update(() => progressText(progress)) });
  } catch (thrown) {
    rmSync(out, { force: true });
    throw thrown;
  } finally {
    line.end();
  }
  const { size } = statSync(out);
  const writer = new ResultWriter();
  if (flags.json === true) writer.line(JSON.stringify({ out, bytes: size }));
  else writer.line(`${out}: ${formatBytes(size)}`);
  writer.flush();
}
