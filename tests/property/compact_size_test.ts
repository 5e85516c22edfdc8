/** What is written again within some megabytes costs next to nothing: pages of a database and the copies in its journal. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EFFORT_FAST } from "../../src/compact/blob_maker.ts";
import { settingsOf } from "../../src/compact/compactor.ts";
import { compactTrace } from "../../src/compact/compact_trace.ts";
import { Op } from "../../src/format/trace_event.ts";
import { Trace } from "../../src/history/trace.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { treeAt } from "../support/trace_states.ts";
import { attr, TraceBuilder } from "../trace_builder.ts";
import { Model, Random } from "./model.ts";

const PAGES = 64;
/** Below what the builder puts into a row of its own. */
const PAGE_BYTES = 4_000;
const UPDATES = 400;
const SEED = 7;
let dir = "";

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-compact-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A file of pages under updates; before each the old page goes into a new journal, which is removed after it. */
function makeTrace(path: string): number {
  const random = new Random(SEED);
  const builder = new TraceBuilder(path, { batchEvents: 200 });
  builder.baseline(new Model(random, () => undefined).rootEvent());
  const file = attr(0o100644);
  builder.event({ op: Op.CREATE, node: 2, parent: 1, name: "data.db", attr: file });
  const pages = Array.from(
    { length: PAGES },
    () => Uint8Array.from({ length: PAGE_BYTES }, () => random.below(256)),
  );
  for (const [page, bytes] of pages.entries()) {
    builder.write(2, page * PAGE_BYTES, { op: Op.WRITE, bytes: bytes.slice() });
  }
  for (let update = 0; update < UPDATES; update++) {
    const node = 3 + update;
    const page = random.below(PAGES);
    const bytes = pages[page] ?? new Uint8Array(0);
    builder.event({ op: Op.CREATE, node, parent: 1, name: "data.db-journal", attr: file });
    builder.write(node, 0, { op: Op.WRITE, bytes: bytes.slice() });
    bytes.set(Buffer.from(`row ${update}`), random.below(PAGE_BYTES - 20));
    builder.write(2, page * PAGE_BYTES, { op: Op.WRITE, bytes: bytes.slice() });
    builder.event({ op: Op.UNLINK, node, parent: 1, name: "data.db-journal" });
  }
  builder.finish({ events: builder.seq });
  return builder.seq;
}

test("pages and their journals take their changes, in one segment and over many", () => {
  const raw = join(dir, "raw");
  const lastSeq = makeTrace(raw);
  const before = Trace.open(raw);
  for (const segmentBytes of [1 << 23, 1 << 19]) {
    const packed = join(dir, `packed-${segmentBytes}`);
    cpSync(raw, packed, { recursive: true });
    compactTrace(packed, { settings: { ...settingsOf(EFFORT_FAST), segmentBytes } });
    // the pages themselves cannot be smaller; the rest may take 100 bytes for each write
    const size = statSync(join(packed, "trace.db")).size;
    expect(size, `segments of ${segmentBytes}`).toBeLessThan(
      PAGES * PAGE_BYTES + UPDATES * 2 * 100 + 32_768,
    );
    expect(verifyTrace(packed).problems).toEqual([]);
    const after = Trace.open(packed);
    for (const seq of [PAGES, Math.floor(lastSeq / 2), lastSeq]) {
      expect(treeAt(after, seq)).toEqual(treeAt(before, seq));
    }
    after.close();
  }
  before.close();
}, 60_000);
