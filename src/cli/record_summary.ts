/**
 * What `record` says when it is over, on stderr: notes, what was recorded, whether the trace is what really is there, what is not
 * exact, who still runs, and what to type next. With --json one object, its keys as those of `info --json`.
 */
import { DiffKeeperError } from "../base/error.ts";
import { counted, formatBytes, formatCount, formatDurationNs } from "../base/units.ts";
import { type Fidelity, isExact } from "../format/fidelity.ts";
import { healedText } from "../format/recording_info.ts";
import { binaryOf, printed } from "../history/path_text.ts";
import type { BaseSummary } from "../record/base_content.ts";
import type { RecordingSummary } from "../record/messages.ts";
import { GONE_TEXT } from "../record/audit.ts";
import { showPath } from "../record/scan_item.ts";
import { errorReport, oneLine, reportError, stderr } from "./output.ts";
import { STATE_DIR_DEFAULT } from "./trace_options.ts";
import { shellWord } from "./timeline_text.ts";

/** How to say it. */
export interface SummaryStyle {
  /** As the user named it. */
  stateDir: string;
  quiet: boolean;
  json: boolean;
}

/** Says how the recording went; `exitCode` is that of `record`. */
export function printSummary(
  summary: RecordingSummary,
  style: SummaryStyle,
  exitCode: number,
): void {
  const { failed } = summary;
  const error = failed === undefined
    ? undefined
    : new DiffKeeperError(failed.code, failed.message, failed);
  if (style.json) {
    stderr.write(
      `${JSON.stringify(jsonOf(summary, { stateDir: style.stateDir, exitCode, error }))}\n`,
    );
    return;
  }
  for (const note of summary.notes) stderr.write(`diffkeeper: note: ${note}\n`);
  if (error !== undefined) reportError(error, { json: false });
  if (style.quiet) return;
  for (const line of summaryLines(summary, style.stateDir)) stderr.write(`diffkeeper: ${line}\n`);
}

/** The closing lines, without the program's name. */
export function summaryLines(summary: RecordingSummary, stateDir: string): string[] {
  const { durationNs, events, bytes, files, lostEvents, failed, audit, running } = summary;
  const figures = [
    formatDurationNs(durationNs),
    counted(events, "event"),
    formatBytes(bytes),
    `${counted(files, "file")} touched`,
    failed === undefined ? `${formatCount(lostEvents)} lost` : "the rest is lost",
  ];
  const isDefault = stateDir === STATE_DIR_DEFAULT;
  const option = isDefault ? "" : ` --state-dir ${shellWord(binaryOf(stateDir))}`;
  const lines = [`recorded ${figures.join(", ")} in ${oneLine(stateDir)}`];
  if (audit !== undefined) lines.push(auditLine(audit));
  for (const path of audit?.gone ?? []) lines.push(`${printed(path)}: ${GONE_TEXT}`);
  if (summary.base !== undefined) lines.push(baseLine(summary.base));
  if (!isExact(summary.fidelity)) {
    lines.push(`not exact: ${inexactText(summary.fidelity)}: diffkeeper timeline --gaps${option}`);
  }
  if (running > 0) lines.push(runningLine(running));
  lines.push(`next: diffkeeper timeline${option}`);
  return lines;
}

function jsonOf(
  summary: RecordingSummary,
  more: { stateDir: string; exitCode: number; error: DiffKeeperError | undefined },
) {
  const { audit, base, fidelity } = summary;
  return {
    state_dir: more.stateDir,
    exit_code: more.exitCode,
    duration_ns: summary.durationNs,
    events: summary.events,
    bytes: summary.bytes,
    files: summary.files,
    lost: summary.lostEvents,
    lost_bytes: summary.lostBytes,
    losses: summary.losses,
    verified: audit === undefined ? null : {
      entries: audit.entries,
      contents: audit.contents,
      written: audit.written,
      differences: audit.differences,
      left: audit.left,
      paths: audit.paths.map((path) => showPath(path) || "."),
    },
    referred: base === undefined
      ? null
      : { files: base.referredFiles, bytes: base.referredBytes, saved_files: base.savedFiles },
    fidelity: { exact: more.error === undefined && isExact(fidelity), ...fidelity },
    running: summary.running,
    stops: summary.stops,
    notes: summary.notes,
    ...(more.error === undefined ? {} : errorReport(more.error)),
  };
}

function auditLine(audit: NonNullable<RecordingSummary["audit"]>): string {
  const { entries, contents, written, differences, paths } = audit;
  const part = contents === written ? "" : `${formatCount(contents)} of `;
  const read = written === 0 ? "" : `, ${part}${counted(written, "content")}`;
  const compared = `verified: ${counted(entries, "name")}${read}, ${
    counted(differences, "difference")
  }`;
  if (differences === 0) return compared;
  const names = paths.map((path) => printed(path) || ".");
  const more = differences > paths.length ? ", ..." : "";
  return `${compared}${healedText(audit)}: ${names.join(", ")}${more}`;
}

/** What became of the contents of the start. */
function baseLine(base: BaseSummary): string {
  const { referredFiles, referredBytes, savedFiles, lostFiles } = base;
  const parts = [
    `${counted(savedFiles, "file")} saved`,
    `${formatCount(referredFiles)} (${formatBytes(referredBytes)}) left on disk`,
  ];
  if (lostFiles > 0) parts.push(`${formatCount(lostFiles)} lost`);
  return `contents of the start: ${parts.join(", ")}`;
}

/** `2 writes read back later, 1 content could not be read`. */
function inexactText(fidelity: Fidelity): string {
  const parts: [number, string, string][] = [
    [fidelity.unread, "content could not be read", "contents could not be read"],
    [fidelity.settled, "change was read back later", "changes were read back later"],
    [fidelity.concurrent, "change overlapped another", "changes overlapped others"],
    [fidelity.mapped, "change through a memory map", "changes through memory maps"],
    [fidelity.gap, "gap", "gaps"],
  ];
  return parts.filter(([count]) => count > 0)
    .map(([count, one, many]) => `${formatCount(count)} ${count === 1 ? one : many}`).join(", ");
}

function runningLine(running: number): string {
  return running === 1
    ? "1 process of the command still runs; what it does now is not recorded (--wait records on)"
    : `${formatCount(running)} processes of the command still run; ` +
      "what they do now is not recorded (--wait records on)";
}
