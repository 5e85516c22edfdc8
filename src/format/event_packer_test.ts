import { expect, test } from "bun:test";
import { EventCursor } from "./event_cursor.ts";
import { EventBatchEncoder } from "./event_encoder.ts";
import { EventPacker } from "./event_packer.ts";
import { unpackEvents } from "./event_unpacker.ts";
import { PACKED_POINTER } from "./packed_layout.ts";
import { randomEvent, SeededRandom } from "./testing_events.ts";
import { EventFlag, type TraceEvent } from "./trace_event.ts";

const ROW = 77;

function batchesOf(
  random: SeededRandom,
  firstSeq: number,
): { values: Uint8Array[]; count: number } {
  const values: Uint8Array[] = [];
  let [seq, tNs] = [firstSeq, random.below(1000)];
  for (let batch = random.below(4); batch >= 0; batch--) {
    const encoder = new EventBatchEncoder();
    for (let i = random.below(40); i >= 0; i--) {
      tNs += random.chance(10) ? random.below(2 ** 31) * 5 : random.below(2000);
      encoder.append(randomEvent(random, { seq: 0, tNs }));
    }
    values.push(encoder.finish(seq).slice());
    seq += encoder.count;
  }
  return { values, count: seq - firstSeq };
}

function eventsOf(value: Uint8Array): TraceEvent[] {
  const cursor = new EventCursor(value);
  const events: TraceEvent[] = [];
  while (cursor.next()) events.push(cursor.event());
  return events;
}

/** The event as it was, its payload taken from the row's content. */
function withInline(event: TraceEvent, content: Uint8Array): TraceEvent {
  const [extent, ...more] = event.extents ?? [];
  if (extent === undefined || extent.row !== ROW || extent.offset < PACKED_POINTER) return event;
  expect(more).toEqual([]);
  const start = extent.offset - PACKED_POINTER;
  const { extents: _, ...rest } = event;
  return { ...rest, inline: content.slice(start, start + extent.length) };
}

test("packed batches give the same events and payload", () => {
  const packer = new EventPacker();
  for (let seed = 1; seed <= 300; seed++) {
    const random = new SeededRandom(seed);
    const { values, count } = batchesOf(random, 1 + random.below(1e6));
    packer.reset();
    for (const value of values) packer.add(value);
    expect(packer.count).toBe(count);
    const starts: number[] = [];
    let bytes = 0;
    // any order of the streams must do
    for (let i = packer.streams.length - 1; i >= 0; i--) {
      starts[i] = bytes;
      bytes += packer.streams[i]?.bytes ?? 0;
    }
    expect(bytes).toBe(packer.payloadBytes);
    const content = new Uint8Array(bytes);
    packer.place(content, starts);
    const unpacked = eventsOf(unpackEvents(packer.pack().slice(), ROW));
    const wanted = values.flatMap(eventsOf);
    const found = unpacked.map((event) => withInline(event, content));
    if (!Bun.deepEquals(found, wanted)) expect({ seed, found }).toEqual({ seed, found: wanted });
  }
});

test("damaged columns are refused, not misread", () => {
  const random = new SeededRandom(5);
  const packer = new EventPacker();
  for (const value of batchesOf(random, 1).values) packer.add(value);
  packer.place(new Uint8Array(packer.payloadBytes), startsOf(packer));
  const packed = packer.pack().slice();
  for (let round = 0; round < 3000; round++) {
    const damaged = packed.slice(0, random.chance(4) ? random.below(packed.length) : undefined);
    if (damaged.length > 0) damaged[random.below(damaged.length)] = random.below(256);
    try {
      eventsOf(unpackEvents(damaged, ROW));
    } catch (thrown) {
      expect(thrown).toHaveProperty("code", "data_corrupt");
    }
  }
});

function startsOf(packer: EventPacker): number[] {
  let at = 0;
  return packer.streams.map(({ bytes }) => (at += bytes) - bytes);
}

test("a batch with what columns cannot hold is refused whole", () => {
  const encoder = new EventBatchEncoder();
  encoder.append({
    seq: 0,
    op: 2,
    flags: EventFlag.OUTSIDE,
    tNs: 5,
    pid: 1,
    tid: 1,
    comm: "sh",
    node: 1,
    offset: 0,
    length: 3,
    inline: Uint8Array.of(1, 2, 3),
  });
  const value = encoder.finish(1).slice();
  value[32 + 40 + 64 + 5] = 9;
  const payload = value.subarray(32);
  new DataView(value.buffer).setBigUint64(16, Bun.hash.xxHash3(payload), true);
  expect(() => new EventPacker().add(value)).toThrow("cannot pack a batch");
});
