/**
 * Runs a program under `record` and, while it runs, freezes it at random moments, marks each by a file of our own in the watched
 * folder, and writes down what the folder holds: the truth about that moment. What freezes and compares is the oracle's.
 */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Frozen } from "../../oracle/frozen.ts";
import { writeManifest } from "../../oracle/manifest.ts";
import { BINARY } from "../_kit.ts";
import { environment, type Place, type Program } from "./_program.ts";

const END_MS_MAX = 300_000;
const READY_MS_MAX = 60_000;
/** What is stored through shared mappings is sampled: from then on the trace holds what stands still. */
const STILL_MS = 60;
/** Moves the shell into a cgroup of its own below the recorder's, says which, and runs the text. $1 name, $2 where to say, $3. */
const ENTER = `
mount=$(awk '/ - cgroup2 /{print $5; exit}' /proc/self/mountinfo)
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
folder="$mount\${own%/}/$1"
mkdir "$folder"
echo $$ >"$folder/cgroup.procs"
echo "$folder" >"$2.new"
mv "$2.new" "$2"
exec sh -euc "$3"
`;

/** How a run is made. */
export interface RunOptions {
  random: () => number;
  /** Frozen moments at most. */
  moments: number;
  /** Keeps the bytes of each file at each moment, for looking into a difference. */
  store: boolean;
  /** More arguments of `record`. */
  recordArgs: readonly string[];
}

/** How a recording ended. */
export interface Recorded {
  code: number;
  stderr: string;
  seconds: number;
  /** Names of the marks, in order; the truth of each is beside the watched folder: `truthOf`. */
  marks: string[];
}

/** The file that holds the truth about a mark, or about `end`. */
export function truthOf(at: Place, mark: string): string {
  return join(at.base, `truth${mark}`);
}

async function waitFor(file: string, child: Bun.Subprocess): Promise<boolean> {
  const until = performance.now() + READY_MS_MAX;
  while (!existsSync(file)) {
    if (child.exitCode !== null || performance.now() > until) return false;
    await Bun.sleep(2);
  }
  return true;
}

/** Freezes, marks and writes down until the program has ended or there are enough moments. */
async function takeMoments(
  program: Program,
  at: Place,
  options: RunOptions & { frozen: Frozen; child: Bun.Subprocess },
): Promise<string[]> {
  const { frozen, child, random } = options;
  const marks: string[] = [];
  const store = options.store ? { store: join(at.base, "store") } : {};
  for (let i = 0; i < options.moments; i++) {
    await Promise.race([Bun.sleep(random() * program.gapMs), child.exited]);
    if (child.exitCode !== null || !await frozen.freeze()) break;
    await Bun.sleep(STILL_MS);
    const mark = `.mark-${i}`;
    closeSync(openSync(join(at.watched, mark), "wx"));
    writeManifest(at.watched, { out: truthOf(at, mark), ...store });
    marks.push(mark);
    frozen.thaw();
  }
  return marks;
}

/** Records the program. @throws when it does not start or does not end. */
export async function recordProgram(
  program: Program,
  at: Place,
  options: RunOptions,
): Promise<Recorded> {
  const [ready, stderr] = [join(at.base, "ready"), join(at.base, "stderr")];
  if (options.store) mkdirSync(join(at.base, "store"), { recursive: true });
  rmSync(ready, { force: true });
  const name = `programs.${process.pid}`;
  const command = ["sh", "-euc", ENTER, "sh", name, ready, program.script(at)];
  const args = ["--state-dir", at.trace, "--watch", at.watched];
  const startedAt = performance.now();
  const child = Bun.spawn(
    [BINARY, "record", ...args, ...options.recordArgs, "--", ...command],
    {
      cwd: at.watched,
      env: environment(),
      stdio: ["ignore", openSync(join(at.base, "stdout"), "w"), openSync(stderr, "w")],
    },
  );
  let frozen: Frozen | undefined;
  try {
    let marks: string[] = [];
    if (await waitFor(ready, child)) {
      frozen = new Frozen(readFileSync(ready, "utf8").trim());
      marks = await takeMoments(program, at, { ...options, frozen, child });
    }
    const code = await Promise.race([child.exited, Bun.sleep(END_MS_MAX)]);
    if (code === undefined) throw new Error(`${program.name} does not end`);
    const seconds = (performance.now() - startedAt) / 1000;
    writeManifest(at.watched, {
      out: truthOf(at, "end"),
      ...(options.store ? { store: join(at.base, "store") } : {}),
    });
    return { code, stderr: readFileSync(stderr, "utf8"), seconds, marks };
  } finally {
    child.kill("SIGKILL");
    if (frozen !== undefined) {
      frozen.thaw();
      frozen.kill();
      await frozen.remove();
    }
  }
}
