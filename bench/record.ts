/**
 * What recording costs: writes per second and time per write, and wall times of real work natively, recorded and under strace.
 * Rounds are interleaved, so that a slow moment of the machine hits all three; the table shows medians. It never gates.
 * Arguments: rounds (default 5), parts (writes, tar, clone, build, start, packing; default all). The working folder is a temporary
 * one (TMPDIR).
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { BINARY, machine, run } from "../tests/proofs/_kit.ts";

const ROUNDS = Number(process.argv[2] ?? 5);
const ALL_PARTS = ["writes", "tar", "clone", "build", "start", "packing"];
const PARTS = process.argv.length > 3 ? process.argv.slice(3) : ALL_PARTS;
const unknown = PARTS.find((part) => !ALL_PARTS.includes(part));
if (!Number.isInteger(ROUNDS) || ROUNDS < 1 || unknown !== undefined) {
  console.error(`usage: npm run bench record [ROUNDS [${ALL_PARTS.join("|")}]...]`);
  process.exit(2);
}
const STARTS_PER_ROUND = 4;
const WRITES = 2_000_000;
const WRITE_BYTES = 32;
const SOURCES = 60;
const RUN_MS_MAX = 600_000;
/** The calls that carry or place content, with all of their bytes: what a recorder has to keep. */
const STRACE = ["strace", "-f", "-s", "1048576", "-e"];
const STRACE_CALLS =
  "trace=write,pwrite64,writev,pwritev,sendfile,copy_file_range,openat,open,creat," +
  "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,link,linkat," +
  "truncate,ftruncate,fallocate,chmod,fchmod,fchmodat,utimensat";

const LOOP = `
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
  long count = atol(argv[1]), bytes = atol(argv[2]), done = 0;
  char *block = malloc(bytes);
  memset(block, 'x', bytes);
  int fd = open("data", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (long i = 0; i < count; i++) done += write(fd, block, bytes);
  clock_gettime(CLOCK_MONOTONIC, &b);
  printf("%lld\\n", (b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec);
  return done != count * bytes;
}
`;

type Kind = "native" | "recorded" | "strace";
/** How `--compact` is set, beside a native run. */
type Packing = "native" | "off" | "on" | "after";

/** One workload: what to prepare in an empty folder, and what to measure there. */
interface Work {
  name: string;
  prepare(folder: string): void;
  argv: readonly string[];
}

function must(argv: readonly string[], cwd: string): string {
  const done = run(argv, { cwd, timeoutMs: RUN_MS_MAX });
  if (done.code !== 0) throw new Error(`${argv.join(" ")} exits with ${done.code}: ${done.stderr}`);
  return done.stdout;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** A C project of many files that includes large headers, so that the compiler has work. */
function makeProject(folder: string): void {
  mkdirSync(folder);
  let names = "";
  for (let i = 0; i < SOURCES; i++) {
    const body = Array.from(
      { length: 150 },
      (_, k) =>
        `int f${i}_${k}(int x) { return printf("%d %s", x * ${k}, strerror(x)) + f(x, ${k}); }`,
    );
    const head =
      "#include <stdio.h>\n#include <string.h>\n#include <stdlib.h>\n#include <netdb.h>\n" +
      "static int f(int x, int y) { for (int i = 0; i < y; i++) x += i * x ^ y; return x; }\n";
    writeFileSync(join(folder, `part${i}.c`), head + body.join("\n") + "\n");
    names += ` part${i}.o`;
  }
  writeFileSync(join(folder, "main.c"), "int main(void) { return 0; }\n");
  const make = `program: main.o${names}\n\tcc -o $@ $^\n%.o: %.c\n\tcc -O1 -c -o $@ $<\n`;
  writeFileSync(join(folder, "Makefile"), make);
}

function workloads(base: string): Work[] {
  const tree = join(base, "tree");
  cpSync("/usr/include", tree, { recursive: true, dereference: false, verbatimSymlinks: true });
  must(["tar", "cf", join(base, "tree.tar"), "-C", base, "tree"], base);
  must(["git", "init", "-q", tree], base);
  const identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"];
  must(["git", "-C", tree, "add", "-A"], base);
  must(["git", "-C", tree, ...identity, "commit", "-qm", "all"], base);
  const project = join(base, "project");
  makeProject(project);
  const nothing = () => undefined;
  return [
    { name: "tar x", prepare: nothing, argv: ["tar", "xf", join(base, "tree.tar")] },
    {
      name: "git clone",
      prepare: nothing,
      argv: ["git", "clone", "-q", "--no-local", tree, "clone"],
    },
    {
      name: "C build, make -j2",
      prepare: (folder) => cpSync(project, folder, { recursive: true }),
      argv: ["make", "-s", "-j2"],
    },
  ];
}

/** Says what a recording lost, by class: its figure is no figure then. */
function noteLoss(work: Work, state: string): void {
  const facts = JSON.parse(run([BINARY, "info", "--json", "--state-dir", state]).stdout) as {
    lost: number;
    losses: Record<string, number>;
  };
  console.log(`LOST in ${work.name}: ${facts.lost} events, ${JSON.stringify(facts.losses)}`);
}

/** Wall time in ms of one run in a fresh folder. */
function measure(base: string, work: Work, kind: Kind): number {
  const folder = join(base, "work");
  const state = join(base, "trace");
  mkdirSync(folder);
  work.prepare(folder);
  run(["sync"]);
  const prefix = {
    native: [],
    recorded: [BINARY, "record", "--state-dir", state, "--"],
    strace: [...STRACE, STRACE_CALLS, "-o", join(base, "strace.out")],
  }[kind];
  const done = run([...prefix, ...work.argv], { cwd: folder, timeoutMs: RUN_MS_MAX });
  if (done.code !== 0) {
    throw new Error(`${kind} ${work.name} exits with ${done.code}: ${done.stderr}`);
  }
  if (kind === "recorded" && !done.stderr.includes(" 0 lost ")) noteLoss(work, state);
  for (const path of [folder, state, join(base, "strace.out")]) {
    rmSync(path, { recursive: true, force: true });
  }
  return done.ms;
}

/** The loop of small writes: nanoseconds inside the loop, and the wall time until the trace is complete. */
function loop(base: string, kind: Kind): { loopNs: number; wallMs: number } {
  let loopNs = 0;
  const argv = [
    join(base, "loop"),
    String(kind === "strace" ? WRITES / 20 : WRITES),
    `${WRITE_BYTES}`,
  ];
  const shell = ["sh", "-c", `"$@" >"$0"`, join(base, "loop.out"), ...argv];
  const wallMs = measure(base, { name: "loop", prepare: () => undefined, argv: shell }, kind);
  loopNs = Number(must(["cat", join(base, "loop.out")], base)) * (kind === "strace" ? 20 : 1);
  return { loopNs, wallMs };
}

/** A recorded build by the way its trace is compacted: until the command ends, and until the trace is complete. */
function packing(base: string, work: Work): void {
  const kinds: Packing[] = ["native", "off", "on", "after"];
  const found = Object.fromEntries(kinds.map((kind) => [kind, [] as number[]]));
  const sizes: Record<string, number> = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const kind of kinds) {
      const folder = join(base, "work");
      const state = join(base, "trace");
      mkdirSync(folder);
      work.prepare(folder);
      run(["sync"]);
      const record = [BINARY, "record", "--quiet", `--compact=${kind}`, "--state-dir", state, "--"];
      const argv = [...kind === "native" ? [] : record, ...work.argv];
      const done = run(argv, { cwd: folder, timeoutMs: RUN_MS_MAX });
      if (done.code !== 0) throw new Error(`${kind} exits with ${done.code}: ${done.stderr}`);
      found[kind]?.push(done.ms / 1000);
      if (kind !== "native") sizes[kind] = statSync(join(state, "trace.db")).size;
      for (const path of [folder, state]) rmSync(path, { recursive: true, force: true });
    }
  }
  console.log(`\n${work.name}, by --compact: wall time until the trace is complete`);
  row(["", "seconds", "of native", "trace"]);
  const native = median(found["native"] ?? []);
  for (const kind of kinds) {
    const seconds = median(found[kind] ?? []);
    const size = sizes[kind] === undefined ? "" : `${(sizes[kind] / 1e6).toFixed(2)} MB`;
    row([kind, seconds.toFixed(2), `${(seconds / native).toFixed(2)} x`, size]);
  }
}

function row(cells: readonly (string | number)[]): void {
  const [name = "", ...rest] = cells.map(String);
  console.log(`${name.padEnd(34)}${rest.map((cell) => cell.padStart(14)).join("")}`);
}

function smallWrites(base: string): void {
  const found: Record<Kind, { loopNs: number; wallMs: number }[]> = {
    native: [],
    recorded: [],
    strace: [],
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (const kind of ["native", "recorded", "strace"] as const) {
      found[kind].push(loop(base, kind));
    }
  }
  const ns = (kind: Kind) => median(found[kind].map((one) => one.loopNs)) / WRITES;
  const rate = (nanoseconds: number) => `${Math.round(1e9 / nanoseconds / 1000)} k`;
  const wall = median(found.recorded.map((one) => one.wallMs));
  console.log(`\n${WRITES} writes of ${WRITE_BYTES} bytes (a loss would be named above)`);
  row(["", "native", "recorded", "strace"]);
  row([
    "writes per second, in the loop",
    rate(ns("native")),
    rate(ns("recorded")),
    rate(ns("strace")),
  ]);
  row(["writes per second, start to trace", "", `${Math.round(WRITES / wall)} k`, ""]);
  row([
    "ns per write",
    ...(["native", "recorded", "strace"] as const).map((k) => ns(k).toFixed(0)),
  ]);
  row([
    "added ns per write",
    "",
    ...(["recorded", "strace"] as const).map((k) => (ns(k) - ns("native")).toFixed(0)),
  ]);
}

function realWork(base: string, works: readonly Work[]): void {
  console.log("\nwall time in seconds");
  row(["", "native", "recorded", "strace", "rec/native", "rec/strace"]);
  for (const work of works) {
    const found: Record<Kind, number[]> = { native: [], recorded: [], strace: [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of ["native", "recorded", "strace"] as const) {
        found[kind].push(measure(base, work, kind) / 1000);
      }
    }
    const [native, recorded, strace] = [found.native, found.recorded, found.strace].map(median);
    const ratio = (a = NaN, b = NaN) => `${(a / b).toFixed(2)} x`;
    const times = [native, recorded, strace].map((seconds = NaN) => seconds.toFixed(2));
    row([work.name, ...times, ratio(recorded, native), ratio(recorded, strace)]);
  }
}

function startTime(base: string): void {
  const nothing = { name: "true", prepare: () => undefined, argv: ["true"] };
  const starts = Array.from(
    { length: ROUNDS * STARTS_PER_ROUND },
    () => measure(base, nothing, "recorded"),
  );
  const least = Math.min(...starts).toFixed(0);
  console.log(`\nrecord -- true: ${median(starts).toFixed(0)} ms, at least ${least}`);
}

const base = mkdtempSync(join(tmpdir(), "diffkeeper-bench-"));
try {
  const load = loadavg()[0]?.toFixed(1) ?? "?";
  console.log(`${machine()}, load before: ${load}; medians of ${ROUNDS}, interleaved`);
  writeFileSync(join(base, "loop.c"), LOOP);
  must(["cc", "-O2", "-w", "-o", "loop", "loop.c"], base);
  if (PARTS.includes("writes")) smallWrites(base);
  const works = workloads(base);
  const wanted = works.filter(({ name }) => PARTS.some((part) => name.includes(part)));
  if (wanted.length > 0) realWork(base, wanted);
  if (PARTS.includes("start")) startTime(base);
  const build = works.find(({ name }) => name.includes("build"));
  if (PARTS.includes("packing") && build !== undefined) packing(base, build);
} finally {
  rmSync(base, { recursive: true, force: true });
}
