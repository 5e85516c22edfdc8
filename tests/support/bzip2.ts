/** bzip2 and bspatch as Debian has them, for tests of the classic patch format. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

function filter(argv: string[], bytes: Uint8Array): Uint8Array {
  const done = Bun.spawnSync(argv, { stdin: bytes, stdout: "pipe", stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`${argv[0]}: ${done.stderr.toString()}`);
  return new Uint8Array(done.stdout);
}

function paths(folder: string): Record<"base" | "target" | "patch", string> {
  const path = (name: string) => join(folder, name);
  return { base: path("base"), target: path("target"), patch: path("patch") };
}

/** Compresses as bsdiff does: in blocks of 900 kB. */
export const bzip2 = (bytes: Uint8Array): Uint8Array => filter(["bzip2", "-9", "-c"], bytes);

/** @throws if the bytes are no whole bzip2 stream. */
export const bunzip2 = (bytes: Uint8Array): Uint8Array => filter(["bzip2", "-d", "-c"], bytes);

/** What Debian's bspatch makes of base and patch; files lie in `folder`. @throws if it fails. */
export function bspatch(
  folder: string,
  options: { base: Uint8Array; patch: Uint8Array },
): Uint8Array {
  const { base, target, patch } = paths(folder);
  writeFileSync(base, options.base);
  writeFileSync(patch, options.patch);
  const done = Bun.spawnSync(["bspatch", base, target, patch], { stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`bspatch: ${done.stderr.toString()}`);
  return readFileSync(target);
}

/** The patch that Debian's bsdiff makes. @throws if it fails, as it does for empty files. */
export function bsdiff(
  folder: string,
  options: { base: Uint8Array; target: Uint8Array },
): Uint8Array {
  const { base, target, patch } = paths(folder);
  writeFileSync(base, options.base);
  writeFileSync(target, options.target);
  const done = Bun.spawnSync(["bsdiff", base, target, patch], { stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`bsdiff: ${done.stderr.toString()}`);
  return readFileSync(patch);
}
