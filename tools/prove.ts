/**
 * Runs one program of a folder by its name: `npm run prove NAME` looks in tests/proofs, `npm run bench NAME` in bench.
 * Without a name it lists what is there with the first sentence of each file's header. A program is NAME.ts or NAME.sh;
 * it gets the remaining arguments, and its exit code is the exit code here. The binary is built first.
 */
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

const ROOT = join(import.meta.dir, "..");

/** Paths of the programs in a folder, sorted; tests and files that start with `_` or `.` are not programs. */
export function programsIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return [...new Bun.Glob("*.{ts,sh}").scanSync({ cwd: folder, onlyFiles: true })]
    .filter((name) => !/^[_.]|_test\.ts$/.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/** The first line of text in the header comment of a program, without comment marks. */
export function firstDocLine(source: string): string {
  for (const line of source.split("\n")) {
    const text = line.replace(/^#!.*$/, "").replace(/^\s*(\/\*\*?|\*\/|\*|\/\/|#)/, "").trim();
    if (text !== "") return text.replace(/\s*\*\/$/, "");
  }
  return "";
}

function nameOf(path: string): string {
  return basename(path).replace(/\.(ts|sh)$/, "");
}

function runProgram(path: string, args: readonly string[]): number {
  const build = [process.execPath, "tools/build.ts"];
  const built = Bun.spawnSync(build, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  if (built.exitCode !== 0) return built.exitCode;
  const interpreter = path.endsWith(".sh") ? "sh" : process.execPath;
  const done = Bun.spawnSync([interpreter, path, ...args], {
    cwd: ROOT,
    stdio: ["inherit", "inherit", "inherit"],
  });
  return done.exitCode ?? 1;
}

function main(argv: readonly string[]): number {
  const [folder = "tests/proofs", name, ...args] = argv;
  const programs = programsIn(join(ROOT, folder));
  if (name === undefined) {
    if (programs.length === 0) console.log(`${folder} is empty`);
    for (const path of programs) {
      console.log(`${nameOf(path).padEnd(20)} ${firstDocLine(readFileSync(path, "utf8"))}`);
    }
    return 0;
  }
  const path = programs.find((program) => nameOf(program) === name);
  if (path !== undefined) return runProgram(path, args);
  console.error(`error: there is no "${name}" in ${folder}`);
  console.error(`hint: there are ${programs.map(nameOf).join(", ") || "none"}`);
  return 2;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
