/**
 * How large a trace is when it is packed, against what backup tools make of the same states: borg and restic take one snapshot per
 * state, git one commit per state and `gc --aggressive`. The trace holds every intermediate write, they hold the states. Also: time to
 * export the middle state, against `cp -a` of it. argv: names of the rows to run (default all), see `ROWS`. It never gates.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { BINARY, info, machine, ROOT, run } from "../tests/proofs/_kit.ts";

const RUN_MS_MAX = 1_800_000;
const LOG_LINES = 1_000_000;
const LOG_STATES = 20;
const RELINKS = Number(process.env["DIFFKEEPER_RELINKS"] ?? 200);
const INSTALLS = 2;
const UPDATES = 50_000;
const UPDATE_STATES = 50;
const VERSIONS_MAX = 40;

/** One row: makes state after state in the current folder when called with the number of the state. */
interface Row {
  name: string;
  states: number;
  /** Makes what all states need, outside the watched folder. */
  prepare(folder: string): void;
  /** A shell command that makes state $1 in the watched folder, its current one; $2 is the folder of `prepare`. */
  step: string;
}

function must(argv: readonly string[], cwd: string, env: Record<string, string> = {}): string {
  const done = run(argv, { cwd, timeoutMs: RUN_MS_MAX, env: { ...process.env, ...env } });
  if (done.code !== 0) throw new Error(`${argv.join(" ")} exits with ${done.code}: ${done.stderr}`);
  return done.stdout;
}

/** Bytes of all files below a folder, as they are long. */
function sizeOf(path: string): number {
  const open = [path];
  let sum = 0;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const stat = statSync(next);
    if (!stat.isDirectory()) sum += stat.size;
    else for (const name of readdirSync(next)) open.push(join(next, name));
  }
  return sum;
}

const commits = must(["git", "rev-list", "--reverse", "HEAD"], ROOT).trim().split("\n");

const LOG_PROGRAM = `
import os, sys
k, per = int(sys.argv[1]), int(sys.argv[2])
fd = os.open("app.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
for i in range(k * per, k * per + per):
    os.write(fd, b"2026-11-21T13:%02d:%02d.%03d INFO request %d took %d ms\\n" % (i // 60000 % 60, i // 1000 % 60, i % 1000, i, i * 7919 % 1000))
`;

const SQLITE_PROGRAM = `
import sqlite3, sys
k, per = int(sys.argv[1]), int(sys.argv[2])
db = sqlite3.connect("data.db", isolation_level=None)
if k == 0:
    db.execute("create table t (id integer primary key, name text, value integer)")
    db.execute("begin")
    db.executemany("insert into t values (?, ?, 0)", ((i, "row number %d" % i) for i in range(20000)))
    db.execute("commit")
for i in range(k * per, k * per + per):
    db.execute("update t set value = ?, name = ? where id = ?", (i, "row number %d, changed" % i, i * 7919 % 20000))
`;

const ROWS: readonly Row[] = [
  {
    name: "commits",
    states: commits.length,
    prepare(folder) {
      must(["git", "clone", "-q", "--bare", ROOT, join(folder, "repo.git")], folder);
      writeFileSync(join(folder, "commits"), commits.join("\n") + "\n");
    },
    step: 'git --git-dir="$2/repo.git" --work-tree=. checkout -q -f ' +
      '"$(sed -n "$(($1 + 1))p" "$2/commits")"',
  },
  {
    name: "npm",
    states: VERSIONS_MAX,
    prepare(folder) {
      const all = JSON.parse(must(["npm", "view", "commander", "versions", "--json"], folder));
      const versions = (all as string[]).filter((one) => !one.includes("-")).slice(-VERSIONS_MAX);
      for (const [index, version] of versions.entries()) {
        const file = must(["npm", "pack", "--silent", `commander@${version}`], folder).trim();
        must(["mv", file, `${index}.tgz`], folder);
      }
    },
    step: 'tar xzf "$2/$1.tgz"',
  },
  {
    name: "log",
    states: LOG_STATES,
    prepare: (folder) => writeFileSync(join(folder, "log.py"), LOG_PROGRAM),
    step: `python3 "$2/log.py" "$1" ${LOG_LINES / LOG_STATES}`,
  },
  {
    name: "relink",
    states: RELINKS,
    prepare(folder) {
      for (let unit = 0; unit < 40; unit++) {
        const lines = [`int f${unit}(int);`];
        for (let i = 0; i < 2500; i++) {
          lines.push(
            `int f${unit}_${i}(int x){return x*${i * 7 + unit}+(x>>${i % 13})+f${(unit + 1) % 40}_${
              (i * 31) % 2500
            }(x-1);}`,
          );
          lines.unshift(`int f${(unit + 1) % 40}_${(i * 31) % 2500}(int);`);
        }
        writeFileSync(join(folder, `u${unit}.c`), lines.join("\n"));
        must(["cc", "-g", "-w", "-c", `u${unit}.c`], folder);
      }
    },
    step:
      `cd "$2" && { for i in $(seq 0 $(($1 % 17 + 1))); do echo "int changed_\${i}(int x){return x+$1+$i;}"; done;` +
      ` echo "int main(){return 0;}"; } >main.c && cc -w -c main.c && cc -o "$OLDPWD/program" main.o u*.o`,
  },
  {
    name: "sqlite",
    states: UPDATE_STATES,
    prepare: (folder) => writeFileSync(join(folder, "updates.py"), SQLITE_PROGRAM),
    step: `python3 "$2/updates.py" "$1" ${UPDATES / UPDATE_STATES}`,
  },
  {
    name: "npm-ci",
    states: INSTALLS,
    prepare(folder) {
      const dependencies = { express: "5.1.0", commander: "14.0.0", semver: "7.7.2" };
      writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "x", dependencies }));
      must(["npm", "install", "--silent", "--ignore-scripts", "--cache", "cache"], folder);
      rmSync(join(folder, "node_modules"), { recursive: true });
    },
    step: 'cp "$2"/package*.json . && ' +
      'npm ci --silent --ignore-scripts --prefer-offline --cache "$2/cache"',
  },
];

/** What one row says. */
interface Sizes {
  states: number;
  events: number;
  written: number;
  raw: number;
  /** By \`compact --fast\`, which packs as a recorder does beside its command. */
  fast: number;
  packed: number;
  borg: number;
  restic: number;
  git: number;
}

/** A recorded trace, in its three sizes. */
interface Recorded {
  raw: number;
  fast: number;
  packed: number;
  trace: string;
}

/** Records the command that makes all states, one after the other. */
function record(row: Row, folder: string): Recorded {
  const watched = join(folder, "recorded");
  const trace = join(folder, "trace");
  mkdirSync(watched);
  const script = `k=0; while [ $k -lt ${row.states} ]; do sh -c '${
    row.step.replaceAll("'", "'\\''")
  }' step $k "$1" || exit 1; k=$((k+1)); done`;
  must([
    BINARY,
    "record",
    "--quiet",
    "--compact=off",
    "--state-dir",
    trace,
    "--",
    "sh",
    "-c",
    script,
    "all",
    join(folder, "prepared"),
  ], watched);
  const raw = sizeOf(trace);
  const quick = join(folder, "trace-fast");
  must(["cp", "-r", trace, quick], folder);
  must([BINARY, "compact", "--fast", "--state-dir", quick], folder);
  const fast = sizeOf(quick);
  rmSync(quick, { recursive: true });
  must([BINARY, "compact", "--state-dir", trace], folder);
  return { raw, fast, packed: sizeOf(trace), trace };
}

/** Makes the states once more, and after each a snapshot with every tool. */
function snapshots(row: Row, folder: string): { borg: number; restic: number; git: number } {
  const work = join(folder, "work");
  mkdirSync(work);
  const env = {
    BORG_REPO: join(folder, "borg"),
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: "yes",
    BORG_BASE_DIR: join(folder, "borg-base"),
    RESTIC_REPOSITORY: join(folder, "restic"),
    RESTIC_PASSWORD: "x",
    RESTIC_CACHE_DIR: join(folder, "restic-cache"),
    GIT_DIR: join(folder, "git"),
    GIT_WORK_TREE: work,
  };
  const [borg, restic] = [Bun.which("borg") !== null, Bun.which("restic") !== null];
  if (borg) must(["borg", "init", "-e", "none"], work, env);
  if (restic) must(["restic", "-q", "init"], work, env);
  must(["git", "init", "-q"], work, env);
  for (let state = 0; state < row.states; state++) {
    must(["sh", "-c", row.step, "step", String(state), join(folder, "prepared")], work);
    if (borg) must(["borg", "create", `::s${state}`, "."], work, env);
    if (restic) must(["restic", "-q", "backup", "."], work, env);
    must(["git", "add", "-A"], work, env);
    const user = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"];
    must(["git", ...user, "commit", "-q", "--allow-empty", "-m", String(state)], work, env);
  }
  must(["git", "gc", "-q", "--aggressive", "--prune=now"], work, env);
  return {
    borg: borg ? sizeOf(env.BORG_REPO) : Number.NaN,
    restic: restic ? sizeOf(env.RESTIC_REPOSITORY) : Number.NaN,
    git: sizeOf(join(env.GIT_DIR, "objects")),
  };
}

/** Seconds to export the middle state, and to copy it. */
function middle(folder: string, trace: string): { exportS: number; copyS: number } {
  const out = join(folder, "middle");
  const { events } = info(trace);
  const timed = (argv: readonly string[]) => {
    const startedAt = performance.now();
    must(argv, folder);
    return (performance.now() - startedAt) / 1000;
  };
  const time = `#${Math.ceil(Number(events) / 2)}`;
  const exportS = timed([BINARY, "export", "--state-dir", trace, "--time", time, "--out", out]);
  return { exportS, copyS: timed(["cp", "-a", out, join(folder, "copy")]) };
}

function measure(row: Row): { sizes: Sizes; exportS: number; copyS: number } {
  const folder = mkdtempSync(join(tmpdir(), "diffkeeper-bench-"));
  try {
    mkdirSync(join(folder, "prepared"));
    row.prepare(join(folder, "prepared"));
    const { raw, fast, packed, trace } = record(row, folder);
    const facts = info(trace);
    const times = middle(folder, trace);
    const sizes = {
      states: row.states,
      events: Number(facts["events"]),
      written: Number(facts["bytes"]),
      raw,
      fast,
      packed,
      ...snapshots(row, folder),
    };
    return { sizes, ...times };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function megabytes(bytes: number): string {
  return Number.isNaN(bytes) ? "-" : `${(bytes / 1e6).toFixed(2)}`;
}

if (!existsSync(BINARY)) throw new Error("needs dist/diffkeeper");
const wanted = process.argv.slice(2);
const load = loadavg()[0] ?? 0;
console.log(`${machine()}, load ${load.toFixed(1)} at the start. Sizes in MB.\n`);
console.log(
  "| | states | events | written | raw trace | packed, fast | packed | borg | restic | git gc | export, middle | cp -a |",
);
console.log(`|${" --- |".repeat(12)}`);
for (const row of ROWS) {
  if (wanted.length > 0 && !wanted.includes(row.name)) continue;
  const { sizes, exportS, copyS } = measure(row);
  const { states, events, written, raw, fast, packed, borg, restic, git } = sizes;
  const bytes = [written, raw, fast, packed, borg, restic, git].map(megabytes);
  const cells = [
    row.name,
    states,
    events,
    ...bytes,
    `${exportS.toFixed(2)} s`,
    `${copyS.toFixed(2)} s`,
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
