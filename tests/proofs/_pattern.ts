/**
 * What small_writes and dd share: recording a command that writes one known file while another process keeps a core busy, the
 * WRITE events of that file, and exports of it at an event checked byte by byte.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { patternProgram } from "../oracle/programs.ts";
import { BINARY, type Checks, dk, info, type Ran, run, scratch } from "./_kit.ts";

const RECORD_MS_MAX = 1_800_000;
const EXPORT_MS_MAX = 600_000;

/** A recording of one file. */
export interface PatternTrace {
  folder: string;
  watched: string;
  trace: string;
  recorded: Ran;
}

/** The WRITE events of a file, in order. */
export interface Writes {
  count: number;
  bytes: number;
  /** Sequence number of each. */
  seqs: Float64Array;
  /** Writes whose offset is not the end of the one before. */
  misplaced: number;
}

/** Records `command(watched)` while another process spins. */
export function recordBusy(name: string, command: (watched: string) => string[]): PatternTrace {
  const folder = scratch(name);
  const watched = join(folder, "watched");
  const trace = join(folder, "trace");
  mkdirSync(watched);
  const spinner = Bun.spawn([patternProgram(), "spin"], { stdio: ["ignore", "ignore", "ignore"] });
  const argv = ["record", "--state-dir", trace, "--watch", watched, "--", ...command(watched)];
  const recorded = dk(argv, { timeoutMs: RECORD_MS_MAX });
  spinner.kill("SIGKILL");
  return { folder, watched, trace, recorded };
}

/** Reads the WRITE events of a file; `max` is how many there may be. */
export async function writesOf(at: PatternTrace, name: string, max: number): Promise<Writes> {
  const filter = ["--op", "WRITE", "--path", name];
  const child = Bun.spawn([BINARY, "timeline", "--json", "--state-dir", at.trace, ...filter], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const writes = { count: 0, bytes: 0, seqs: new Float64Array(max), misplaced: 0 };
  const take = (line: string): void => {
    const event = JSON.parse(line) as { seq: number; offset: number; length: number };
    if (event.offset !== writes.bytes) writes.misplaced++;
    writes.seqs[writes.count++] = event.seq;
    writes.bytes += event.length;
  };
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  }
  if (rest !== "") take(rest);
  if (await child.exited !== 0) throw new Error("timeline failed");
  return writes;
}

/** Exports the file at a time and checks that it is the first `bytes` of the pattern; a complaint or "". */
export function complaintAt(
  at: PatternTrace,
  name: string,
  moment: { time: string; bytes: number },
): string {
  const out = join(at.folder, "out");
  rmSync(out, { recursive: true, force: true });
  const argv = [
    "export",
    "--state-dir",
    at.trace,
    "--time",
    moment.time,
    "--path",
    name,
    "--out",
    out,
  ];
  const ran = dk(argv, { timeoutMs: EXPORT_MS_MAX });
  if (ran.code !== 0) return `export at ${moment.time}: ${ran.stderr}`;
  const argvCheck = [patternProgram(), "check", join(out, name), String(moment.bytes)];
  const checked = run(argvCheck, { timeoutMs: EXPORT_MS_MAX });
  rmSync(out, { recursive: true, force: true });
  return checked.code === 0 ? "" : `${moment.time}: ${checked.stderr.trim()}`;
}

/** What must hold of every such recording. */
export function checkRecording(checks: Checks, at: PatternTrace): Record<string, unknown> {
  checks.equal("the command's exit code", at.recorded.code, 0);
  const facts = info(at.trace);
  checks.equal("0 lost", facts["lost"], 0);
  checks.equal("0 bytes lost", facts["lost_bytes"], 0);
  checks.equal("ended in order", facts["clean"], true);
  return facts;
}
