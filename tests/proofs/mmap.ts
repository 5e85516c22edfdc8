/**
 * Stores through shared mappings: exact at every sync point, and between them as old as the recording says.
 * A C program (tests/proofs/_mapped.c) stores in every way, copies the file after each sync point and marks the moment; the state
 * restored at each mark must equal the copy, byte by byte and in its mtime (nothing is compared in between there: an interval of a
 * minute). Another time it stores the clock without a call: a state restored at any moment must hold a time that is at most
 * `slowest_ms` older. ld.lld and SQLite's -shm are real users of such mappings.
 */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Checks, dk, type EventLine, events, info, requireKernel, run, scratch } from "./_kit.ts";

/** What `timeline --json` says of a change found by comparing, beside what the kit knows. */
type MappedLine = EventLine & { stored?: boolean; settled?: boolean; wall: string };

/** Milliseconds by which a moment in a restored clock may be off, beside the stated resolution: the look itself. */
const LOOK_MS = 5;

interface Recorded {
  trace: string;
  watched: string;
  stdout: string;
}

interface Recording {
  name: string;
  folder: string;
  argv: string[];
  options?: string[];
}

/** Records a command in a new folder; nothing may be lost or differ. */
function record(checks: Checks, { name, folder, argv, options = [] }: Recording): Recorded {
  const watched = join(folder, "watched");
  const trace = join(folder, "trace");
  mkdirSync(watched, { recursive: true });
  const args = ["record", "--state-dir", trace, "--overwrite", ...options, "--", ...argv];
  const ran = dk(args, { cwd: watched });
  checks.equal(`${name}: exit code`, ran.code, 0);
  const isClean = ran.stderr.includes(" 0 lost ") && ran.stderr.includes(" 0 differences");
  checks.that(`${name}: nothing lost, nothing to heal`, isClean, ran.stderr);
  checks.equal(`${name}: verify`, dk(["verify", "--state-dir", trace]).code, 0);
  return { trace, watched, stdout: ran.stdout };
}

let exports = 0;

/** Restores one moment. */
function restored(checks: Checks, trace: string, time: string): string {
  const out = join(scratch("mmap"), `out${exports++}`);
  const ran = dk(["export", "--state-dir", trace, "--time", time, "--out", out]);
  if (ran.code !== 0) checks.that(`export at ${time}`, false, ran.stderr);
  return out;
}

/** Same bytes and the same mtime. */
function difference(found: string, expected: string): string {
  const [a, b] = [readFileSync(found), readFileSync(expected)];
  if (a.length !== b.length) return `${a.length} bytes instead of ${b.length}`;
  const at = a.findIndex((byte, i) => byte !== b[i]);
  if (at >= 0) return `byte ${at} is ${a[at]} instead of ${b[at]}`;
  const [ta, tb] = [found, expected].map((path) => statSync(path, { bigint: true }).mtimeNs);
  return ta === tb ? "" : `mtime ${ta} instead of ${tb}`;
}

function compiled(folder: string): string {
  const program = join(folder, "program");
  const source = join(import.meta.dir, "_mapped.c");
  const ran = run(["cc", "-O1", "-Wall", "-o", program, source]);
  if (ran.code !== 0) throw new Error(ran.stderr);
  return program;
}

/** Every sync point, in a folder. Returns how many marks were compared. */
export function checkSyncPoints(checks: Checks, folder = scratch("mmap")): number {
  const copies = join(folder, "copies");
  mkdirSync(copies, { recursive: true });
  const argv = [compiled(folder), copies];
  const options = ["--mmap-interval", "60000"];
  const { trace, watched } = record(checks, { name: "sync points", folder, argv, options });
  const lines = events(trace) as MappedLine[];
  let marks = 0;
  for (const line of lines) {
    const mark = line.op === "MKDIR" ? /^mark(\d+)-(.*)$/.exec(line.path ?? "") : null;
    if (mark === null) continue;
    marks++;
    const out = restored(checks, trace, `#${line.seq}`);
    const expected = join(copies, mark[1] ?? "");
    const wrong = difference(join(out, "file"), expected);
    checks.equal(`after ${mark[2]}`, wrong, "");
  }
  checks.equal("all sync points were reached", marks, readdirSync(copies).length);
  const end = restored(checks, trace, "end");
  checks.equal("at the end", difference(join(end, "file"), join(watched, "file")), "");
  const stored = lines.filter((line) => line.op === "MMAP" && line.stored === true);
  checks.that("changes are marked MMAP", stored.length > marks);
  const gaps = dk(["timeline", "--gaps", "--state-dir", trace]).stdout;
  checks.that(
    "--gaps says how often",
    gaps.includes("sampled: 1 file mapped shared, every 60000 ms"),
    gaps,
  );
  return marks;
}

/** Between sync points: how old is what is restored? */
export function checkClock(checks: Checks, moments: number): void {
  const folder = scratch("mmap");
  const { trace } = record(checks, { name: "clock", folder, argv: [compiled(folder), "clock"] });
  const lines = events(trace) as MappedLine[];
  const { slowest_ms: slowest } = info(trace)["sampled"] as { slowest_ms: number };
  const clock = lines.filter((line) => line.path === "clock" && line.stored === true);
  const [first, last] = [clock[0]?.t_ns ?? 0, clock.at(-1)?.t_ns ?? 0];
  const startNs = wallNs(lines[0]) - BigInt(lines[0]?.t_ns ?? 0);
  let worst = 0;
  let newest = 0;
  for (let i = 1; i <= moments; i++) {
    const t = Math.floor(first + (last - first) * i / (moments + 1));
    const out = restored(checks, trace, `${(t / 1e9).toFixed(6)}s`);
    const value = readFileSync(join(out, "clock")).readBigInt64LE(0);
    const age = Number(startNs + BigInt(t) - value) / 1e6;
    worst = Math.max(worst, age);
    newest = Math.min(newest, age);
  }
  checks.note(`${moments} moments: at most ${worst.toFixed(1)} ms old; stated ${slowest} ms`);
  checks.that("at most as old as stated", worst <= slowest + LOOK_MS, `${worst} > ${slowest}`);
  checks.that("never ahead of its time", newest > -LOOK_MS, `${newest} ms`);
}

/** RFC 3339 with nanoseconds. */
function wallNs(line: MappedLine | undefined): bigint {
  const [seconds = "", rest = ""] = (line?.wall ?? "").replace("Z", "").split(".");
  return BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(rest.padEnd(9, "0"));
}

/** The linker maps its output; exact at the rename that publishes it. */
export function checkLinker(checks: Checks): void {
  const folder = scratch("mmap");
  const source = join(folder, "main.c");
  writeFileSync(source, 'int puts(const char *);\nint main(void) { return puts("hi") < 0; }\n');
  const argv = ["cc", "-fuse-ld=lld", "-static", "-o", "program", source];
  const { trace, watched } = record(checks, { name: "ld.lld", folder, argv });
  const lines = events(trace) as MappedLine[];
  const named = lines.filter((line) => line.op === "RENAME").at(-1) ?? lines.at(-1);
  const out = restored(checks, trace, `#${named?.seq ?? 0}`);
  const real = readFileSync(join(watched, "program"));
  const found = readFileSync(join(out, "program"));
  checks.that("ld.lld: its output at the rename", found.equals(real), `${found.length} bytes`);
  checks.that("ld.lld: it stored through a mapping", lines.some((line) => line.stored === true));
}

const SQLITE = `
import os, shutil, sqlite3, sys
copies = sys.argv[1]
rounds = int(sys.argv[2])
db = sqlite3.connect("data.db", isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("create table t(n integer, x blob)")
other = sqlite3.connect("data.db", isolation_level=None)
for n in range(1, rounds + 1):
    (db if n % 2 else other).execute("insert into t values(?, randomblob(900))", (n,))
    os.mkdir(f"{copies}/{n}")
    for name in ("data.db", "data.db-wal", "data.db-shm"):
        shutil.copyfile(name, f"{copies}/{n}/{name}")
    os.mkdir(f"mark{n}")
os._exit(0)
`;

/** SQLite's shared memory file, its log and the database at every commit; then used. */
export function checkSqlite(checks: Checks, rounds: number): void {
  const folder = scratch("mmap");
  const copies = join(folder, "copies");
  mkdirSync(copies);
  const argv = ["python3", "-c", SQLITE, copies, String(rounds)];
  const { trace } = record(checks, { name: "SQLite", folder, argv });
  const marks = events(trace).filter((line) => line.op === "MKDIR");
  checks.equal("SQLite: all commits were marked", marks.length, rounds);
  for (const { seq, path } of marks) {
    const number = path?.slice("mark".length) ?? "";
    const out = restored(checks, trace, `#${seq}`);
    for (const name of ["data.db", "data.db-wal", "data.db-shm"]) {
      const [a, b] = [readFileSync(join(out, name)), readFileSync(join(copies, number, name))];
      if (!a.equals(b)) checks.that(`SQLite: ${name} at commit ${number}`, false);
    }
    const asked = run([
      "sqlite3",
      join(out, "data.db"),
      "pragma integrity_check; select max(n) from t",
    ]);
    checks.equal(`SQLite: commit ${number}`, asked.stdout, `ok\n${number}\n`);
  }
}

if (import.meta.main) {
  requireKernel();
  const checks = new Checks();
  const marks = checkSyncPoints(checks);
  checkClock(checks, 50);
  checkLinker(checks);
  checkSqlite(checks, 20);
  checks.end(`${marks} sync points`);
}
