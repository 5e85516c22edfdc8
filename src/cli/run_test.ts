import { expect, test } from "bun:test";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };

const MAIN = join(import.meta.dir, "../../main.ts");

function diffkeeper(...args: string[]) {
  const done = Bun.spawnSync([process.execPath, MAIN, ...args], {
    env: { ...process.env, NO_COLOR: "1" },
  });
  return {
    exitCode: done.exitCode,
    stdout: done.stdout.toString(),
    stderr: done.stderr.toString(),
  };
}

test("--version prints the version", () => {
  expect(diffkeeper("--version")).toEqual({
    exitCode: 0,
    stdout: `${manifest.version}\n`,
    stderr: "",
  });
});

test("--help goes to stdout with examples, no argument at all shows it on stderr and exits 2", () => {
  const help = diffkeeper("--help");
  expect(help).toMatchObject({ exitCode: 0, stderr: "" });
  expect(help.stdout).toContain("diffkeeper record -- make test");
  expect(diffkeeper()).toEqual({ exitCode: 2, stdout: "", stderr: help.stdout });
});

test("an unknown flag is one error line and a hint, exit 2", () => {
  expect(diffkeeper("info", "--colour")).toEqual({
    exitCode: 2,
    stdout: "",
    stderr: "diffkeeper: error: unknown option '--colour'\nhint: run: diffkeeper info --help\n",
  });
});

test("an unknown command suggests the nearest one", () => {
  const { exitCode, stderr } = diffkeeper("timelin");
  expect(exitCode).toBe(2);
  expect(stderr).toBe(
    "diffkeeper: error: unknown command 'timelin'\n" +
      'hint: did you mean "timeline"? Otherwise run: diffkeeper --help\n',
  );
});

test("with --json the error is one object", () => {
  const { exitCode, stderr } = diffkeeper("info", "--json", "--colour");
  expect(exitCode).toBe(2);
  expect(JSON.parse(stderr)).toMatchObject({ error: { code: "usage" } });
});
