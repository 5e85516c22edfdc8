/**
 * Nanoseconds per event of the codec: the fast path of writes, the general path, walking a batch, full decoding.
 * Run: bun bench/event_codec.ts. Goal: appendWrite of 32 bytes well below 300 ns.
 */
import { JOURNAL_BATCH_BYTES_MAX } from "../src/base/limits.ts";
import { EventBatchEncoder, EventCursor, WriteHead } from "../src/format/event_codec.ts";
import { Op, type TraceEvent } from "../src/format/trace_event.ts";

const EVENTS = 2_000_000;
const ROUNDS = 5;
const RING_BYTES = 1 << 24;
const ring = new Uint8Array(RING_BYTES).fill(0x61);

/** Best of several rounds, in ns per event. */
function measure(name: string, events: number, run: () => void): void {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const start = Bun.nanoseconds();
    run();
    best = Math.min(best, (Bun.nanoseconds() - start) / events);
  }
  console.log(`${name.padEnd(36)} ${best.toFixed(1).padStart(8)} ns/event`);
}

function appendWrites(encoder: EventBatchEncoder, head: WriteHead, events: number): number {
  const step = 128 + ((head.payload + 7) & ~7);
  let bytes = 0;
  let at = 128;
  encoder.reset();
  for (let seq = 1; seq <= events; seq++) {
    at = at + step > RING_BYTES ? 128 : at + step;
    head.tNs = 1e12 + seq * 500;
    head.offset = seq * head.payload;
    head.start = at;
    if (at + head.payload > RING_BYTES) head.start = 128;
    encoder.appendWrite(head);
    if (encoder.bytes >= JOURNAL_BATCH_BYTES_MAX) {
      bytes += encoder.finish(seq - encoder.count + 1).length;
      encoder.reset();
    }
  }
  return bytes;
}

function writeHead(payload: number): WriteHead {
  const head = new WriteHead();
  head.pid = head.tid = 4711;
  head.node = 12;
  head.comm0 = 0x68_74_79_70;
  head.comm1 = 0x33_6e_6f;
  head.source = ring;
  head.payload = head.length = payload;
  head.mtimeSec = 1_700_000_000;
  head.mtimeNsec = 5;
  return head;
}

const encoder = new EventBatchEncoder();
for (const payload of [0, 15, 32, 128, 512, 4096]) {
  const head = writeHead(payload);
  const events = payload > 1000 ? EVENTS / 10 : EVENTS;
  measure(`appendWrite, ${payload} bytes`, events, () => appendWrites(encoder, head, events));
}

const create: TraceEvent = {
  seq: 0,
  op: Op.CREATE,
  flags: 0,
  tNs: 5,
  pid: 7,
  tid: 7,
  comm: "python3",
  node: 9,
  mtime: { sec: 1_700_000_000, nsec: 7 },
  parent: 3,
  name: "status.log",
  attr: { mode: 0o100644, uid: 0, gid: 0, rdev: 0, nlink: 1, dev: 7, gen: 3, ino: 77, size: 0 },
  dirTimes: [{ node: 3, mtime: { sec: 1_700_000_000, nsec: 7 } }],
};
measure("append, CREATE", EVENTS / 10, () => {
  encoder.reset();
  for (let seq = 0; seq < EVENTS / 10; seq++) {
    encoder.append(create);
    if (encoder.bytes >= JOURNAL_BATCH_BYTES_MAX) {
      encoder.finish(1);
      encoder.reset();
    }
  }
});

encoder.reset();
const head = writeHead(32);
while (encoder.bytes < JOURNAL_BATCH_BYTES_MAX) encoder.appendWrite(head);
const value = encoder.finish(1).slice();
const inBatch = new EventCursor(value).count;
measure("EventCursor, open a batch", 1, () => new EventCursor(value));
const WALKS = 50;
measure("EventCursor, next + 4 getters", inBatch * WALKS, () => {
  let sum = 0;
  for (let walk = 0; walk < WALKS; walk++) {
    const cursor = new EventCursor(value);
    while (cursor.next()) sum += cursor.node + cursor.offset + cursor.length + cursor.payloadOffset;
  }
  if (sum < 0) throw new Error("impossible");
});
measure("EventCursor, event()", inBatch * WALKS, () => {
  let sum = 0;
  for (let walk = 0; walk < WALKS; walk++) {
    const cursor = new EventCursor(value);
    while (cursor.next()) sum += cursor.event().node;
  }
  if (sum < 0) throw new Error("impossible");
});
