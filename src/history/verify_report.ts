/** What a verification found: problems with the row they are in, and how much was looked at. */
import type { EndInfo } from "../format/recording_info.ts";
import { formatTime } from "../format/time_expr.ts";

/** Problems of which the text is kept; of further ones only their number. */
export const VERIFY_PROBLEMS_MAX = 1000;

/** Something that is not as docs/FORMAT.md says. */
export interface VerifyProblem {
  /** The row's id; undefined: it is not about one row, or the row cannot be had. */
  row?: number | undefined;
  /** Its key or path, a binary string; "" for the file as a whole. */
  subject: string;
  text: string;
}

/** Files that a trace refers to. */
export interface LeftReport {
  files: number;
  bytes: number;
  /** Of these, files on disk that are not what they were, or not there: their content at the start cannot be had. */
  changedFiles: number;
  /** The first of them, binary strings. */
  changed: string[];
}

/** See the head of the file. `problemCount` counts all problems, also those that were not kept. */
export interface VerifyReport {
  state: "recording" | "ended" | "cut";
  /** Where a cut or running recording ends; of an ended one where it ended. */
  endNs: number;
  events: number;
  /** Regular files that the trace knows. */
  files: number;
  rows: number;
  /** What the recorder found when it compared the folders with the trace at the end. */
  audit: EndInfo["audit"];
  /** Files whose content at the start is only on disk; absent: there are none, or the trace is damaged. */
  left: LeftReport | undefined;
  problems: VerifyProblem[];
  problemCount: number;
}

/** Collects problems. */
export class Problems {
  readonly kept: VerifyProblem[] = [];
  count = 0;

  /** Adds one; `where.key` is the key of its row. */
  add(where: { row?: number | undefined; key?: Uint8Array; path?: string }, text: string): void {
    this.count++;
    if (this.kept.length >= VERIFY_PROBLEMS_MAX) return;
    const key = where.key === undefined ? "" : Buffer.from(where.key).toString("latin1");
    this.kept.push({ row: where.row, subject: where.path ?? key, text });
  }
}

/** The end of a trace that did not end in order, for people; "" for one that did. */
export function openEndText(report: VerifyReport): string {
  if (report.state === "ended") return "";
  const what = report.state === "cut" ? "cut" : "still being recorded";
  return `${what} at ${formatTime(report.endNs)}, #${report.events}`;
}
