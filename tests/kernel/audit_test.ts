/**
 * The audit compares contents too: bytes that were changed where nothing says so (a mapping of another program, older than the
 * recording) are found although names, sizes and times are as recorded, and healed.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  BINARY,
  dk,
  events,
  info,
  named,
  obstacle,
  removeScratch,
  run,
  scratch,
} from "../proofs/_kit.ts";

const FILES = 40;

afterAll(removeScratch);

/** Records a script in a fresh folder; gives what `info` says was verified. */
function recorded(script: string, ...options: string[]) {
  const folder = scratch("audit");
  const watched = join(folder, "w");
  mkdirSync(watched);
  writeFileSync(join(watched, "before"), "before\n");
  const state = join(folder, "trace");
  const argv = ["record", "--state-dir", state, "--watch", watched, ...options, "--"];
  const ran = dk([...argv, "sh", "-ec", script], { cwd: watched });
  expect(ran.code).toBe(0);
  return { verified: info(state)["verified"], stderr: ran.stderr, folder, watched, state };
}

test.skipIf(obstacle() !== "")(named("every content that was written is compared"), () => {
  const script = `i=0; while [ $i -lt ${FILES} ]; do echo "text $i" > f$i; i=$((i + 1)); done
    echo more >> before; truncate -s 1M hole; rm f0; mv f1 moved; ln f2 link`;
  const { verified, stderr } = recorded(script, "--audit=full");
  // not f0, which is gone; \`before\` and \`hole\` beside the others
  const contents = FILES + 1;
  expect(verified).toEqual({ entries: 43, contents, written: contents, differences: 0, left: 0 });
  expect(stderr).toContain("verified: 43 names, 41 contents, 0 differences");
});

test.skipIf(obstacle() !== "")(named("a payload that is not what the file holds is healed"), () => {
  // another program's shared mapping of the file, made before the recording, is a way to write that no hook sees
  const folder = scratch("audit-mapped");
  const watched = join(folder, "w");
  mkdirSync(watched);
  const file = join(watched, "file");
  writeFileSync(file, "x".repeat(4096));
  const writer = `
    import { openSync } from "node:fs";
    import { dlopen, toArrayBuffer } from "bun:ffi";
    const { symbols } = dlopen("libc.so.6", {
      mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
    });
    const at = symbols.mmap(null, 4096, 3, 1, openSync(${JSON.stringify(file)}, "r+"), 0);
    const bytes = new Uint8Array(toArrayBuffer(at, 0, 4096));
    bytes[100] = 120; // the page is writable from now on: the next store changes no time
    console.log("ready");
    for await (const _ of Bun.stdin.stream()) bytes[100] = 65;
    await Bun.sleep(60_000);`;
  const other = Bun.spawn([process.execPath, "-e", writer], {
    stdin: "pipe",
    stdout: "pipe",
    env: { ...process.env, BUN_BE_BUN: "1" },
  });
  return (async () => {
    await other.stdout.getReader().read();
    const state = join(folder, "trace");
    const ready = join(folder, "ready");
    const go = join(folder, "go");
    const script = `printf y | dd of=file bs=1 seek=7 conv=notrunc 2>/dev/null; touch ${ready}
      while [ ! -e ${go} ]; do sleep 0.05; done`;
    const argv = ["record", "--quiet", "--state-dir", state, "--watch", watched, "--audit=full"];
    const recorder = Bun.spawn([BINARY, ...argv, "--", "sh", "-ec", script], {
      cwd: watched,
      stdio: ["ignore", "inherit", "inherit"],
    });
    while (!(await Bun.file(ready).exists())) await Bun.sleep(20);
    other.stdin.write("go");
    other.stdin.flush();
    await Bun.sleep(200);
    writeFileSync(go, "");
    expect(await recorder.exited).toBe(0);
    other.kill();
    const out = join(folder, "out");
    expect(dk(["export", "--state-dir", state, "--time", "end", "--out", out]).code).toBe(0);
    expect(run(["cmp", file, join(out, "file")]).stdout).toBe("");
    expect(info(state)["verified"]).toMatchObject({ differences: 1 });
  })();
});

test.skipIf(obstacle() !== "" || Bun.which("python3") === null)(
  named("a mapping that is older than the recording is told of"),
  async () => {
    const folder = scratch("audit-older");
    const watched = join(folder, "w");
    mkdirSync(watched);
    for (const name of ["theirs", "read", "private", "ours"]) {
      writeFileSync(join(watched, name), "x".repeat(4096));
    }
    const program = `
import mmap, sys
def of(name, **how):
    with open(name, "r+b") as f: return mmap.mmap(f.fileno(), 0, **how)
a = of("theirs")
b = of("read", prot=mmap.PROT_READ)
c = of("private", flags=mmap.MAP_PRIVATE)
print("ready", flush=True)
sys.stdin.read()`;
    const stdio = ["pipe", "pipe", "inherit"] as const;
    const other = Bun.spawn(["python3", "-c", program], { cwd: watched, stdio: [...stdio] });
    await other.stdout.getReader().read();
    const state = join(folder, "trace");
    const ours = 'import mmap; f = open("ours", "r+b"); m = mmap.mmap(f.fileno(), 0); m[0] = 65';
    const argv = ["record", "--quiet", "--state-dir", state, "--", "python3", "-c", ours];
    expect(dk(argv, { cwd: watched }).code).toBe(0);
    other.kill();
    await other.exited;
    const told = events(state, "--op", "gap");
    expect(told.map(({ path }) => path)).toEqual(["theirs"]);
    expect(told[0]?.text).toContain("has it mapped for writing since before the recording");
    expect(info(state)["fidelity"]).toMatchObject({ exact: false });
  },
);
