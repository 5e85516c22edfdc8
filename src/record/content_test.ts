import { afterEach, beforeEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pinned } from "../../ffi/libc.ts";
import { CONTENT_CHUNK_BYTES_MAX } from "../base/limits.ts";
import { EventFlag } from "../format/trace_event.ts";
import { CONTENT_PIECES_MAX, CONTENT_READS_MAX, ContentReader } from "./content.ts";
import { InodeStat } from "./inode_stat.ts";

let dir = "";
let path = "";

beforeEach(() => {
  dir = fs.mkdtempSync(join(tmpdir(), "diffkeeper-content-"));
  path = join(dir, "f");
});

// a file of 60,000 pieces takes seconds to remove on a busy disk
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }), 60_000);

/** Reads `path` with a sink that keeps the chunks and calls `onTake` with their number so far. */
function read(onTake: (takes: number) => void = () => {}) {
  const room = pinned(CONTENT_CHUNK_BYTES_MAX);
  const chunks: Uint8Array[] = [];
  const reader = new ContentReader({
    room,
    take(length) {
      const row = chunks.push(room.bytes.slice(0, length));
      onTake(row);
      return row;
    },
  });
  const fd = fs.openSync(path, "r");
  const stat = new InodeStat();
  expect(stat.readFd(fd)).toBe(0);
  const content = reader.read(fd, stat);
  fs.closeSync(fd);
  return { content, chunks, size: stat.size };
}

test("a file that changes once while it is read is read again", () => {
  fs.writeFileSync(path, "before");
  const { content, chunks, size } = read((takes) => {
    if (takes === 1) fs.writeFileSync(path, "after it");
  });
  expect(content.flags).toBe(0);
  expect(size).toBe(8);
  expect(Buffer.from(chunks[(content.extents[0]?.row ?? 0) - 1] ?? []).toString()).toBe("after it");
});

test("a file that changes at every reading is taken as it is, and marked", () => {
  fs.writeFileSync(path, "");
  fs.appendFileSync(path, "x");
  const { content, chunks } = read(() => fs.appendFileSync(path, "x"));
  expect(chunks.length).toBe(CONTENT_READS_MAX);
  expect(content.flags).toBe(EventFlag.SETTLED);
  expect(content.extents.length).toBe(1);
});

test("a file that is cut while it is read", () => {
  fs.writeFileSync(path, Buffer.alloc(3 * CONTENT_CHUNK_BYTES_MAX, 1));
  const { content, size } = read((takes) => {
    if (takes === 1) fs.truncateSync(path, 10);
  });
  expect(size).toBe(10);
  expect(content.extents.map((one) => one.length)).toEqual([10]);
});

test("an error while reading: no content, and the error number", () => {
  fs.mkdirSync(path);
  const { content } = read();
  expect(content).toEqual({ extents: [], flags: EventFlag.UNREAD, code: 21 });
});

test("a file in more pieces than are kept apart", () => {
  const fd = fs.openSync(path, "w");
  const page = Buffer.alloc(4096, 7);
  const pieces = CONTENT_PIECES_MAX + 1000;
  for (let i = 0; i < pieces; i++) fs.writeSync(fd, page, 0, page.length, i * 8192);
  fs.ftruncateSync(fd, pieces * 8192);
  fs.closeSync(fd);
  const { content, size } = read();
  expect(size).toBe(pieces * 8192);
  expect(content.extents.length).toBeGreaterThan(1);
  expect(content.extents.length).toBeLessThan(CONTENT_PIECES_MAX + 1000);
  const last = content.extents.at(-1);
  expect((last?.at ?? 0) + (last?.length ?? 0)).toBeGreaterThanOrEqual(size - 4096);
}, 60_000);
