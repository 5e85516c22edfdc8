/**
 * A write on tmpfs whose bytes were cut off before it returned: pages that are not there are holes, and are taken as zeros with the others
 * when the call ends. Read back later, they could be those of the future.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { compiled } from "../oracle/programs.ts";
import { dk, events, named, obstacle, removeScratch, scratch } from "../proofs/_kit.ts";

const WRITES = 3000;
const isWithout = obstacle() !== "" || Bun.which("cc") === null;

afterAll(removeScratch);

test.skipIf(isWithout)(named("holes under a write that ends (tmpfs)"), () => {
  const watched = mkdtempSync("/dev/shm/diffkeeper-holes-");
  const at = scratch("holes");
  try {
    const trace = join(at, "trace");
    const program = compiled(join(import.meta.dir, "_holes.c"));
    const argv = ["record", "--quiet", "--state-dir", trace, "--watch", watched, "--", program];
    expect(dk([...argv, join(watched, "file"), String(WRITES)]).code).toBe(0);
    const all = events(trace).filter((event) => event.path === "file");
    expect(all.filter((event) => event.op === "WRITE").length).toBe(WRITES);
    expect(all.filter((event) => event.settled === true)).toEqual([]);
    const out = join(at, "out");
    expect(dk(["export", "--state-dir", trace, "--time", "end", "--out", out]).code).toBe(0);
    const truth = readFileSync(join(watched, "file"));
    expect(readFileSync(join(out, "file")).equals(truth)).toBe(true);
  } finally {
    rmSync(watched, { recursive: true, force: true });
  }
}, 120_000);
