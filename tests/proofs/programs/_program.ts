/**
 * What a real program under record is for the proof `programs`: how its folder is prepared, what runs, and how an export of any
 * moment is used with the program itself. Where something must be true of a moment, the program says so in the watched folder:
 * it appends a line to `done` once a step is over, so that an export that holds the line must hold what the line says.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Ran, run } from "../_kit.ts";

/** Folders of one run. */
export interface Place {
  /** Everything; readable by every user. */
  base: string;
  /** The watched folder: the program runs in it. */
  watched: string;
  trace: string;
  /** Where the moments are exported to. */
  out: string;
}

/** A program and the Debian package that brings it. */
export type Need = readonly [program: string, debianPackage: string];

/** One program. */
export interface Program {
  name: string;
  needs: readonly Need[];
  /** Longest time between two frozen moments. */
  gapMs: number;
  /** How many there are at most; without it 12. */
  moments?: number;
  /** Fills the watched folder, and what lies beside it. @throws when it cannot. */
  prepare(at: Place): void;
  /** What runs, as text for `sh -eu`, in the watched folder. */
  script(at: Place): string;
  /** Uses the export of one moment; returns what is wrong with it. */
  use(out: string, at: Place): string[];
  /** Whether it did what it is here for; `at.out` is the export of the end. Returns what it did not do. */
  atEnd(at: Place): string[];
}

/** The file in which a program says what it has done. */
export const DONE = "done";
const PROGRAM_MS_MAX = 300_000;

/** Whole lines of the file `done` of an export; of other files by name. */
export function linesDone(out: string, name = DONE): string[] {
  const path = join(out, name);
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
}

/** Runs a shell text to its end. @throws when it fails. */
export function must(script: string, cwd: string): string {
  const ran = shell(script, cwd);
  if (ran.code !== 0) throw new Error(`${script}\nexits with ${ran.code}: ${ran.stderr}`);
  return ran.stdout;
}

/** Runs a shell text; its exit code is the caller's business. */
export function shell(script: string, cwd: string): Ran {
  return run(["sh", "-euc", script], { cwd, env: environment(), timeoutMs: PROGRAM_MS_MAX });
}

/** The same for everybody: no configuration of the user who runs the proof. */
export function environment(): Record<string, string> {
  const name = "DiffKeeper proof";
  const mail = "proof@example.invalid";
  return {
    PATH: process.env["PATH"] ?? "/usr/bin:/bin",
    HOME: "/nonexistent",
    LC_ALL: "C.UTF-8",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_CONFIG_SYSTEM: "/dev/null",
    GIT_AUTHOR_NAME: name,
    GIT_AUTHOR_EMAIL: mail,
    GIT_COMMITTER_NAME: name,
    GIT_COMMITTER_EMAIL: mail,
  };
}
