/**
 * Frees what nothing in a trace refers to, and folds its beginning away if a budget asks for that. The trace is one nobody records
 * any more; a kill at any point leaves it as it was or as it should be.
 */
import { statSync } from "node:fs";
import { GC_ROUNDS_MAX } from "../base/limits.ts";
import { Trace } from "../history/trace.ts";
import { CompactStore } from "../store/compact_store.ts";
import { findTraceFile } from "../store/trace_open.ts";
import { EFFORT_FAST, EFFORT_SMALL } from "./blob_maker.ts";
import { compactTrace } from "./compact_trace.ts";
import { settingsOf } from "./compactor.ts";
import { eventAt, eventBeyond } from "./fold_point.ts";
import { foldHistory, type FoldResult } from "./history_fold.ts";

/** What a trace may keep; what is absent is no bound. */
export interface Budget {
  /** Bytes of the file. */
  maxBytes?: number;
  /** Time from its end. */
  keepNs?: number;
}

/** What was freed. */
export interface GcReport {
  /** Bytes of the file with its log, before and after. */
  bytesBefore: number;
  bytesAfter: number;
  rows: number;
  /** Events that were dropped now. */
  events: number;
  /** The earliest moment there is; 0 both: the start. */
  seq: number;
  tNs: number;
}

/** @throws {DiffKeeperError} `in_use`, `not_found`, `not_writable`, `disk_full`, `data_corrupt`, `io` */
export function gcTrace(dir: string, budget: Budget = {}): GcReport {
  const path = findTraceFile(dir);
  const bytesBefore = sizeOf(path);
  const { maxBytes, keepNs } = budget;
  const isSmall = maxBytes !== undefined && bytesBefore <= maxBytes && keepNs === undefined;
  // packed first: less history has to go, and what stays of rows that go lies together in them
  if ((maxBytes !== undefined || keepNs !== undefined) && !isSmall) {
    compactTrace(dir, { settings: settingsOf(EFFORT_FAST, maxBytes) });
  }
  const store = CompactStore.openAlone(dir);
  let result: FoldResult;
  try {
    result = collect(store, budget);
    store.close({ shrink: true, freeMin: 1 });
  } finally {
    store.close();
  }
  const { events, rows, seq, tNs } = result;
  return { bytesBefore, bytesAfter: sizeOf(path), rows, events, seq, tNs };
}

function collect(store: CompactStore, { maxBytes, keepNs }: Budget): FoldResult {
  const seq = keepNs === undefined ? 0 : lastBefore(store, keepNs);
  const result = foldHistory(store, { seq, effort: EFFORT_SMALL });
  if (maxBytes === undefined) return result;
  // what a history takes is known for sure when the rest is gone
  let keep = maxBytes;
  for (let round = 0; round < GC_ROUNDS_MAX; round++) {
    const over = store.usedBytes() - maxBytes;
    if (over <= 0) break;
    const last = lastOf(store);
    if (last === result.seq) break;
    // at first all of the budget is for history; what the state of the files takes is known when the rest is gone
    if (round > 0) keep = Math.max(0, keep - over * OVER_FACTOR);
    if (round === GC_ROUNDS_MAX - 1) keep = 0;
    const beyond = keep === 0 ? last : Math.max(eventBeyond(store, keep), result.seq);
    if (beyond === result.seq) continue;
    const more = foldHistory(store, { seq: beyond, effort: EFFORT_SMALL });
    result.events += more.events;
    result.rows += more.rows;
    result.seq = more.seq;
    result.tNs = more.tNs;
  }
  return result;
}

/** A row that goes takes others along: a little more is asked for than what is too much. */
const OVER_FACTOR = 1.2;

function lastBefore(store: CompactStore, keepNs: number): number {
  const trace = Trace.open(store.path);
  try {
    return eventAt(trace, trace.commandEndNs() - keepNs);
  } finally {
    trace.close();
  }
}

function lastOf(store: CompactStore): number {
  const trace = Trace.open(store.path);
  try {
    return trace.range().lastSeq;
  } finally {
    trace.close();
  }
}

function sizeOf(path: string): number {
  return statSync(path).size + (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0);
}
