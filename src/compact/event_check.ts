/**
 * Compares packed events with those they were made from, word by word, before the originals are given up. Allocates nothing per
 * event.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import { EventBatch } from "../format/event_batch.ts";
import {
  BATCH_HEADER_BYTES,
  EVENT_FIXED_BYTES,
  EXTENT_BYTES,
  padded,
  WORD,
} from "../format/event_layout.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import { EventFlag } from "../format/trace_event.ts";

/** Words of the fixed part that are the same in both, from the time to the mtime, except the comm. */
const SAME: readonly number[] = [
  WORD.T,
  WORD.T + 1,
  WORD.PID,
  WORD.TID,
  WORD.NODE,
  WORD.OFFSET,
  WORD.OFFSET + 1,
  WORD.LENGTH,
  WORD.LENGTH + 1,
  WORD.MTIME_SEC,
  WORD.MTIME_SEC + 1,
  WORD.MTIME_NSEC,
];

/** Payload up to here is compared byte by byte, which needs no view object. */
const LOOP_COMPARE_BYTES = 128;

/** Where the comparison stands in the unpacked batch. */
interface Place {
  batch: EventBatch;
  at: number;
  /** Task names that were compared last: index in each comm table, and the original batch. */
  comm: number;
  commAfter: number;
  original: EventBatch | undefined;
}

/**
 * @param originals the batches of the rows that were packed.
 * @param unpacked the value that the packed row gives.
 * @param content of the packed row.
 */
export function checkPacked(
  originals: readonly EventBatch[],
  unpacked: Uint8Array,
  content: Uint8Array,
): void {
  const place: Place = {
    batch: new EventBatch(unpacked),
    at: BATCH_HEADER_BYTES,
    comm: -1,
    commAfter: -1,
    original: undefined,
  };
  let events = 0;
  for (const batch of originals) {
    let at = BATCH_HEADER_BYTES;
    for (let index = 0; index < batch.count; index++) {
      const size = batch.u32((at >>> 2) + WORD.SIZE);
      compare(batch, { at, size }, place, content);
      at += size;
    }
    events += batch.count;
  }
  assert(events === place.batch.count, "as many events must come back");
  assert(place.at === place.batch.end, "nothing may come back beside the events");
}

function compare(
  batch: EventBatch,
  event: { at: number; size: number },
  place: Place,
  content: Uint8Array,
): void {
  const a = event.at >>> 2;
  const b = place.at >>> 2;
  const before = batch.words;
  const after = place.batch.words;
  for (const word of SAME) {
    if (before[a + word] !== after[b + word]) assert(false, "a field of an event must come back");
  }
  const comm = before[a + WORD.COMM] ?? 0;
  const commAfter = after[b + WORD.COMM] ?? 0;
  // nearly always that of the event before
  if (comm !== place.comm || commAfter !== place.commAfter || batch !== place.original) {
    assert(batch.comm(comm) === place.batch.comm(commAfter), "a task name must come back");
    place.comm = comm;
    place.commAfter = commAfter;
    place.original = batch;
  }
  const opFlags = before[a + WORD.OP_FLAGS] ?? 0;
  const payload = before[a + WORD.PAYLOAD] ?? 0;
  const isInline = ((opFlags >>> 8) & EventFlag.EXTENTS) === 0 && payload > 0;
  const flags = isInline ? opFlags | (EventFlag.EXTENTS << 8) : opFlags;
  assert(after[b + WORD.OP_FLAGS] === flags >>> 0, "op and flags must come back");
  const size = after[b + WORD.SIZE] ?? 0;
  const bodyA = event.at + EVENT_FIXED_BYTES;
  const bodyB = place.at + EVENT_FIXED_BYTES;
  if (!isInline) {
    assert(size === event.size && after[b + WORD.PAYLOAD] === payload, "a size must come back");
    same(batch.bytes, bodyA, place.batch.bytes, { start: bodyB, end: place.at + size });
  } else {
    const start = (after[(bodyB >>> 2) + 1] ?? 0) - PACKED_POINTER;
    assert(after[(bodyB >>> 2) + 2] === payload, "a length of payload must come back");
    if (payload > LOOP_COMPARE_BYTES) {
      const before = batch.bytes.subarray(bodyA, bodyA + payload);
      const other = content.subarray(start, start + payload);
      assert(Buffer.compare(before, other) === 0, "payload must come back");
    } else {
      for (let i = 0; i < payload; i++) {
        if (batch.bytes[bodyA + i] !== content[start + i]) assert(false, "payload must come back");
      }
    }
    const tailA = bodyA + padded(payload);
    const tailB = bodyB + EXTENT_BYTES;
    const end = place.at + size;
    assert(event.at + event.size - tailA === end - tailB, "a size must come back");
    if (tailB < end) same(batch.bytes, tailA, place.batch.bytes, { start: tailB, end });
  }
  place.at += size;
}

function same(
  bytes: Uint8Array,
  from: number,
  other: Uint8Array,
  range: { start: number; end: number },
): void {
  for (let at = range.start; at < range.end; at++) {
    const before = bytes[from + at - range.start];
    if (before !== other[at]) assert(false, "bytes of an event must come back");
  }
}
