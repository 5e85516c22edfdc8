/** A compacted trace says at every event what the raw one says: each line of the timeline, each tree, each byte. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EFFORT_FAST, EFFORT_SMALL } from "../../src/compact/blob_maker.ts";
import { type CompactSettings, settingsOf } from "../../src/compact/compactor.ts";
import { compactTrace } from "../../src/compact/compact_trace.ts";
import { Codec } from "../../src/format/packed_row.ts";
import { Op } from "../../src/format/trace_event.ts";
import { Trace } from "../../src/history/trace.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { timelineOf, treeAt } from "../support/trace_states.ts";
import { TextVersions } from "../support/text_versions.ts";
import { TraceBuilder } from "../trace_builder.ts";
import { Model, Random } from "./model.ts";

const STEPS = 120;
const seeds = Number(process.env["DIFFKEEPER_SEEDS"] ?? 6);
const firstSeed = Number(process.env["DIFFKEEPER_SEED"] ?? 1);
let dir = "";

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-compact-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A random trace; returns its last seq. */
function makeTrace(path: string, seed: number): number {
  const random = new Random(seed);
  const index = seed % 2 === 0;
  const builder = new TraceBuilder(path, { batchEvents: 1 + random.below(60), index });
  const model = new Model(random, (event) => builder.event(event));
  builder.baseline(model.rootEvent());
  const text = new TextVersions(builder, random);
  for (let step = 0; step < STEPS; step++) {
    model.step();
    if (random.below(4) === 0) text.step();
    if (random.below(20) === 0) {
      builder.event({ op: Op.OUTPUT, offset: 1, length: 3, inline: Buffer.from("hi\n") });
    }
  }
  if (seed % 3 === 0) builder.cut();
  else builder.finish({ events: builder.seq });
  return builder.seq;
}

/** How the blobs of the journal are stored. */
function codecsOf(trace: Trace): number[] {
  const rows = [...trace.reader.journalBatches()].map(({ row }) => trace.reader.packedRow(row));
  return rows.flatMap((row) => (row?.blobs ?? []).map((blob) => blob.codec));
}

/** What was packed fast is packed once more, and then not again; what follows in the test must hold all the same. */
function packAgain(packed: string, settings: CompactSettings): void {
  const bytes = () => statSync(join(packed, "trace.db")).size;
  const content = () => {
    const db = new Database(join(packed, "trace.db"), { readonly: true });
    const rows = db.query<{ id: number; key: Uint8Array; bytes: number; value: Uint8Array }, []>(
      "SELECT id, key, length(value) AS bytes, value FROM kv ORDER BY id",
    ).all();
    db.close();
    return rows;
  };
  const before = content();
  compactTrace(packed, { settings: { ...settings, effort: EFFORT_SMALL } });
  const after = content();
  expect(after.map(({ id }) => id)).toEqual(before.map(({ id }) => id));
  const packedBytes = (rows: typeof before) =>
    rows.filter(({ key }) => key[0] !== 0x69).reduce((sum, row) => sum + row.bytes, 0);
  expect(packedBytes(after)).toBeLessThan(packedBytes(before));
  const size = bytes();
  compactTrace(packed, { settings: { ...settings, effort: EFFORT_SMALL } });
  expect(bytes()).toBe(size);
  expect(content()).toEqual(after);
}

for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
  test(`a compacted trace equals the raw one, seed ${seed}`, () => {
    const [raw, packed] = [join(dir, `raw-${seed}`), join(dir, `packed-${seed}`)];
    const lastSeq = makeTrace(raw, seed);
    cpSync(raw, packed, { recursive: true });
    const effort = seed % 2 === 0 ? EFFORT_FAST : EFFORT_SMALL;
    const settings = seed % 3 === 1 ? settingsOf(effort) : {
      effort,
      keyframeEvents: 10 * seed,
      keyframeEventsPerNode: 0.1,
      segmentBytes: 1024 * seed,
      solidPrefixBytes: 512,
    };
    compactTrace(packed, { settings });
    if (effort === EFFORT_FAST && seed % 4 === 0) packAgain(packed, settings);
    expect({ seed, problems: verifyTrace(packed).problems }).toEqual({ seed, problems: [] });
    expect(timelineOf(packed)).toEqual(timelineOf(raw));
    const [before, after] = [Trace.open(raw), Trace.open(packed)];
    // with the usual settings all of it is one piece
    expect(codecsOf(after)).toContain(seed % 3 === 1 ? Codec.CONTENT : Codec.PREFIX);
    if (seed % 3 !== 1) expect(after.reader.count("keyframe")).toBeGreaterThan(0);
    for (const from of [1, Math.floor(lastSeq / 2), lastSeq]) {
      expect(timelineOf(packed, from)).toEqual(timelineOf(raw, from));
    }
    expect(after.state()).toBe(before.state());
    for (let seq = 0; seq <= lastSeq; seq++) {
      expect({ seed, seq, tree: treeAt(after, seq) }).toEqual({
        seed,
        seq,
        tree: treeAt(before, seq),
      });
    }
    before.close();
    after.close();
  }, 60_000);
}
