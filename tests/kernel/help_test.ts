/** Every example of every --help works when it is pasted: in a folder with a Makefile, and a recording for those that read one. */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BINARY, dk, named, obstacle, removeScratch, run, scratch } from "../proofs/_kit.ts";

afterAll(removeScratch);

const COMMANDS = [
  "",
  "record",
  "timeline",
  "export",
  "info",
  "verify",
  "compact",
  "gc",
  "pack",
  "stats",
];
const MAKEFILE = "test:\n\t@echo testing\n\t@echo ok >status.log\n\t@echo x >src/out.o\n";
/** What it prints when all is well: nothing. */
const SILENT = /^diffkeeper (timeline --gaps|record .*)$/;

/** The lines under `Examples:`. */
function examplesOf(command: string): string[] {
  const help = dk([...command === "" ? [] : [command], "--help"]).stdout;
  const [, after = ""] = help.split("\nExamples:\n");
  return after.split("\n").filter((line) => line.startsWith("  ")).map((line) => line.trim());
}

/** A folder as the user of the examples has it, with a recording of `make test`. */
function project(): { folder: string; path: string } {
  const base = scratch("help");
  const [bin, folder] = [join(base, "bin"), join(base, "project")];
  mkdirSync(bin);
  mkdirSync(join(folder, "src"), { recursive: true });
  symlinkSync(BINARY, join(bin, "diffkeeper"));
  writeFileSync(join(folder, "Makefile"), MAKEFILE);
  expect(dk(["record", "--quiet", "--", "make", "test"], { cwd: folder }).code).toBe(0);
  return { folder, path: `${bin}:${process.env["PATH"]}` };
}

test.skipIf(obstacle() !== "")(named("every command is in this test"), () => {
  const listed = dk(["--help"]).stdout.split("\nCommands:\n")[1]?.split("\n\n")[0] ?? "";
  const names = [...listed.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name);
  expect(names.filter((name) => name !== "help").sort()).toEqual(COMMANDS.slice(1).sort());
});

for (const command of COMMANDS) {
  test.skipIf(obstacle() !== "")(named(`examples of --help: ${command || "diffkeeper"}`), () => {
    const examples = examplesOf(command);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) {
      const { folder, path } = project();
      // the test is root already
      const line = example.replace(/^sudo /, "");
      if (line.startsWith("diffkeeper record") && !/--overwrite|--state-dir/.test(line)) {
        rmSync(join(folder, "diffkeeper-trace"), { recursive: true });
      }
      const ran = run(["sh", "-c", line], { cwd: folder, env: { ...process.env, PATH: path } });
      expect([example, ran.code, /error:|nothing matches/.test(ran.stderr)]).toEqual([
        example,
        0,
        false,
      ]);
      if (!SILENT.test(line)) expect(ran.stdout, example).not.toBe("");
    }
  });
}
