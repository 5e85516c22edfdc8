/**
 * Checks the length of every source file: 400 lines is a warning, 600 an error, because a file of that size has more
 * than one subject. Looks at what git tracks or would track, so build output is never counted.
 */
import { existsSync, readFileSync } from "node:fs";

const LINES_WARNING = 400;
const LINES_MAX = 600;
const SOURCES = ["*.ts", "*.c", "*.h", "*.sh", "*.html", "*.css"];

/** What is wrong with a file of so many lines, if anything. */
export function lengthProblem(lines: number): "warning" | "error" | undefined {
  if (lines > LINES_MAX) return "error";
  return lines > LINES_WARNING ? "warning" : undefined;
}

function main(): void {
  const list = [
    "git",
    "ls-files",
    "-z",
    "--cached",
    "--others",
    "--exclude-standard",
    "--",
    ...SOURCES,
  ];
  const done = Bun.spawnSync(list, { stderr: "inherit" });
  if (done.exitCode !== 0) process.exit(1);
  const paths = new Set(done.stdout.toString().split("\0").filter((path) => path !== ""));
  for (const path of [...paths].filter((name) => existsSync(name)).sort()) {
    const lines = readFileSync(path, "utf8").split("\n").length - 1;
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
