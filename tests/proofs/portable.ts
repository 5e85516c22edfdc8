/**
 * One packed file on other machines: builds the reading binaries of all four systems and runs here what can run here. arm64 under
 * qemu-user (Debian: qemu-user-static, libc6-arm64-cross) must say and restore what this binary does; of macOS's the headers and
 * the digest of every page are checked, which its loader does before it starts a program.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { makePackedTrace } from "../support/bit_flips.ts";
import { readMachO } from "../../tools/mach_o.ts";
import { BINARY, Checks, ROOT, run, scratch } from "./_kit.ts";

const QEMU = "/usr/bin/qemu-aarch64-static";
const ARM64_ROOT = "/usr/aarch64-linux-gnu";
const BUILD_MS_MAX = 600_000;
const TARGETS = ["linux-x64", "linux-arm64", "darwin-arm64", "darwin-x64"] as const;

const checks = new Checks();
const folder = scratch("portable");
for (const target of TARGETS) {
  const argv = [process.execPath, "tools/build.ts", "--target", target];
  const built = run(argv, { cwd: ROOT, timeoutMs: BUILD_MS_MAX });
  checks.that(`the binary for ${target} is built`, built.code === 0, built.stderr);
}
const state = join(folder, "state");
makePackedTrace(state, 8);
const packed = run([BINARY, "pack", state, "--out", "one.dktrace"], { cwd: folder });
checks.that("a trace is packed", packed.code === 0, packed.stderr);

/** All that a binary says of the file, and what it restores. */
function answersOf(command: readonly string[], out: string): unknown[] {
  const ask = (...args: string[]) => {
    const { code, stdout, stderr } = run([...command, ...args], { cwd: folder });
    return { code, stdout: stdout.replaceAll(out, "OUT"), stderr: stderr.replaceAll(out, "OUT") };
  };
  const asked = ["info", "verify", "stats", "timeline"].map((name) => ask(name, "one.dktrace"));
  return [...asked, ask("export", "one.dktrace", "--time", "end", "--out", out)];
}

const wanted = answersOf([BINARY], "native");
const runners: Record<string, string[]> = { "linux-x64": [`${BINARY}-linux-x64`] };
if (existsSync(QEMU) && existsSync(ARM64_ROOT)) {
  runners["linux-arm64"] = [QEMU, "-L", ARM64_ROOT, `${BINARY}-linux-arm64`];
} else checks.note(`linux-arm64 is not run: there is no ${QEMU} with ${ARM64_ROOT}`);
for (const [target, command] of Object.entries(runners)) {
  const found = answersOf(command, `out-${target}`);
  checks.equal(`${target} says the same of the file`, found, wanted);
  const same = run(["diff", "-r", "native", `out-${target}`], { cwd: folder });
  // FIFOs make diff complain, but of both alike
  const differs = same.stdout.replaceAll(/File native[^]*? is a fifo while [^]*? is a fifo\n/g, "");
  checks.equal(`${target} restores the same`, differs, "");
  const refused = run([...command, "record", "--", "true"], { cwd: folder });
  checks.that(
    `${target} says that it cannot record`,
    refused.code === 125 && refused.stderr.startsWith("diffkeeper: error: cannot record with"),
    refused.stderr,
  );
}
for (const cpu of ["arm64", "x64"] as const) {
  const found = readMachO(readFileSync(`${BINARY}-darwin-${cpu}`));
  checks.that(`darwin-${cpu} is a program for ${cpu}`, found?.cpu === cpu && found.isExecutable);
  if (cpu === "x64") {
    checks.that("it has no signature, as it need not", found?.signature === undefined);
  } else {
    const { pages = 0, wrong = 1 } = found?.signature ?? {};
    checks.that(`its signature holds: ${pages} pages`, pages > 0 && wrong === 0, `${wrong} wrong`);
  }
}
checks.end("reading binaries");
