/**
 * Compares packed events with those they were made from, word by word, before the originals are given up. Allocates nothing per
 * event.
 */
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

/** Where the comparison stands in the unpacked batch. */
interface Place {
  batch: EventBatch;
  at: number;
}

/**
 * @param originals the values of the rows that were packed.
 * @param unpacked the value that the packed row gives.
 * @param content of the packed row.
 */
export function checkPacked(
  originals: readonly Uint8Array[],
  unpacked: Uint8Array,
  content: Uint8Array,
): void {
  const place = { batch: new EventBatch(unpacked), at: BATCH_HEADER_BYTES };
  let events = 0;
  for (const value of originals) {
    const batch = new EventBatch(value);
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
  const commA = batch.comm(before[a + WORD.COMM] ?? 0);
  assert(commA === place.batch.comm(after[b + WORD.COMM] ?? 0), "a task name must come back");
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
    same(batch.bytes.subarray(bodyA, event.at + size), place.batch.bytes, bodyB);
  } else {
    const start = (after[(bodyB >>> 2) + 1] ?? 0) - PACKED_POINTER;
    assert(after[(bodyB >>> 2) + 2] === payload, "a length of payload must come back");
    same(batch.bytes.subarray(bodyA, bodyA + payload), content, start);
    const tailA = bodyA + padded(payload);
    const tailB = bodyB + EXTENT_BYTES;
    assert(event.at + event.size - tailA === place.at + size - tailB, "a size must come back");
    same(batch.bytes.subarray(tailA, event.at + event.size), place.batch.bytes, tailB);
  }
  place.at += size;
}

function same(bytes: Uint8Array, other: Uint8Array, start: number): void {
  for (let index = 0; index < bytes.length; index++) {
    if (bytes[index] !== other[start + index]) assert(false, "bytes of an event must come back");
  }
}
