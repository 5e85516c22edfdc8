/** `diffkeeper pack`: a trace as one small file, to keep or to send. */
import type { Command } from "commander";
import { statSync } from "node:fs";
import { formatBytes, formatCount } from "../base/units.ts";
import type { EmbedReport } from "../compact/embed.ts";
import { packTrace } from "../compact/pack_trace.ts";
import { base64Of, isText, printed, textOf } from "../history/path_text.ts";
import { ProgressLine, ResultWriter, stderr } from "./output.ts";
import { progressText } from "./compact_progress.ts";
import { aboutTrace, onTrace } from "./trace_options.ts";

/** Files that are named which could not be embedded; --json has more. */
const MISSING_SHOWN_MAX = 10;

/** Exit code of --strict when something could not be embedded. */
const STRICT_EXIT_CODE = 1;

interface PackFlags {
  stateDir: string;
  out: string;
  strict?: boolean;
  json?: boolean;
}

const HELP = `
The trace itself stays as it is. The file holds all of it, also the contents that a lazy baseline left in the files on
disk. A file that has changed since the recording is named: what it held at the start is not known any more.
Every command reads the file as it is, on any machine.

Examples:
  diffkeeper pack --out test.dktrace && diffkeeper info test.dktrace`;

/** Adds the command to the program. */
export function register(program: Command): void {
  aboutTrace(program.command("pack"))
    .description("write a trace as one small file that needs nothing else")
    .requiredOption("--out <file>", "the file to write: new, by habit NAME.dktrace")
    .option("--strict", "exit with 1 when a content could not be embedded")
    .option("--json", "one JSON object")
    .addHelpText("after", HELP)
    .action(onTrace(run));
}

function run(flags: PackFlags): void {
  const { stateDir, out } = flags;
  const line = new ProgressLine();
  let report: EmbedReport;
  try {
    report = packTrace(stateDir, out, {
      onFile: (done, total) =>
        line.update(() => `embedding: ${formatCount(done)} of ${formatCount(total)} files`),
      onProgress: (progress) => line.update(() => progressText(progress)),
    });
  } finally {
    line.end();
  }
  tell(flags, report);
  if (flags.strict === true && report.missingFiles > 0) process.exitCode = STRICT_EXIT_CODE;
}

function tell({ out, json }: PackFlags, report: EmbedReport): void {
  const { size } = statSync(out);
  const { files, bytes, missingFiles, missing } = report;
  for (const { path, why } of missing.slice(0, MISSING_SHOWN_MAX)) {
    stderr.write(`diffkeeper: warning: ${printed(path)}: not embedded: ${why}\n`);
  }
  const hidden = missingFiles - Math.min(missing.length, MISSING_SHOWN_MAX);
  if (hidden > 0) {
    stderr.write(`diffkeeper: warning: and ${formatCount(hidden)} more were not embedded\n`);
  }
  const writer = new ResultWriter();
  if (json === true) writer.line(jsonOf(out, size, report));
  else {
    const embedded = files === 0
      ? ""
      : `, with ${formatCount(files)} ${files === 1 ? "file" : "files"} (${
        formatBytes(bytes)
      }) taken from disk`;
    const lost = missingFiles === 0 ? "" : `, ${formatCount(missingFiles)} could not be had`;
    writer.line(`${out}: ${formatBytes(size)}${embedded}${lost}`);
  }
  writer.flush();
}

function jsonOf(out: string, size: number, report: EmbedReport): string {
  const { files, bytes, missingFiles, missing } = report;
  return JSON.stringify({
    out,
    bytes: size,
    embedded_files: files,
    embedded_bytes: bytes,
    missing_count: missingFiles,
    missing: missing.map(({ path, bytes, why }) => ({
      path: textOf(path),
      ...(isText(path) ? {} : { path_b64: base64Of(path) }),
      bytes,
      why,
    })),
  });
}
