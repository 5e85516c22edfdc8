/** What a guest tells the host, and what becomes of it: one line of the table. */
import type { Kernel } from "./catalog.ts";

const MARK = "@@REPORT ";

/** Written by guest/check.ts. */
export interface GuestReport {
  hooks: string[];
  events: number;
  lost: number;
  /** The error line of a recorder that cannot work there; empty: it recorded. */
  refused: string;
  problems: string[];
  notes: string[];
}

/** One line. */
export interface Row {
  kernel: string;
  hooks: string;
  events: string;
  lost: string;
  verdict: "ok" | "FAILED" | "skipped";
  seconds: string;
  notes: string[];
}

/** The report in a guest's output, if it came that far. */
export function reportIn(output: string): GuestReport | undefined {
  const line = output.split("\n").findLast((one) => one.startsWith(MARK));
  return line === undefined ? undefined : JSON.parse(line.slice(MARK.length)) as GuestReport;
}

/** Hooks in few words: the five that are always there are "calls". */
function hooksText(hooks: readonly string[]): string {
  const ext4 = hooks.filter((hook) => hook.includes("ext4_")).length;
  const functions = hooks.filter((hook) => hook.startsWith("fentry/")).length;
  const more = [[ext4, "ext4"], [functions, "functions"]].filter(([count]) => count !== 0);
  return [[hooks.length - ext4 - functions, "calls"], ...more].map((one) => one.join(" ")).join(
    " + ",
  );
}

/** What a guest's report says about a kernel of which something is expected. */
export function rowOf(kernel: Kernel, report: GuestReport | undefined, seconds: number): Row {
  const row = { kernel: kernel.name, seconds: seconds.toFixed(0) };
  const none = { hooks: "-", events: "-", lost: "-" };
  if (report === undefined) {
    return { ...row, ...none, verdict: "FAILED", notes: ["the guest ended without a report"] };
  }
  const notes = [...report.problems, ...report.notes];
  if (report.refused !== "") {
    const isRight = kernel.expected === "refuse" && report.problems.length === 0 &&
      report.refused.includes("this kernel lacks");
    return {
      ...row,
      ...none,
      verdict: isRight ? "ok" : "FAILED",
      notes: [report.refused, ...notes],
    };
  }
  const isRight = kernel.expected === "record" && report.problems.length === 0;
  return {
    ...row,
    hooks: hooksText(report.hooks),
    events: String(report.events),
    lost: String(report.lost),
    verdict: isRight ? "ok" : "FAILED",
    notes,
  };
}

/** The line as it is printed. */
export function lineOf(row: Row): string {
  const cells = [
    row.kernel.padEnd(12),
    row.hooks.padEnd(30),
    `${row.events.padStart(9)} events`,
    `${row.lost.padStart(3)} lost`,
    row.verdict.padEnd(7),
    `${row.seconds}s`,
  ];
  return cells.join("  ");
}
