/**
 * Checks the length of every source file: 400 lines is a warning, 600 an error, because a file of that size has more
 * than one subject. Looks at everything but installed packages, build output and hidden folders.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const LINES_WARNING = 400;
const LINES_MAX = 600;
const ROOT = join(import.meta.dir, "../..");
const SOURCES = new Bun.Glob("**/*.{ts,c,h,sh,html,css}");
const FOREIGN = /^(node_modules|dist|build)\/|diffkeeper-trace\//;

/** What is wrong with a file of so many lines, if anything. */
export function lengthProblem(lines: number): "warning" | "error" | undefined {
  if (lines > LINES_MAX) return "error";
  return lines > LINES_WARNING ? "warning" : undefined;
}

function main(): void {
  const paths = [...SOURCES.scanSync({ cwd: ROOT, onlyFiles: true })];
  for (const path of paths.filter((name) => !FOREIGN.test(name)).sort()) {
    const lines = readFileSync(join(ROOT, path), "utf8").split("\n").length - 1;
    const problem = lengthProblem(lines);
    if (problem === undefined) continue;
    const limit = problem === "error" ? LINES_MAX : LINES_WARNING;
    console.error(
      `${problem}: ${path} has ${lines} lines, the limit is ${limit}: split it by subject`,
    );
    if (problem === "error") process.exitCode = 1;
  }
}

if (import.meta.main) main();
