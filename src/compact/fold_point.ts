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
  const bytesOf = new BytesOnce(store);
  let { to } = range;
  let sum = 0;
  for (;;) {
    const row = store.rows.last({ from: range.from, to });
    if (row === undefined) return 0;
    const { tNs, seq } = store.rows.key(row.key, "journal");
    to = buildKey({ sort: "journal", tNs, seq });
    sum += bytesOf.row(row.id);
    const { cursor } = openBatch(row.value, row.id);
    while (cursor.next()) {
      for (let index = 0; index < cursor.extentCount; index++) {
        sum += bytesOf.row(cursor.extent(index).row);
      }
    }
    if (sum > bytes) return seq + cursor.count - 1;
  }
}

/** What rows take, each counted once. */
class BytesOnce {
  readonly #store: CompactStore;
  readonly #seen = new Set<number>();

  constructor(store: CompactStore) {
    this.#store = store;
  }

  /** A row, with the rows that its blobs only name. */
  row(id: number): number {
    if (this.#seen.has(id)) return 0;
    let sum = this.#alone(id);
    for (const { row = 0 } of this.#store.content.packed(id)?.blobs ?? []) {
      if (row !== 0) sum += this.#alone(row);
    }
    return sum;
  }

  #alone(id: number): number {
    if (this.#seen.has(id)) return 0;
    this.#seen.add(id);
    return this.#store.sizeOf(id);
  }
}
