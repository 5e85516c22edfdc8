/**
 * Every counter of losses, forced once by something real: each loss is shown where it happened, with how much, and the audit heals it.
 * A small ring and a slow reader, writers outside the command (nobody holds them back), too few scratch buffers and entries for
 * inodes, memory that goes away while it is written, links and paths that are too many or too long, a kernel that
 * has no memory. The tree restored at the end must equal the real one, and `verify` must be clean.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compare, readManifest, writeManifest } from "../oracle/manifest.ts";
import { compiled } from "../oracle/programs.ts";
import {
  BINARY,
  Checks,
  dk,
  type EventLine,
  events,
  info,
  type Ran,
  requireKernel,
  run,
  scratch,
} from "./_kit.ts";

const PROGRAM = () => compiled(join(import.meta.dir, "_drops.c"));
const WAIT_MS_MAX = 30_000;
const NAMES = 6_000;
const LINES = 30_000;
const LINE_BYTES = 100;
const SLOW = { DIFFKEEPER_TEST_DRAIN_DELAY_MS: "150" };
const SMALL_RING = ["--ring-size", "256K"];

/** One event as `timeline --json` prints it, with what only a GAP has. */
type Line = EventLine & { lost_events?: number; lost_bytes?: number; settled?: boolean };

/** A recording that must lose something. */
interface Injection {
  name: string;
  /** Its counter in `info`. */
  counter: string;
  /** Something is missing from the trace: a GAP says so. Else it is only noted, or read back. */
  isMissing: boolean;
  env?: Record<string, string>;
  /** Memory cgroup (v1) of the recorder. */
  group?: string;
  flags?: string[];
  /** Before the recording. */
  prepare?(one: Recorded): void;
  /** A shell script in the watched folder; `$DROPS` is the helper, `$OUT` a folder that is not watched. */
  command: string;
  /** What somebody outside does while the command waits: it has touched `$OUT/started` and waits for `$OUT/done`. */
  outside?(one: Recorded): void | Promise<void>;
  /** More to check. */
  judge?(checks: Checks, one: Recorded): void;
  tidy?(one: Recorded): void;
}

/** Paths and results of one recording. */
class Recorded {
  readonly folder = scratch("drops");
  readonly watched = join(this.folder, "watched");
  readonly trace = join(this.folder, "trace");
  readonly out = join(this.folder, "out");
  ran: Ran = { code: 0, stdout: "", stderr: "", ms: 0 };
  lines: Line[] = [];
  recorder = 0;

  constructor() {
    for (const path of [this.watched, this.out]) mkdirSync(path);
    run(["mkfifo", join(this.out, "done")]);
  }

  get gaps(): Line[] {
    return this.lines.filter(({ op }) => op === "GAP");
  }
  get lost(): { events: number; bytes: number } {
    const sum = { events: 0, bytes: 0 };
    for (const { lost_events, lost_bytes } of this.gaps) {
      sum.events += lost_events ?? 0;
      sum.bytes += lost_bytes ?? 0;
    }
    return sum;
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + WAIT_MS_MAX;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("it takes too long");
    await Bun.sleep(5);
  }
}

/** No process more: what a shell starts while it waits would be lost, too. */
const WAIT = `: > "$OUT/started"; read -r _ <"$OUT/done"`;

async function record(injection: Injection): Promise<Recorded> {
  const one = new Recorded();
  injection.prepare?.(one);
  const argv = [
    ...[BINARY, "record", "--state-dir", one.trace, ...injection.flags ?? [], "--"],
    ...["sh", "-c", injection.command],
  ];
  const enter = `echo $$ > ${injection.group}/cgroup.procs; exec "$@"`;
  const whole = injection.group === undefined ? argv : ["sh", "-c", enter, "sh", ...argv];
  const child = Bun.spawn(whole, {
    cwd: one.watched,
    env: { ...process.env, ...injection.env, DROPS: PROGRAM(), OUT: one.out },
    stdio: ["ignore", "ignore", "pipe"],
  });
  one.recorder = child.pid;
  const stderr = new Response(child.stderr).text();
  if (injection.outside !== undefined) {
    await until(() => existsSync(join(one.out, "started")) || child.exitCode !== null);
    await injection.outside(one);
    run(["timeout", "10", "sh", "-c", 'echo >"$0"', join(one.out, "done")]);
  }
  one.ran = { ...one.ran, code: await child.exited, stderr: await stderr };
  one.lines = events(one.trace) as Line[];
  return one;
}

/** What the trace restores at its end is what is there. */
function checkHealed(checks: Checks, name: string, one: Recorded): void {
  const out = join(one.folder, "export");
  const exported = dk(["export", "--state-dir", one.trace, "--time", "end", "--out", out]);
  checks.equal(`${name}: export`, exported.code, 0);
  const [wanted, found] = [join(one.folder, "wanted"), join(one.folder, "found")];
  writeManifest(one.watched, { out: wanted });
  writeManifest(out, { out: found });
  const wrong = compare(readManifest(wanted), readManifest(found));
  checks.that(`${name}: healed`, wrong.length === 0, JSON.stringify(wrong.slice(0, 2)));
  const verified = dk(["verify", "--state-dir", one.trace]);
  checks.that(`${name}: verifies`, verified.code === 0, verified.stdout + verified.stderr);
}

/** Everything that must say that something is missing. */
function checkSaid(checks: Checks, name: string, one: Recorded): void {
  const { events: lost } = one.lost;
  const facts = info(one.trace);
  checks.equal(`${name}: info has what the gaps say`, facts["lost"], lost);
  const figure = `${lost.toLocaleString("en-US")} lost`;
  checks.that(
    `${name}: the summary says "${figure}"`,
    one.ran.stderr.includes(figure),
    one.ran.stderr,
  );
  const gaps = dk(["timeline", "--gaps", "--state-dir", one.trace]).stdout;
  const shown = one.gaps.every(({ seq }) => new RegExp(`#${seq} +GAP`).test(gaps));
  checks.that(`${name}: timeline --gaps shows each`, shown, gaps.slice(0, 500));
  const strict = join(one.folder, "strict");
  const argv = ["export", "--state-dir", one.trace, "--time", "end", "--out", strict, "--strict"];
  const exported = dk(argv);
  checks.that(`${name}: export warns, --strict exits with 1`, exported.code === 1, exported.stderr);
  const seq = one.gaps[0]?.seq ?? 0;
  checks.that(
    `${name}: export names #${seq}`,
    exported.stderr.includes(`#${seq}`),
    exported.stderr,
  );
}

/** All GAPs stand between the events of two names. */
function checkBetween(checks: Checks, name: string, one: Recorded): void {
  const seqOf = (path: string) => one.lines.find((line) => line.path === path)?.seq ?? 0;
  const [first, last] = [seqOf("first"), seqOf("last")];
  const outside = one.gaps.filter(({ seq }) => seq < first || seq > last);
  checks.that(
    `${name}: its ${one.gaps.length} gaps stand where it happened`,
    first > 0 && last > first && outside.length === 0,
    `between #${first} and #${last}, but there are #${outside.map(({ seq }) => seq).join(", #")}`,
  );
}

/** Of numbered things that one task made, each run that is missing has its GAP between its neighbours. */
function checkRuns(
  checks: Checks,
  { name, one, total }: { name: string; one: Recorded; total: number },
  found: Map<number, number>,
): number {
  // what is missing at the end lies before the command's last file
  found.set(total, one.lines.find(({ path }) => path === "last")?.seq ?? 0);
  const numbers = [...found.keys()].sort((a, b) => a - b);
  const gaps = one.gaps.map(({ seq }) => seq);
  let missing = 0;
  let runs = 0;
  const without: string[] = [];
  for (const [i, number] of numbers.entries()) {
    const next = numbers[i + 1];
    if (next === undefined || next === number + 1) continue;
    runs++;
    missing += next - number - 1;
    const [from, to] = [found.get(number) ?? 0, found.get(next) ?? 0];
    if (!gaps.some((seq) => seq > from && seq < to)) {
      without.push(`${number + 1} to ${next - 1} (#${from} to #${to})`);
    }
  }
  checks.that(`${name}: ${runs} runs are missing`, runs > 0);
  checks.that(
    `${name}: each has its gap where it happened`,
    without.length === 0,
    `${without.length} have none: ${without.slice(0, 5).join(", ")}; gaps #${gaps.join(", #")}`,
  );
  return missing;
}

/** `d000017` that were made while recording, with the event. */
function namesFound(one: Recorded): Map<number, number> {
  const found = new Map<number, number>();
  for (const { op, path, seq, settled } of one.lines) {
    const match = /^d(\d{6})$/.exec(path ?? "");
    if (match !== null && op === "MKDIR" && settled !== true) found.set(Number(match[1]), seq);
  }
  return found;
}

function outsider(...args: string[]): void {
  const ran = run([PROGRAM(), ...args]);
  if (ran.code !== 0) throw new Error(`drops ${args.join(" ")} exits with ${ran.code}`);
}

/** Goes down 60 folders with a path of 12,000 bytes, step by step, and does `work` there. */
function deep(way: string, work: string): string {
  return `import os\nfor i in range(60):\n    ${way}\n    os.chdir("n" * 200)\n${work}\n`;
}

const INJECTIONS: Injection[] = [
  {
    name: "ring full of names",
    counter: "ring_full",
    isMissing: true,
    env: SLOW,
    flags: SMALL_RING,
    command: `${WAIT}; sleep 0.3; : > last`,
    outside: ({ watched }) => outsider("names", watched, String(NAMES)),
    judge(checks, one) {
      const missing = checkRuns(checks, { name: this.name, one, total: NAMES }, namesFound(one));
      const { events: lost } = one.lost;
      const text = `${lost} lost, ${missing} missing`;
      checks.that(`${this.name}: it says how many`, lost >= missing && lost < missing * 1.1, text);
    },
  },
  {
    name: "ring full of bytes",
    counter: "ring_full_bytes",
    isMissing: true,
    env: SLOW,
    flags: SMALL_RING,
    command: `${WAIT}; sleep 0.3; : > last`,
    outside: ({ watched }) => outsider("lines", join(watched, "log"), String(LINES)),
    judge(checks, one) {
      const found = new Map<number, number>();
      for (const { op, path, seq, offset = 0 } of one.lines) {
        if (op === "WRITE" && path === "log") found.set(offset / LINE_BYTES, seq);
      }
      const missing = checkRuns(checks, { name: this.name, one, total: LINES }, found);
      const { bytes } = one.lost;
      checks.equal(`${this.name}: it says how many bytes`, bytes, missing * LINE_BYTES);
    },
  },
  {
    name: "memory that goes away",
    counter: "payload_unreadable",
    isMissing: false,
    prepare: ({ out }) => writeFileSync(join(out, "source"), Buffer.alloc(1 << 18, "page ")),
    command: `: > first; "$DROPS" unmapped "$OUT/source" file "$OUT/end" & ${WAIT}; wait; : > last`,
    // the moment comes when both threads run at once: it is waited for, however busy the machine is
    async outside({ trace, out }) {
      const isMissed = ({ op, settled }: EventLine) => op === "WRITE" && settled === true;
      try {
        await until(() => events(trace, "--gaps").some(isMissed));
      } finally {
        writeFileSync(join(out, "end"), "");
      }
    },
    judge(checks, one) {
      const back = one.lines.filter(({ op, settled }) => op === "WRITE" && settled === true);
      const losses = info(one.trace)["losses"] as Record<string, number>;
      const count = losses["payload_unreadable"];
      checks.equal(`${this.name}: as many writes say that they were read back`, back.length, count);
      const gaps = dk(["timeline", "--gaps", "--state-dir", one.trace, "--all"]).stdout;
      const shown = back.every(({ seq }) => gaps.includes(`#${seq} `));
      checks.that(`${this.name}: timeline --gaps shows each`, shown, gaps.slice(0, 300));
    },
  },
  {
    name: "more links than inodes are noted",
    counter: "touched_overflow",
    isMissing: true,
    // each link that is followed for the first time has its atime renewed (relatime); chmod(1) would look before
    command: `: > l20; for i in 19 18 17 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0; do
        ln -s l$((i + 1)) l$i; done; : > first; sleep 0.1
        python3 -c 'import os; os.chmod("l0", 0o600)'; sleep 0.1; : > last`,
    judge: (checks, one) => checkBetween(checks, "more links than inodes are noted", one),
  },
  {
    name: "a path too long to follow",
    counter: "walk_too_long",
    isMissing: true,
    prepare({ watched, out }) {
      run(["python3", "-c", deep(`os.mkdir("n" * 200)`, `open("old", "w").write("old")`)], {
        cwd: watched,
      });
      const work = `open("old", "a").write("more")\nopen("new", "w").write("new")\nos.mkdir("d")`;
      writeFileSync(join(out, "deep.py"), deep("pass", work));
    },
    command: `: > first; sleep 0.1; python3 "$OUT/deep.py"; sleep 0.1; : > last`,
    judge: (checks, one) => checkBetween(checks, "a path too long to follow", one),
  },
  {
    name: "too few scratch buffers",
    counter: "scratch_busy",
    isMissing: true,
    env: { DIFFKEEPER_TEST_SCRATCH_SLOTS: "1" },
    prepare: ({ watched }) => ["a", "b"].forEach((name) => mkdirSync(join(watched, name))),
    command:
      `: > first; sleep 0.1; "$DROPS" names a 8000 & "$DROPS" names b 8000; wait; sleep 0.1; : > last`,
    judge: (checks, one) => checkBetween(checks, "too few scratch buffers", one),
  },
  {
    name: "too few entries for inodes",
    counter: "inode_map_full",
    isMissing: false,
    env: { DIFFKEEPER_TEST_INODES: "16" },
    command: `i=0; while [ $i -lt 60 ]; do i=$((i+1)); mkdir d$i; echo "$i" >f$i; mv f$i d$i; done`,
    judge: (checks, one) => checks.equal("too few entries for inodes: lost", one.lost.events, 0),
  },
];

/** A memory cgroup (v1) of its own for the recorder; undefined: this machine has none. */
function memoryGroup(): { parent: string; own: string } | undefined {
  const path = /:memory:(.*)$/m.exec(readFileSync("/proc/self/cgroup", "latin1"))?.[1];
  const mounts = readFileSync("/proc/self/mountinfo", "latin1").split("\n");
  const mount = mounts.find((line) => / - cgroup [^ ]+ .*\bmemory\b/.test(line))?.split(" ")[4];
  if (path === undefined || mount === undefined) return undefined;
  const parent = mount + (path === "/" ? "" : path);
  return { parent, own: `${parent}/diffkeeper-drops.${process.pid}` };
}

/** Leaves a cgroup no more memory than it has. Who needs more waits; what cannot wait fails. */
function starve(group: string): void {
  writeFileSync(`${group}/memory.oom_control`, "1");
  for (let more = 0; more < 100; more++) {
    try {
      const used = Number(readFileSync(`${group}/memory.usage_in_bytes`, "latin1"));
      writeFileSync(`${group}/memory.limit_in_bytes`, String(used + more * 16_384));
      return;
    } catch {
      // it has grown meanwhile
    }
  }
  throw new Error("the memory limit cannot be set");
}

/**
 * The kernel side's maps are charged to the recorder's memory cgroup: when that is full, there is no room for what it must
 * remember of a new task. The command has left the cgroup before.
 */
function noMemory({ parent, own }: { parent: string; own: string }): Injection {
  return {
    name: "no memory for a task",
    counter: "task_storage",
    isMissing: true,
    group: own,
    prepare({ out }) {
      mkdirSync(own);
      run(["mkfifo", join(out, "go")]);
    },
    command: `echo $$ > ${parent}/cgroup.procs; : > "$OUT/started"; read -r _ <"$OUT/go"
      : > first; i=0; while [ $i -lt 300 ]; do i=$((i+1)); (: > f$i); done
      : > "$OUT/finished"; ${WAIT}; sleep 0.1; : > last`,
    async outside({ out }) {
      starve(own);
      run(["timeout", "10", "sh", "-c", 'echo >"$0"', join(out, "go")]);
      await until(() => existsSync(join(out, "finished")));
      writeFileSync(`${own}/memory.limit_in_bytes`, "-1");
    },
    judge: (checks, one) => checkBetween(checks, "no memory for a task", one),
    tidy: () => rmdirSync(own),
  };
}

/** One injection from start to end. */
export async function inject(checks: Checks, injection: Injection): Promise<void> {
  const { name, counter, isMissing } = injection;
  const one = await record(injection);
  checks.that(`${name}: the command ends as it should`, one.ran.code === 0, one.ran.stderr);
  const losses = info(one.trace)["losses"] as Record<string, number>;
  checks.note(`${name}: ${JSON.stringify(losses)}`);
  checks.that(`${name}: the counter rises`, (losses[counter] ?? 0) > 0, JSON.stringify(losses));
  if (isMissing) checkSaid(checks, name, one);
  injection.judge?.(checks, one);
  checkHealed(checks, name, one);
  injection.tidy?.(one);
  // the runtime would take half a minute, and cannot remove the longest paths
  run(["rm", "-rf", one.folder]);
}

/** All of them, or those whose name has `part` in it. */
export async function checkDrops(checks: Checks, part = ""): Promise<void> {
  const group = memoryGroup();
  if (group === undefined) checks.note("no memory for a task: needs a memory cgroup of version 1");
  for (const injection of [...INJECTIONS, ...group === undefined ? [] : [noMemory(group)]]) {
    if (injection.name.includes(part)) await inject(checks, injection);
  }
}

if (import.meta.main) {
  requireKernel();
  const checks = new Checks();
  await checkDrops(checks, process.argv[2]);
  checks.end("every sort of loss");
}
