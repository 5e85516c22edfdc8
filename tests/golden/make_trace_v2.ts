/**
 * Makes the golden trace of version 2: packed rows of every sort and keyframes. `bun tests/golden/make_trace_v2.ts` writes it anew, which
 * is only right while version 2 is not released. What it must give stands beside it as digests.
 */
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sha256Hex } from "../../src/format/keys.ts";
import { Trace } from "../../src/history/trace.ts";
import { makePackedTrace } from "../support/bit_flips.ts";
import { timelineOf, treeAt } from "../support/trace_states.ts";

const SEED = 2;
const STEP = 20;

/** Digests of the timeline, and of the tree at every twentieth event. */
export function digestsOf(dir: string): { timeline: string; trees: string[] } {
  const digest = (lines: readonly string[]) => sha256Hex(Buffer.from(lines.join("\n")));
  const trace = Trace.open(dir);
  try {
    const { lastSeq, first } = trace.range();
    const trees: string[] = [];
    for (let seq = first?.seq ?? 0; seq <= lastSeq; seq += STEP) {
      trees.push(digest(treeAt(trace, seq)));
    }
    return { timeline: digest(timelineOf(dir)), trees };
  } finally {
    trace.close();
  }
}

if (import.meta.main) {
  const dir = join(import.meta.dir, "trace_v2");
  rmSync(dir, { recursive: true, force: true });
  makePackedTrace(dir, SEED);
  chmodSync(join(dir, "trace.db"), 0o644);
  const text = `${JSON.stringify(digestsOf(dir), null, 1)}\n`;
  writeFileSync(join(import.meta.dir, "trace_v2.json"), text);
}
