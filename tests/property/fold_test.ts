/**
 * A fold is exact: after it, every moment that is kept has the tree that it had, every event its line, and whatever lies before is
 * refused; again and again on the same trace, raw, packed, ended and cut.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EFFORT_FAST } from "../../src/compact/blob_maker.ts";
import { Compactor, settingsOf } from "../../src/compact/compactor.ts";
import { compactTrace } from "../../src/compact/compact_trace.ts";
import { gcTrace } from "../../src/compact/gc_trace.ts";
import { foldHistory } from "../../src/compact/history_fold.ts";
import { IO_URING_NOTE, Op } from "../../src/format/trace_event.ts";
import { Trace } from "../../src/history/trace.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { CompactStore } from "../../src/store/compact_store.ts";
import { timelineOf, treeAt } from "../support/trace_states.ts";
import { TextVersions } from "../support/text_versions.ts";
import { TraceBuilder } from "../trace_builder.ts";
import { Model, Random } from "./model.ts";

const STEPS = 100;
const FOLDS = 3;
/** Between two moments that are compared, at most. */
const SPACING = Number(process.env["DIFFKEEPER_SPACING"] ?? 5);
const seeds = Number(process.env["DIFFKEEPER_SEEDS"] ?? 8);
const firstSeed = Number(process.env["DIFFKEEPER_SEED"] ?? 1);
let dir = "";

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-fold-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A random trace of a second; returns its last seq. */
function makeTrace(path: string, seed: number): number {
  const random = new Random(seed);
  const builder = new TraceBuilder(path, {
    batchEvents: 1 + random.below(40),
    index: seed % 2 === 0,
  });
  let tNs = 0;
  const model = new Model(random, (event) => {
    tNs += random.below(10_000_000);
    builder.event({ ...event, tNs });
  });
  builder.baseline(model.rootEvent());
  builder.baseline({ op: Op.GAP, text: "an unreadable folder", loss: { events: 0, bytes: 0 } });
  const text = new TextVersions(builder, random);
  for (let step = 0; step < STEPS; step++) {
    model.step();
    if (random.below(4) === 0) text.step();
    if (random.below(20) === 0) {
      builder.event({ op: Op.OUTPUT, offset: 1, length: 3, inline: Buffer.from("hi\n") });
    }
    if (random.below(90) === 0) {
      builder.event({ op: Op.NOTE, text: IO_URING_NOTE });
    }
    if (random.below(30) === 0) {
      builder.event({ op: Op.GAP, node: 1, text: "lost", loss: { events: 2, bytes: 9 } });
    }
  }
  if (seed % 3 === 0) builder.cut();
  else builder.finish({ events: builder.seq });
  return builder.seq;
}

function fold(path: string, seq: number, live: boolean): void {
  const store = CompactStore.openAlone(path);
  try {
    foldHistory(store, { seq, effort: EFFORT_FAST, live });
    store.close({ shrink: true });
  } finally {
    store.close();
  }
}

function pack(path: string, seed: number): void {
  compactTrace(path, {
    settings: {
      effort: EFFORT_FAST,
      keyframeEvents: 10 * seed,
      keyframeEventsPerNode: 0.1,
      segmentBytes: 2048 * seed,
      solidPrefixBytes: 512,
    },
  });
}

for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
  test(`a folded trace equals the whole one behind the fold, seed ${seed}`, () => {
    const [whole, folded] = [join(dir, `whole-${seed}`), join(dir, `folded-${seed}`)];
    const random = new Random(seed * 7919);
    const lastSeq = makeTrace(whole, seed);
    cpSync(whole, folded, { recursive: true });
    const before = Trace.open(whole);
    const wanted = timelineOf(whole);
    let first = 0;
    for (let round = 0; round < FOLDS; round++) {
      if (random.below(3) > 0) pack(folded, 1 + random.below(6));
      first += 1 + random.below(Math.max(1, Math.floor((lastSeq - first) / 2)));
      fold(folded, first, random.below(2) === 0);
      if (random.below(3) === 0) pack(folded, 1 + random.below(6));
      const where = { seed, round, first };
      expect({ ...where, problems: verifyTrace(folded).problems }).toEqual({
        ...where,
        problems: [],
      });
      expect(timelineOf(folded)).toEqual(wanted.slice(first));
      const after = Trace.open(folded);
      expect(after.range().first?.seq).toBe(first);
      for (let seq = first; seq <= lastSeq; seq += 1 + random.below(SPACING)) {
        const [a, b] = [treeAt(after, seq), treeAt(before, seq)];
        if (!Bun.deepEquals(a, b)) {
          expect({ ...where, seq, tree: a }).toEqual({ ...where, seq, tree: b });
        }
      }
      expect(() => treeAt(after, first - 1)).toThrow("was dropped");
      expect(after.totals().events).toBe(before.totals().events);
      after.close();
    }
    before.close();
  }, 120_000);
}

test("a fold through the last row that is packed: packing goes on behind it", () => {
  const [whole, folded] = [join(dir, "whole-split"), join(dir, "split")];
  const lastSeq = makeTrace(whole, 4);
  cpSync(whole, folded, { recursive: true });
  const store = CompactStore.openAlone(folded);
  const compactor = new Compactor(store, { ...settingsOf(EFFORT_FAST), segmentRows: 1 });
  // the journal's rows are packed one by one: up to one with several events
  let before = 0;
  for (let last = 0; last - before < 3 || before === 0;) {
    before = last;
    expect(compactor.step(false)).toBe(true);
    last = compactor.progress.lastSeq;
  }
  const seq = compactor.progress.lastSeq - 1;
  expect(seq).toBeLessThan(lastSeq - 1);
  foldHistory(store, { seq, effort: EFFORT_FAST, live: true });
  store.close();
  pack(folded, 2);
  expect(verifyTrace(folded).problems).toEqual([]);
  expect(timelineOf(folded)).toEqual(timelineOf(whole).slice(seq));
  const [after, wanted] = [Trace.open(folded), Trace.open(whole)];
  for (let at = seq; at <= lastSeq; at++) expect(treeAt(after, at)).toEqual(treeAt(wanted, at));
  after.close();
  wanted.close();
});

test("gc keeps the last part, and what it keeps fits", () => {
  const path = join(dir, "gc");
  makeTrace(path, 4);
  const { endNs } = (() => {
    const trace = Trace.open(path);
    const range = trace.range();
    trace.close();
    return range;
  })();
  const wanted = timelineOf(path);
  const none = gcTrace(path);
  expect(none.events).toBe(0);
  expect(timelineOf(path)).toEqual(wanted);
  const kept = gcTrace(path, { keepNs: endNs / 2 });
  expect(kept.events).toBeGreaterThan(0);
  expect(kept.tNs).toBeLessThanOrEqual(endNs / 2);
  const lines = timelineOf(path);
  expect(lines).toEqual(wanted.slice(kept.seq));
  expect(JSON.parse(lines[0] ?? "{}").t_ns).toBeGreaterThan(endNs / 2);
  const maxBytes = Math.floor(kept.bytesAfter * 0.8);
  const small = gcTrace(path, { maxBytes });
  expect(small.events).toBeGreaterThan(0);
  expect(small.bytesAfter).toBeLessThanOrEqual(maxBytes);
  expect(timelineOf(path)).toEqual(wanted.slice(small.seq));
  const least = gcTrace(path, { maxBytes: 1 });
  expect(timelineOf(path)).toEqual([]);
  expect(least.bytesAfter).toBeGreaterThan(1);
  expect(verifyTrace(path).problems).toEqual([]);
});

test("the last part ends where the command did, not where what was found later is told", () => {
  const path = join(dir, "gc-late");
  const builder = new TraceBuilder(path, { batchEvents: 1 });
  builder.baseline(new Model(new Random(1), () => undefined).rootEvent());
  const seconds = (n: number) => n * 1e9;
  for (let at = 1; at <= 10; at++) {
    builder.event({
      op: Op.OUTPUT,
      tNs: seconds(at),
      offset: 1,
      length: 2,
      inline: Buffer.from("x\n"),
    });
  }
  builder.event({ op: Op.NOTE, tNs: seconds(20), text: "said by the audit" });
  builder.finish({ events: builder.seq, endNs: seconds(10) });
  expect(gcTrace(path, { keepNs: seconds(3) }).events).toBe(7);
  expect(timelineOf(path).length).toBe(4);
});
