import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { firstDocLine, programsIn } from "./prove.ts";

test.each([
  ["/**\n * Writes a lot.\n * More.\n */", "Writes a lot."],
  ["/** Writes a lot. */\nimport", "Writes a lot."],
  ["#!/bin/sh\n# Writes a lot.\nset -eu", "Writes a lot."],
  ["", ""],
])("the first doc line of %j is %j", (source, line) => {
  expect(firstDocLine(source)).toBe(line);
});

test("programs are .ts and .sh files that are not tests or parts", () => {
  const folder = mkdtempSync(join(tmpdir(), "diffkeeper-prove-"));
  for (const name of ["b.sh", "a.ts", "a_test.ts", "_part.ts", "c.md"]) {
    writeFileSync(join(folder, name), "");
  }
  expect(programsIn(folder)).toEqual([join(folder, "a.ts"), join(folder, "b.sh")]);
  rmSync(folder, { recursive: true });
  expect(programsIn(folder)).toEqual([]);
});
