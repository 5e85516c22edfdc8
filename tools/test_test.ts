import { expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FAILS = `import { test } from "bun:test"; test("no", () => { throw new Error("no"); });`;
const PASSES = `import { test } from "bun:test"; test("yes", () => {});`;
const LEAVES = `import { test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
test("leaves", () => { mkdtempSync(tmpdir() + "/forgotten-"); });`;

/** Runs a copy of the test runner on a checkout with these unit tests; gives the lines it printed and its exit code. */
function runOn(...tests: string[]): { lines: string[]; code: number } {
  const root = mkdtempSync(join(tmpdir(), "diffkeeper-runner-"));
  try {
    mkdirSync(join(root, "tools"));
    mkdirSync(join(root, "src"));
    for (const file of ["test.ts", "test_report.ts"]) {
      cpSync(join(import.meta.dir, file), join(root, "tools", file));
    }
    tests.forEach((text, i) => writeFileSync(join(root, `src/t${i}_test.ts`), text));
    const argv = ["sh", "-c", `exec "${process.execPath}" tools/test.ts unit 2>&1`];
    const done = Bun.spawnSync(argv, { cwd: root });
    return { lines: done.stdout.toString().trimEnd().split("\n"), code: done.exitCode };
  } finally {
    rmSync(root, { recursive: true });
  }
}

test("the closing line is the last, also when a test failed", () => {
  const { lines, code } = runOn(FAILS, PASSES);
  expect(lines.at(-1)).toBe("1 passed, 1 failed, 0 skipped");
  expect(code).toBe(1);
});

test("what a test leaves in the temporary folder is a failure", () => {
  const { lines, code } = runOn(LEAVES);
  expect(lines.filter((line) => line.includes("left behind"))).toHaveLength(1);
  expect(lines.at(-1)).toBe("1 passed, 1 failed, 0 skipped");
  expect(code).toBe(1);
});
