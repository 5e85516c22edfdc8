/**
 * Globs over paths, for --path, --include and --exclude.
 *
 * `*` and `?` stay within one name, `**` crosses names, `[a-z]` and `[!a-z]` are classes, `{a,b}` alternatives, `\` takes
 * the next character as it is, but for `\xHH`: a byte, as path_chars.ts prints it. A pattern without `/` matches the last name at any depth; one that begins with `/`
 * matches the absolute path; any other counts from the watched folder and, `from` a folder, from there, too. Paths are binary strings (one char per byte); UTF-8 sequences in them count as one
 * character, other bytes as themselves. The matcher runs all states of the pattern side by side (Thompson), so its
 * time is pattern x path whatever the pattern.
 */
import { DiffKeeperError } from "../base/error.ts";
import { codePoints } from "./path_chars.ts";

/** Most alternatives that `{a,b}` groups may multiply to. A pattern with more is refused. */
export const GLOB_ALTERNATIVES_MAX = 256;

/** Longest pattern in characters: as PATH_MAX of Linux (limits.h). A longer one is refused. */
export const GLOB_CHARS_MAX = 4096;

const SLASH = 0x2f;

/** One step of a compiled pattern. `dirs` is followed by `inside`: together they take any number of `name/`. */
type Step =
  | { kind: "char"; code: number }
  | { kind: "any" | "star" | "all" | "dirs" | "inside" }
  | { kind: "class"; negated: boolean; ranges: number[] };

interface Alternative {
  steps: Step[];
  scope: "name" | "path" | "absolute";
}

/** A compiled pattern. */
export class Glob {
  readonly pattern: string;
  readonly #alternatives: Alternative[];

  /**
   * @param from an absolute path from which relative patterns count, too: where the user was when the folders were named.
   * @param options.printed the path that is printed just so matches, too, if it has brackets: `pages/[id].tsx`.
   * @throws {DiffKeeperError} code `usage` when the pattern cannot be read.
   */
  constructor(pattern: string, from?: string, options: { printed?: boolean } = {}) {
    this.pattern = pattern;
    if (pattern === "") throw wrong(pattern, "it is empty");
    if (pattern.length > GLOB_CHARS_MAX) throw wrong(pattern.slice(0, 40), "it is too long");
    const texts = expandBraces(pattern);
    if (options.printed === true && /[[{]/.test(pattern)) texts.push(literal(pattern));
    this.#alternatives = texts.map((text) => compile(text, pattern));
    if (from === undefined || from === "") return;
    for (const text of texts) {
      if (!text.startsWith("/")) this.#alternatives.push(compile(absolute(text, from), pattern));
    }
  }

  /**
   * Whether the pattern matches this path itself.
   * @param path relative to its watched folder, a binary string; `root` is that folder's absolute path.
   */
  matches(path: string, root = ""): boolean {
    for (const { steps, scope } of this.#alternatives) {
      let subject = path;
      if (scope === "name") subject = path.slice(path.lastIndexOf("/") + 1);
      if (scope === "absolute") subject = absolutePath(path, root);
      if (run(steps, codePoints(subject))?.[steps.length] === 1) return true;
    }
    return false;
  }

  /** False only if the pattern can match nothing below this folder. */
  reachesBelow(path: string, root = ""): boolean {
    return this.#alternatives.some(({ steps, scope }) => {
      if (scope === "name") return true;
      const folder = scope === "path" ? path : absolutePath(path, root);
      const states = run(steps, codePoints(folder === "" ? "" : `${folder}/`));
      return states !== undefined;
    });
  }

  /** Whether the pattern matches this path or a folder it lies in: a pattern that names a folder covers its content. */
  covers(path: string, root = ""): boolean {
    if (this.matches(path, root)) return true;
    for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
      if (this.matches(path.slice(0, at), root)) return true;
    }
    return path !== "" && this.#alternatives.some((one) => one.scope === "absolute") &&
      this.matches("", root);
  }
}

function absolutePath(path: string, root: string): string {
  return path === "" ? root : `${root === "/" ? "" : root}/${path}`;
}

/** The pattern with all that has a meaning taken as it is, but for what a printed path has. */
function literal(pattern: string): string {
  const special = /\\x[\da-f]{2}|\\[^]|[*?[\]{}]/gi;
  return pattern.replace(special, (found) => found.length > 1 ? found : `\\${found}`);
}

function wrong(pattern: string, why: string): DiffKeeperError {
  return new DiffKeeperError("usage", `cannot read the pattern "${pattern}": ${why}`, {
    hint:
      "patterns: *.log, src/**, cache/**/tmp?, [a-z]*, {a,b}.txt; \\ takes a character as it is",
  });
}

/** A relative pattern as an absolute one; `.` and `..` at its beginning are followed. */
function absolute(text: string, from: string): string {
  const folders = from.split("/").filter((name) => name !== "");
  let rest = text;
  for (let step = /^(\.\.?)(?:\/+|$)/.exec(rest); step; step = /^(\.\.?)(?:\/+|$)/.exec(rest)) {
    if (step[1] === "..") folders.pop();
    rest = rest.slice(step[0].length);
  }
  const names = folders.map((name) => name.replace(/[\\*?[\]{},]/g, "\\$&"));
  return `/${[...names, ...rest === "" ? [] : [rest]].join("/")}`;
}

/** Multiplies out `{a,b}` groups, innermost last, without recursion. */
function expandBraces(pattern: string): string[] {
  const done: string[] = [];
  const open = [pattern];
  while (open.length > 0) {
    const text = open.pop() ?? "";
    const group = firstGroup(text, pattern);
    if (group === undefined) done.push(text);
    else {
      for (const part of group.parts) {
        open.push(text.slice(0, group.start) + part + text.slice(group.end));
      }
    }
    if (done.length + open.length > GLOB_ALTERNATIVES_MAX) {
      throw wrong(pattern, `its groups make more than ${GLOB_ALTERNATIVES_MAX} alternatives`);
    }
  }
  return done.reverse();
}

/** The first outermost `{...}` group of a text: where it stands and its comma-separated parts. */
function firstGroup(
  text: string,
  pattern: string,
): { start: number; end: number; parts: string[] } | undefined {
  let depth = 0;
  let start = 0;
  let partStart = 0;
  const parts: string[] = [];
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === "\\") i++;
    else if (char === "[") i = classEnd(text, i) ?? i;
    else if (char === "{") {
      if (depth++ === 0) [start, partStart] = [i, i + 1];
    } else if (char === "," && depth === 1) {
      parts.push(text.slice(partStart, i));
      partStart = i + 1;
    } else if (char === "}" && depth > 0 && --depth === 0) {
      parts.push(text.slice(partStart, i));
      return { start, end: i + 1, parts };
    }
  }
  if (depth > 0) throw wrong(pattern, "a { has no }");
  return undefined;
}

/** Index of the `]` that ends the class beginning at `at`, or undefined: then the `[` is a plain character. */
function classEnd(text: string, at: number): number | undefined {
  let i = at + 1;
  if (text[i] === "!" || text[i] === "^") i++;
  if (text[i] === "]") i++;
  for (; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "]") return i;
  }
  return undefined;
}

function compile(text: string, pattern: string): Alternative {
  let body = text.startsWith("./") ? text.slice(2) : text;
  if (body.length > 1 && body.endsWith("/")) body = body.slice(0, -1);
  if (body === "") throw wrong(pattern, "one of its alternatives is empty");
  const scope = body.startsWith("/") ? "absolute" : body.includes("/") ? "path" : "name";
  const chars = Array.from(body);
  const steps: Step[] = [];
  for (let i = 0; i < chars.length; i++) {
    const char = chars[i] ?? "";
    if (char === "*") i = compileStar(chars, i, steps);
    else if (char === "?") steps.push({ kind: "any" });
    else if (char === "[") i = compileClass(chars, i, steps, pattern);
    else if (char === "\\" && byteAt(chars, i) !== undefined) i = compileBytes(chars, i, steps);
    else {
      if (char === "\\" && ++i === chars.length) throw wrong(pattern, "it ends with a \\");
      steps.push({ kind: "char", code: chars[i]?.codePointAt(0) ?? 0 });
    }
  }
  return { steps, scope };
}

/** The byte that `\xHH` says; undefined: it is not that. */
function byteAt(chars: string[], at: number): number | undefined {
  const found = /^\\x([\da-f]{2})$/i.exec(chars.slice(at, at + 4).join(""))?.[1];
  return found === undefined ? undefined : Number.parseInt(found, 16);
}

/** Compiles bytes that follow each other, which may be one character, and returns the index of the last character taken. */
function compileBytes(chars: string[], at: number, steps: Step[]): number {
  let bytes = "";
  let end = at;
  for (let byte = byteAt(chars, end); byte !== undefined; byte = byteAt(chars, end)) {
    bytes += String.fromCharCode(byte);
    end += 4;
  }
  for (const code of codePoints(bytes)) steps.push({ kind: "char", code });
  return end - 1;
}

/** Compiles one or more stars and returns the index of the last character taken. */
function compileStar(chars: string[], at: number, steps: Step[]): number {
  let end = at;
  while (chars[end + 1] === "*") end++;
  const atNameStart = at === 0 || chars[at - 1] === "/";
  if (end > at && atNameStart && chars[end + 1] === "/") {
    steps.push({ kind: "dirs" }, { kind: "inside" });
    return end + 1;
  }
  steps.push({ kind: end > at && atNameStart && end + 1 === chars.length ? "all" : "star" });
  return end;
}

/** Compiles a class and returns the index of its `]`; a `[` without one stands for itself. */
function compileClass(chars: string[], at: number, steps: Step[], pattern: string): number {
  const text = chars.map((char) => char.length === 1 ? char : "\ue000").join("");
  const end = classEnd(text, at);
  if (end === undefined) {
    steps.push({ kind: "char", code: 0x5b });
    return at;
  }
  let i = at + 1;
  const negated = chars[i] === "!" || chars[i] === "^";
  if (negated) i++;
  const ranges: number[] = [];
  while (i < end) {
    if (chars[i] === "\\") i++;
    const low = chars[i++]?.codePointAt(0) ?? 0;
    let high = low;
    if (chars[i] === "-" && i + 1 < end) {
      i += chars[i + 1] === "\\" ? 2 : 1;
      high = chars[i++]?.codePointAt(0) ?? 0;
    }
    if (high < low) throw wrong(pattern, "a range in [ ] runs backwards");
    ranges.push(low, high);
  }
  steps.push({ kind: "class", negated, ranges });
  return end;
}

function takes(step: Step, code: number): boolean {
  if (step.kind === "char") return step.code === code;
  if (step.kind === "all") return true;
  if (code === SLASH) return false;
  if (step.kind !== "class") return true;
  let inside = false;
  for (let i = 0; i < step.ranges.length; i += 2) {
    if (code >= (step.ranges[i] ?? 0) && code <= (step.ranges[i + 1] ?? -1)) inside = true;
  }
  return inside !== step.negated;
}

/** Marks a state and every state that is reached from it without taking a character. */
function mark(states: Uint8Array, steps: Step[], from: number): void {
  for (let at = from; states[at] === 0;) {
    states[at] = 1;
    const kind = steps[at]?.kind;
    if (kind === "dirs") at += 2;
    else if (kind === "star" || kind === "all") at += 1;
    else return;
  }
}

/** The states that are reached when all of the subject is taken; undefined: there are none. */
function run(steps: Step[], subject: number[]): Uint8Array | undefined {
  let states = new Uint8Array(steps.length + 1);
  let next = new Uint8Array(steps.length + 1);
  mark(states, steps, 0);
  for (const code of subject) {
    next.fill(0);
    let alive = false;
    for (let at = 0; at < steps.length; at++) {
      const step = steps[at];
      if (states[at] === 0 || step === undefined) continue;
      const to = target(step, at, code);
      if (to < 0) continue;
      mark(next, steps, to);
      alive = true;
    }
    if (!alive) return undefined;
    [states, next] = [next, states];
  }
  return states;
}

/** The state after `step` took `code`, or -1. */
function target(step: Step, at: number, code: number): number {
  if (step.kind === "inside") return code === SLASH ? at - 1 : at;
  if (!takes(step, code)) return -1;
  if (step.kind === "star" || step.kind === "all") return at;
  return at + 1;
}
