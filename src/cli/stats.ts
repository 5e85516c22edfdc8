/** `diffkeeper stats`: what takes space in a trace, and what was saved. */
import type { Command } from "commander";
import { statSync } from "node:fs";
import { formatBytes, formatCount } from "../base/units.ts";
import { base64Of, isText, printed, textOf } from "../history/path_text.ts";
import {
  STAT_FORMS,
  STAT_KINDS,
  type StatForm,
  type TraceStats,
  traceStats,
} from "../history/stats.ts";
import { findTraceFile } from "../store/trace_open.ts";
import { ResultWriter } from "./output.ts";
import { aboutTrace, onTrace, openTrace, parseCount, withProgress } from "./trace_options.ts";

/** Files that are listed unless another number is asked for. */
const FILES_SHOWN = 20;
const COLUMN_CHARS = 11;

const FORM_TEXTS: Readonly<Record<StatForm, string>> = {
  whole: "as it is",
  compressed: "compressed",
  difference: "as a difference from an earlier version",
  repeated: "not again: it is there already",
};

interface StatsFlags {
  stateDir: string;
  limit?: number;
  json?: boolean;
}

const HELP = `
raw: the bytes as they were recorded; stored: what they take now. Content that is stored once for many files is
counted at the first of them. A raw trace is made small by diffkeeper compact, and smaller by diffkeeper gc.

Examples:
  diffkeeper stats --limit 5`;

/** Adds the command to the program. */
export function register(program: Command): void {
  aboutTrace(program.command("stats"))
    .description("show what takes space in a trace")
    .option("--limit <n>", `at most this many files (default ${FILES_SHOWN})`, parseCount)
    .option("--json", "one JSON object")
    .addHelpText("after", HELP)
    .action(onTrace(run));
}

function run(flags: StatsFlags): void {
  const trace = openTrace(flags.stateDir);
  try {
    const { lastSeq } = trace.range();
    const stats = withProgress("reading events", () => lastSeq, (done) => traceStats(trace, done));
    const path = findTraceFile(flags.stateDir);
    const log = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
    const fileBytes = statSync(path).size + log;
    const writer = new ResultWriter();
    const limit = flags.limit ?? FILES_SHOWN;
    if (flags.json === true) writer.line(jsonOf(stats, fileBytes, limit));
    else for (const line of linesOf(stats, fileBytes, limit)) writer.line(line);
    writer.flush();
  } finally {
    trace.close();
  }
}

function columns(...texts: string[]): string {
  const [last = "", ...before] = texts.reverse();
  return before.reverse().map((text) => text.padStart(COLUMN_CHARS)).join("") + `  ${last}`;
}

function linesOf(stats: TraceStats, fileBytes: number, limit: number): string[] {
  const lines = [columns("raw", "stored", "rows", "kind")];
  let [raw, stored] = [0, 0];
  for (const kind of STAT_KINDS) {
    const { rows, rawBytes, storedBytes } = stats.kinds[kind];
    raw += rawBytes;
    stored += storedBytes;
    if (storedBytes === 0) continue;
    lines.push(columns(formatBytes(rawBytes), formatBytes(storedBytes), formatCount(rows), kind));
  }
  lines.push(columns(formatBytes(raw), formatBytes(stored), "", `all${savedText(raw, stored)}`));
  lines.push(columns("", formatBytes(fileBytes), "", "the file, with what SQLite needs"), "");
  lines.push(...formLines(stats));
  lines.push(columns("raw", "stored", "writes", "file"));
  for (const { path, root, writes, rawBytes, storedBytes } of stats.files.slice(0, limit)) {
    const name = path === "" && root < 0 ? "(what the command printed)" : printed(path);
    const sizes = [formatBytes(rawBytes), formatBytes(Math.round(storedBytes))];
    lines.push(columns(...sizes, formatCount(writes), name));
  }
  const hidden = stats.files.length - Math.min(stats.files.length, limit);
  if (hidden > 0) lines.push(`and ${formatCount(hidden)} more (--limit)`);
  return lines;
}

function savedText(raw: number, stored: number): string {
  const part = Math.floor((1 - stored / Math.max(raw, 1)) * 100);
  return part > 0 ? `: ${part}% saved` : "";
}

/** How content is stored; nothing while all of it is raw. */
function formLines({ forms }: TraceStats): string[] {
  const used = STAT_FORMS.filter((form) => forms[form].rawBytes > 0);
  if (used.every((form) => form === "whole")) return [];
  const lines = [columns("raw", "stored", "", "how content is stored")];
  for (const form of used) {
    const { rawBytes, storedBytes } = forms[form];
    lines.push(columns(formatBytes(rawBytes), formatBytes(storedBytes), "", FORM_TEXTS[form]));
  }
  return [...lines, ""];
}

function jsonOf(stats: TraceStats, fileBytes: number, limit: number): string {
  const kinds = STAT_KINDS.map((kind) => {
    const { rows, rawBytes, storedBytes } = stats.kinds[kind];
    return [kind, { rows, raw_bytes: rawBytes, stored_bytes: storedBytes }];
  });
  return JSON.stringify({
    file_bytes: fileBytes,
    kinds: Object.fromEntries(kinds),
    content_forms: Object.fromEntries(
      STAT_FORMS.map((form) => {
        const { rawBytes, storedBytes } = stats.forms[form];
        return [form, { raw_bytes: rawBytes, stored_bytes: storedBytes }];
      }),
    ),
    file_count: stats.files.length,
    files: stats.files.slice(0, limit).map(({ path, root, writes, rawBytes, storedBytes }) => ({
      path: root < 0 ? null : textOf(path),
      ...(root < 0 || isText(path) ? {} : { path_b64: base64Of(path) }),
      writes,
      raw_bytes: rawBytes,
      stored_bytes: Math.round(storedBytes),
    })),
  });
}
