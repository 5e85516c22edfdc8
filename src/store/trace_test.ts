import { expect, test } from "bun:test";
import { join } from "node:path";
import { EventBatchEncoder } from "../format/event_codec.ts";
import { sha256Hex } from "../format/keys.ts";
import { Op } from "../format/trace_event.ts";
import { encodeVersions, type Version } from "../format/versions_codec.ts";
import { cleanUpAfterEach, newFolder } from "./testing_folder.ts";
import { TraceReader } from "./trace_reader.ts";
import { TraceWriter } from "./trace_writer.ts";

cleanUpAfterEach();

const CONTENT = new TextEncoder().encode("hello");
const SHA = sha256Hex(CONTENT);
const BASE = { flags: 0, pid: 7, tid: 7, comm: "sh", seq: 0, node: 1 } as const;

/** Two writes, one with its payload in a data row, one inline; versions of two paths, one the beginning of the other. */
function putAll(writer: TraceWriter): Version {
  const encoder = new EventBatchEncoder();
  const batchRow = writer.reserveRow();
  const dataRow = writer.reserveRow();
  const extents = [{ row: dataRow, offset: 2, length: 3, at: 0 }];
  const inline = new Uint8Array([9, 8, 7]);
  encoder.append({ ...BASE, op: Op.WRITE, tNs: 5, offset: 0, length: 3, extents });
  const at = encoder.append({ ...BASE, op: Op.WRITE, tNs: 6, offset: 3, length: 3, inline });
  const version = { seq: 2, tNs: 6, row: batchRow, offset: at, op: Op.WRITE, flags: 0, size: 6 };
  writer.begin();
  writer.putRecording({ command: "x" });
  writer.putInfo("note", { text: "h\u00e9" });
  writer.putData([new Uint8Array([1, 2]), new Uint8Array([3, 4, 5])], dataRow);
  writer.putBatch({ row: batchRow, tNs: encoder.firstNs, seq: 1, value: encoder.finish(1) });
  writer.putVersions({ path: "/w/a", tNs: 5 }, encodeVersions([version]));
  writer.putVersions({ path: "/w/a:b", tNs: 5 }, encodeVersions([version]));
  writer.putProcess({ startNs: 1, pid: 7 }, { argv: ["sh"] });
  writer.putProcess({ startNs: 1, pid: 7 }, { argv: ["sh"], exit: 0 });
  const contentRow = writer.putContent(SHA, CONTENT);
  expect(writer.putContent(SHA, CONTENT)).toBe(contentRow);
  writer.commit();
  return version;
}

function check(reader: TraceReader, version: Version): void {
  const batch = [...reader.journalBatches()][0];
  if (batch === undefined) throw new Error("no batch");
  const { cursor, row } = batch;
  expect(cursor.next()).toBe(true);
  expect([...reader.slice(cursor.extent(0))]).toEqual([3, 4, 5]);
  cursor.seek(version.offset, version.seq);
  const { payloadOffset: offset, payloadLength: length } = cursor;
  expect([...reader.slice({ row, offset, length })]).toEqual([9, 8, 7]);
  expect(() => reader.slice({ row, offset, length: 1_000 })).toThrow("behind the end");
  expect(() => reader.piece(12_345, 0)).toThrow("is missing");
  expect(reader.versions("/w/a")).toEqual([version]);
  expect(reader.versions("/w")).toEqual([]);
  expect(reader.processes()).toEqual([{ startNs: 1, pid: 7, info: { argv: ["sh"], exit: 0 } }]);
  expect(reader.content(SHA)).toEqual(CONTENT);
  expect(reader.content(sha256Hex(new Uint8Array(1)))).toBeUndefined();
  expect(reader.extraInfo("note")).toEqual({ text: "h\u00e9" });
  expect(reader.lastEvent()).toEqual({ seq: 2, tNs: 6 });
}

test("a trace gives back what was put, while it is recorded and afterwards", () => {
  const dir = join(newFolder(), "a b?c#d%e \u00fc");
  const writer = TraceWriter.create(dir);
  const version = putAll(writer);
  const live = TraceReader.open(dir);
  expect([live.mode, live.info().state]).toEqual(["shared", "recording"]);
  check(live, version);
  live.close();
  writer.finish({ code: 0 });
  const reader = TraceReader.open(dir);
  expect([reader.mode, reader.info().state]).toEqual(["immutable", "ended"]);
  expect(reader.info().end?.["code"]).toBe(0);
  check(reader, version);
  reader.close();
});

test("versions of one path that begin at the same time stand together", () => {
  const dir = newFolder();
  const writer = TraceWriter.create(dir);
  const versions = [1, 2, 3].map((seq) => (
    { seq, tNs: 9, row: 1, offset: 40, op: Op.WRITE, flags: 0, size: seq }
  ));
  writer.begin();
  writer.putRecording({});
  const rows = versions.map((version) =>
    writer.putVersions({ path: "/w/a", tNs: 9 }, encodeVersions([version]))
  );
  writer.commit();
  expect(new Set(rows).size).toBe(1);
  writer.finish({});
  const reader = TraceReader.open(dir);
  expect(reader.versions("/w/a")).toEqual(versions);
  expect([...reader.journalBatches()]).toEqual([]);
  reader.close();
});
