/**
 * The GitHub Action: what action.yml says is consistent, and its shell steps do what they should, run here as a runner runs them. The
 * download comes from a server of this test, the recording is real.
 */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BINARY, named, obstacle } from "../proofs/_kit.ts";

const ROOT = join(import.meta.dir, "../..");
const RELEASE = "#!/bin/sh\necho a release\n";
const SHA256 = createHash("sha256").update(RELEASE).digest("hex");
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: ({ url }) =>
    /\/us\/dk\/releases\/download\/v1\.2\.3\/diffkeeper-linux-(x64|arm64)$/.test(url)
      ? new Response(RELEASE)
      : new Response("not here", { status: 404 }),
});

let folder = "";
beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  folder = mkdtempSync(join(tmpdir(), "diffkeeper-action-"));
  mkdirSync(join(folder, "temp"));
  mkdirSync(join(folder, "work"));
});
afterAll(async () => {
  await server.stop(true);
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a step of the action with a runner's environment; outputs as the runner reads them. */
async function step(script: string, env: Record<string, string>) {
  const child = Bun.spawn([script.endsWith("record.sh") ? "bash" : "sh", script], {
    cwd: join(folder, "work"),
    env: {
      PATH: process.env["PATH"],
      HOME: folder,
      RUNNER_TEMP: join(folder, "temp"),
      GITHUB_SERVER_URL: `http://127.0.0.1:${server.port}`,
      GITHUB_OUTPUT: join(folder, "output"),
      GITHUB_PATH: join(folder, "path"),
      GITHUB_STEP_SUMMARY: join(folder, "summary"),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr] = [await child.stdout.text(), await child.stderr.text()];
  const lines = existsSync(join(folder, "output"))
    ? readFileSync(join(folder, "output"), "utf8").trimEnd().split("\n")
    : [];
  const outputs = Object.fromEntries(lines.map((line) => line.split(/=(.*)/).slice(0, 2)));
  return { code: await child.exited, stdout, stderr, outputs };
}

const install = (env: Record<string, string>) =>
  step(join(ROOT, "deploy/action/install.sh"), {
    DIFFKEEPER_VERSION: "1.2.3",
    DIFFKEEPER_REPOSITORY: "us/dk",
    ...env,
  });
const record = (env: Record<string, string>) =>
  step(join(ROOT, "deploy/action/record.sh"), {
    DIFFKEEPER: BINARY,
    DIFFKEEPER_UPLOAD: "failure",
    DIFFKEEPER_WAIT: "false",
    ...env,
  });

interface ActionStep {
  run?: string;
  if?: string;
  uses?: string;
  env?: Record<string, string>;
}

test("action.yml: every expression names what exists, every script is there", () => {
  const text = readFileSync(join(ROOT, "action.yml"), "utf8");
  const action = Bun.YAML.parse(text) as {
    inputs: Record<string, { description: string; required?: boolean; default?: string }>;
    outputs: Record<string, { value: string }>;
    runs: { using: string; steps: (ActionStep & { id?: string })[] };
  };
  const uses = [...text.matchAll(/inputs\.([\w-]+)/g)].map(([, name]) => name ?? "");
  expect([...new Set(uses)].sort()).toEqual(Object.keys(action.inputs).sort());
  for (const [name, input] of Object.entries(action.inputs)) {
    expect([name, typeof input.description]).toEqual([name, "string"]);
    expect([name, input.required === true || typeof input.default === "string"]).toEqual([
      name,
      true,
    ]);
  }
  const scripts = [...text.matchAll(/\$GITHUB_ACTION_PATH\/([\w./]+)/g)].map(([, path]) =>
    path ?? ""
  );
  expect(scripts).toHaveLength(2);
  for (const [, id, output] of text.matchAll(/steps\.(\w+)\.outputs\.([\w-]+)/g)) {
    const found = action.runs.steps.find((one) => one.id === id);
    const script = scripts.find((path) => found?.run?.includes(path)) ?? "";
    expect(readFileSync(join(ROOT, script), "utf8")).toContain(`${output}=`);
  }
  for (const one of action.runs.steps) {
    // what a user writes comes as a variable: in a script it could be code
    expect(one.run ?? "").not.toContain("${{");
    if (one.uses !== undefined) expect(one.uses).toMatch(/@[0-9a-f]{40}$/);
    const script = scripts.find((path) => one.run?.includes(path));
    if (script === undefined) continue;
    const source = readFileSync(join(ROOT, script), "utf8");
    for (const name of Object.keys(one.env ?? {})) expect(source).toContain(name);
    for (const [name] of source.matchAll(/DIFFKEEPER(_[A-Z0-9]+)?\b/g)) {
      if (!source.includes(`# Reads ${name}`)) expect(Object.keys(one.env ?? {})).toContain(name);
    }
  }
});

test("install: the binary with the right sum is installed", async () => {
  for (const version of ["1.2.3", "v1.2.3"]) {
    const { code, outputs, stdout } = await install({
      DIFFKEEPER_VERSION: version,
      DIFFKEEPER_SHA256: SHA256,
    });
    expect([code, stdout]).toEqual([0, ""]);
    const path = outputs["diffkeeper"] ?? "";
    expect(Bun.spawnSync([path]).stdout.toString()).toBe("a release\n");
    expect(readFileSync(join(folder, "path"), "utf8").trim().split("\n").at(-1)).toBe(
      join(path, ".."),
    );
  }
});

test("install: the sum of a known release is looked up", async () => {
  cpSync(join(ROOT, "deploy/action/install.sh"), join(folder, "install.sh"));
  const lines = ["x64", "arm64"].map((arch) => `1.2.3 ${arch} ${SHA256}\n`);
  writeFileSync(
    join(folder, "releases.txt"),
    `# releases\n1.2.2 x64 ${"0".repeat(64)}\n${lines.join("")}`,
  );
  const env = { DIFFKEEPER_VERSION: "1.2.3", DIFFKEEPER_REPOSITORY: "us/dk" };
  expect((await step(join(folder, "install.sh"), env)).code).toBe(0);
});

test.each([
  ["another sum", { DIFFKEEPER_SHA256: "0".repeat(64) }, `its SHA-256 is ${SHA256}, expected 000`],
  ["no known sum", {}, 'cannot install version "1.2.3" for '],
  ["a sum that is none", { DIFFKEEPER_SHA256: "ABC" }, "it is not in lower-case hex digits"],
  ["a sum that is too short", { DIFFKEEPER_SHA256: "abc" }, "it has 3 digits, not 64"],
  ["no such release", { DIFFKEEPER_VERSION: "9.9", DIFFKEEPER_SHA256: SHA256 }, "cannot download"],
])("install: %s is refused", async (_name, env, text) => {
  const { code, stdout } = await install(env as Record<string, string>);
  expect(code).toBe(1);
  expect(stdout).toStartWith("::error title=DiffKeeper::");
  expect(stdout).toContain(text);
  expect(existsSync(join(folder, "temp/diffkeeper/diffkeeper"))).toBe(false);
});

test("record: wrong values are refused", async () => {
  expect((await record({ DIFFKEEPER_RUN: "true", DIFFKEEPER_UPLOAD: "maybe" })).code).toBe(2);
  expect((await record({ DIFFKEEPER_RUN: "true", DIFFKEEPER_WAIT: "yes" })).code).toBe(2);
});

const kernelTest = (name: string, body: () => Promise<void>) =>
  test.skipIf(obstacle() !== "")(named(name), body, 60_000);

kernelTest("record: a command that fails has its trace, and its code as an output", async () => {
  const script = "set +e\necho one >a.log\necho two >b.tmp\nfalse | true\necho $? >code\nset -e\n" +
    "env | grep -c ^DIFFKEEPER_ >vars || true\nexit 7\n";
  const { code, outputs } = await record({
    DIFFKEEPER_RUN: script,
    DIFFKEEPER_EXCLUDE: "*.tmp\n\n  \nnothing here",
    DIFFKEEPER_NAME: "CI / test",
  });
  expect([code, outputs["exit-code"], outputs["upload"]]).toEqual([0, "7", "true"]);
  expect(readFileSync(join(folder, "work/code"), "utf8")).toBe("1\n");
  expect(readFileSync(join(folder, "work/vars"), "utf8")).toBe("0\n");
  const trace = outputs["trace"] ?? "";
  const facts = JSON.parse(
    Bun.spawnSync([BINARY, "info", "--json", "--state-dir", trace]).stdout.toString(),
  );
  expect(facts).toMatchObject({ name: "CI / test", clean: true, exit_code: 7 });
  const timeline = Bun.spawnSync([BINARY, "timeline", "--state-dir", trace]).stdout.toString();
  expect(timeline).toContain("a.log");
  expect(timeline).not.toContain("CREATE b.tmp");
  expect(readFileSync(join(folder, "summary"), "utf8")).toContain("exit code  7");
});

kernelTest("record: what is uploaded is up to the input", async () => {
  const uploads = [];
  for (const upload of ["failure", "always", "never"]) {
    rmSync(join(folder, "output"), { force: true });
    const { outputs } = await record({ DIFFKEEPER_RUN: "echo x >f", DIFFKEEPER_UPLOAD: upload });
    uploads.push([outputs["exit-code"], outputs["upload"]]);
  }
  expect(uploads).toEqual([["0", "false"], ["0", "true"], ["0", "false"]]);
});

kernelTest("record: a recorder that cannot start is 125 and has no trace", async () => {
  const { code, outputs } = await record({ DIFFKEEPER_RUN: "true", DIFFKEEPER_WATCH: "nowhere" });
  expect([code, outputs]).toEqual([0, { "exit-code": "125", trace: "", upload: "false" }]);
});
