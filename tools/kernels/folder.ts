/** Where the kernel tests keep what they fetch and make: below build/, safe to remove at any time. */
import { join } from "node:path";

export const ROOT = join(import.meta.dir, "../..");
export const FOLDER = join(ROOT, "build/kernels");

/** Runs a tool. @throws with the tool's own words when it fails. */
export function tool(argv: string[], input?: Uint8Array): Uint8Array {
  const done = Bun.spawnSync(argv, {
    cwd: ROOT,
    stdin: input === undefined ? "ignore" : input,
    stdout: "pipe",
    stderr: "pipe",
  });
  if (done.exitCode !== 0) {
    throw new Error(`${argv[0]} exits with ${done.exitCode}: ${done.stderr.toString().trim()}`);
  }
  return done.stdout;
}
