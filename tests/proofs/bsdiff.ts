/**
 * Deltas: 1,000 random and 20 real pairs round-trip, Debian's bspatch applies the classic ones, 200 MB stay within the memory bound.
 * `npm run prove bsdiff [SEED]`. Also: the module starts in under 10 ms in a compiled program and in a worker of it.
 */
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { CODEC_MEMORY_BYTES_MAX } from "../../src/base/limits.ts";
import { bsdiff40Encode } from "../../wasm/bsdiff40.ts";
import { deltaApply, deltaEncode } from "../../wasm/codecs.ts";
import { Random } from "../property/model.ts";
import { bspatch, bzip2 } from "../support/bzip2.ts";
import { randomPair } from "../support/codec_pairs.ts";
import { Checks, run, scratch } from "./_kit.ts";
import { compiledPairs, historyPairs, objectPair, programPair } from "./_real_pairs.ts";

const RANDOM_PAIRS = 1_000;
const REAL_PAIRS = 20;
const PAIR_BYTES_MAX = 60_000;
const LARGE_BYTES_MIN = 200e6;
/** Beside base and target: the module, the sections' streams waiting for the garbage collector, zstd, the result. */
const LARGE_EXTRA_BYTES_MAX = CODEC_MEMORY_BYTES_MAX + (160 << 20);
const START_MS_MAX = 10;
/** Other work on the machine only adds time. */
const START_RUNS = 7;
const MIB = 1 << 20;

const seed = Number(process.argv[2] ?? Date.now() % 1_000_000);
const checks = new Checks();
const folder = scratch("bsdiff");

/** Whether a pair survives our own format and, through Debian's bspatch, the classic one. */
function holds(base: Uint8Array, target: Uint8Array): { ours: boolean; classic: boolean } {
  const back = deltaApply(base, deltaEncode(base, target), { maxBytes: target.length });
  const patch = bsdiff40Encode(base, target, { compress: bzip2 });
  return {
    ours: Buffer.compare(back, target) === 0,
    classic: Buffer.compare(bspatch(folder, { base, patch }), target) === 0,
  };
}

function proveRandom(): void {
  const random = new Random(seed);
  const wrong: string[] = [];
  for (let n = 0; n < RANDOM_PAIRS; n++) {
    const { shape, base, target } = randomPair(random, { n, bytesMax: PAIR_BYTES_MAX });
    const { ours, classic } = holds(base, target);
    if (!ours || !classic) wrong.push(`${n} (${shape})`);
  }
  checks.equal(`${RANDOM_PAIRS} random pairs, seed ${seed}, both formats`, wrong, []);
}

function proveReal(): void {
  const compiled = compiledPairs(folder, 7);
  const history = historyPairs(REAL_PAIRS - compiled.length - 1);
  const pairs = [objectPair(), ...compiled, ...history];
  checks.that(`${REAL_PAIRS} real pairs are there`, pairs.length >= REAL_PAIRS, `${pairs.length}`);
  for (const { name, base, target } of pairs) {
    const { ours, classic } = holds(base, target);
    checks.that(`${name}: ${base.length} -> ${target.length} bytes`, ours && classic);
  }
}

/** Two files of over 200 MB: real programs, then the same once more with parts inserted, lost, moved and changed. */
function writeLarge(): [string, string] {
  const { base, target } = programPair(folder);
  const masked = base.map((byte) => byte ^ 0x5a);
  const relinked = masked.map((byte, at) => (at % 4096 === 99 ? byte + 1 : byte));
  const third = Math.floor(relinked.length / 3);
  const paths: [string, string] = [join(folder, "large_base"), join(folder, "large_target")];
  writeFileSync(paths[0], base);
  const file = openSync(paths[0], "a");
  writeSync(file, masked);
  closeSync(file);
  const random = new Random(seed);
  const parts = [
    random.bytes(100_000),
    target,
    relinked.subarray(third),
    random.bytes(50_000),
    relinked.subarray(0, third - 5_000),
  ];
  const out = openSync(paths[1], "w");
  for (const part of parts) writeSync(out, part);
  closeSync(out);
  return paths;
}

function proveLarge(): void {
  const [base, target] = writeLarge();
  const sizes = [base, target].map((path) => Bun.file(path).size);
  checks.that(
    "both files have over 200 MB",
    sizes.every((size) => size >= LARGE_BYTES_MIN),
    `${sizes}`,
  );
  const argv = [process.execPath, join(import.meta.dir, "_large_delta.ts"), base, target];
  const ran = run(argv, { timeoutMs: 900_000 });
  if (ran.code !== 0) return checks.that("200 MB are encoded", false, ran.stderr.slice(-300));
  const found = JSON.parse(ran.stdout) as Record<string, number>;
  const { delta = 0, encodeMs = 0, applyMs = 0, encodePeak = 0 } = found;
  const seconds = (encodeMs / 1000).toFixed(0);
  checks.note(`${sizes} bytes: delta ${delta}, ${seconds} s, applied in ${applyMs.toFixed(0)} ms`);
  checks.that("200 MB round-trip", Boolean(found["isSame"]));
  const module = found["moduleBytes"] ?? NaN;
  const atMost = (bytes: number, most: number) => `${Math.ceil(bytes / MIB)} MiB of ${most / MIB}`;
  const text = atMost(module, CODEC_MEMORY_BYTES_MAX);
  checks.that(`memory of the module: ${text}`, module <= CODEC_MEMORY_BYTES_MAX);
  const all = atMost(encodePeak, LARGE_EXTRA_BYTES_MAX);
  checks.that(`all memory beside base and target: ${all}`, encodePeak <= LARGE_EXTRA_BYTES_MAX);
}

function proveStart(): void {
  const program = join(folder, "codecs");
  const entries = ["", "_worker"].map((end) => join(import.meta.dir, `_compiled_codecs${end}.ts`));
  const built = run([process.execPath, "build", "--compile", ...entries, "--outfile", program]);
  checks.equal("a program with the codecs is compiled", built.code, 0);
  const best = { main: Infinity, worker: Infinity };
  for (let i = 0; i < START_RUNS; i++) {
    const ran = run([program], { cwd: folder });
    const found = JSON.parse(ran.stdout || "{}") as Record<string, { ms: number; works: boolean }>;
    for (const place of ["main", "worker"] as const) {
      const { ms, works } = found[place] ?? { ms: NaN, works: false };
      if (!works) checks.that(`${place}: works`, false, ran.stderr);
      best[place] = Math.min(best[place], ms);
    }
  }
  for (const [place, ms] of Object.entries(best)) {
    const text = `${ms.toFixed(1)} ms of ${START_MS_MAX}, the best of ${START_RUNS}`;
    checks.that(`${place}: the module is ready in ${text}`, ms < START_MS_MAX);
  }
}

proveRandom();
proveReal();
proveStart();
proveLarge();
checks.end("bsdiff");
