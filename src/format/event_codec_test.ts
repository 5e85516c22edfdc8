import { expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import { EVENT_BYTES_MAX } from "../base/limits.ts";
import { EventBatchEncoder, EventCursor, WriteHead } from "./event_codec.ts";
import { randomEvent, randomWrite, SeededRandom } from "./testing_events.ts";
import { Op, type TraceEvent } from "./trace_event.ts";

const SEED = Number(process.env["DIFFKEEPER_SEED"] ?? 20261121);
const EVENT: TraceEvent = {
  seq: 1,
  op: Op.NOTE,
  flags: 0,
  tNs: 0,
  pid: 1,
  tid: 1,
  comm: "sh",
  node: 0,
};

function events(cursor: EventCursor): TraceEvent[] {
  const found: TraceEvent[] = [];
  while (cursor.next()) found.push(cursor.event());
  return found;
}

test("random events come back as they were", () => {
  const random = new SeededRandom(SEED);
  const encoder = new EventBatchEncoder();
  const head = new WriteHead();
  const sources = [random.bytes(5_000), random.bytes(5_001).subarray(1)] as const;
  for (let batch = 0; batch < 60; batch++) {
    encoder.reset();
    const firstSeq = 1 + random.below(1e6);
    const expected: TraceEvent[] = [];
    const offsets: number[] = [];
    let tNs = random.below(1e9) * 1_000;
    for (let index = 0; index < 80; index++) {
      const at = { seq: firstSeq + index, tNs };
      if (random.chance(2)) {
        const source = random.pick(sources);
        expected.push(randomWrite(random, { head, source, ...at }));
        offsets.push(encoder.appendWrite(head));
      } else {
        const event = randomEvent(random, at);
        expected.push(event);
        offsets.push(encoder.append(event));
      }
      tNs += random.below(3) * random.below(1e9);
    }
    const size = encoder.bytes;
    const value = encoder.finish(firstSeq);
    expect(value.length, `seed ${SEED}`).toBe(size);
    const cursor = new EventCursor(value);
    expect(events(cursor), `seed ${SEED}`).toEqual(expected);
    cursor.rewind();
    expect(cursor.next()).toBe(true);
    const pick = random.below(expected.length);
    cursor.seek(offsets[pick] ?? 0, firstSeq + pick);
    expect(cursor.event(), `seed ${SEED}`).toEqual(expected[pick] ?? EVENT);
    expect(cursor.eventOffset).toBe(offsets[pick] ?? 0);
  }
});

test("an empty batch and a batch at an odd address can be read", () => {
  const encoder = new EventBatchEncoder();
  const empty = new EventCursor(encoder.finish(0));
  expect([empty.count, empty.next(), empty.next()]).toEqual([0, false, false]);
  encoder.reset();
  encoder.append(EVENT);
  const value = encoder.finish(1);
  const moved = new Uint8Array(value.length + 3);
  moved.set(value, 3);
  expect(events(new EventCursor(moved.subarray(3)))).toEqual([EVENT]);
});

test("getters give what event() gives, and pointers name the payload", () => {
  const encoder = new EventBatchEncoder();
  const inline = new Uint8Array([1, 2, 3]);
  encoder.append({ ...EVENT, op: Op.WRITE, offset: 2 ** 40, length: 3, inline, tNs: 5 });
  const extent = { row: 7, offset: 8, length: 9, at: 2 ** 33 };
  encoder.append({
    ...EVENT,
    op: Op.RENAME,
    parent: 4,
    toParent: 5,
    victim: 6,
    extents: [extent],
    tNs: 5,
  });
  const cursor = new EventCursor(encoder.finish(41));
  expect([cursor.next(), cursor.seq, cursor.offset, cursor.length]).toEqual([true, 41, 2 ** 40, 3]);
  expect(cursor.bytes.subarray(cursor.payloadOffset, cursor.payloadOffset + 3)).toEqual(inline);
  expect([cursor.payload, cursor.extentCount, cursor.hasMtime]).toEqual([inline, 0, false]);
  expect([cursor.next(), cursor.parent, cursor.toParent, cursor.victim]).toEqual([true, 4, 5, 6]);
  expect([cursor.payloadLength, cursor.extent(0)]).toEqual([0, extent]);
  cursor.rewind();
  cursor.skipTo(42);
  expect([cursor.next(), cursor.seq, cursor.next()]).toEqual([true, 42, false]);
});

test("a skip beyond the end gives no event", () => {
  const encoder = new EventBatchEncoder();
  encoder.append(EVENT);
  const cursor = new EventCursor(encoder.finish(1));
  cursor.skipTo(99);
  expect(cursor.next()).toBe(false);
});

test("the layout flags are the encoder's own", () => {
  const encoder = new EventBatchEncoder();
  encoder.append({ ...EVENT, flags: 0xff_ffff });
  const cursor = new EventCursor(encoder.finish(1));
  expect(cursor.next()).toBe(true);
  expect(cursor.event().flags).toBe(0xff_fff9);
});

test("an event above the limit is refused and leaves the batch as it was", () => {
  const encoder = new EventBatchEncoder();
  encoder.append(EVENT);
  const before = encoder.bytes;
  const tooLarge = { ...EVENT, xattrValue: new Uint8Array(EVENT_BYTES_MAX) };
  expect(() => encoder.append(tooLarge)).toThrow(DiffKeeperError);
  expect(() => encoder.append({ ...EVENT, name: "\u0100" })).toThrow("binary string");
  expect([encoder.bytes, encoder.count]).toEqual([before, 1]);
  expect(events(new EventCursor(encoder.finish(1)))).toEqual([EVENT]);
});

test("a batch larger than the buffer it starts with grows", () => {
  const encoder = new EventBatchEncoder();
  const head = new WriteHead();
  head.source = new Uint8Array(600_000).fill(5);
  head.payload = head.length = head.source.length;
  for (let index = 0; index < 5; index++) encoder.appendWrite(head);
  const cursor = new EventCursor(encoder.finish(1));
  let count = 0;
  while (cursor.next()) {
    expect(Bun.hash.xxHash3(cursor.payload)).toBe(Bun.hash.xxHash3(head.source));
    count++;
  }
  expect(count).toBe(5);
});

test("a batch with more task names than the table starts with", () => {
  const encoder = new EventBatchEncoder();
  const names = Array.from({ length: 2_000 }, (_, index) => `task-${index % 1_500}`);
  for (const comm of names) encoder.append({ ...EVENT, comm });
  const cursor = new EventCursor(encoder.finish(1));
  for (const name of names) expect([cursor.next(), cursor.comm]).toEqual([true, name]);
});

test("our own mistakes are defects", () => {
  const encoder = new EventBatchEncoder();
  encoder.append({ ...EVENT, tNs: 10 });
  expect(() => encoder.append({ ...EVENT, tNs: 9 })).toThrow("never decrease");
  const inline = new Uint8Array(1);
  expect(() => encoder.append({ ...EVENT, tNs: 11, inline, extents: [] })).toThrow("both");
  encoder.finish(1);
  expect(() => encoder.finish(1)).toThrow("only once");
  expect(() => encoder.appendWrite(new WriteHead())).toThrow(DiffKeeperError);
});
