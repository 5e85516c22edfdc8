/**
 * Walks the event batches of a trace, baseline and journal, and holds them to docs/FORMAT.md: keys agree with their batches,
 * seqs follow each other without a gap, times never decrease, and an ended recording has as many as its end row says.
 * A batch costs one lookup; where reading begins is found by bisecting the times in the keys.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { openBatch } from "../format/batch_value.ts";
import type { EventCursor } from "../format/event_codec.ts";
import { buildKey, journalRange, rangeOf } from "../format/keys.ts";
import { INFO_END, INFO_FOLD, type StoredCounts } from "./schema.ts";
import { keyAfter, type Row, type TraceRows } from "./trace_rows.ts";

/** A journal batch. The cursor stands before its first event. */
export interface JournalBatch {
  row: number;
  /** Time of the first event. */
  tNs: number;
  /** Seq of the first event. */
  seq: number;
  cursor: EventCursor;
  /** Payload is in the row's content, not in the cursor's bytes. */
  isPacked: boolean;
}

/** A baseline batch: the n-th, from 0 on. Its events have no seq. */
export interface BaselineBatch {
  row: number;
  n: number;
  cursor: EventCursor;
  isPacked: boolean;
}

/** A key to read from, and the seq that the batch there must have. */
interface Start {
  from: Uint8Array;
  seq: number;
}

const JOURNAL = rangeOf("journal");

/** See the head of the file. */
export class JournalReader {
  readonly #rows: TraceRows;
  /** Behind the newest batch that was read: following goes on there without a search. */
  #tail: Start = { from: JOURNAL.from, seq: 1 };

  constructor(rows: TraceRows) {
    this.#rows = rows;
  }

  /** The baseline, or the contents saved of it later, in order. @throws {DiffKeeperError} `data_corrupt` */
  *baseline(sort: "baseline" | "saved" = "baseline"): Generator<BaselineBatch> {
    const { to } = rangeOf(sort);
    for (let n = 0;; n++) {
      const row = this.#rows.first({ from: buildKey({ sort, n }), to });
      if (row === undefined) {
        const stored = this.stored(sort);
        if (stored !== undefined && stored !== n) throw this.#missing();
        return;
      }
      if (this.#rows.key(row.key, sort).n !== n) throw this.#missing();
      const { cursor, isPacked } = this.#rows.check(() => openBatch(row.value, row.id));
      if (cursor.firstSeq !== 0) throw this.#rows.corrupt("a baseline batch has a seq");
      yield { row: row.id, n, cursor, isPacked };
    }
  }

  /** The last event that was folded into the baseline, and its time; both 0: none was. @throws `data_corrupt` */
  folded(): { seq: number; tNs: number } {
    const fold = this.#rows.info(INFO_FOLD);
    if (fold === undefined) return { seq: 0, tNs: 0 };
    const { seq, tNs } = fold;
    if (isCount(seq) && isCount(tNs)) return { seq, tNs };
    throw this.#rows.corrupt("it does not say where folded history ends");
  }

  /** The journal from `fromSeq` on, or where it begins; see `TraceReader.journalBatches`. */
  *journal(fromSeq: number): Generator<JournalBatch> {
    assert(fromSeq >= 1, "a seq must be 1 or more");
    const first = this.folded().seq + 1;
    let { from, seq } = this.#startOf(Math.max(fromSeq, first), first);
    let previousNs = 0;
    let isRetry = false;
    for (;;) {
      const row = this.#rows.first({ from, to: JOURNAL.to });
      if (row === undefined) {
        const lastSeq = this.stored("lastSeq");
        if (lastSeq === undefined || lastSeq === seq - 1) return;
        // The recording may have ended between the two lookups: then the rest is there now.
        if (isRetry) throw this.#missing();
        isRetry = true;
        continue;
      }
      const batch = this.batch(row);
      if (batch.seq > seq && this.folded().seq >= seq) throw foldedMeanwhile();
      if (batch.seq !== seq || batch.tNs < previousNs) throw this.#missing();
      seq += batch.cursor.count;
      previousNs = batch.cursor.lastNs;
      from = keyAfter(row.key);
      if (seq > this.#tail.seq) this.#tail = { from, seq };
      if (seq <= fromSeq) continue;
      this.#rows.check(() => batch.cursor.skipTo(fromSeq));
      yield batch;
    }
  }

  /** The first event of the last batch that begins at or before a time; 1: there is none. @throws `data_corrupt` */
  firstSeqAt(tNs: number): number {
    if (tNs < 0) return 1;
    const key = this.#rows.lastKey({
      from: JOURNAL.from,
      to: journalRange(Math.floor(tNs) + 1).from,
    });
    return key === undefined ? 1 : this.#rows.key(key, "journal").seq;
  }

  /** The last batch of the journal; undefined: it has none. @throws {DiffKeeperError} `data_corrupt`: it is another. */
  lastStored(): JournalBatch | undefined {
    // The count first: a recording that ends in between has written all its events by then.
    const lastSeq = this.stored("lastSeq");
    const row = this.#rows.last(JOURNAL);
    const batch = row === undefined ? undefined : this.batch(row);
    const seq = batch === undefined ? this.folded().seq : batch.seq + batch.cursor.count - 1;
    if (lastSeq !== undefined && lastSeq !== seq) throw this.#missing();
    return batch;
  }

  /** The batch in a row, its key checked against its header. @throws {DiffKeeperError} `data_corrupt` */
  batch(row: Row): JournalBatch {
    const { tNs, seq } = this.#rows.key(row.key, "journal");
    const { cursor, isPacked } = this.#rows.check(() => openBatch(row.value, row.id));
    if (cursor.firstSeq !== seq || cursor.firstNs !== tNs || cursor.count === 0) {
      throw this.#rows.corrupt("a batch does not agree with its key");
    }
    return { row: row.id, tNs, seq, cursor, isPacked };
  }

  /** Where to begin so that `fromSeq` is in the first batch, or behind all that are there. */
  #startOf(fromSeq: number, first: number): Start {
    if (fromSeq === this.#tail.seq) return this.#tail;
    const lastKey = this.#rows.lastKey(JOURNAL);
    if (fromSeq === first || lastKey === undefined) return { from: JOURNAL.from, seq: first };
    // The smallest time whose first batch begins behind fromSeq; times and seqs both only grow.
    let low = 0;
    let high = this.#rows.key(lastKey, "journal").tNs + 1;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      const found = this.#rows.firstKey(journalRange(middle));
      const key = found === undefined ? undefined : this.#rows.key(found, "journal");
      if (key === undefined || key.seq > fromSeq) high = middle;
      // Not below the middle, whatever the key says: the search must end on a damaged trace too.
      else low = Math.max(key.tNs, middle) + 1;
    }
    // Several batches may share a time, so the one before may still be behind fromSeq.
    let to = journalRange(low).from;
    for (;;) {
      const before = this.#rows.lastKey({ from: JOURNAL.from, to });
      if (before === undefined) return { from: JOURNAL.from, seq: first };
      const { seq } = this.#rows.key(before, "journal");
      if (seq <= fromSeq) return { from: before, seq };
      to = before;
    }
  }

  /** A count of the end row; undefined while there is none. */
  stored(name: keyof StoredCounts): number | undefined {
    const end = this.#rows.info(INFO_END);
    if (end === undefined) return undefined;
    const stored = end["stored"];
    const value = typeof stored === "object" && stored !== null && !Array.isArray(stored)
      ? stored[name]
      : undefined;
    if (typeof value === "number") return value;
    // a recording without a lazy baseline has no such rows, and does not speak of them
    if (name === "saved" && value === undefined) return 0;
    throw this.#rows.corrupt("its end row does not say how many rows there are");
  }

  #missing(): Error {
    return this.#rows.corrupt("a batch of events is missing or out of order");
  }
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function foldedMeanwhile(): DiffKeeperError {
  return new DiffKeeperError("out_of_range", "cannot go on: this history was dropped meanwhile", {
    hint: "the recording keeps only its last part; look again",
  });
}
