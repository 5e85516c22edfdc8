/**
 * The layout of kernel records is written twice, in bpf/record.h and in kernel_record.ts. This test
 * compiles the header with the host's C compiler and compares every size, offset and value.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as layout from "../../src/format/kernel_record.ts";

const HEADER = join(import.meta.dir, "../../bpf/record.h");
const hasCompiler = Bun.which("cc") !== null;

/** Structs of the header and their constants here. */
const STRUCTS: Record<string, Record<string, number>> = {
  dk_header: layout.Header,
  dk_inode: layout.InodeAt,
  dk_node: layout.NodeAt,
  dk_write: layout.WriteAt,
  dk_open: layout.OpenAt,
  dk_call: layout.CallAt,
  dk_fork: layout.ForkAt,
  dk_exec: layout.ExecAt,
  dk_exit: layout.ExitAt,
  dk_mmap: layout.MmapAt,
  dk_note_rec: layout.NoteAt,
  dk_copy: { ...layout.CopyAt, w: 0 },
  dk_touched: layout.TouchedAt,
};

const NOT_FIELDS = new Set(["SIZE", "COMM_BYTES"]);

/** C names of values and what they are here. */
function values(): Map<string, number> {
  const all = new Map<string, number>();
  for (const [name, value] of Object.entries(layout.Kind)) all.set(`DK_${name}`, value);
  for (const [name, value] of Object.entries(layout.KernelFlag)) all.set(`DK_F_${name}`, value);
  for (const [name, value] of Object.entries(layout.NoteKind)) all.set(`DK_NOTE_${name}`, value);
  for (const [name, value] of Object.entries(layout.LostClass)) all.set(`DK_LOST_${name}`, value);
  all.set("DK_LOST_CLASSES", layout.LOST_CLASSES);
  for (const [name, value] of Object.entries(layout)) {
    if (name.startsWith("DK_") && typeof value === "number") all.set(name, value);
  }
  return all;
}

/** The C program's own answers, one `what value` a line. */
function compiled(): Map<string, number> {
  const lines = [
    "#include <stdio.h>",
    "#include <stddef.h>",
    `#include "${HEADER}"`,
    "int main(void) {",
  ];
  for (const [struct, fields] of Object.entries(STRUCTS)) {
    lines.push(`printf("${struct} %zu\\n", sizeof(struct ${struct}));`);
    for (const field of Object.keys(fields)) {
      if (NOT_FIELDS.has(field)) continue;
      const at = `offsetof(struct ${struct}, ${field})`;
      lines.push(`printf("${struct}.${field} %zu\\n", ${at});`);
    }
  }
  for (const name of values().keys()) {
    lines.push(`printf("${name} %llu\\n", (unsigned long long)(${name}));`);
  }
  lines.push("return 0; }");
  const folder = mkdtempSync(join(tmpdir(), "dk-layout-"));
  try {
    writeFileSync(join(folder, "layout.c"), lines.join("\n"));
    const build = Bun.spawnSync(["cc", "-o", join(folder, "layout"), join(folder, "layout.c")]);
    expect(build.stderr.toString()).toBe("");
    const run = Bun.spawnSync([join(folder, "layout")]);
    const pairs = run.stdout.toString().trim().split("\n").map((line) => line.split(" "));
    return new Map(pairs.map(([what, value]) => [what ?? "", Number(value)]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test.skipIf(!hasCompiler)("constants agree with bpf/record.h (skipped: no cc)", () => {
  const truth = compiled();
  for (const [struct, fields] of Object.entries(STRUCTS)) {
    for (const [field, at] of Object.entries(fields)) {
      if (field === "COMM_BYTES") continue;
      const what = field === "SIZE" ? struct : `${struct}.${field}`;
      expect([what, at]).toEqual([what, truth.get(what) ?? -1]);
    }
  }
  for (const [name, value] of values()) {
    expect([name, value]).toEqual([name, truth.get(name) ?? -1]);
  }
});

test("every field, flag and value of the header has its constant", () => {
  const text = readFileSync(HEADER, "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  const known = values();
  const defined = [...text.matchAll(/#define (DK_\w+) /g)].map((m) => m[1] ?? "");
  const enums = [...text.matchAll(/\b(DK_[A-Z_0-9]+) = /g)].map((m) => m[1] ?? "");
  const missing = [...defined, ...enums].filter((name) => !known.has(name));
  expect(missing).toEqual([]);
  for (const [, struct, body] of text.matchAll(/struct (dk_\w+) \{([^}]*)\}/g)) {
    for (
      const [, names] of (body ?? "").matchAll(
        /(?:int|long|short|char|struct dk_\w+) +((?!long )[^;]+);/g,
      )
    ) {
      for (const name of (names ?? "").split(",").map((n) => n.trim().replace(/\[.*/, ""))) {
        if (name === "h") continue;
        expect([struct, name, name in (STRUCTS[struct ?? ""] ?? {})]).toEqual([struct, name, true]);
      }
    }
  }
});
