/** `diffkeeper export`: the watched folders as they were at a moment. */
import type { Command } from "commander";
import { counted, formatBytes, formatCount } from "../base/units.ts";
import { formatTime, TIME_FORMS, TIME_RULE } from "../format/time_expr.ts";
import { BaseFiles } from "../history/base_files.ts";
import { exportTree } from "../history/export.ts";
import type { ExportReport } from "../history/export_report.ts";
import type { History } from "../history/fold.ts";
import { base64Of, isText, printed, textOf } from "../history/path_text.ts";
import { Selection } from "../history/selection.ts";
import { closeFd, isRoot } from "../history/target.ts";
import type { FileTest } from "../history/target_entries.ts";
import { abandonTarget, openTarget } from "../history/target_folder.ts";
import type { Trace } from "../history/trace.ts";
import { ResultWriter, stderr } from "./output.ts";
import { aboutTrace, globOf, onTrace, openTrace, spanOf, withProgress } from "./trace_options.ts";

/** Exit code of --strict when something could not be restored exactly. */
const STRICT_EXIT_CODE = 1;

/** Warnings shown on stderr; of more than these only the number. --json has all that were kept. */
const WARNINGS_SHOWN_MAX = 20;

interface ExportFlags {
  stateDir: string;
  time: string;
  out: string;
  path?: string;
  force?: boolean;
  strict?: boolean;
  json?: boolean;
}

const HELP = `
Times: ${TIME_FORMS}.
Quote the #. The rule: ${TIME_RULE}.

One watched folder lands directly in the target, several each under its absolute path. Owners are set when
this runs as root. --path takes a path as the timeline prints it: \\xHH is a byte. What could not be restored exactly is named on stderr; --strict makes it an error.

Examples:
  diffkeeper export --time end --out restored
  diffkeeper export --time 'before:#4' --out before --path src
  diffkeeper export --time start --out first --strict`;

/** Adds the command to the program. */
export function register(program: Command): void {
  aboutTrace(program.command("export"))
    .description("rebuild the watched folders as they were at a moment")
    .requiredOption("--time <time>", "which moment")
    .requiredOption("--out <dir>", "the folder to write to: new or empty")
    .option("--path <glob>", "only what this covers: *.log, src/**, a folder")
    .option("--force", "remove what is in the target first")
    .option("--strict", "exit with 1 when something could not be restored exactly")
    .option("--json", "say what was made as one JSON object")
    .addHelpText("after", HELP)
    .action(onTrace(run));
}

function run(flags: ExportFlags): void {
  globOf(flags.path);
  const trace = openTrace(flags.stateDir);
  try {
    const glob = globOf(flags.path, trace.recording.cwd);
    trace.reader.hold();
    const range = trace.range();
    const span = spanOf(flags.time, () => range);
    if (span === undefined) return;
    const history = withProgress("reading events", () => range.lastSeq, (onProgress) => {
      return trace.foldTo(span, onProgress);
    });
    // the recorder compared the folders with its last state: what was read back is right there
    const isEnd = history.lastSeq === range.lastSeq && trace.end()?.audit !== undefined;
    if (isEnd) {
      history.readBack.clear();
      history.unseenSince = 0;
    }
    const { rootPaths } = trace.recording;
    // before the target is emptied: it may cover nothing
    const selection = new Selection(history.tree, rootPaths, glob);
    const target = openTarget(flags.out, {
      force: flags.force === true,
      stateDir: trace.reader.place,
      referred: () => referredBy(trace),
    });
    trace.reader.passing();
    let report: ExportReport;
    try {
      report = withProgress("writing files", () => history.tree.size, (onProgress) => {
        const base = new BaseFiles(trace, history);
        const owner = isRoot();
        const options = { target, rootPaths, selection, owner, base, onProgress };
        return exportTree(history, trace, options);
      });
    } catch (thrown) {
      throw abandonTarget(target, flags.out, thrown);
    }
    closeFd(target);
    tell(flags, { trace, history, report });
    if (flags.strict === true && report.warningCount > 0) process.exitCode = STRICT_EXIT_CODE;
  } finally {
    trace.close();
  }
}

/** Knows the files on disk that the trace needs; undefined: it needs none. */
function referredBy(trace: Trace): FileTest | undefined {
  const left = trace.leftFiles();
  return left.files.size === 0 ? undefined : left.test();
}

function tell(
  flags: ExportFlags,
  result: { trace: Trace; history: History; report: ExportReport },
): void {
  const { history, report } = result;
  for (const { path, text } of report.warnings.slice(0, WARNINGS_SHOWN_MAX)) {
    const where = path === "" ? "" : `${printed(path)}: `;
    stderr.write(`diffkeeper: warning: ${where}${text}\n`);
  }
  const hidden = report.warningCount - Math.min(report.warnings.length, WARNINGS_SHOWN_MAX);
  if (hidden > 0) {
    stderr.write(
      `diffkeeper: warning: and ${formatCount(hidden)} more (--json has them)\n`,
    );
  }
  const writer = new ResultWriter();
  if (flags.json === true) writer.line(jsonOf(flags, history, report));
  else writer.line(`${flags.out}: ${summaryOf(report)}, as of ${momentOf(history)}`);
  writer.flush();
}

function momentOf(history: History): string {
  if (history.lastSeq === 0) return "the start";
  return `#${history.lastSeq} at ${formatTime(history.lastNs)}`;
}

function summaryOf(report: ExportReport): string {
  const parts = [counted(report.files, "file"), counted(report.folders, "folder")];
  if (report.symlinks > 0) parts.push(counted(report.symlinks, "symlink"));
  if (report.links > 0) parts.push(counted(report.links, "hard link"));
  if (report.special > 0) parts.push(counted(report.special, "special file"));
  return `${parts.join(", ")}, ${formatBytes(report.bytes)}`;
}

function jsonOf(flags: ExportFlags, history: History, report: ExportReport): string {
  const { warnings, warningCount, ...counts } = report;
  return JSON.stringify({
    out: flags.out,
    seq: history.lastSeq,
    t_ns: history.lastNs,
    ...counts,
    exact: warningCount === 0,
    warning_count: warningCount,
    warnings: warnings.map(({ kind, path, text }) => ({
      kind,
      path: path === "" ? null : textOf(path),
      ...(isText(path) ? {} : { path_b64: base64Of(path) }),
      text,
    })),
  });
}
