/**
 * dist/diffkeeper alone in a bare chroot records, lists and exports: glibc, /proc and /sys are all it needs.
 * The chroot holds the loader, libc, libm, libpthread and libdl, the binary, and one static program to record: no shell, node,
 * bun, clang, libbpf, libelf, zlib, no /etc, /tmp or /dev. /proc is mounted because the binary reads itself and its command
 * there, /sys because the kernel's type information (BTF) is there.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BINARY, Checks, type Ran, requireKernel, run, scratch } from "./_kit.ts";

/** Makes a folder, writes, renames, deletes, prints. */
const PROGRAM = `
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
  write(fd, text, strlen(text));
  close(fd);
}
int main(void) {
  chdir("/work");
  mkdir("folder", 0750);
  put("folder/first", "one\\n");
  put("gone", "gone\\n");
  rename("folder/first", "folder/second");
  symlink("second", "folder/link");
  unlink("gone");
  write(1, "done\\n", 5);
  return 3;
}
`;

/** The libraries that the binary asks the loader for, by ldd. */
function libraries(): string[] {
  const paths = [...run(["ldd", BINARY]).stdout.matchAll(/(\/\S+) \(0x/g)].map((m) => m[1] ?? "");
  return paths.filter((path) => path !== "");
}

function install(root: string, path: string, source = path): void {
  const target = join(root, path);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(source, target);
}

/** Makes the chroot; returns its files. */
function build(root: string): string[] {
  for (const path of libraries()) install(root, path);
  mkdirSync(join(root, "bin"));
  copyFileSync(BINARY, join(root, "bin/diffkeeper"));
  const source = join(scratch("chroot"), "program.c");
  writeFileSync(source, PROGRAM);
  run(["cc", "-static", "-O1", "-w", "-o", join(root, "bin/program"), source]);
  for (const folder of ["proc", "sys", "work", "work/before"]) mkdirSync(join(root, folder));
  return listing(root);
}

function listing(folder: string): string[] {
  return (readdirSync(folder, { recursive: true, encoding: "utf8" })).sort();
}

/** Runs diffkeeper in the chroot, with its mounts in a namespace that ends with it. */
function inside(root: string, args: readonly string[]): Ran {
  const script = `mount -t proc none "$0/proc" && mount -t sysfs none "$0/sys" && ` +
    `exec chroot "$0" /bin/diffkeeper "$@"`;
  const env = { PATH: process.env["PATH"] };
  return run(["unshare", "-m", "sh", "-c", script, root, ...args], { env });
}

/** All of it. Returns the number of files in the chroot. */
export function checkChroot(checks: Checks): number {
  const root = scratch("chroot");
  const files = build(root).filter((path) => statSync(join(root, path)).isFile());
  checks.note(`the chroot: ${files.join(" ")}`);
  const recorded = inside(root, ["record", "--watch", "/work", "--", "/bin/program"]);
  checks.equal("record exits with the command's code", recorded.code, 3);
  checks.equal("the command prints", recorded.stdout, "done\n");
  checks.that("nothing is lost", recorded.stderr.includes(" 0 lost "), recorded.stderr);
  const listed = inside(root, ["timeline"]);
  const lines = listed.stdout.split("\n").map((line) => line.replace(/^\S+ #\d+ /, ""));
  for (const what of ["MKDIR folder", "CREATE folder/first", "UNLINK gone", "OUTPUT stdout"]) {
    checks.that(`timeline: ${what}`, lines.some((line) => line.startsWith(what)), listed.stderr);
  }
  const exported = inside(root, ["export", "--time", "end", "--out", "/out"]);
  checks.equal("export exits with 0", [exported.code, exported.stderr], [0, ""]);
  const out = join(root, "out");
  checks.equal("the exported tree", listing(out), listing(join(root, "work")));
  checks.equal("its content", readFileSync(join(out, "folder/second"), "latin1"), "one\n");
  checks.equal("its symlink", readlinkSync(join(out, "folder/link")), "second");
  const others = readdirSync(root).filter((name) => !["out", "diffkeeper-trace"].includes(name));
  checks.equal("nothing else appears", others.sort(), readdirBefore(files));
  return files.length;
}

function readdirBefore(files: readonly string[]): string[] {
  const tops = files.map((path) => path.split("/")[0] ?? "");
  return [...new Set([...tops, "proc", "sys", "work"])].sort();
}

if (import.meta.main) {
  requireKernel();
  const checks = new Checks();
  const count = checkChroot(checks);
  checks.end(`${count} files in the chroot`);
}
