/** `diffkeeper verify`: whether a trace is whole, checked offline. */
import type { Command } from "commander";
import { counted, formatBytes, formatCount } from "../base/units.ts";
import { healedText } from "../format/recording_info.ts";
import { base64Of, isText, printed, textOf } from "../history/path_text.ts";
import { verifyTrace } from "../history/verify.ts";
import {
  type LeftReport,
  openEndText,
  type VerifyProblem,
  type VerifyReport,
} from "../history/verify_report.ts";
import { oneLine, ProgressLine, ResultWriter } from "./output.ts";
import { aboutTrace, onTrace } from "./trace_options.ts";

/** Exit code when the trace has a problem. */
const PROBLEMS_EXIT_CODE = 1;

/** Problems shown as text. */
const PROBLEMS_SHOWN_MAX = 100;

/** Files that are named which have changed on disk. */
const LEFT_SHOWN_MAX = 10;

const HELP = `
Reads the whole trace and changes nothing: SQLite's pages, every row's key and checksum, every event and every
reference, and that all events fold into a tree. A recording that was cut is checked up to its end. files
known: regular files that the trace knows, also those that nothing happened to. Exit code: 0 no problem, 1 problems, one line each.

Examples:
  diffkeeper verify
  diffkeeper verify --json`;

/** Adds the command to the program. */
export function register(program: Command): void {
  aboutTrace(program.command("verify"))
    .description("check a trace: every checksum, every reference")
    .option("--json", "one JSON object")
    .addHelpText("after", HELP)
    .action(onTrace((flags: { stateDir: string; json?: boolean }) => {
      const report = verify(flags.stateDir);
      const writer = new ResultWriter();
      if (flags.json === true) writer.line(jsonOf(report));
      else for (const line of linesOf(report)) writer.line(line);
      writer.flush();
      if (report.problemCount > 0) process.exitCode = PROBLEMS_EXIT_CODE;
    }));
}

function verify(stateDir: string): VerifyReport {
  const line = new ProgressLine();
  try {
    const onRows = (done: number, total: number) =>
      line.update(() => `checking rows: ${formatCount(done)} of ${formatCount(total)}`);
    return verifyTrace(stateDir, { onRows });
  } finally {
    line.end();
  }
}

function linesOf(report: VerifyReport): string[] {
  const lines = report.problems.slice(0, PROBLEMS_SHOWN_MAX).map(problemText);
  const hidden = report.problemCount - lines.length;
  if (hidden > 0) lines.push(`and ${counted(hidden, "more problem")} (--json has the first 1,000)`);
  const { audit, problemCount } = report;
  const openEnd = openEndText(report);
  lines.push(
    `${problemCount === 0 ? "verified" : "damaged"}: ${counted(report.events, "event")}, ${
      counted(report.files, "file")
    } known, ${counted(report.rows, "row")}, ${counted(problemCount, "problem")}${
      openEnd === "" ? "" : `; ${openEnd}`
    }`,
  );
  if (audit === undefined) lines.push("recorder's audit: none");
  else {
    lines.push(
      `recorder's audit: ${counted(audit.entries, "name")}, ${
        counted(audit.differences, "difference")
      }${healedText(audit)}`,
    );
  }
  if (report.left !== undefined) lines.push(...leftLines(report.left));
  return lines;
}

/** What the trace refers to: it is no damage when such a file has changed, but its content at the start is gone. */
function leftLines({ files, bytes, changedFiles, changed }: LeftReport): string[] {
  const what = `referred to: ${counted(files, "file")}, ${formatBytes(bytes)}`;
  if (changedFiles === 0) return [`${what}, unchanged on disk`];
  return [
    `${what}, ${
      formatCount(changedFiles)
    } changed or gone: what they held at the start is not known`,
    ...changed.slice(0, LEFT_SHOWN_MAX).map((path) => `  ${printed(path)}`),
  ];
}

function problemText({ row, subject, text }: VerifyProblem): string {
  const parts = [row === undefined ? "" : `row ${row}`, printed(subject)];
  const where = parts.filter((part) => part !== "").join(" ");
  return where === "" ? oneLine(text) : `${where}: ${oneLine(text)}`;
}

function leftJson(left: LeftReport | undefined) {
  if (left === undefined) return null;
  const { files, bytes, changedFiles, changed } = left;
  return { files, bytes, changed_files: changedFiles, changed: changed.map(textOf) };
}

function jsonOf(report: VerifyReport): string {
  const { state, endNs, events, files, rows, audit, problems, problemCount } = report;
  return JSON.stringify({
    ok: problemCount === 0,
    state,
    end_ns: endNs,
    events,
    files,
    rows,
    audit: audit ?? null,
    referred: leftJson(report.left),
    problem_count: problemCount,
    problems: problems.map(({ row, subject, text }) => ({
      row: row ?? null,
      subject: textOf(subject),
      ...(isText(subject) ? {} : { subject_b64: base64Of(subject) }),
      text,
    })),
  });
}
