/**
 * Makes the golden trace of version 4: packed, with text as lines and differences from ranges. `bun tests/golden/make_trace_v4.ts` writes it anew, which is only
 * right while version 4 is not released. What it must give stands beside it as digests.
 */
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makePackedTrace } from "../support/bit_flips.ts";
import { digestsOf } from "./make_trace_v2.ts";

const SEED = 4;

if (import.meta.main) {
  const dir = join(import.meta.dir, "trace_v4");
  rmSync(dir, { recursive: true, force: true });
  makePackedTrace(dir, SEED, { functions: 2_800 });
  chmodSync(join(dir, "trace.db"), 0o644);
  const text = `${JSON.stringify(digestsOf(dir), null, 1)}\n`;
  writeFileSync(join(import.meta.dir, "trace_v4.json"), text);
}
