/**
 * A binary for testing what the oldest supported kernel gets: a copy of the sources whose BPF object uses nothing that came after
 * Linux 5.15, of which no package is left to boot.
 */
import { cpSync, existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { FOLDER, ROOT, tool } from "./folder.ts";

const PARTS = ["main.ts", "package.json", "package-lock.json", "tsconfig.json"];
const FOLDERS = ["src", "ffi", "wasm", "bpf", "tools/build.ts"];

/** Builds it. @returns the path of the binary. */
export function oldestBinary(): string {
  const folder = join(FOLDER, "oldest");
  tool(["rm", "-rf", ...FOLDERS.map((part) => join(folder, part))]);
  mkdirSync(folder, { recursive: true });
  for (const part of [...PARTS, ...FOLDERS]) {
    if (!existsSync(join(ROOT, part))) continue;
    cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  }
  const modules = join(folder, "node_modules");
  if (!existsSync(modules)) symlinkSync(join(ROOT, "node_modules"), modules);
  tool([process.execPath, join(folder, "tools/build.ts"), "--oldest"]);
  return join(folder, "dist/diffkeeper");
}
