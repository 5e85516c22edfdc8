/**
 * One real program from its preparation to its line: records it in fresh folders, judges the recording, and removes the folders.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { judge, lineOf } from "./_judge.ts";
import type { Place, Program } from "./_program.ts";
import { recordProgram } from "./_recorded.ts";

/** Exported at so many random events, as the issue asks. */
export const EVENTS = 20;
/** Frozen at most so often. */
const MOMENTS = 12;
const COMPLAINTS_SHOWN_MAX = 20;

/** How a program is proved. */
export interface ProveOptions {
  seed: number;
  /** The folders stay, with the bytes of every file at every moment. */
  keep?: boolean;
  events?: number;
  moments?: number;
  /** Size of the kernel's buffer, as `record --ring-size` takes it: a small one holds the program back all the time. */
  ring?: string;
}

/** A small random source (mulberry32). */
function randomFrom(seed: number): () => number {
  let a = seed | 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** The Debian packages of what a program needs and is not here. */
export function missingOf(program: Program): string[] {
  return program.needs.filter(([name]) => Bun.which(name) === null).map(([, pack]) => pack);
}

/** Runs and judges one program; `say` gets its lines. Returns the number of differences. */
export async function prove(
  program: Program,
  options: ProveOptions,
  say: (line: string) => void,
): Promise<number> {
  const base = mkdtempSync(join(tmpdir(), `diffkeeper-${program.name}-`));
  chmodSync(base, 0o755);
  const at: Place = {
    base,
    watched: join(base, "watched"),
    trace: join(base, "trace"),
    out: join(base, "out"),
  };
  mkdirSync(at.watched);
  let bad = 1;
  try {
    program.prepare(at);
    const random = randomFrom(options.seed);
    const { keep: store = false, events = EVENTS } = options;
    const moments = options.moments ?? program.moments ?? MOMENTS;
    const recordArgs = options.ring === undefined ? [] : ["--ring-size", options.ring];
    const recorded = await recordProgram(program, at, { random, moments, store, recordArgs });
    const verdict = judge(program, at, { recorded, random, events });
    say(lineOf(program, verdict));
    const { complaints } = verdict;
    for (const text of complaints.slice(0, COMPLAINTS_SHOWN_MAX)) say(`    ${text}`);
    const hidden = complaints.length - COMPLAINTS_SHOWN_MAX;
    if (hidden > 0) say(`    and ${hidden} more`);
    bad = complaints.length;
  } finally {
    if (options.keep === true) say(`    kept in ${base}`);
    else rmSync(base, { recursive: true, force: true });
  }
  return bad;
}
