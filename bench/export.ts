/**
 * How long exporting a large tree takes against `cp -a` of the same tree: from a raw trace and from a packed one, in turn, with the
 * page cache as the round before left it; seconds of the clock and of the processor (user and kernel), medians, and the peak memory. argv:
 * files (default 20,000: 2 GB), rounds (default 5). Half of each tree is text, half does not compress. It never gates.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { BINARY, machine, ROOT } from "../tests/proofs/_kit.ts";

const FILES = Number(process.argv[2] ?? 20_000);
const ROUNDS = Number(process.argv[3] ?? 5);
const FILE_BYTES = 100_000;
const FOLDERS = 200;

interface Measured {
  seconds: number;
  processorS: number;
  peakBytes: number;
}

async function measured(argv: readonly string[], cwd: string): Promise<Measured> {
  const startedAt = performance.now();
  const child = Bun.spawn([...argv], { cwd, stdout: "ignore", stderr: "inherit" });
  const code = await child.exited;
  const seconds = (performance.now() - startedAt) / 1000;
  const usage = child.resourceUsage();
  if (code !== 0 || usage === undefined) throw new Error(`${argv.join(" ")} exits with ${code}`);
  return { seconds, processorS: Number(usage.cpuTime.total) / 1e6, peakBytes: usage.maxRSS };
}

function makeTree(top: string): void {
  const words = readFileSync(join(ROOT, "docs/FORMAT.md"), "utf8").split(/\s+/);
  for (let file = 0; file < FILES; file++) {
    const folder = join(top, `d${file % FOLDERS}`);
    mkdirSync(folder, { recursive: true });
    let bytes = new Uint8Array(FILE_BYTES);
    if (file % 2 === 1) { for (let at = 0; at < FILE_BYTES; at += 50_000) fillAt(bytes, at); }
    else {
      let text = `file ${file}\n`;
      for (let i = file; text.length < FILE_BYTES; i = (i * 7_919 + 13) % 1_000_003) {
        text += `${words[i % words.length]} `;
      }
      bytes = new Uint8Array(Buffer.from(text).subarray(0, FILE_BYTES));
    }
    writeFileSync(join(folder, `f${file}`), bytes);
  }
}

function fillAt(bytes: Uint8Array, at: number): void {
  crypto.getRandomValues(bytes.subarray(at, at + 50_000));
}

function median(all: readonly Measured[], pick: (one: Measured) => number): number {
  return all.map(pick).sort((a, b) => a - b)[all.length >> 1] ?? Number.NaN;
}

if (!existsSync(BINARY)) throw new Error("needs dist/diffkeeper");
const folder = mkdtempSync(join(tmpdir(), "diffkeeper-bench-"));
try {
  const [tree, raw, packed, out] = ["tree", "raw", "packed", "out"].map((name) =>
    join(folder, name)
  ) as [string, string, string, string];
  makeTree(tree);
  mkdirSync(join(folder, "watched"));
  const record = [BINARY, "record", "--quiet", "--compact=off", "--state-dir", raw, "--"];
  await measured([...record, "cp", "-a", tree, "tree"], join(folder, "watched"));
  rmSync(join(folder, "watched"), { recursive: true });
  await measured(["cp", "-a", raw, packed], folder);
  await measured([BINARY, "compact", "--state-dir", packed], folder);
  const exported = (trace: string) =>
    [BINARY, "export", "--state-dir", trace, "--time", "end", "--out", out] as const;
  const ways = new Map<string, readonly string[]>([
    ["`cp -a`", ["cp", "-a", tree, out]],
    ["export, raw trace", exported(raw)],
    ["export, packed trace", exported(packed)],
  ]);
  const results = new Map<string, Measured[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, argv] of ways) {
      results.set(name, [...results.get(name) ?? [], await measured(argv, folder)]);
      rmSync(out, { recursive: true });
      // what one way left to be written must not be paid by the next
      await measured(["sync", "-f", folder], folder);
    }
  }
  const load = loadavg()[0] ?? 0;
  console.log(
    `${machine()}, load ${load.toFixed(1)} at the end; ${FILES} files, ${ROUNDS} rounds.\n`,
  );
  console.log("| | seconds | of the processor | against `cp -a` | peak memory |");
  console.log(`|${" --- |".repeat(5)}`);
  const copy = median(results.get("`cp -a`") ?? [], (one) => one.processorS);
  for (const [name, all] of results) {
    const processorS = median(all, (one) => one.processorS);
    const seconds = median(all, (one) => one.seconds).toFixed(1);
    const peak = (median(all, (one) => one.peakBytes) / 1e6).toFixed(0);
    const ratio = (processorS / copy).toFixed(2);
    console.log(
      `| ${name} | ${seconds} s | ${processorS.toFixed(1)} s | ${ratio} x | ${peak} MB |`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
