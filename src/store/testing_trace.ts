/**
 * A trace for tests whose every byte follows from its seqs, so that a reader can check any prefix of it without knowing when
 * the writer stopped. Each flush holds `FLUSH_EVENTS` writes; every 7th write is large and stands in the flush's data row.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import { EventBatchEncoder } from "../format/event_codec.ts";
import { sha256Hex } from "../format/keys.ts";
import { Op, type TraceEvent } from "../format/trace_event.ts";
import { encodeVersions } from "../format/versions_codec.ts";
import type { TraceReader } from "./trace_reader.ts";
import type { TraceWriter } from "./trace_writer.ts";

/** Events of one flush. */
export const FLUSH_EVENTS = 40;
const LARGE_BYTES = 9_000;
const SMALL_BYTES = 32;
const LARGE_EACH = 7;
const NS_PER_EVENT = 1_000;
const PATH = "/work/status.log";
const CONTENT = new TextEncoder().encode("what the folder held before");

/** Puts the recording row, a baseline batch and a content chunk. */
export function putStart(writer: TraceWriter): void {
  const encoder = new EventBatchEncoder();
  const attr = {
    mode: 0o100644,
    uid: 0,
    gid: 0,
    rdev: 0,
    nlink: 1,
    dev: 1,
    gen: 1,
    ino: 9,
    size: 4,
  };
  writer.begin();
  writer.putRecording({ command: ["make", "test"], started: "2026-11-21T09:00:00Z" });
  const row = writer.putContent(sha256Hex(CONTENT), CONTENT);
  encoder.append({
    ...base(0),
    op: Op.BASELINE,
    tNs: 0,
    parent: 0,
    name: "status.log",
    attr,
    extents: [{ row, offset: 0, length: 4, at: 0 }],
  });
  writer.putBaseline(0, encoder.finish(0));
  writer.putProcess({ startNs: 0, pid: 7 }, { argv: ["make", "test"] });
  writer.commit();
}

/** Puts the next flush. With `stop`, leaves before its commit. @returns the last seq. */
export function putFlush(writer: TraceWriter, options: { stop?: boolean } = {}): number {
  const encoder = new EventBatchEncoder();
  const first = writer.lastSeq + 1;
  const batchRow = writer.reserveRow();
  const dataRow = writer.reserveRow();
  const pieces: Uint8Array[] = [];
  let last = { at: 0, seq: 0 };
  for (let seq = first; seq < first + FLUSH_EVENTS; seq++) {
    const event: TraceEvent = { ...base(seq), offset: seq * SMALL_BYTES, length: lengthOf(seq) };
    if (seq % LARGE_EACH === 0) {
      const offset = pieces.length * LARGE_BYTES;
      event.extents = [{ row: dataRow, offset, length: LARGE_BYTES, at: 0 }];
      pieces.push(contentOf(seq));
    } else {
      event.inline = contentOf(seq);
    }
    last = { at: encoder.append(event), seq };
  }
  const tNs = encoder.firstNs;
  writer.begin();
  writer.putData(pieces, dataRow);
  writer.putBatch({ row: batchRow, tNs, seq: first, value: encoder.finish(first) });
  const version = { ...base(last.seq), row: batchRow, offset: last.at, size: last.seq };
  writer.putVersions({ path: PATH, tNs }, encodeVersions([version]));
  if (options.stop !== true) writer.commit();
  return last.seq;
}

/**
 * Reads everything and compares it with what must be there.
 * @returns the last seq. Throws the reader's error, or a defect where the content is wrong but was not noticed.
 */
export function checkTrace(reader: TraceReader): number {
  reader.info();
  for (const { cursor } of reader.baselineBatches()) {
    while (cursor.next()) {
      const extent = cursor.extent(0);
      assert(cursor.event().name === "status.log", "the baseline must name status.log");
      assert(sameBytes(reader.slice(extent), CONTENT.subarray(0, 4)), "the baseline must be whole");
    }
  }
  let seq = 0;
  for (const { cursor, row } of reader.journalBatches()) {
    while (cursor.next()) {
      seq++;
      checkEvent(reader, { event: cursor.event(), seq });
    }
    assert(reader.piece(row, 0).bytes.length > 0, "the row of a batch must be readable");
  }
  for (const version of reader.versions(PATH)) {
    assert(version.seq % FLUSH_EVENTS === 0, "a version must name the last event of a flush");
  }
  for (const { pid } of reader.processes()) assert(pid === 7, "the process must be 7");
  const content = reader.content(sha256Hex(CONTENT));
  assert(content === undefined || sameBytes(content, CONTENT), "the content must be whole");
  return seq;
}

function checkEvent(reader: TraceReader, at: { event: TraceEvent; seq: number }): void {
  const { event, seq } = at;
  const expected = contentOf(seq);
  const extent = event.extents?.[0];
  const found = extent === undefined ? event.inline : reader.slice(extent);
  assert(event.seq === seq && event.op === Op.WRITE, "an event must be the write with its seq");
  assert(event.tNs === seq * NS_PER_EVENT, "an event must have its time");
  assert(event.offset === seq * SMALL_BYTES, "an event must have its offset");
  assert(found !== undefined && sameBytes(found, expected), "an event must have its content");
}

function base(seq: number) {
  const ids = { flags: 0, pid: 7, tid: 7, node: 1, comm: "make" } as const;
  return { ...ids, seq, op: Op.WRITE, tNs: seq * NS_PER_EVENT };
}

function lengthOf(seq: number): number {
  return seq % LARGE_EACH === 0 ? LARGE_BYTES : SMALL_BYTES;
}

function contentOf(seq: number): Uint8Array {
  return new Uint8Array(lengthOf(seq)).fill(seq % 251);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
