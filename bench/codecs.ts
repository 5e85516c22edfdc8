/**
 * Codecs on real pairs: size, time to encode and time to decode of each, beside Debian's bsdiff and `zstd --patch-from`.
 * `npm run bench codecs [FILE FILE]`. The table that docs/decisions rests on; one run each, so times are of the order only.
 */
import { Database } from "bun:sqlite";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ZSTD_PREFIX_BYTES_MAX } from "../src/base/limits.ts";
import { machine, run, scratch } from "../tests/proofs/_kit.ts";
import {
  compiledPairs,
  historyPairs,
  programPair,
  type RealPair,
} from "../tests/proofs/_real_pairs.ts";
import { chunkBorders, deltaApply, deltaEncode, zstdDecode, zstdEncode } from "../wasm/codecs.ts";
import { chunkBordersTwin } from "../wasm/chunks_twin.ts";

const folder = scratch("codecs");
/** Debian's bsdiff takes 9 bytes for each byte and minutes beyond this. */
const BSDIFF_BYTES_MAX = 32 << 20;
const LEVEL_19_BYTES_MAX = 16 << 20;

function timed<T>(work: () => T): { value: T; ms: number } {
  const startedAt = performance.now();
  const value = work();
  return { value, ms: performance.now() - startedAt };
}

function show(name: string, bytes: number, times: { encode: number; decode?: number }): void {
  const decode = times.decode === undefined ? "" : `${times.decode.toFixed(1)} ms`;
  const encode = `${times.encode.toFixed(1)} ms`;
  console.log(
    `  ${name.padEnd(24)}${`${bytes}`.padStart(11)}${encode.padStart(14)}${decode.padStart(12)}`,
  );
}

/** Encodes, decodes, and stops everything if it does not come back the same. */
function own(
  name: string,
  target: Uint8Array,
  codec: { encode: () => Uint8Array; decode: (bytes: Uint8Array) => Uint8Array },
): void {
  const encoded = timed(codec.encode);
  const decoded = timed(() => codec.decode(encoded.value));
  if (Buffer.compare(decoded.value, target) !== 0) throw new Error(`${name} does not round-trip`);
  show(name, encoded.value.length, { encode: encoded.ms, decode: decoded.ms });
}

function others(base: Uint8Array, target: Uint8Array): void {
  const path = (name: string) => join(folder, name);
  writeFileSync(path("base"), base);
  writeFileSync(path("target"), target);
  const tool = (name: string, argv: string[]) => {
    const ran = run(argv, { timeoutMs: 300_000 });
    if (ran.code === 0) show(name, statSync(path("out")).size, { encode: ran.ms });
    else console.log(`  ${name}: failed: ${ran.stderr.trim()}`);
  };
  if (Math.max(base.length, target.length) <= BSDIFF_BYTES_MAX) {
    tool("Debian bsdiff", ["bsdiff", path("base"), path("target"), path("out")]);
  }
  const zstd = ["zstd", "-q", "-f", `--patch-from=${path("base")}`, path("target")];
  for (const level of ["-3", "-19"]) {
    if (level === "-19" && target.length > LEVEL_19_BYTES_MAX) continue;
    tool(`zstd --patch-from ${level}`, [...zstd, level, "--long=27", "-o", path("out")]);
  }
}

function measure({ name, base, target }: RealPair): void {
  console.log(`${name}: ${base.length} -> ${target.length} bytes`);
  const maxBytes = target.length;
  const levels = target.length <= LEVEL_19_BYTES_MAX ? [3, 9, 19] : [3, 9];
  for (const level of levels) {
    const decode = (bytes: Uint8Array) => zstdDecode(bytes, { maxBytes });
    own(`zstd ${level}`, target, { encode: () => zstdEncode(target, { level }), decode });
  }
  if (Math.max(base.length, target.length) <= ZSTD_PREFIX_BYTES_MAX) {
    for (const level of levels) {
      own(`zstd ${level}, prefix`, target, {
        encode: () => zstdEncode(target, { level, prefix: base }),
        decode: (bytes) => zstdDecode(bytes, { maxBytes, prefix: base }),
      });
    }
  }
  for (const level of [3, 19]) {
    own(`delta ${level}`, target, {
      encode: () => deltaEncode(base, target, { level }),
      decode: (bytes) => deltaApply(base, bytes, { maxBytes }),
    });
  }
  others(base, target);
}

/** A database before and after some updates of single rows. */
function databasePair(): RealPair {
  const path = join(folder, "rows.db");
  const database = new Database(path, { create: true });
  database.run("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, n INTEGER)");
  database.transaction(() => {
    const insert = database.query("INSERT INTO t VALUES (?, ?, ?)");
    for (let id = 1; id <= 40_000; id++) insert.run(id, `row number ${id * 7919 % 40_009}`, 0);
  })();
  const base = new Uint8Array(readFileSync(path));
  const update = database.query("UPDATE t SET n = n + 1 WHERE id = ?");
  for (let i = 0; i < 50; i++) update.run((i * 7919) % 40_000 + 1);
  database.close();
  return { name: "SQLite, 50 rows updated", base, target: new Uint8Array(readFileSync(path)) };
}

/** A log and the same log with 200 lines more. */
function logPair(): RealPair {
  const line = (i: number) =>
    `2026-11-21T10:00:${i % 60} worker[${i * 7 % 913}]: done ${i * i % 99_991}\n`;
  const lines = Array.from({ length: 20_000 }, (_, i) => line(i));
  const base = new Uint8Array(Buffer.from(lines.slice(0, -200).join("")));
  return {
    name: "log, 200 lines appended",
    base,
    target: new Uint8Array(Buffer.from(lines.join(""))),
  };
}

function measureChunks(bytes: Uint8Array): void {
  const speed = (ms: number) => `${(bytes.length / ms / 1000).toFixed(0)} MB/s`;
  chunkBorders(bytes.subarray(0, 1 << 22));
  chunkBordersTwin(bytes.subarray(0, 1 << 22));
  const { value, ms } = timed(() => chunkBorders(bytes));
  const twin = timed(() => chunkBordersTwin(bytes));
  const mean = Math.round(bytes.length / value.length);
  console.log(
    `chunks: ${value.length} of ${mean} bytes on average, ${speed(ms)}; twin ${speed(twin.ms)}`,
  );
}

const [basePath, targetPath] = process.argv.slice(2);
console.log(
  `${" ".repeat(26)}${"bytes".padStart(11)}${"encode".padStart(14)}${"decode".padStart(12)}`,
);
if (basePath !== undefined && targetPath !== undefined) {
  const [base, target] = [readFileSync(basePath), readFileSync(targetPath)];
  measure({ name: targetPath, base, target });
} else {
  historyPairs(2).forEach(measure);
  measure(logPair());
  measure(databasePair());
  compiledPairs(folder, 7).filter(({ name }) => /-O2 -g|static/.test(name)).forEach(measure);
  const program = programPair(folder);
  measure(program);
  measureChunks(program.target);
}
console.log(machine());
