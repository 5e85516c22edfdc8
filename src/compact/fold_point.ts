/** Where a history is to be folded: so that its last part stays, by time or by the bytes that it takes. */
import { openBatch } from "../format/batch_value.ts";
import { buildKey, rangeOf } from "../format/keys.ts";
import type { Trace } from "../history/trace.ts";
import type { CompactStore } from "../store/compact_store.ts";

/** The last event at or before a time; 0: there is none. */
export function eventAt(trace: Trace, tNs: number): number {
  let seq = 0;
  for (const batch of trace.reader.journalBatches(trace.reader.firstSeqAt(tNs))) {
    if (batch.tNs > tNs) break;
    const { cursor } = batch;
    while (cursor.next() && cursor.tNs <= tNs) seq = cursor.seq;
  }
  return seq;
}

/**
 * The last event that must go so that rows of events, with the payload that they alone have, take no more than `bytes`. Goes by
 * whole rows. @returns 0: none has to.
 */
export function eventBeyond(store: CompactStore, bytes: number): number {
  const range = rangeOf("journal");
  const seen = new Set<number>();
  let { to } = range;
  let sum = 0;
  for (;;) {
    const row = store.rows.last({ from: range.from, to });
    if (row === undefined) return 0;
    const { tNs, seq } = store.rows.key(row.key, "journal");
    to = buildKey({ sort: "journal", tNs, seq });
    sum += row.value.length + linkedBytes(store, row.id, seen);
    const { cursor } = openBatch(row.value, row.id);
    while (cursor.next()) {
      for (let index = 0; index < cursor.extentCount; index++) {
        const id = cursor.extent(index).row;
        if (id === row.id || seen.has(id)) continue;
        seen.add(id);
        sum += store.sizeOf(id) + linkedBytes(store, id, seen);
      }
    }
    if (sum > bytes) return seq + cursor.count - 1;
  }
}

/** Bytes of rows that the blobs of a packed row only name, each counted once. */
function linkedBytes(store: CompactStore, row: number, seen: Set<number>): number {
  let sum = 0;
  for (const { row: id = 0 } of store.content.packed(row)?.blobs ?? []) {
    if (id === 0 || seen.has(id)) continue;
    seen.add(id);
    sum += store.sizeOf(id);
  }
  return sum;
}
