/** Mappings that mremap moves in part or shows twice, and a process with many: each is exact at msync, without a difference for the audit. */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { dk, events, info, named, obstacle, removeScratch, scratch } from "../proofs/_kit.ts";

const isWithout = obstacle() !== "" || Bun.which("python3") === null;

afterAll(removeScratch);

test.skipIf(isWithout)(named("mappings moved in part, seen twice, one of many"), () => {
  const folder = scratch("mappings");
  const [watched, state, aside] = ["w", "trace", "aside"].map((name) => join(folder, name));
  if (watched === undefined || state === undefined || aside === undefined) throw new Error();
  mkdirSync(watched);
  mkdirSync(aside);
  const program = join(import.meta.dir, "_mappings.py");
  // sampling would find the stores too, later: it is too rare here to be in time
  const argv = ["record", "--quiet", "--mmap-interval", "1000", "--audit", "full"];
  const command = ["--state-dir", state, "--watch", watched, "--", "python3", program, aside];
  const ran = dk([...argv, ...command], { cwd: watched });
  expect(`${ran.code} ${ran.stderr}`).toBe("0 ");
  const made = events(state).filter((event) => event.op === "MKDIR");
  const names = readdirSync(aside).sort();
  expect(names).toEqual(["many18", "many19", "part", "twice"]);
  for (const name of names) {
    const marker = made.find((event) => event.path === `after ${name}`);
    const out = join(folder, `out ${name}`);
    const time = `before:#${marker?.seq ?? 0}`;
    expect(dk(["export", "--state-dir", state, "--time", time, "--out", out]).code).toBe(0);
    const isSame = readFileSync(join(out, name)).equals(readFileSync(join(aside, name)));
    expect(`${name} ${isSame}`).toBe(`${name} true`);
  }
  expect(info(state)["verified"]).toMatchObject({ differences: 0 });
}, 60_000);
