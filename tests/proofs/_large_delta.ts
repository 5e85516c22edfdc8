/** Encodes and applies a delta of two files and prints what memory and time it took, as JSON: a process of its own for bsdiff.ts. */
import { readFileSync } from "node:fs";
import { deltaApply, deltaEncode, moduleBytes } from "../../wasm/codecs.ts";

/** Resident memory of this process in bytes (proc(5)): VmRSS now, VmHWM at its highest so far. */
function memoryBytes(field: "VmRSS" | "VmHWM"): number {
  const line = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync("/proc/self/status", "utf8"));
  return Number(line?.[1] ?? NaN) * 1024;
}

const [basePath = "", targetPath = ""] = process.argv.slice(2);
const base = readFileSync(basePath);
const target = readFileSync(targetPath);
const before = memoryBytes("VmRSS");
const startedAt = performance.now();
const delta = deltaEncode(base, target, { level: 9 });
const encodedAt = performance.now();
const encodePeak = memoryBytes("VmHWM") - before;
const back = deltaApply(base, delta, { maxBytes: target.length });
const appliedAt = performance.now();
console.log(JSON.stringify({
  delta: delta.length,
  encodeMs: encodedAt - startedAt,
  applyMs: appliedAt - encodedAt,
  moduleBytes: moduleBytes(),
  encodePeak,
  isSame: Buffer.compare(back, target) === 0,
}));
