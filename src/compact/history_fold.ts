/**
 * Folds the beginning of a history into the baseline: after it the trace begins with the state after an event, says the same of
 * every event behind it and of every moment from there on, and holds no content that nothing refers to. All of it is one transaction:
 * a kill leaves the old trace or the new one. docs/FORMAT.md, "Folded history".
 *
 * Beside a recorder (`live`) only rows below a given id may go, because what it has just written may not be referred to yet, and nobody
 * can tell which nodes its next events will name: all nodes stay, and of files without a name only the content goes.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { ValueKind, wrap } from "../format/envelope.ts";
import { EventBatchEncoder, type EventCursor } from "../format/event_codec.ts";
import { countInexact } from "../format/fidelity.ts";
import { buildKey, type KeyRange, rangeOf } from "../format/keys.ts";
import { openBatch } from "../format/batch_value.ts";
import { EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import { encodeFold, type FoldInfo, noSums } from "../history/fold_info.ts";
import { History } from "../history/fold.ts";
import {
  keyframeEvents,
  type KeyframeOptions,
  type KeyframeRest,
  keyframeRest,
  restoreRest,
} from "../history/keyframe.ts";
import { changesNames, Places } from "../history/places.ts";
import { Trace } from "../history/trace.ts";
import type { Node } from "../resolve/node.ts";
import type { CompactStore } from "../store/compact_store.ts";
import { INFO_FOLD, type JsonObject } from "../store/schema.ts";
import { keyAfter, type Row } from "../store/trace_rows.ts";
import type { Effort } from "./blob_maker.ts";
import { Needs } from "./needs.ts";
import { StartContents } from "./start_contents.ts";
import { finished, stateRows } from "./state_rows.ts";
import { thinned } from "./thin_row.ts";

/** What to fold. */
export interface FoldRequest {
  /** The last event that goes; 0, or one that went before: no more events go, only what nothing refers to. */
  seq: number;
  effort: Effort;
  live?: boolean;
}

/** What a fold came to. */
export interface FoldResult {
  /** Events that went now. */
  events: number;
  /** The last event that is gone, now or before, and its time. */
  seq: number;
  tNs: number;
  /** Rows that went, and stored bytes that went with them or out of rows that stay. */
  rows: number;
  bytes: number;
}

/** @throws {DiffKeeperError} `data_corrupt`, `io`, `disk_full`, `in_use` */
export function foldHistory(store: CompactStore, request: FoldRequest): FoldResult {
  const trace = Trace.open(store.path);
  try {
    return new HistoryFold(store, trace, request).run();
  } finally {
    trace.close();
  }
}

/** Rows of a keyframe behind the fold. */
interface KeptKeyframe {
  seq: number;
  tNs: number;
  values: Uint8Array[];
}

class HistoryFold {
  readonly #store: CompactStore;
  readonly #trace: Trace;
  readonly #request: FoldRequest;
  readonly #needs: Needs;
  readonly #history: History;
  readonly #places = new Places();
  readonly #before: FoldInfo | undefined;
  readonly #dropped = noSums();
  #baselineGaps = 0;
  /** Nodes that events behind the fold name. */
  readonly #mentioned = new Set<number>();
  /** What of the row that the fold goes through stays. */
  #split: { tNs: number; seq: number; value: Uint8Array; isPacked: boolean } | undefined;
  /** Rows of saved contents that the state has. */
  readonly #saved: readonly number[];
  /** Behind the last row of events that was looked at. */
  #from = rangeOf("journal").from;
  /** Rows that became rows of content in this fold. */
  readonly #done = new Set<number>();
  #result: FoldResult;
  /** Rows from this id on stay. */
  #idEnd = Number.POSITIVE_INFINITY;

  constructor(store: CompactStore, trace: Trace, request: FoldRequest) {
    this.#store = store;
    this.#trace = trace;
    this.#request = request;
    this.#needs = new Needs(store.content);
    this.#before = trace.fold();
    // what a recorder puts while this reads is not in the state, and must stay
    this.#saved = [...store.heads(rangeOf("saved"))].map(({ id }) => id);
    this.#history = trace.start();
    const { seq = 0, tNs = 0 } = this.#before ?? {};
    this.#result = { events: 0, seq, tNs, rows: 0, bytes: 0 };
  }

  run(): FoldResult {
    const { live } = this.#request;
    const last = Math.max(this.#request.seq, this.#result.seq);
    // what a fold beside the recorder had to keep may go now
    const isFold = last > this.#result.seq || (last > 0 && live !== true);
    if (isFold) this.#foldEvents(last);
    this.#readKept();
    const options = isFold ? this.#leaveOut() : {};
    const baseline = isFold ? this.#baseline(options) : undefined;
    if (baseline === undefined) this.#needOld(["baseline", "saved"]);
    const keyframes = this.#keyframes(options);
    this.#needYoung();
    this.#store.transaction(() => {
      if (this.#request.live === true) this.#catchUp();
      if (baseline !== undefined) this.#putBaseline(baseline);
      this.#putKeyframes(keyframes);
      if (isFold) this.#dropJournal();
      this.#sweep("data");
      this.#sweep("content");
    }, isFold ? this.#progress() : {});
    this.#store.content.clear();
    return this.#result;
  }

  /** Where the compactor goes on: the baseline is packed, and so may be the rest of the row that the fold goes through. */
  #progress(): JsonObject {
    const baseline = textOf(rangeOf("baseline").to);
    if (this.#split?.isPacked !== true) return { baseline };
    const { tNs, seq } = this.#split;
    const behind = textOf(keyAfter(buildKey({ sort: "journal", tNs, seq })));
    const at = this.#store.progress()?.["journal"];
    return { baseline, journal: typeof at === "string" && at > behind ? at : behind };
  }

  /** The state after the last event that goes. */
  #foldEvents(last: number): void {
    for (const { cursor } of this.#trace.reader.baselineBatches()) {
      this.#baselineGaps += this.#places.foldBaseline(cursor);
    }
    if (this.#before !== undefined) this.#baselineGaps = this.#before.rest.baselineGaps;
    const span = { unit: "seq", from: 0, to: last } as const;
    for (const { cursor, row, seq } of this.#trace.reader.journalBatches()) {
      if (seq > last) break;
      this.#history.fold(cursor, row, span);
      cursor.rewind();
      while (cursor.next() && cursor.seq <= last) {
        this.#count(cursor);
        if (changesNames(cursor.op)) this.#places.fold(cursor.event());
      }
    }
    const { lastSeq, lastNs } = this.#history;
    assert(lastSeq === last, "the journal must reach to where it is folded");
    this.#result.events = last - this.#result.seq;
    this.#result.seq = last;
    this.#result.tNs = lastNs;
  }

  #count(cursor: EventCursor): void {
    const { op, flags } = cursor;
    countInexact(this.#dropped.fidelity, op, flags);
    if (op === Op.WRITE) this.#dropped.bytes += cursor.length;
    if (op !== Op.GAP) return;
    const { loss } = cursor.event();
    this.#dropped.lostEvents += loss?.events ?? 0;
    this.#dropped.lostBytes += loss?.bytes ?? 0;
  }

  /** What stays of the journal: the nodes it names and the content it points to. */
  #readKept(): void {
    const { seq } = this.#result;
    for (const batch of this.#trace.reader.journalBatches(seq + 1)) {
      const { cursor, row, isPacked } = batch;
      const isSplit = batch.seq <= seq;
      this.#from = keyAfter(buildKey({ sort: "journal", tNs: batch.tNs, seq: batch.seq }));
      if (!isSplit) {
        this.#idEnd = Math.min(this.#idEnd, this.#request.live === true ? row : this.#idEnd);
        this.#needs.whole(row);
      }
      const encoder = isSplit ? new EventBatchEncoder() : undefined;
      while (cursor.next()) {
        this.#needEvent(cursor);
        if (isSplit) encoder?.append(cursor.event());
      }
      if (encoder !== undefined) this.#cut(encoder, isPacked);
    }
    if (this.#request.live === true && this.#idEnd === Number.POSITIVE_INFINITY) this.#idEnd = 0;
  }

  /** From here on the recorder waits: what it wrote since the journal was read. */
  #catchUp(): void {
    const { to } = rangeOf("journal");
    for (const row of this.#rowsOf({ from: this.#from, to })) {
      const { cursor } = openBatch(row.value, row.id);
      this.#needs.whole(row.id);
      while (cursor.next()) this.#needEvent(cursor);
    }
    this.#needYoung();
  }

  /** The rest of a row becomes a row of its own; packed, it points into what stays of the old one. */
  #cut(encoder: EventBatchEncoder, isPacked: boolean): void {
    const tNs = encoder.firstNs;
    const seq = this.#result.seq + 1;
    const value = isPacked
      ? finished(encoder, seq, this.#request.effort.events)
      : encoder.finish(seq);
    this.#split = { tNs, seq, value, isPacked };
  }

  #needEvent(cursor: EventCursor): void {
    const mentioned = this.#mentioned;
    mentioned.add(cursor.node);
    for (let index = 0; index < cursor.extentCount; index++) {
      this.#needs.need(cursor.extent(index));
    }
    if (cursor.op === Op.WRITE && (cursor.flags & EventFlag.TLVS) === 0) return;
    const event = cursor.event();
    for (const id of nodesOf(event)) mentioned.add(id);
  }

  /** What the new baseline leaves out, and where it has contents of the start that are on disk. */
  #leaveOut(): KeyframeOptions {
    const { tree, content } = this.#history;
    const embedded = this.#embed();
    const dropped = new Set<number>();
    const emptied = new Set<number>();
    for (const node of tree.nodes()) {
      if (isReachable(this.#history, node) || this.#mentioned.has(node.id)) continue;
      if (this.#request.live !== true) dropped.add(node.id);
      else if (
        node.isFile && node.nlink === 0 && this.#hadName(node) && content.size(node.id) > 0
      ) {
        emptied.add(node.id);
      }
    }
    // what stays keeps the folders that it hangs in
    for (const node of tree.nodes()) {
      if (dropped.has(node.id)) continue;
      for (const { parent } of node.links()) {
        for (let id = parent; id !== 0 && dropped.delete(id);) id = tree.node(id)?.parent ?? 0;
      }
    }
    return { dropped, emptied, embedded };
  }

  #hadName(node: Node): boolean {
    return node.lastParent !== 0 || this.#places.lastPlace(node.id) !== undefined;
  }

  /** Contents on disk that the state refers to otherwise than by a file that nobody has touched. */
  #embed(): NonNullable<KeyframeOptions["embedded"]> {
    const { tree, content, left } = this.#history;
    const wanted = new Set<number>();
    if (left.size > 0) {
      for (const node of tree.nodes()) {
        if (!node.isFile || (left.has(node.id) && content.isUntouched(node.id))) continue;
        for (const base of content.bases(node.id)) wanted.add(base);
      }
    }
    const embedded = new Map<number, NonNullable<ReturnType<typeof take>>>();
    if (wanted.size === 0) return embedded;
    const contents = new StartContents(this.#store, this.#trace, this.#request.effort);
    const take = (id: number) => {
      const { extents, why } = contents.take(id);
      return why === undefined ? extents : "lost" as const;
    };
    for (const id of wanted) embedded.set(id, take(id));
    contents.commit();
    return embedded;
  }

  /** The rows of the new baseline; what they point to is needed. */
  #baseline(options: KeyframeOptions): Uint8Array[] {
    const events = [
      ...this.#baselineGapEvents(),
      ...keyframeEvents(this.#history, this.#places, options),
    ];
    for (const event of events) {
      for (const extent of event.extents ?? []) this.#needs.need(extent);
    }
    return stateRows(events, this.#request.effort.events);
  }

  /** Losses before the start stay entries of the baseline. */
  #baselineGapEvents(): TraceEvent[] {
    return this.#history.gaps.filter(({ seq }) => seq === 0).map((gap) => {
      const { node, events, bytes, text, path } = gap;
      const head = { seq: 0, flags: 0, tNs: 0, pid: 0, tid: 0, comm: "" };
      const where = path === "" ? {} : { path };
      return { ...head, op: Op.GAP, node, text, loss: { events, bytes }, ...where };
    });
  }

  /** Old rows of state that stay: what they point to. */
  #needOld(sorts: readonly ("baseline" | "saved")[]): void {
    for (const sort of sorts) {
      for (const row of this.#rowsOf(rangeOf(sort))) {
        const { cursor } = openBatch(row.value, row.id);
        this.#needs.whole(row.id);
        while (cursor.next()) this.#needEvent(cursor);
      }
    }
  }

  *#rowsOf(range: KeyRange): Generator<Row> {
    let { from } = range;
    for (;;) {
      const row = this.#store.first({ from, to: range.to });
      if (row === undefined) return;
      yield row;
      from = keyAfter(row.key);
    }
  }

  /** Keyframes behind the fold, without what the baseline leaves out. */
  #keyframes(options: KeyframeOptions): KeptKeyframe[] {
    const kept: KeptKeyframe[] = [];
    for (let before = Number.POSITIVE_INFINITY;;) {
      const found = this.#trace.keyframe((seq) => seq < before && seq > this.#result.seq);
      if (found === undefined) return kept;
      const { rest } = found;
      before = rest.seq;
      const history = new History();
      const places = new Places();
      for (const { cursor, row } of found.parts()) {
        history.fold(cursor, row);
        cursor.rewind();
        places.foldKeyframe(cursor);
      }
      restoreRest(history, rest);
      kept.push({
        seq: rest.seq,
        tNs: rest.tNs,
        values: this.#keyframe(history, places, {
          rest,
          options,
        }),
      });
    }
  }

  #keyframe(
    history: History,
    places: Places,
    how: { rest: KeyframeRest; options: KeyframeOptions },
  ): Uint8Array[] {
    const { rest, options } = how;
    const { dropped = new Set() } = options;
    const events = [...keyframeEvents(history, places, options)];
    for (const event of events) {
      for (const extent of event.extents ?? []) this.#needs.need(extent);
    }
    const values = stateRows(events, this.#request.effort.events);
    const nodes = [...history.tree.nodes()].filter(({ id }) => !dropped.has(id)).length;
    const head = { ...keyframeRest(history, rest.baselineGaps), nodes, parts: values.length };
    return [jsonRow(head), ...values];
  }

  #putBaseline(values: readonly Uint8Array[]): void {
    const store = this.#store;
    const old = this.#drop(rangeOf("baseline"));
    for (const [n, value] of values.entries()) {
      store.insert({ sort: "baseline", n }, store.reserveId(), value);
    }
    store.count({ baseline: values.length - old });
    this.#clearSaved();
    // entries of the index would name events that are gone
    const versions = this.#drop(rangeOf("version"));
    if (versions > 0) store.count({ versions: -versions });
    const rest = { ...keyframeRest(this.#history, this.#baselineGaps), parts: values.length };
    const { dropped, seq, tNs } = { dropped: this.#sums(), ...this.#result };
    const info = jsonRow(encodeFold({ seq, tNs, rest, dropped }));
    const id = store.idOf({ sort: "info", name: INFO_FOLD });
    if (id === undefined) store.insert({ sort: "info", name: INFO_FOLD }, store.reserveId(), info);
    else store.replace(id, info);
  }

  /** All that was dropped so far. */
  #sums(): FoldInfo["dropped"] {
    const sums = this.#dropped;
    const before = this.#before?.dropped ?? noSums();
    const fidelity = { ...sums.fidelity };
    for (const [word, count] of Object.entries(before.fidelity)) {
      fidelity[word as keyof typeof fidelity] += count;
    }
    return {
      bytes: sums.bytes + before.bytes,
      lostEvents: sums.lostEvents + before.lostEvents,
      lostBytes: sums.lostBytes + before.lostBytes,
      fidelity,
    };
  }

  /** What was saved of the start is in the baseline now. A recorder counts its rows on: they stay, with nothing in them. */
  #clearSaved(): void {
    const store = this.#store;
    if (this.#request.live !== true) {
      const count = this.#drop(rangeOf("saved"));
      if (count > 0) store.count({ saved: -count });
      return;
    }
    for (const id of this.#saved) store.replace(id, new EventBatchEncoder().finish(0));
  }

  #putKeyframes(keyframes: readonly KeptKeyframe[]): void {
    const store = this.#store;
    const old = this.#drop(rangeOf("keyframe"));
    let made = 0;
    for (const { seq, tNs, values } of keyframes) {
      for (const [part, value] of values.entries()) {
        store.insert({ sort: "keyframe", tNs, seq, part }, store.reserveId(), value);
        made++;
      }
    }
    if (made !== old) store.count({ keyframes: made - old });
  }

  /** Removes all rows of a range; gives their number. */
  #drop(range: KeyRange): number {
    let count = 0;
    for (const { id, bytes } of [...this.#store.heads(range)]) {
      this.#store.remove(id);
      this.#gone(1, bytes);
      count++;
    }
    return count;
  }

  #gone(rows: number, bytes: number): void {
    this.#result.rows += rows;
    this.#result.bytes += bytes;
  }

  /** Rows of events up to the fold go, or stay as content of later ones. */
  #dropJournal(): void {
    const store = this.#store;
    for (const { id, key, bytes } of [...store.heads(rangeOf("journal"))]) {
      const { seq } = store.rows.key(key, "journal");
      if (seq > this.#result.seq) break;
      const need = this.#needs.of(id);
      if (need === undefined) {
        store.remove(id);
        this.#gone(1, bytes);
      } else {
        this.#thin(id, need, true);
        store.rename(id, { sort: "data", n: id });
        store.count({ data: 1 });
        this.#done.add(id);
      }
      store.count({ journal: -1 });
    }
    const split = this.#split;
    if (split === undefined) return;
    const { tNs, seq, value } = split;
    store.insert({ sort: "journal", tNs, seq }, store.reserveId(), value);
    store.count({ journal: 1 });
  }

  #thin(id: number, need: NonNullable<ReturnType<Needs["of"]>>, must: boolean): boolean {
    const row = this.#store.rows.byId(id);
    if (row === undefined) {
      throw new DiffKeeperError("data_corrupt", "cannot fold: a row is missing");
    }
    const value = thinned(row.value, need, must);
    if (value === undefined) return false;
    this.#store.replace(id, value);
    this.#gone(0, row.value.length - value.length);
    return true;
  }

  /** Rows that the recorder has just written stay, referred to or not, and so does what they stand on. */
  #needYoung(): void {
    for (const sort of ["data", "content"] as const) {
      for (const { id } of this.#store.heads(rangeOf(sort))) {
        if (this.#isYoung(id)) this.#needs.whole(id);
      }
    }
  }

  #isYoung(id: number): boolean {
    return id >= this.#idEnd && !isOwn(id);
  }

  /** Rows of content that nothing refers to go; of the others what nothing refers to. */
  #sweep(sort: "data" | "content"): void {
    const store = this.#store;
    const name = sort === "data" ? "data" : "contents";
    for (const { id, bytes } of [...store.heads(rangeOf(sort))]) {
      if (this.#isYoung(id) || this.#done.has(id)) continue;
      const need = this.#needs.of(id);
      if (need === undefined) {
        store.remove(id);
        store.count({ [name]: -1 });
        this.#gone(1, bytes);
      } else if (this.#thin(id, need, false) && sort === "content") {
        // it is not what its digest says any more
        store.rename(id, { sort: "data", n: id });
        store.count({ contents: -1, data: 1 });
      }
    }
  }
}

/** Rows of the compactor: they come with what points to them. */
function isOwn(id: number): boolean {
  return id >= 0x8000_0000;
}

/** A key as the compactor's own row has it. */
function textOf(key: Uint8Array): string {
  return Buffer.from(key).toString("latin1");
}

const utf8 = new TextEncoder();

function jsonRow(value: object): Uint8Array {
  return wrap(ValueKind.JSON, utf8.encode(JSON.stringify(value)));
}

/** Whether a name leads to the node. */
function isReachable({ tree }: History, node: Node): boolean {
  if (tree.rootOf(node.id) >= 0) return true;
  return (node.more ?? []).some(({ parent }) => tree.rootOf(parent) >= 0);
}

/** Every node that an event names. */
function nodesOf(event: TraceEvent): number[] {
  const { node, parent = 0, toParent = 0, victim = 0, source, dirTimes = [] } = event;
  return [node, parent, toParent, victim, source?.node ?? 0, ...dirTimes.map((one) => one.node)];
}
