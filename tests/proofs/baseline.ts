/**
 * A baseline that copies nothing. On a tree of 100,000 files (2 GB): the time from start to exec without and with the stat cache;
 * `rm -rf` of it recorded and restored; the recorder killed in the middle of that, while the command goes on. Then every way
 * to destroy what a file held, on a small tree. Argument: how many files. The small sister is tests/kernel/baseline_test.ts.
 */
import { spawn } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { BINARY, Checks, dk, info, requireKernel, run, scratch } from "./_kit.ts";

const FILES = 100_000;
const FILE_BYTES = 20_000;
const FOLDER_FILES = 100;
const COLD_MS_MAX = 1_300;
const CACHED_MS_MAX = 600;
const ROUNDS = 3;
const RUN_MS_MAX = 600_000;
const LARGE_BYTES = 3 << 20;

/** Files of 20 KB, all different, a hundred in each folder. */
export function makeTree(top: string, files: number): void {
  const bytes = new Uint32Array(FILE_BYTES / 4);
  for (let i = 0; i < files; i++) {
    const folder = join(top, `d${Math.floor(i / 10_000)}`, `e${Math.floor(i / FOLDER_FILES)}`);
    if (i % FOLDER_FILES === 0) mkdirSync(folder, { recursive: true });
    for (let at = 0; at < bytes.length; at += 8) bytes[at] = Math.imul(i * 625 + at, 0x9e3779b1);
    writeFileSync(join(folder, `f${i}`), bytes);
  }
}

/** What a tree holds: a line with a hash for each file, by path. */
export function manifest(top: string): string {
  const lines: string[] = [];
  for (const name of readdirSync(top, { recursive: true }).map(String).sort()) {
    const stat = statSync(join(top, name));
    const hash = stat.isFile() ? Bun.hash(readFileSync(join(top, name))).toString(16) : "folder";
    lines.push(`${name} ${stat.mode} ${stat.isFile() ? stat.mtimeMs : 0} ${hash}`);
  }
  return lines.join("\n");
}

/** Exports a moment and says how it differs from a manifest; "": not at all. */
export function difference(state: string, time: string, expected: string): string {
  const out = `${state}.out`;
  rmSync(out, { recursive: true, force: true });
  const ran = dk(["export", "--strict", "--state-dir", state, "--time", time, "--out", out], {
    timeoutMs: RUN_MS_MAX,
  });
  if (!existsSync(out)) return ran.stderr;
  const found = manifest(out).split("\n");
  const wanted = expected.split("\n");
  rmSync(out, { recursive: true, force: true });
  const [isFound, isWanted] = [new Set(found), new Set(wanted)];
  const odd = [
    ...found.filter((line) => !isWanted.has(line)).map((line) => `+${line}`),
    ...wanted.filter((line) => !isFound.has(line)).map((line) => `-${line}`),
  ];
  const text = found.length === wanted.length && odd.length === 0 ? "" : odd.slice(0, 4).join("; ");
  return ran.code === 0
    ? text
    : `export ended with ${ran.code}: ${ran.stderr.slice(0, 300)} ${text}`;
}

/** Milliseconds from the start of the recorder to the command's first instruction. */
function startToExec(tree: string, state: string, env: Record<string, string | undefined>): number {
  rmSync(state, { recursive: true, force: true });
  const startedAt = Date.now();
  const argv = ["record", "--audit=none", "--quiet", "--watch", tree, "--state-dir", state];
  const ran = dk([...argv, "--", "date", "+%s%3N"], { env, timeoutMs: RUN_MS_MAX });
  if (ran.code !== 0) throw new Error(ran.stderr);
  return Number(ran.stdout) - startedAt;
}

/** Best of a few: the machine has other work. */
export function measureStart(tree: string, top: string): { cold: number; cached: number } {
  const [state, cache] = [join(top, "start"), join(top, "cache")];
  const env = { ...process.env, XDG_CACHE_HOME: cache };
  const best = { cold: Number.POSITIVE_INFINITY, cached: Number.POSITIVE_INFINITY };
  for (let round = 0; round < ROUNDS; round++) {
    rmSync(cache, { recursive: true, force: true });
    best.cold = Math.min(best.cold, startToExec(tree, state, env));
    best.cached = Math.min(best.cached, startToExec(tree, state, env));
  }
  rmSync(state, { recursive: true, force: true });
  return best;
}

/** `rm -rf` of everything, recorded. */
export function checkRemoval(checks: Checks, top: string, tree: string): void {
  const state = join(top, "removed");
  const before = manifest(tree);
  const copy = join(top, "copy");
  cpSync(tree, copy, { recursive: true, preserveTimestamps: true });
  const names = readdirSync(tree).map((name) => join(tree, name));
  const ran = dk(["record", "--watch", tree, "--state-dir", state, "--", "rm", "-rf", ...names], {
    timeoutMs: RUN_MS_MAX,
  });
  checks.equal("rm -rf under record ends with 0", ran.code, 0);
  checks.equal("the tree is empty", readdirSync(tree), []);
  checks.note(`recorded rm -rf: ${(ran.ms / 1000).toFixed(1)} s, with the end of the recording`);
  checks.equal("the start is restored", difference(state, "start", before), "");
  checks.equal(
    "verify finds nothing",
    dk(["verify", "--state-dir", state], { timeoutMs: RUN_MS_MAX }).code,
    0,
  );
  rmSync(state, { recursive: true, force: true });
  rmSync(tree, { recursive: true, force: true });
  cpSync(copy, tree, { recursive: true, preserveTimestamps: true });
  rmSync(copy, { recursive: true, force: true });
}

/** The recorder is killed while the command removes files; the command ends, and the start is whole. */
export async function checkKill(checks: Checks, top: string, tree: string): Promise<void> {
  const state = join(top, "killed");
  const before = manifest(tree);
  const folders = readdirSync(tree).map((name) => join(tree, name));
  const done = join(top, "done");
  rmSync(done, { force: true });
  const script = `rm -rf "$@"; echo $? > ${done}`;
  const argv = ["record", "--watch", tree, "--state-dir", state, "--", "sh", "-c", script, "sh"];
  const child = spawn(BINARY, [...argv, ...folders], { stdio: "ignore" });
  const count = () =>
    folders.reduce((sum, f) => sum + (existsSync(f) ? readdirSync(f).length : 0), 0);
  const full = count();
  const deadline = Date.now() + RUN_MS_MAX;
  while (count() > full * 0.7 && Date.now() < deadline) await Bun.sleep(2);
  child.kill("SIGKILL");
  while (!existsSync(done) && Date.now() < deadline) await Bun.sleep(10);
  await Bun.sleep(100);
  checks.equal(
    "killed: the command goes on to its end",
    existsSync(done) && readFileSync(done, "utf8"),
    "0\n",
  );
  checks.equal("killed: everything is removed", readdirSync(tree), []);
  checks.equal("killed: the trace says that it was cut", info(state)["clean"], false);
  checks.equal("killed: the start is restored", difference(state, "start", before), "");
  checks.equal("killed: verify finds nothing", dk(["verify", "--state-dir", state]).code, 0);
  rmSync(state, { recursive: true, force: true });
}

/** Every way to destroy what a file held; each file is named after its fate. */
const FATES = `
echo new > overwritten
echo more >> appended
: > emptied
truncate -s 7 cut
printf XX | dd of=patched bs=1 seek=100 conv=notrunc status=none
rm unlinked
mv mover renamed-over
ln -f linker linked-over
cp --remove-destination copied replaced
rm hard1
rm hard2 hard3
chmod 600 chmodded
touch touched
mv moved there
mv folder elsewhere
mv gone ../outside-gone
rm large-removed
echo x >> large-changed
python3 -c 'import ctypes; ctypes.CDLL(None).rename(b"nothing", b"large-spared")'
: > large-spared
ln -s target-of-link link; echo through > link
echo down > sub/deep
rm -rf whole
cd sub; echo rel > ../relative; cd ..
echo y 1<> readwrite
python3 -c 'import os; d = os.open("sub", os.O_RDONLY); os.unlink("by-fd", dir_fd=d); os.close(os.open("at", os.O_WRONLY | os.O_TRUNC, dir_fd=d))'
`;

const NAMES =
  "overwritten appended emptied cut patched unlinked mover renamed-over linker linked-over copied replaced " +
  "hard1 hard2 chmodded touched moved gone target-of-link relative readwrite untouched inherited " +
  "sub/deep sub/by-fd sub/at folder/a folder/b whole/a whole/b/c";

/** A small tree whose files meet all fates, with enough others that the baseline is lazy. */
export function makeFates(top: string): string {
  const tree = join(top, "fates");
  makeTree(join(tree, "many"), 400);
  for (const [i, name] of NAMES.split(" ").entries()) {
    mkdirSync(join(tree, name, ".."), { recursive: true });
    writeFileSync(join(tree, name), `${name} ${"0123456789".repeat(100 + i)}\n`);
  }
  run(["ln", join(tree, "hard1"), join(tree, "untouched-hard")]);
  run(["ln", join(tree, "hard2"), join(tree, "hard3")]);
  for (const name of ["large-removed", "large-changed", "large-spared"]) {
    writeFileSync(join(tree, name), Buffer.alloc(LARGE_BYTES, name));
  }
  return tree;
}

/** Runs all fates under record. */
export function checkFates(checks: Checks, top: string): void {
  const tree = makeFates(top);
  const state = join(top, "fated");
  const before = manifest(tree);
  const inherited = openSync(join(tree, "inherited"), "r+");
  const done = Bun.spawnSync([
    BINARY,
    "record",
    "--state-dir",
    state,
    "--",
    "sh",
    "-ec",
    `${FATES}echo in >&3`,
  ], {
    cwd: tree,
    stdio: ["ignore", "pipe", "pipe", inherited],
  });
  checks.equal("all fates end with 0", [done.exitCode, done.stdout.toString()], [0, ""]);
  checks.equal("the start of all fates is restored", difference(state, "start", before), "");
  checks.equal("the end of all fates is restored", difference(state, "end", manifest(tree)), "");
  const verified = dk(["verify", "--state-dir", state]);
  checks.that(
    "verify says what is only referred to",
    /referred to: 40\d files.* unchanged on disk/.test(verified.stdout),
    verified.stdout,
  );
  checks.that(
    "nothing was lost",
    !done.stderr.toString().includes("destroyed"),
    done.stderr.toString(),
  );
  appendFileSync(join(tree, "untouched"), "changed afterwards\n");
  const changed = difference(state, "start", before);
  checks.that(
    "a file changed after the recording is named",
    /untouched: .*on disk.*--baseline full/s.test(changed),
    changed,
  );
  const said = dk(["verify", "--state-dir", state]).stdout;
  checks.that("verify names it too", /1 changed or gone.*untouched/s.test(said), said);
}

/** What a process outside the command destroys is not saved: it is named as lost, and never shown as if it were known. */
export async function checkOutsider(checks: Checks, top: string): Promise<void> {
  const tree = join(top, "outsider");
  makeTree(join(tree, "many"), 400);
  for (const name of ["written", "removed", "kept"]) {
    writeFileSync(join(tree, name), `${name} before`);
  }
  const state = join(top, "outside");
  const [begun, go] = [join(top, "begun"), join(top, "go")];
  const script = `touch ${begun}; while [ ! -e ${go} ]; do sleep 0.05; done; echo in >> kept`;
  const argv = ["record", "--state-dir", state, "--", "sh", "-c", script];
  const child = spawn(BINARY, argv, { cwd: tree, stdio: "ignore" });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const deadline = Date.now() + 60_000;
  while (!existsSync(begun) && Date.now() < deadline) await Bun.sleep(10);
  appendFileSync(join(tree, "written"), " after");
  rmSync(join(tree, "removed"));
  writeFileSync(go, "");
  checks.equal("outsider: the command's code", await ended, 0);
  const gaps = dk(["timeline", "--gaps", "--state-dir", state]).stdout.match(/lost in \w+/g) ?? [];
  checks.equal("outsider: both losses are named", gaps, ["lost in written", "lost in removed"]);
  const found = difference(state, "start", manifest(tree));
  const named = ["written", "removed", "kept"].map((name) => found.includes(`${name}: bytes`));
  checks.equal("outsider: the export names what it does not know", named, [true, true, false]);
}

/** A program that asks for io_uring, as a shell command: prints the error number. */
const ASK_IO_URING =
  "import ctypes; l = ctypes.CDLL(None, use_errno=True); b = ctypes.create_string_buffer(120); " +
  "r = l.syscall(425, 4, b); print(ctypes.get_errno() if r < 0 else 0)";

/** io_uring is refused, said once, and let through where that was asked for. */
export function checkIoUring(checks: Checks, top: string): void {
  const tree = join(top, "uring");
  mkdirSync(tree, { recursive: true });
  const native = run(["python3", "-c", ASK_IO_URING]).stdout.trim();
  for (const mode of ["deny", "trace"]) {
    const state = join(top, `uring-${mode}`);
    const argv = ["record", "--io-uring", mode, "--watch", tree, "--state-dir", state, "--"];
    const ran = dk([...argv, "python3", "-c", `${ASK_IO_URING}; l.syscall(425, 4, b)`]);
    checks.equal(`io_uring, ${mode}`, ran.stdout.trim(), mode === "deny" ? "38" : native);
    const notes = dk(["timeline", "--gaps", "--state-dir", state]).stdout;
    const text = mode === "deny" ? /asked for io_uring/g : /uses io_uring/g;
    checks.equal(
      `io_uring, ${mode}: it is said once`,
      notes.match(text)?.length ?? 0,
      native === "38" ? 0 : 1,
    );
  }
}

async function main(): Promise<void> {
  requireKernel();
  const files = Number(process.argv[2] ?? FILES);
  const checks = new Checks();
  const top = scratch("baseline");
  const tree = join(top, "tree");
  makeTree(tree, files);
  const { cold, cached } = measureStart(tree, top);
  const figure = `${files} files: start to exec ${cold} ms cold, ${cached} ms with the cache`;
  checks.that(`at most ${COLD_MS_MAX} ms cold`, cold <= COLD_MS_MAX, `${cold} ms`);
  checks.that(
    `at most ${CACHED_MS_MAX} ms with the cache`,
    cached <= CACHED_MS_MAX,
    `${cached} ms`,
  );
  checkRemoval(checks, top, tree);
  await checkKill(checks, top, tree);
  checkFates(checks, top);
  await checkOutsider(checks, top);
  checkIoUring(checks, top);
  checks.end(figure);
}

if (import.meta.main) await main();
