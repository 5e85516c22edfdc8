/**
 * The C programs of the oracle, compiled when their sources are newer: the workload, and the manifest that writes down a
 * tree. They share no code with the recorder, so that an error in it cannot hide in its own proof.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../proofs/_kit.ts";

const OUT = join(ROOT, "build/oracle");
/** Paths are far shorter than the buffers; gcc cannot know. */
const FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-Wno-format-truncation", "-pthread"];

/**
 * Path of the compiled program.
 * @param source a .c file; the headers beside it count as its sources.
 * @throws when the compiler refuses it.
 */
export function compiled(source: string): string {
  const folder = join(source, "..");
  const name = source.slice(folder.length + 1).replace(/\.c$/, "");
  const program = join(OUT, name);
  const sources = readdirSync(folder).filter((file) => file.endsWith(".h"))
    .map((file) => join(folder, file)).concat(source);
  const newest = Math.max(...sources.map((file) => statSync(file).mtimeMs));
  if (existsSync(program) && statSync(program).mtimeMs > newest) return program;
  mkdirSync(OUT, { recursive: true });
  const fresh = `${program}.${process.pid}`;
  const done = Bun.spawnSync(["cc", ...FLAGS, "-o", fresh, source]);
  if (done.exitCode !== 0) throw new Error(`cannot compile ${name}.c: ${done.stderr.toString()}`);
  renameSync(fresh, program);
  return program;
}

/** The random workload. */
export function workloadProgram(): string {
  return compiled(join(import.meta.dir, "workload.c"));
}

/** The program that writes down what a folder holds. */
export function manifestProgram(): string {
  return compiled(join(import.meta.dir, "manifest.c"));
}

/** The program that writes and checks files whose every byte is known. */
export function patternProgram(): string {
  return compiled(join(import.meta.dir, "pattern.c"));
}
