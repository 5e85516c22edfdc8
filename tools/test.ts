/**
 * Runs every group of tests and ends with exactly one plain line, `N passed, N failed, N skipped`. Builds the binary
 * first, because the groups under tests/ run it. `tools/test.ts unit` runs only the groups that are named. Counts come
 * from Bun's JUnit report; a group whose process dies without a full report counts as one more failure, and so does one
 * that leaves something behind in its temporary folder, which is its own.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseReport } from "./test_report.ts";
import type { Counts } from "./test_report.ts";

const ROOT = join(import.meta.dir, "..");
const REPORTS = join(ROOT, "build/reports");
const TEST_TIMEOUT_MS = 10_000;
const SYSTEM_TEST_TIMEOUT_MS = 120_000;
const GROUP_TIMEOUT_MS = 45 * 60_000;
/** As /tmp: tests run programs as other users. */
const TEMPORARY_MODE = 0o1777;
/** Names of leftovers that are shown. */
const LEFTOVERS_SHOWN_MAX = 5;

/** A folder of tests that is run in one process. */
interface Group {
  readonly name: string;
  readonly patterns: readonly string[];
  readonly timeoutMs: number;
}

const GROUPS: readonly Group[] = [
  { name: "unit", patterns: ["src", "ffi", "wasm", "tools"], timeoutMs: TEST_TIMEOUT_MS },
  ...["contract", "property", "golden", "sim", "fuzz", "script", "kernel"].map((name) => ({
    name,
    patterns: [`tests/${name}`],
    timeoutMs: SYSTEM_TEST_TIMEOUT_MS,
  })),
];

function testFiles(group: Group): string[] {
  const files = group.patterns.flatMap((folder) => [
    ...new Bun.Glob(`${folder}/**/*_test.ts`).scanSync({ cwd: ROOT, onlyFiles: true }),
  ]);
  return files.sort().map((file) => `./${file}`);
}

/** True if the binary is there and current. */
function build(): boolean {
  const argv = [process.execPath, "tools/build.ts"];
  const done = Bun.spawnSync(argv, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  return done.exitCode === 0;
}

async function runGroup(group: Group, files: readonly string[]): Promise<Counts> {
  const folder = mkdtempSync(join(tmpdir(), "diffkeeper-test-"));
  chmodSync(folder, TEMPORARY_MODE);
  try {
    const counts = await runFiles(group, files, folder);
    const left = readdirSync(folder);
    if (left.length === 0) return counts;
    const names = left.slice(0, LEFTOVERS_SHOWN_MAX).join(", ");
    console.log(
      `  ${group.name}: left behind in the temporary folder: ${names}` +
        `${
          left.length > LEFTOVERS_SHOWN_MAX ? `, ... (${left.length})` : ""
        }, counted as a failure`,
    );
    return { ...counts, failed: counts.failed + 1 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runFiles(
  group: Group,
  files: readonly string[],
  temporary: string,
): Promise<Counts> {
  const report = join(REPORTS, `${group.name}.xml`);
  mkdirSync(REPORTS, { recursive: true });
  rmSync(report, { force: true });
  const flags = ["--reporter=junit", `--reporter-outfile=${report}`, "--only-failures"];
  const argv = [process.execPath, "test", ...flags, `--timeout=${group.timeoutMs}`, ...files];
  const child = Bun.spawn(argv, {
    cwd: ROOT,
    env: { ...process.env, TMPDIR: temporary },
    stdio: ["ignore", "inherit", "inherit"],
    timeout: GROUP_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  const exitCode = await child.exited;
  const xml = existsSync(report) ? readFileSync(report, "utf8") : "";
  const counts = parseReport(xml);
  if (exitCode === 0 || counts.failed > 0) return counts;
  console.log(
    `  ${group.name}: bun test ended with ${child.signalCode ?? exitCode}, counted as a failure`,
  );
  return { ...counts, failed: counts.failed + 1 };
}

async function main(names: readonly string[]): Promise<void> {
  const unknown = names.filter((name) => !GROUPS.some((group) => group.name === name));
  if (unknown.length > 0) {
    const known = GROUPS.map((group) => group.name).join(", ");
    console.error(`test: error: no group "${unknown[0]}"\ntest: hint: the groups are ${known}`);
    process.exit(2);
  }
  const total = { passed: 0, failed: 0, skipped: 0 };
  const isBuilt = (names.length > 0 && names.every((name) => name === "unit")) || build();
  if (!isBuilt) total.failed++;
  for (const group of GROUPS) {
    if (names.length > 0 && !names.includes(group.name)) continue;
    const files = testFiles(group);
    if (files.length === 0) continue;
    const startedAt = performance.now();
    const counts = await runGroup(group, files);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skips.length;
    const line = `${counts.passed} passed, ${counts.failed} failed, ${counts.skips.length} skipped`;
    console.log(`${group.name}: ${line} in ${seconds}s`);
    for (const skip of counts.skips) console.log(`  skipped: ${skip}`);
  }
  writeSync(1, `${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
  // not by exitCode: the runtime would then print its own name below the closing line
  process.exit(total.failed === 0 ? 0 : 1);
}

if (import.meta.main) await main(process.argv.slice(2));
