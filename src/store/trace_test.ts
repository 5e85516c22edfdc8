import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventBatchEncoder } from "../format/event_codec.ts";
import { sha256Hex } from "../format/keys.ts";
import { Op } from "../format/trace_event.ts";
import { encodeVersions } from "../format/versions_codec.ts";
import { TraceReader } from "./trace_reader.ts";
import { TraceWriter } from "./trace_writer.ts";

const folders: string[] = [];
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "diffkeeper-store-"));
  folders.push(folder);
  return folder;
}
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

test("a trace gives back what was put", () => {
  const dir = join(newFolder(), "a b?c#d%e");
  const writer = TraceWriter.create(dir);
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  expect(statSync(join(dir, "trace.db")).mode & 0o777).toBe(0o600);
  expect(statSync(join(dir, "trace.db-wal")).mode & 0o777).toBe(0o600);
  const encoder = new EventBatchEncoder();
  const base = { flags: 0, pid: 7, tid: 7, comm: "sh", seq: 0 } as const;
  writer.begin();
  writer.putRecording({ command: "x" });
  encoder.append({ ...base, op: Op.BASELINE, tNs: 0, node: 1, parent: 0, name: "a" });
  writer.putBaseline(0, encoder.finish(0));
  writer.commit();
  encoder.reset();
  const batchRow = writer.reserveRow();
  const dataRow = writer.reserveRow();
  const extents = [{ row: dataRow, offset: 2, length: 3, at: 0 }];
  encoder.append({ ...base, op: Op.WRITE, tNs: 5, node: 1, offset: 0, length: 3, extents });
  const inline = new Uint8Array([9, 8, 7]);
  const at = encoder.append({
    ...base,
    op: Op.WRITE,
    tNs: 6,
    node: 1,
    offset: 3,
    length: 3,
    inline,
  });
  writer.begin();
  writer.putData([new Uint8Array([1, 2]), new Uint8Array([3, 4, 5])], dataRow);
  writer.putBatch({ row: batchRow, tNs: encoder.firstNs, seq: 1, value: encoder.finish(1) });
  const version = { seq: 2, tNs: 6, row: batchRow, offset: at, op: Op.WRITE, flags: 0, size: 6 };
  writer.putVersions({ path: "/w/a", tNs: 5 }, encodeVersions([version]));
  writer.putVersions({ path: "/w/a:b", tNs: 5 }, encodeVersions([version]));
  writer.putProcess({ startNs: 1, pid: 7 }, { argv: ["sh"] });
  writer.putProcess({ startNs: 1, pid: 7 }, { argv: ["sh"], exit: 0 });
  const content = new TextEncoder().encode("hello");
  const sha = sha256Hex(content);
  const contentRow = writer.putContent(sha, content);
  expect(writer.putContent(sha, content)).toBe(contentRow);
  writer.commit();
  writer.syncNow();

  const check = (reader: TraceReader) => {
    const batches = [...reader.journalBatches()];
    expect(batches.length).toBe(1);
    const cursor = batches[0]?.cursor;
    if (cursor === undefined) throw new Error("no batch");
    expect(cursor.next()).toBe(true);
    expect([...reader.slice(cursor.extent(0))]).toEqual([3, 4, 5]);
    cursor.seek(at, 2);
    expect([...reader.row(batchRow).subarray(cursor.payloadOffset, cursor.payloadOffset + 3)])
      .toEqual([9, 8, 7]);
    expect(reader.versions("/w/a")).toEqual([version]);
    expect(reader.processes()).toEqual([{ startNs: 1, pid: 7, info: { argv: ["sh"], exit: 0 } }]);
    expect(reader.content(sha)).toEqual(content);
    expect([...reader.baselineBatches()].length).toBe(1);
    expect(reader.lastEvent()).toEqual({ seq: 2, tNs: 6 });
    expect([...reader.pollNewBatches(2)]).toEqual([]);
    expect([...reader.pollNewBatches(1)][0]?.cursor.next()).toBe(true);
  };
  const live = TraceReader.open(dir);
  expect(live.mode).toBe("shared");
  expect(live.info().state).toBe("recording");
  check(live);
  live.close();
  writer.finish({ code: 0 });
  const reader = TraceReader.open(dir);
  expect(reader.mode).toBe("immutable");
  expect(reader.info().state).toBe("ended");
  check(reader);
  reader.close();
});
