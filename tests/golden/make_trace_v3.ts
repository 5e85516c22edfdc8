/**
 * Makes the golden trace of version 3: packed, its history folded up to the middle. `bun tests/golden/make_trace_v3.ts` writes it anew,
 * which is only right while version 3 is not released. What it must give stands beside it as digests.
 */
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EFFORT_SMALL } from "../../src/compact/blob_maker.ts";
import { foldHistory } from "../../src/compact/history_fold.ts";
import { CompactStore } from "../../src/store/compact_store.ts";
import { makePackedTrace } from "../support/bit_flips.ts";
import { digestsOf } from "./make_trace_v2.ts";

const SEED = 3;
/** The last event that is gone: in the middle of a packed row. */
export const FOLDED = 131;

if (import.meta.main) {
  const dir = join(import.meta.dir, "trace_v3");
  rmSync(dir, { recursive: true, force: true });
  makePackedTrace(dir, SEED);
  const store = CompactStore.openAlone(dir);
  foldHistory(store, { seq: FOLDED, effort: EFFORT_SMALL });
  store.close({ shrink: true, freeMin: 1 });
  chmodSync(join(dir, "trace.db"), 0o644);
  const text = `${JSON.stringify(digestsOf(dir), null, 1)}\n`;
  writeFileSync(join(import.meta.dir, "trace_v3.json"), text);
}
