/**
 * The BPF programs compile for every architecture and feature set without a warning, and what is built for the oldest kernels (-DDK_OLDEST, nothing
 * that came after Linux 5.15) passes the verifier of this one too. tools/kernels runs both on other kernels.
 */
import { afterAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { libbpf, openObject, pointerOf } from "../../ffi/libbpf.ts";
import { cString, pinned } from "../../ffi/libc.ts";
import { chooseHooks, hookNames } from "../../src/capture/ebpf/hooks.ts";
import { obstacle, removeScratch, ROOT, run, scratch } from "../proofs/_kit.ts";

const LOG_BYTES = 1 << 16;
/** ext4, xfs, btrfs, overlayfs. */
const ALL_FILESYSTEMS = [0xef53, 0x58465342, 0x9123683e, 0x794c7630];
const TRIPLE = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
const HOST = process.arch === "arm64" ? "arm64" : "x86";
const hasClang = Bun.which("clang") !== null;
const suffix = hasClang ? "" : " (skipped: needs clang)";

afterAll(removeScratch);

/** Compiles as tools/build.ts does. @returns the object's path. */
function compiled(arch: string, ...defines: string[]): string {
  const object = join(scratch("bpf"), "recorder.bpf.o");
  const argv = ["clang", "-g", "-O2", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"];
  argv.push(`-D__TARGET_ARCH_${arch}`, ...defines, "-I", "bpf", "-I", `/usr/include/${TRIPLE}`);
  const ran = run([...argv, "-c", "bpf/recorder.bpf.c", "-o", object], { cwd: ROOT });
  expect(ran.stderr).toBe("");
  expect(ran.code).toBe(0);
  return object;
}

for (const arch of ["x86", "arm64"]) {
  for (const defines of [[], ["-DDK_OLDEST"], ["-DDK_NEWEST"]]) {
    const name = `compiles for ${[arch, ...defines].join(" ")}`;
    test.skipIf(!hasClang)(name + suffix, () => {
      compiled(arch, ...defines);
    });
  }
}

const reason = hasClang ? obstacle() : "needs clang";
test.skipIf(reason !== "")(
  `what 5.15 gets loads here${reason === "" ? "" : ` (skipped: ${reason})`}`,
  () => {
    const log = pinned(LOG_BYTES);
    const object = openObject(readFileSync(compiled(HOST, "-DDK_OLDEST")), log);
    if (object === undefined) throw new Error("the object does not open");
    const machine = { names: hookNames(), filesystems: ALL_FILESYSTEMS, allowsFentry: false };
    for (const { program } of chooseHooks(machine).left) {
      const found = pointerOf(
        libbpf().bpf_object__find_program_by_name(object, cString(program)),
      );
      if (found === undefined) throw new Error(`no program ${program}`);
      libbpf().bpf_program__set_autoload(found, false);
    }
    const code = libbpf().bpf_object__load(object);
    const said = new TextDecoder().decode(log.bytes.subarray(0, log.bytes.indexOf(0)));
    libbpf().bpf_object__close(object);
    expect(code === 0 ? "" : said).toBe("");
  },
);
