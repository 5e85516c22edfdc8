/** Versions of a large binary become differences from each other: small, in bounded chains, the same after a kill, and each readable. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EFFORT_FAST, EFFORT_SMALL } from "../../src/compact/blob_maker.ts";
import { settingsOf } from "../../src/compact/compactor.ts";
import { compactTrace } from "../../src/compact/compact_trace.ts";
import { gcTrace } from "../../src/compact/gc_trace.ts";
import { DELTA_CHAIN_MAX } from "../../src/base/limits.ts";
import { unwrapAny, ValueKind } from "../../src/format/envelope.ts";
import { type Blob, Codec, parsePackedRow } from "../../src/format/packed_row.ts";
import { Trace } from "../../src/history/trace.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { ProgramVersions } from "../support/program_versions.ts";
import { treeAt } from "../support/trace_states.ts";
import { attr, TraceBuilder } from "../trace_builder.ts";
import { Op } from "../../src/format/trace_event.ts";
import { Random } from "./model.ts";

const seed = Number(process.env["DIFFKEEPER_SEED"] ?? Date.now() % 1_000_000);
const VERSIONS = 40;
const dir = mkdtempSync(join(tmpdir(), "diffkeeper-delta-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A raw trace, and the number of the last event of each version. */
function makeTrace(path: string): number[] {
  const builder = new TraceBuilder(path, { batchEvents: 4 });
  const mtime = { sec: 1, nsec: 0 };
  builder.baseline({ op: Op.BASELINE, node: 1, root: 0, attr: attr(0o40755), mtime });
  const program = new ProgramVersions(new Random(seed));
  const last: number[] = [];
  for (let version = 0; version < VERSIONS; version++) {
    program.write(builder);
    last.push(builder.seq);
  }
  builder.finish({ events: builder.seq });
  return last;
}

function treesAt(path: string, events: readonly number[]): string[][] {
  const trace = Trace.open(path);
  try {
    return events.map((seq) => treeAt(trace, seq));
  } finally {
    trace.close();
  }
}

/** All rows as bytes. */
function rowsOf(path: string): { id: number; value: Uint8Array }[] {
  const db = new Database(join(path, "trace.db"), { readonly: true });
  const rows = db.query<{ id: number; value: Uint8Array }, []>(
    "SELECT id, value FROM kv ORDER BY id",
  );
  const all = rows.all();
  db.close();
  return all;
}

function blobsOf(path: string): Blob[] {
  return rowsOf(path).flatMap(({ value }) => {
    const { kind, payload } = unwrapAny(value);
    const isPacked = kind === ValueKind.PACKED_DATA || kind === ValueKind.PACKED_EVENTS;
    return isPacked ? parsePackedRow(payload).blobs : [];
  });
}

/** Of all values: a file may be larger by pages that are free. */
const rowBytes = (path: string) => rowsOf(path).reduce((sum, { value }) => sum + value.length, 0);
const sizeOf = (path: string) => statSync(join(path, "trace.db")).size;

test(`relinks of a program, seed ${seed}`, () => {
  const [raw, packed, killed] = ["raw", "packed", "killed"].map((name) => join(dir, name));
  if (raw === undefined || packed === undefined || killed === undefined) return;
  const last = makeTrace(raw);
  const wanted = treesAt(raw, last);
  cpSync(raw, packed, { recursive: true });
  cpSync(raw, killed, { recursive: true });

  const settings = { ...settingsOf(EFFORT_FAST), segmentRows: 1 };
  compactTrace(packed, { settings });
  expect(treesAt(packed, last)).toEqual(wanted);
  expect(verifyTrace(packed).problems).toEqual([]);
  const deltas = blobsOf(packed).filter(({ codec }) => codec === Codec.DELTA);
  expect(deltas.length).toBeGreaterThan(VERSIONS);
  const longest = Math.max(...deltas.map(({ index }) => index));
  expect(longest).toBe(DELTA_CHAIN_MAX);
  // of the versions after the first each takes less than a hundredth of itself
  const stored = deltas.reduce((sum, blob) => sum + blob.stored.length, 0);
  expect(stored).toBeLessThan(sizeOf(raw) / 100);

  // some steps at a time, each time by a compactor that knows only what is stored
  const stopped = new Error("stopped");
  const steps = (count: number) => () => {
    if (--count < 0) throw stopped;
  };
  for (let isDone = false; !isDone;) {
    try {
      isDone = compactTrace(killed, { settings, onProgress: steps(7) }).complete;
    } catch (thrown) {
      if (thrown !== stopped) throw thrown;
    }
  }
  expect(rowsOf(killed).length).toBe(rowsOf(packed).length);
  const after = rowsOf(killed);
  const other = rowsOf(packed).filter(({ value }, i) =>
    Buffer.compare(value, after[i]?.value ?? new Uint8Array(0)) !== 0
  );
  expect(other.map(({ id }) => id)).toEqual([]);

  const fast = rowBytes(packed);
  compactTrace(packed, { settings: settingsOf(EFFORT_SMALL) });
  expect(rowBytes(packed)).toBeLessThanOrEqual(fast);
  expect(treesAt(packed, last)).toEqual(wanted);

  gcTrace(packed, { keepNs: 0 });
  expect(treesAt(packed, last.slice(-1))).toEqual(wanted.slice(-1));
  expect(verifyTrace(packed).problems).toEqual([]);
}, 120_000);
