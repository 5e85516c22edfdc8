/** What is in a guest: the binary under test, the checks and what they use, programs made here, modules. */
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { manifestProgram, patternProgram, workloadProgram } from "../../tests/oracle/programs.ts";
import { FOLDER, ROOT, tool } from "./folder.ts";
import { Initrd } from "./initrd.ts";

/** Sources that the checks import, or that must be older than the programs made from them. */
const SOURCES = [
  "package.json",
  "tools/kernels/*.ts",
  "tools/kernels/guest/*.ts",
  "tests/oracle/*.{ts,c,h}",
  "tests/proofs/_kit.ts",
];
const OLD_S = 1;
const NEW_S = 1000;

/** A C program of guest/, linked statically. */
function compiled(name: string): string {
  const program = join(FOLDER, name);
  const source = join(import.meta.dir, "guest", `${name}.c`);
  tool(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", program, source]);
  return program;
}

/** Writes the archive of a guest. @returns its path. */
export function writeInitrd(name: string, binary: string, modules: readonly string[]): string {
  const initrd = new Initrd();
  for (const folder of ["bin", "dev", "proc", "sys", "repo"]) initrd.folder(folder);
  initrd.program("bin/busybox", "/bin/busybox");
  initrd.link("bin/sh", "busybox");
  initrd.file("init", join(import.meta.dir, "guest/init.sh"));
  for (const program of ["leave", "odd_calls"]) initrd.file(`bin/${program}`, compiled(program));
  initrd.program("bin/diffkeeper", binary);
  // the same file runs the checks (as Bun) and is what they check
  const plain = '#!/bin/sh\nunset BUN_BE_BUN\nexec /bin/diffkeeper "$@"\n';
  initrd.bytes("repo/dist/diffkeeper", new TextEncoder().encode(plain));
  for (const pattern of SOURCES) {
    for (const path of new Bun.Glob(pattern).scanSync({ cwd: ROOT })) {
      initrd.file(`repo/${path}`, join(ROOT, path), OLD_S);
    }
  }
  for (const program of [workloadProgram(), manifestProgram(), patternProgram()]) {
    initrd.program(`repo/build/oracle/${basename(program)}`, program, NEW_S);
  }
  for (const module of modules) initrd.bytes(`modules/${basename(module)}`, readFileSync(module));
  if (modules.length > 0) {
    const order = modules.map((module) => basename(module).replace(/\.ko$/, "")).join("\n");
    initrd.bytes("modules/order", new TextEncoder().encode(`${order}\n`));
  }
  const path = join(FOLDER, `${name}.cpio`);
  writeFileSync(path, initrd.finish());
  return path;
}
