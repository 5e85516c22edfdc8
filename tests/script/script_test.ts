/**
 * Runs the command line as people do: each .txt file is a session of commands and what they print. Lines that begin with
 * `$ ` are commands for sh; what follows is their stdout, then stderr with `2> ` before each line, then `[exit N]` unless
 * 0. `...` in an expected line stands for anything. `trace NAME` makes a trace of traces.ts in the folder NAME. All
 * commands of a file run in one empty folder. DIFFKEEPER_UPDATE=1 writes what came instead of comparing.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TRACES } from "./traces.ts";

const MAIN = join(import.meta.dir, "../../main.ts");
const UPDATE = process.env["DIFFKEEPER_UPDATE"] === "1";
let base = "";

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "diffkeeper-script-"));
  mkdirSync(join(base, "bin"));
  const launcher = join(base, "bin/diffkeeper");
  writeFileSync(launcher, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
  chmodSync(launcher, 0o755);
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

interface Step {
  /** The command line as it stands, with what comes before it. */
  lines: string[];
  command: string;
  expected: string[];
}

/** The steps of a session; the last one may be only text. */
function parse(text: string): Step[] {
  const steps: Step[] = [];
  let lines: string[] = [];
  let open: Step | undefined;
  for (const line of text.replace(/\n$/, "").split("\n")) {
    const isCommand = line.startsWith("$ ");
    if (isCommand || line === "" || line.startsWith("# ") || line.startsWith("trace ")) {
      lines.push(line);
      open = undefined;
      if (!isCommand && !line.startsWith("trace ")) continue;
      open = { lines, command: line, expected: [] };
      steps.push(open);
      lines = [];
    } else open?.expected.push(line);
  }
  return steps;
}

function run(step: Step, cwd: string): string[] {
  const [, name] = step.command.split("trace ");
  if (!step.command.startsWith("$ ")) {
    const make = TRACES[name ?? ""];
    if (make === undefined) throw new Error(`traces.ts has no "${name}"`);
    make(join(cwd, name ?? ""));
    return [];
  }
  const done = Bun.spawnSync(["sh", "-c", step.command.slice(2)], {
    cwd,
    env: {
      ...process.env,
      PATH: `${join(base, "bin")}:${process.env["PATH"]}`,
      TZ: "UTC",
      LC_ALL: "C",
    },
    stdin: "ignore",
  });
  const out = linesOf(done.stdout.toString());
  const err = linesOf(done.stderr.toString()).map((line) => `2> ${line}`);
  return [...out, ...err, ...(done.exitCode === 0 ? [] : [`[exit ${done.exitCode}]`])];
}

function linesOf(text: string): string[] {
  return text === "" ? [] : text.replace(/\n$/, "").split("\n");
}

/** The expected line where it matches, so that the comparison shows only what differs. */
function matched(actual: string[], expected: string[]): string[] {
  return actual.map((line, i) => {
    const pattern = expected[i] ?? "";
    const parts = pattern.split("...").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`).test(line) ? pattern : line;
  });
}

for (const file of readdirSync(import.meta.dir).filter((name) => name.endsWith(".txt")).sort()) {
  test(file, () => {
    const path = join(import.meta.dir, file);
    const cwd = join(base, file);
    mkdirSync(cwd);
    const steps = parse(readFileSync(path, "utf8"));
    const session: string[] = [];
    for (const step of steps) {
      const actual = matched(run(step, cwd), step.expected);
      session.push(...step.lines, ...actual);
      if (!UPDATE) {
        expect([step.command, ...actual].join("\n")).toBe(
          [step.command, ...step.expected].join("\n"),
        );
      }
    }
    if (UPDATE) writeFileSync(path, `${session.join("\n")}\n`);
  }, 60_000);
}
