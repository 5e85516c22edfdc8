/** A reader that gives the memory of rows back while it goes on reads the same, in any order, of raw and of packed rows. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compactTrace } from "../../src/compact/compact_trace.ts";
import { sha256Hex } from "../../src/format/keys.ts";
import { Op } from "../../src/format/trace_event.ts";
import { Trace } from "../../src/history/trace.ts";
import { ContentReader } from "../../src/store/content_reader.ts";
import { openTrace } from "../../src/store/trace_open.ts";
import { TraceRows } from "../../src/store/trace_rows.ts";
import { attr, TraceBuilder } from "../trace_builder.ts";
import { Random } from "./model.ts";

const FILE = 2;
const VERSIONS = 60;
const READS = 3000;
/** Room for two or three rows, so that nearly each one goes when another comes. */
const CACHE_BYTES = 1 << 18;
let dir = "";

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-passing-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Versions that are text, noise, small changes of the one before, and the same again. */
function build(raw: string): void {
  const random = new Random(77);
  const builder = new TraceBuilder(raw, { batchEvents: 20 });
  builder.baseline({ op: Op.BASELINE, node: 1, attr: attr(0o040755), root: 0 });
  builder.event({ op: Op.CREATE, node: FILE, parent: 1, name: "file", attr: attr(0o100644) });
  let bytes = new Uint8Array(0);
  for (let version = 0; version < VERSIONS; version++) {
    const length = 40_000 + random.below(60_000);
    const sort = random.below(4);
    if (sort === 0) bytes = crypto.getRandomValues(new Uint8Array(length));
    else if (sort === 1) {
      const lines = Array.from(
        { length: length / 40 },
        (_, i) => `line ${i} of ${version} says it`,
      );
      bytes = new Uint8Array(Buffer.from(lines.join("\n")));
    } else if (sort === 2) {
      bytes = bytes.slice();
      bytes.fill(version, 1000, 1100);
    }
    if (bytes.length > 0) builder.write(FILE, 0, { op: Op.WRITE, bytes });
  }
  builder.finish();
}

/** Where contents lie in a trace. */
function pointers(from: string): { row: number; offset: number }[] {
  const found: { row: number; offset: number }[] = [];
  const trace = Trace.open(from);
  for (const { cursor } of trace.reader.journalBatches()) {
    while (cursor.next()) {
      for (const { row, offset, length } of cursor.event().extents ?? []) {
        for (const part of [0, length >> 1, length - 1]) found.push({ row, offset: offset + part });
      }
    }
  }
  trace.close();
  return found;
}

test("rows that are given back are read again, whatever they are needed for", () => {
  const raw = join(dir, "raw");
  const packed = join(dir, "packed");
  build(raw);
  cpSync(raw, packed, { recursive: true });
  compactTrace(packed);
  for (const from of [raw, packed]) {
    const opened = openTrace(from);
    const rows = new TraceRows(opened);
    const [kept, passing] = [new ContentReader(rows), new ContentReader(rows, CACHE_BYTES)];
    passing.passing();
    const random = new Random(5);
    const places = pointers(from);
    let gone = 0;
    const seen: Uint8Array[] = [];
    for (let i = 0; i < READS; i++) {
      const { row, offset } = places[random.below(places.length)] ?? { row: 0, offset: 0 };
      const wanted = kept.piece(row, offset);
      const given = passing.piece(row, offset);
      expect(given.start).toBe(wanted.start);
      expect(sha256Hex(given.bytes)).toBe(sha256Hex(wanted.bytes));
      // what had to go when a piece was asked for is given back at the next one
      if (seen.push(given.bytes) > 4 && seen.shift()?.length === 0) gone++;
    }
    for (const { row, offset } of places) {
      expect(kept.piece(row, offset).bytes.length > 0).toBe(true);
    }
    expect(gone).toBeGreaterThan(100);
    rows.close();
  }
}, 60_000);
