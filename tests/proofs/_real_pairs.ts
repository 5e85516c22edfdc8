/**
 * Pairs of real files for the proof and the bench of the codecs, made from what is on every machine that can build this
 * project: versions of files in its history, programs compiled twice with a change, two programs of 100 MB.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run } from "./_kit.ts";

/** Two versions of something real. */
export interface RealPair {
  readonly name: string;
  readonly base: Uint8Array;
  readonly target: Uint8Array;
}

const GIT_BYTES_MIN = 2_000;

function git(...args: string[]): Uint8Array | undefined {
  const done = Bun.spawnSync(["git", "-C", ROOT, ...args], { stdout: "pipe", stderr: "ignore" });
  return done.exitCode === 0 ? new Uint8Array(done.stdout) : undefined;
}

/** The last change of each of the files changed last: at most `count` pairs. */
export function historyPairs(count: number): RealPair[] {
  const log = git(
    "log",
    "-n",
    "300",
    "--no-merges",
    "--diff-filter=M",
    "--name-only",
    "--format=%H",
  );
  const pairs: RealPair[] = [];
  const seen = new Set<string>();
  let commit = "";
  for (const line of Buffer.from(log ?? []).toString().split("\n")) {
    if (/^[0-9a-f]{40}$/.test(line)) commit = line;
    else if (line !== "" && !seen.has(line) && pairs.length < count) {
      const base = git("show", `${commit}^:${line}`);
      const target = git("show", `${commit}:${line}`);
      if (base === undefined || target === undefined || base.length < GIT_BYTES_MIN) continue;
      seen.add(line);
      pairs.push({ name: line, base, target });
    }
  }
  return pairs;
}

/** The oracle's workload in C, compiled as it is and with a function more, in several ways: `count` pairs at most. */
export function compiledPairs(folder: string, count: number): RealPair[] {
  const source = readFileSync(join(ROOT, "tests/oracle/workload.c"), "utf8");
  const more = "int added(int x) { return x * 3 + 7; }\n";
  const flags = [["-O2"], ["-O0", "-g"], ["-O2", "-g"], ["-Os"], ["-O3"], ["-O2", "-static"], [
    "-O1",
  ]];
  return flags.slice(0, count).map((given) => {
    const [base, target] = [source, `${source}\n${more}`].map((text, i) => {
      const [c, program] = [join(folder, `w${i}.c`), join(folder, `w${i}`)];
      writeFileSync(c, text);
      const include = `-I${join(ROOT, "tests/oracle")}`;
      const ran = run(["gcc", ...given, include, c, "-o", program, "-lpthread"]);
      if (ran.code !== 0) throw new Error(ran.stderr);
      return new Uint8Array(readFileSync(program));
    });
    if (base === undefined || target === undefined) throw new Error("two programs were asked for");
    return { name: `workload ${given.join(" ")}`, base, target };
  });
}

/** Two objects of the recorder, built from one source with other options. */
export function objectPair(): RealPair {
  const object = (name: string) => new Uint8Array(readFileSync(join(ROOT, "build", name)));
  const [base, target] = [object("recorder.bpf.o"), object("recorder_newest.bpf.o")];
  return { name: "recorder.bpf.o", base, target };
}

/** Two single-file programs of 100 MB that differ in a line of their source. */
export function programPair(folder: string): RealPair {
  const [base, target] = ["one", "the other"].map((word) => {
    const [source, program] = [join(folder, "program.ts"), join(folder, "program")];
    writeFileSync(source, `console.log(${JSON.stringify(word)});\n`);
    const ran = run([process.execPath, "build", "--compile", source, "--outfile", program]);
    if (ran.code !== 0) throw new Error(ran.stderr);
    return new Uint8Array(readFileSync(program));
  });
  if (base === undefined || target === undefined) throw new Error("two programs were asked for");
  return { name: "program of 100 MB", base, target };
}
