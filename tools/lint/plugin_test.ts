import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { lengthProblem } from "./file_length.ts";
import { codeLines } from "./syntax.ts";

const ROOT = join(import.meta.dir, "../..");
const LONG = Array.from({ length: 60 }, (_, index) => `  x += ${index};`).join("\n");

/** Path, source, and the rules that must complain about it. */
const CASES: readonly (readonly [string, string, readonly string[]])[] = [
  ["src/record/a.ts", `import type { T } from "../history/t.ts";\nexport type U = T;`, [
    "house/room-imports",
  ]],
  ["src/history/b.ts", `export * from "../record/b.ts";`, ["house/room-imports"]],
  ["src/store/c.ts", `export const load = () => import("../record/a.ts");`, ["house/room-imports"]],
  ["src/record/d.ts", `console.log(process.env, process.argv);`, [
    "house/only-cli-speaks",
    "house/only-cli-speaks",
    "house/only-cli-speaks",
  ]],
  ["src/cli/e.ts", `console.log(process.argv);`, []],
  ["src/base/f.ts", `export function walk(n: number): void {\n  if (n > 0) walk(n - 1);\n}`, [
    "house/no-recursion",
  ]],
  [
    "src/base/g.ts",
    `export class G {\n  #walk(): void {\n    [1].forEach(() => this.#walk());\n  }\n  go(): void {\n    this.#walk();\n  }\n}`,
    ["house/no-recursion"],
  ],
  [
    "src/base/h.ts",
    `export class H {\n  constructor(readonly inner: { close(): void }) {}\n  close(): void {\n    this.inner.close();\n  }\n}`,
    [],
  ],
  ["src/base/i.ts", `export function long(x: number): number {\n${LONG}\n  return x;\n}`, [
    "house/function-length",
  ]],
  [
    "src/base/j.ts",
    `async function f(): Promise<void> {}\nexport async function g(): Promise<void> {\n  f();\n  await f();\n}`,
    ["house/no-floating-promise"],
  ],
  ["src/base/k.ts", `fetch("x").then((r) => r);`, ["house/no-floating-promise"]],
  [
    "src/base/l.ts",
    "import { assert } from './assert.ts';\nassert(1 < 2, `a ${1}`);\nassert(1 < 2, 'a');",
    ["house/constant-assert-text"],
  ],
  ["src/base/m.ts", `export const m = (x: unknown): string => (x as any)!;`, [
    "no-explicit-any",
    "no-non-null-assertion",
  ]],
];

let folder = "";
const found = new Map<string, string[]>();

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "diffkeeper-lint-"));
  cpSync(join(ROOT, "deno.json"), join(folder, "deno.json"));
  cpSync(join(ROOT, "tools/lint"), join(folder, "tools/lint"), { recursive: true });
  for (const [path, source] of CASES) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), `${source}\n`);
  }
  const deno = join(ROOT, "node_modules/.bin/deno");
  const done = Bun.spawnSync([deno, "lint", "--json", "src"], { cwd: folder });
  const report = JSON.parse(done.stdout.toString()) as {
    diagnostics: { filename: string; code: string }[];
  };
  for (const { filename, code } of report.diagnostics) {
    const path = filename.slice(filename.indexOf("/src/") + 1);
    found.set(path, [...(found.get(path) ?? []), code]);
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(CASES.map(([path, , rules]) => ({ path, rules })))(
  "deno lint $path",
  ({ path, rules }) => {
    expect((found.get(path) ?? []).sort()).toEqual([...rules].sort());
  },
);

test("comments and blank lines are not lines of code", () => {
  expect(codeLines("{\n\n  // a\n  /* b\n   c */\n  d();\n}")).toBe(3);
});

test("a file of 600 lines passes with a warning, one more does not", () => {
  expect(lengthProblem(400)).toBeUndefined();
  expect(lengthProblem(600)).toBe("warning");
  expect(lengthProblem(601)).toBe("error");
});
