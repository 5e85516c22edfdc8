/**
 * Judges the recording of a real program: nothing lost, the recorder's own audit without differences, the export of each frozen
 * moment equal to what was written down then, and the export of random events of use to the program itself.
 */
import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { compare, type Difference, readManifest, writeManifest } from "../../oracle/manifest.ts";
import { dk, events } from "../_kit.ts";
import type { Place, Program } from "./_program.ts";
import { type Recorded, truthOf } from "./_recorded.ts";

const EXPORT_MS_MAX = 300_000;
const PATHS_TOLD_MAX = 4;
const COMPLAINT_CHARS_MAX = 300;

/** What came out. */
export interface Verdict {
  /** Random events exported and used. */
  events: number;
  /** Frozen moments compared, the end among them. */
  moments: number;
  complaints: string[];
  /** Exports that said something is not exact. */
  warned: number;
  facts: Facts;
  seconds: number;
}

interface Facts {
  events: number;
  bytes: number;
  lost: number;
  losses: Record<string, number>;
  clean: boolean;
  verified: { entries: number; differences: number } | null;
  fidelity: Record<string, number | boolean>;
}

/** What a judgement is about. */
export interface Judged {
  recorded: Recorded;
  random: () => number;
  /** How many random events. */
  events: number;
}

class Judge {
  readonly complaints: string[] = [];
  warned = 0;
  readonly #at: Place;

  constructor(at: Place) {
    this.#at = at;
  }

  /** What is wrong with the export of a moment, on one line. */
  complain(text: string, time: string): void {
    const line = text.replace(/\s+/g, " ").slice(0, COMPLAINT_CHARS_MAX);
    this.complaints.push(`${line} at ${time}`);
  }

  /** Exports one moment; false: it did not work. */
  export(time: string): boolean {
    const { out, trace } = this.#at;
    rmSync(out, { recursive: true, force: true });
    const argv = ["export", "--json", "--state-dir", trace, "--time", time, "--out", out];
    const ran = dk(argv, { timeoutMs: EXPORT_MS_MAX });
    if (ran.code !== 0) {
      this.complaints.push(`export at ${time} exits with ${ran.code}: ${ran.stderr.trim()}`);
      return false;
    }
    const report = JSON.parse(ran.stdout) as { exact: boolean };
    if (!report.exact) this.warned++;
    return true;
  }

  /** Compares the export of a moment with the truth. */
  compare(time: string, mark: string): void {
    const { out, base } = this.#at;
    if (!this.export(time)) return;
    const found = join(base, "found");
    writeManifest(out, { out: found });
    const differences = compare(readManifest(truthOf(this.#at, mark)), readManifest(found));
    if (differences.length === 0) return;
    for (const difference of differences.slice(0, PATHS_TOLD_MAX)) {
      this.complaints.push(`${told(difference)} at ${mark} (${time})`);
    }
    const hidden = differences.length - PATHS_TOLD_MAX;
    if (hidden > 0) this.complaints.push(`and ${hidden} more names at ${mark} (${time})`);
    rmSync(`${out}${mark}`, { recursive: true, force: true });
    renameSync(out, `${out}${mark}`);
  }
}

function told({ path, kind, fields }: Difference): string {
  if (kind !== "differs") return `${kind}: ${path}`;
  const texts = fields.map(({ field, truth, found }) => `${field} ${truth} is ${found}`);
  return `differs: ${path}: ${texts.join(", ")}`;
}

/** The events of the marks. */
function seqsOf(at: Place): Map<string, number> {
  const seqs = new Map<string, number>();
  for (const { path, seq } of events(at.trace, "--path", ".mark-*", "--op", "CREATE")) {
    seqs.set(path ?? "", seq);
  }
  return seqs;
}

function checkFacts(judge: Judge, facts: Facts, recorded: Recorded): void {
  const { complaints } = judge;
  if (recorded.code !== 0) {
    complaints.push(`the command exits with ${recorded.code}: ${recorded.stderr.trim()}`);
  }
  if (facts.lost > 0) complaints.push(`${facts.lost} lost: ${JSON.stringify(facts.losses)}`);
  if (!facts.clean) complaints.push("the trace did not end in order");
  if (facts.verified === null) complaints.push("the recorder made no audit");
  else if (facts.verified.differences > 0) {
    complaints.push(`the audit healed differences: ${recorded.stderr.trim()}`);
  }
}

/** Judges a recording; the exports that differ stay beside the watched folder. */
export function judge(program: Program, at: Place, judged: Judged): Verdict {
  const { recorded, random } = judged;
  const one = new Judge(at);
  const facts = factsOf(at);
  checkFacts(one, facts, recorded);
  const verified = dk(["verify", "--state-dir", at.trace], { timeoutMs: EXPORT_MS_MAX });
  if (verified.code !== 0) one.complain(verified.stdout + verified.stderr, "verify");
  const seqs = seqsOf(at);
  for (const mark of recorded.marks) {
    const seq = seqs.get(mark);
    if (seq === undefined) one.complaints.push(`${mark} is not in the timeline`);
    else one.compare(`#${seq}`, mark);
  }
  one.compare("end", "end");
  const times = Array.from(
    { length: judged.events },
    () => `#${1 + Math.floor(random() * facts.events)}`,
  );
  for (const time of [...times, "end"]) {
    if (!one.export(time)) continue;
    for (const text of program.use(at.out, at)) one.complain(text, time);
  }
  for (const text of program.atEnd(at)) one.complain(text, "the end");
  return {
    events: times.length,
    moments: recorded.marks.length + 1,
    complaints: one.complaints,
    warned: one.warned,
    facts,
    seconds: recorded.seconds,
  };
}

function factsOf(at: Place): Facts {
  const ran = dk(["info", "--json", "--state-dir", at.trace], { timeoutMs: EXPORT_MS_MAX });
  if (ran.code !== 0) throw new Error(`info exits with ${ran.code}: ${ran.stderr}`);
  return JSON.parse(ran.stdout) as Facts;
}

/** The line of a program. */
export function lineOf(program: Program, verdict: Verdict): string {
  const { events, moments, complaints, facts, warned, seconds } = verdict;
  const unlike = Object.entries(facts.fidelity)
    .filter(([name, count]) => name !== "exact" && count !== 0)
    .map(([name, count]) => `${name} ${count}`);
  const audit = facts.verified === null
    ? "no audit"
    : `verified ${facts.verified.entries} names, ${facts.verified.differences} differences`;
  return `${program.name.padEnd(10)} ${events} events and ${moments} moments, ` +
    `${complaints.length} differences; ${facts.events} events in ${seconds.toFixed(1)} s, ` +
    `${facts.lost} lost, ${audit}` +
    (unlike.length > 0 ? `; ${unlike.join(", ")}` : "") +
    (warned > 0 ? `; ${warned} exports with a warning` : "");
}
