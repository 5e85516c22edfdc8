/**
 * Calls that a fatal signal ends in their midst have done a part of their work: on xfs a range is taken out of a file, and its size is not
 * set any more. The call fails, often without a new time of the file, and what it did must be in the trace all the same.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compiled } from "../oracle/programs.ts";
import { dk, events, named, obstacle, removeScratch, run, scratch } from "../proofs/_kit.ts";

const KILLS = 60;
const IMAGE_BYTES = 512 * 1024 ** 2;

/** Mounts an xfs of its own; what is missing, or empty. */
function mounted(folder: string): string {
  const image = join(folder, "image");
  writeFileSync(image, "");
  truncateSync(image, IMAGE_BYTES);
  const made = run(["mkfs.xfs", "-q", image]);
  return made.code !== 0 ? made.stderr : run(["mount", "-o", "loop", image, folder]).stderr;
}

const isWithout = obstacle() !== "" || Bun.which("cc") === null || Bun.which("mkfs.xfs") === null;
const name = "what a killed fallocate left behind";

afterAll(removeScratch);

test.skipIf(isWithout)(named(isWithout ? `${name} (needs cc and mkfs.xfs)` : name), () => {
  const at = scratch("killed");
  expect(mounted(at)).toBe("");
  try {
    const watched = join(at, "w");
    mkdirSync(watched);
    const [trace, out] = [join(at, "trace"), join(at, "out")];
    const program = compiled(join(import.meta.dir, "_killed.c"));
    const record = ["record", "--quiet", "--wait", "--state-dir", trace, "--watch", watched];
    const ran = dk([...record, "--", program, String(KILLS)], { cwd: watched });
    expect(ran.stdout.trim()).toBe(String(KILLS));
    expect(dk(["export", "--state-dir", trace, "--time", "end", "--out", out]).code).toBe(0);
    const files = readdirSync(watched);
    const differing = files.filter((file) =>
      !readFileSync(join(watched, file)).equals(readFileSync(join(out, file)))
    );
    expect(differing).toEqual([]);
    // else the test has shown nothing; and what was read back says so
    const read = events(trace).filter((event) => event.op === "RESYNC");
    expect(read.length).toBeGreaterThan(0);
    expect(read.every((event) => event.settled === true)).toBe(true);
  } finally {
    run(["umount", at]);
  }
}, 120_000);
