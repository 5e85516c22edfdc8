/** A trace of somebody else: who may read it may copy it, and is told what to do where that is not enough. */
import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TraceBuilder } from "../../tests/trace_builder.ts";
import { canRunAsNobody, cleanUpAfterEach, newFolder } from "./testing_folder.ts";

const NOBODY = 65_534;
cleanUpAfterEach();

/** Runs code as user nobody and gives what it prints. */
function asNobody(folder: string, code: string): string {
  const script = join(folder, "script.ts");
  const imports = [
    ["../compact/pack_trace.ts", "packTrace"],
    ["compact_store.ts", "CompactStore"],
    ["take_over.ts", "takeOver"],
  ].map(([file = "", name]) => `import { ${name} } from "${join(import.meta.dir, file)}";`);
  const program = [
    ...imports,
    "const dir = process.argv[2];",
    "const tell = (run) => { try { run(); } catch (e) { console.log(e.message, '|', e.hint); } };",
    code,
  ];
  writeFileSync(script, program.join("\n"));
  const nobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
  const done = Bun.spawnSync([...nobody, process.execPath, script, folder]);
  expect(done.stderr.toString()).toBe("");
  return done.stdout.toString();
}

/** A folder where all may write, with a trace of root that all may read. */
function withTrace(): string {
  const folder = newFolder();
  chmodSync(folder, 0o777);
  const builder = new TraceBuilder(join(folder, "trace"));
  builder.finish();
  chmodSync(join(folder, "trace"), 0o755);
  chmodSync(join(folder, "trace/trace.db"), 0o644);
  return folder;
}

test.skipIf(!canRunAsNobody())("who may read a trace may pack it; the file is theirs", () => {
  const folder = withTrace();
  expect(asNobody(folder, "packTrace(dir + '/trace', dir + '/one.dktrace');")).toBe("");
  const { uid, gid, mode } = statSync(join(folder, "one.dktrace"));
  expect([uid, gid, mode & 0o777]).toEqual([NOBODY, NOBODY, 0o644]);
});

test.skipIf(!canRunAsNobody())("no group gets more than it had", () => {
  const folder = newFolder();
  chmodSync(folder, 0o777);
  const modes = [0o640, 0o664, 0o600, 0o666];
  mkdirSync(join(folder, "from"));
  for (const mode of modes) {
    writeFileSync(join(folder, "from", String(mode)), "");
    chmodSync(join(folder, "from", String(mode)), mode);
  }
  const code = `for (const mode of ${JSON.stringify(modes)}) {
    await Bun.write(dir + "/" + mode, "");
    takeOver(dir + "/from/" + mode, dir + "/" + mode);
  }`;
  expect(asNobody(folder, code)).toBe("");
  const made = modes.map((mode) => statSync(join(folder, String(mode))).mode & 0o777);
  expect(made).toEqual([0o600, 0o644, 0o600, 0o666]);
});

test.skipIf(!canRunAsNobody())("what must not be changed is refused with a hint that helps", () => {
  const folder = withTrace();
  const open = "tell(() => CompactStore.openAlone(dir + '/trace'));";
  const hint = "| run this as the owner of the trace, or as root\n";
  expect(asNobody(folder, open)).toBe(
    `cannot lock "${folder}/trace/recorder.lock": permission denied ${hint}`,
  );
  chmodSync(join(folder, "trace"), 0o777);
  expect(asNobody(folder, open)).toEndWith(hint);
  expect(readdirSync(join(folder, "trace"))).toEqual(["trace.db"]);
  chmodSync(folder, 0o755);
  expect(asNobody(folder, "tell(() => packTrace(dir + '/trace', dir + '/no.dktrace'));")).toBe(
    `cannot pack into "${folder}/no.dktrace": permission denied ` +
      "| choose another --out, or change the permissions of its folder\n",
  );
});
