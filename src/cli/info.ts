/** `diffkeeper info`: a recording in a few lines. */
import type { Command } from "commander";
import { counted, formatBytes, formatCount, formatDurationNs } from "../base/units.ts";
import { type Fidelity, fidelityText, isExact } from "../format/fidelity.ts";
import {
  type AuditInfo,
  healedText,
  type SampledInfo,
  sampledText,
} from "../format/recording_info.ts";
import { formatTime } from "../format/time_expr.ts";
import { binaryOf, textOf } from "../history/path_text.ts";
import type { Trace, TraceTotals } from "../history/trace.ts";
import { oneLine, ResultWriter } from "./output.ts";
import { TimelineJson } from "./timeline_json.ts";
import { shellWord } from "./timeline_text.ts";
import { aboutTrace, onTrace, openTrace, withProgress } from "./trace_options.ts";

const HELP = `
files: what is no folder and an event is about. (verify counts the regular files that the trace knows, export those it makes.)
only, left out: patterns of --include and --exclude; of what they leave out nothing is known.
verified: the recorder compared this many names with the real folders when the command had ended.
fidelity: what of it is not exact, and why; diffkeeper timeline --gaps lists it.

Examples:
  diffkeeper info
  diffkeeper info --json`;

/** Adds the command to the program. */
export function register(program: Command): void {
  aboutTrace(program.command("info"))
    .description("show a recording in a few lines")
    .option("--json", "one JSON object")
    .addHelpText("after", HELP)
    .action(onTrace((flags: { stateDir: string; json?: boolean }) => {
      const trace = openTrace(flags.stateDir);
      try {
        const facts = factsOf(trace);
        const writer = new ResultWriter();
        if (flags.json === true) writer.line(JSON.stringify(facts));
        else for (const line of linesOf(facts)) writer.line(line);
        writer.flush();
      } finally {
        trace.close();
      }
    }));
}

/** What `info` says; with --json this very object. */
export interface Facts {
  /** As one would type it. */
  command: string;
  argv: string[];
  cwd: string;
  name?: string;
  watched: string[];
  /** Patterns of what alone was recorded, and of what was left out; null: not known. */
  include: string[] | null;
  exclude: string[] | null;
  /** `recording`, `ended` or `cut`. */
  state: string;
  /** Ended in order. */
  clean: boolean;
  /** Where a cut recording ends, as the timeline prints it. */
  cut_at?: string;
  cut_at_ns?: number;
  /** Why: what kept the recorder from going on; null: it was killed, and could not say. */
  cut_error?: { code: string; message: string } | null;
  exit_code: number | null;
  /** Processes of the command that were alive when the recording ended; null: not known. */
  running: number | null;
  /** RFC 3339. */
  started: string;
  /** Of a recording that has no end: up to its last event. */
  duration_ns: number;
  events: number;
  /** Events that were dropped of these, and the earliest moment that is left; null: none were. */
  dropped: { events: number; earliest_ns: number } | null;
  bytes: number;
  /** Files that an event is about; folders do not count. */
  files: number;
  /** Events lost; `lost_bytes` beside it. */
  lost: number;
  lost_bytes: number;
  losses: Record<string, number>;
  /** What was compared with the real folders at the end, and differences healed; null: not compared. */
  verified: AuditInfo | null;
  /** Files whose content at the start is not in the trace but on disk; `verify` looks whether they are unchanged. */
  referred: { files: number; bytes: number } | null;
  /**
   * Events that are not exact, by why; `exact`: there are none (notes and whole contents read back do not count), and the recording was
   * not cut: what came after the cut is missing.
   */
  fidelity: Fidelity & { exact: boolean };
  /** How files that were mapped shared and writable were followed. */
  sampled: { files: number; interval_ms: number; slowest_ms: number } | null;
  kernel: string;
  machine: string;
  host: string;
  tracer: string;
  versions: Record<string, string>;
}

/** Asks a trace for all of it. @throws {DiffKeeperError} `data_corrupt` */
export function factsOf(trace: Trace): Facts {
  const { recording } = trace;
  const range = trace.range();
  const state = trace.state();
  const fold = trace.fold();
  const end = trace.end();
  const totals: TraceTotals = withProgress("counting events", () => range.lastSeq, (onProgress) => {
    return trace.totals(onProgress);
  });
  const fidelity = withProgress("reading events", () => range.lastSeq, (onProgress) => {
    return trace.fidelity(onProgress);
  });
  return {
    command: recording.argv.map((word) => shellWord(binaryOf(word))).join(" "),
    argv: recording.argv,
    cwd: recording.cwd,
    ...(recording.name === "" ? {} : { name: recording.name }),
    watched: recording.rootPaths.map(textOf),
    include: recording.include ?? null,
    exclude: recording.exclude ?? null,
    state,
    clean: state === "ended",
    ...(state === "cut"
      ? { cut_at: formatTime(range.endNs), cut_at_ns: range.endNs, cut_error: trace.cut() ?? null }
      : {}),
    exit_code: end?.exitCode ?? null,
    running: end?.running ?? null,
    started: new TimelineJson(trace).wall(0),
    duration_ns: trace.commandEndNs(),
    events: totals.events,
    dropped: fold === undefined ? null : { events: fold.seq, earliest_ns: fold.tNs },
    bytes: totals.bytes,
    files: totals.files,
    lost: totals.lostEvents,
    lost_bytes: totals.lostBytes,
    losses: end?.losses ?? {},
    verified: end?.audit ?? null,
    referred: trace.left() ?? null,
    fidelity: { exact: isExact(fidelity) && state !== "cut", ...fidelity },
    sampled: end?.sampled === undefined ? null : sampledFacts(end.sampled),
    kernel: recording.kernel,
    machine: recording.machine,
    host: recording.host,
    tracer: recording.tracer,
    versions: recording.versions,
  };
}

function sampledFacts({ files, intervalMs, slowestMs }: SampledInfo): Facts["sampled"] {
  return { files, interval_ms: intervalMs, slowest_ms: slowestMs };
}

function droppedWords({ dropped }: Facts): string {
  if (dropped === null) return "";
  const { events, earliest_ns: ns } = dropped;
  const what = events === 1 ? "the first event" : `the first ${counted(events, "event")}`;
  return `${what}; the earliest moment is #${events} at ${formatTime(ns)}`;
}

function sampledLine({ sampled }: Facts): string {
  if (sampled === null) return "";
  const { files, interval_ms: intervalMs, slowest_ms: slowestMs } = sampled;
  return sampledText({ files, intervalMs, slowestMs });
}

function linesOf(facts: Facts): string[] {
  const losses = Object.entries(facts.losses).filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${formatCount(count)}`);
  const lostBytes = facts.lost_bytes > 0 ? `, ${formatBytes(facts.lost_bytes)}` : "";
  const rows: [string, string][] = [
    ["command", facts.command],
    ["name", facts.name ?? ""],
    ["exit code", facts.exit_code === null ? "" : String(facts.exit_code)],
    ["started", facts.started],
    ["duration", durationText(facts)],
    ["ended", endText(facts)],
    ["watched", facts.watched.join(", ")],
    ["only", (facts.include ?? []).join(", ")],
    ["left out", (facts.exclude ?? []).join(", ")],
    ["events", formatCount(facts.events)],
    ["dropped", droppedWords(facts)],
    ["bytes", formatBytes(facts.bytes)],
    ["files", `${formatCount(facts.files)} touched`],
    [
      "lost",
      `${formatCount(facts.lost)}${lostBytes}${losses.length > 0 ? ` (${losses.join(", ")})` : ""}`,
    ],
    ["verified", verifiedText(facts)],
    ["referred", referredText(facts)],
    ["fidelity", fidelityWords(facts)],
    ["sampled", sampledLine(facts)],
    ["kernel", [facts.kernel, facts.machine].filter((text) => text !== "").join(" ")],
    ["tracer", tracerText(facts.tracer)],
    ["versions", Object.entries(facts.versions).map((pair) => pair.join(" ")).join(", ")],
  ];
  return rows.filter(([, value]) => value !== "")
    .map(([name, value]) => `${name.padEnd(10)} ${oneLine(value)}`);
}

/** "ebpf (tp_btf/sys_enter, fentry/d_instantiate)" in a few words; what has another form stays as it is. */
function tracerText(tracer: string): string {
  const hooks = /^ebpf \((.+)\)$/.exec(tracer)?.[1]?.split(", ");
  if (hooks === undefined) return tracer;
  const functions = hooks.filter((hook) => hook.startsWith("fentry/")).length;
  const points = `${hooks.length - functions} tracepoints`;
  const both = functions === 0 ? points : `${points}, ${functions} functions`;
  return `ebpf at ${both} of the kernel (--json names them)`;
}

/** A recorder that was killed could not say when: what is known is the last event that it had stored. */
function durationText({ duration_ns: ns, state }: Facts): string {
  const duration = formatDurationNs(ns);
  return state === "ended" ? duration : `${duration}, up to its last event`;
}

function endText(facts: Facts): string {
  if (facts.state === "recording") return "not yet: it is being recorded";
  if (facts.cut_at !== undefined) {
    const why = facts.cut_error?.message ?? "the recorder was stopped";
    return `cut at ${facts.cut_at}: ${why}`;
  }
  const { running } = facts;
  if (running === null || running === 0) return "in order";
  const who = counted(running, "process", "processes");
  return `in order; ${who} of the command still ran, what they did then is not recorded`;
}

/** A recording that was cut is what it is only up to there, and nobody compared it with the folders. */
function fidelityWords(facts: Facts): string {
  const words = fidelityText(facts.fidelity);
  const up = facts.state === "cut" ? " up to the cut; what came after it is missing" : "";
  return `${words}${up}${isExact(facts.fidelity) ? "" : ": see timeline --gaps"}`;
}

function referredText({ referred }: Facts): string {
  if (referred === null || referred.files === 0) return "";
  return `to ${counted(referred.files, "file")}, ${
    formatBytes(referred.bytes)
  }, whose content at the start is only on disk`;
}

function verifiedText({ verified, state }: Facts): string {
  if (verified === null) return state === "recording" ? "" : "not compared with the real folders";
  const { entries, contents, written, differences } = verified;
  const part = contents === written ? "" : `${formatCount(contents)} of `;
  const read = written === 0 ? "" : `, ${part}${counted(written, "content")}`;
  return `${counted(entries, "name")}${read}, ${counted(differences, "difference")}${
    healedText(verified)
  }`;
}
