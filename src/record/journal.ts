/**
 * The sink of the Resolver: encodes events into batches, gathers large payload into data rows, and writes both, with processes and
 * versions, in one transaction per flush. A flush happens when a batch is full, when enough payload waits, or when
 * `flushDue` says that the oldest unflushed event is FLUSH_INTERVAL_MS old: this bounds what kill -9 can take.
 * States: open -> finished. A full disk ends the recording of content, not the command: `failed` says why.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import {
  FLUSH_INTERVAL_MS,
  JOURNAL_BATCH_BYTES_MAX,
  JOURNAL_DATA_BYTES_MAX,
  JOURNAL_TRANSACTION_BYTES_MAX,
  PAYLOAD_INLINE_BYTES_MAX,
  SYNC_INTERVAL_MS,
} from "../base/limits.ts";
import { EventBatchEncoder, WriteHead } from "../format/event_encoder.ts";
import { countInexact, type Fidelity, INEXACT_FLAGS, newFidelity } from "../format/fidelity.ts";
import { EventFlag, type Extent, Op, type TraceEvent } from "../format/trace_event.ts";
import type { EventSink, ProcessInfo, WriteView } from "../resolve/sink.ts";
import type { Tree } from "../resolve/tree.ts";
import type { TraceWriter } from "../store/trace_writer.ts";
import { sayWhy } from "./last_words.ts";
import { VersionIndex } from "./version_index.ts";

/** What the trace holds for sure: less than what was recorded once writing has failed. */
export interface StoredTotals {
  /** Bytes of writes to files. */
  bytes: number;
  /** Files touched: what is no folder and an event is about. */
  files: number;
}

const FOLDER_OPS: ReadonlySet<number> = new Set([Op.MKDIR, Op.RMDIR]);

/** Who watches files whose content at the start is not in the trace: base_content.ts. */
export interface BaseWatch {
  isUntouched(node: number): boolean;
  /** Both return the GAP that must follow the event, if content was lost. */
  changed(node: number, tNs: number): TraceEvent | undefined;
  see(event: TraceEvent): TraceEvent | undefined;
}

/** See the head of the file. */
export class Journal implements EventSink {
  /** As of the last commit. */
  stored: StoredTotals = { bytes: 0, files: 0 };
  #bytes = 0;
  #files = 0;
  /** Events that are not exact. */
  readonly fidelity: Fidelity = newFidelity();
  /** Nodes whose content, attributes or names changed. */
  readonly touched = new Set<number>();
  readonly #writer: TraceWriter;
  readonly #tree: Tree;
  readonly #versions: VersionIndex | undefined;
  readonly #encoder = new EventBatchEncoder();
  readonly #head = new WriteHead();
  readonly #commWords = new Uint32Array(4);
  #comm: string | undefined;
  readonly #data = new Uint8Array(JOURNAL_DATA_BYTES_MAX);
  #dataUsed = 0;
  #dataRow = 0;
  #batchRow = 0;
  #inTransaction = false;
  #transactionBytes = 0;
  #oldestAtMs = 0;
  #unsynced = false;
  #syncedAtMs = 0;
  #processes = new Map<string, ProcessInfo>();
  /** Watches files whose content at the start is not in the trace. */
  base: BaseWatch | undefined;
  /** The command's first exec was seen. */
  started = false;
  /** Why writing ended before the command did. */
  failed: DiffKeeperError | undefined;

  /** @param options.index write `m:` rows. */
  constructor(writer: TraceWriter, tree: Tree, options: { index: boolean } = { index: true }) {
    this.#writer = writer;
    this.#tree = tree;
    if (options.index) this.#versions = new VersionIndex(writer, tree);
  }

  /** Files touched, stored or not. */
  get files(): number {
    return this.#files;
  }

  event(event: TraceEvent): void {
    if (this.failed !== undefined) return;
    this.#put(event);
    const gap = this.base?.see(event);
    if (gap !== undefined) this.#put(gap);
  }

  #put(event: TraceEvent): void {
    const offset = this.#encoder.append(event);
    if (event.node !== 0) this.#touch(event, offset);
    countInexact(this.fidelity, event.op, event.flags);
    if (event.op === Op.EXEC) this.started = true;
    if (event.op === Op.WRITE) this.#bytes += event.length ?? 0;
    this.#appended();
  }

  write(view: WriteView): void {
    if (this.failed !== undefined) return;
    if (view.length > PAYLOAD_INLINE_BYTES_MAX) {
      this.event(this.#withExtent(view));
      return;
    }
    const head = this.#head;
    head.op = view.op as typeof head.op;
    head.flags = view.flags;
    head.tNs = view.tNs;
    head.pid = view.pid;
    head.tid = view.tid;
    head.node = view.node;
    head.offset = view.offset;
    head.length = view.length;
    head.mtimeSec = view.mtimeSec;
    head.mtimeNsec = view.mtimeNsec;
    head.source = view.u8;
    head.start = view.start;
    head.payload = view.length;
    if (view.comm !== this.#comm) this.#setComm(view.comm);
    const at = this.#encoder.appendWrite(head);
    if ((view.flags & INEXACT_FLAGS) !== 0) countInexact(this.fidelity, view.op, view.flags);
    if (view.op === Op.WRITE) this.#bytes += view.length;
    if (view.node !== 0) {
      this.#touched(view.node, false);
      this.#versions?.add(view.node, view, { row: this.#row(), offset: at, seq: this.#nextSeq() });
    }
    this.#appended();
    if (this.base?.isUntouched(view.node) !== true) return;
    const gap = this.base.changed(view.node, view.tNs);
    if (gap !== undefined) this.#put(gap);
  }

  store(u8: Uint8Array, start: number, length: number): Extent {
    assert(length <= JOURNAL_DATA_BYTES_MAX, "a piece of content must fit in a data row");
    if (this.failed !== undefined) return { row: 0, offset: 0, length: 0, at: 0 };
    if (this.#dataUsed + length > JOURNAL_DATA_BYTES_MAX) this.#guard(() => this.#putData());
    if (this.#dataUsed === 0) this.#dataRow = this.#writer.reserveRow();
    const offset = this.#dataUsed;
    this.#data.set(u8.subarray(start, start + length), offset);
    this.#dataUsed += length;
    return { row: this.#dataRow, offset, length, at: 0 };
  }

  process(info: ProcessInfo): void {
    this.#processes.set(`${info.startNs}:${info.pid}`, info);
    if (this.#oldestAtMs === 0) this.#oldestAtMs = performance.now();
  }

  /** Stores a content chunk beside the events. */
  putContent(sha256: string, bytes: Uint8Array): number {
    this.#begin();
    this.#transactionBytes += bytes.length;
    return this.#writer.putContent(sha256, bytes);
  }

  /** Stores a batch of contents of the baseline, beside the events. */
  putSaved(value: Uint8Array): void {
    this.#guard(() => {
      this.#begin();
      this.#transactionBytes += value.length;
      this.#writer.putSaved(value);
    });
  }

  /** Flushes if the oldest unflushed event is old enough. Call it often. */
  flushDue(): void {
    if (this.#oldestAtMs !== 0 && performance.now() - this.#oldestAtMs >= FLUSH_INTERVAL_MS) {
      this.flush();
    }
  }

  /** Writes everything and commits. */
  flush(): void {
    if (this.failed !== undefined) return;
    this.#guard(() => {
      this.#putBatch();
      this.#putData();
      for (const info of this.#processes.values()) this.#putProcess(info);
      this.#processes.clear();
      if (this.#inTransaction) {
        this.#writer.commit();
        this.stored = { bytes: this.#bytes, files: this.#files };
        this.#unsynced = true;
      }
      this.#inTransaction = false;
      this.#transactionBytes = 0;
      this.#oldestAtMs = 0;
    });
  }

  /** When nothing happens: makes what was committed survive a power cut too, at most every SYNC_INTERVAL_MS. */
  syncDue(): void {
    const now = performance.now();
    if (!this.#unsynced || this.failed !== undefined || now - this.#syncedAtMs < SYNC_INTERVAL_MS) {
      return;
    }
    this.#guard(() => this.#writer.syncNow());
    this.#unsynced = false;
    this.#syncedAtMs = now;
  }

  /** The last flush, with the versions. */
  finish(): void {
    this.flush();
    this.#guard(() => {
      this.#begin();
      this.#versions?.flush();
      this.#writer.commit();
      this.#inTransaction = false;
    });
  }

  #nextSeq(): number {
    return this.#writer.lastSeq + this.#encoder.count;
  }

  /** Row that the current batch will have. */
  #row(): number {
    if (this.#batchRow === 0) this.#batchRow = this.#writer.reserveRow();
    return this.#batchRow;
  }

  #touch(event: TraceEvent, offset: number): void {
    const { op, node } = event;
    const isFolder = FOLDER_OPS.has(op) || this.#tree.node(node)?.isDir === true;
    this.#touched(node, isFolder);
    this.#versions?.add(event.node, event, { row: this.#row(), offset, seq: this.#nextSeq() });
  }

  #touched(node: number, isFolder: boolean): void {
    const { size } = this.touched;
    this.touched.add(node);
    if (this.touched.size > size && !isFolder) this.#files++;
  }

  #withExtent(view: WriteView): TraceEvent {
    const extents: Extent[] = [];
    for (let at = 0; at < view.length; at += JOURNAL_DATA_BYTES_MAX) {
      const length = Math.min(view.length - at, JOURNAL_DATA_BYTES_MAX);
      extents.push({ ...this.store(view.u8, view.start + at, length), at });
    }
    const { op, flags, tNs, pid, tid, comm, node, offset, length, mtimeSec, mtimeNsec } = view;
    const mtime = mtimeNsec > 999_999_999 ? undefined : { sec: mtimeSec, nsec: mtimeNsec };
    return {
      seq: 0,
      op,
      flags: flags | EventFlag.EXTENTS,
      tNs,
      pid,
      tid,
      comm,
      node,
      offset,
      length,
      mtime,
      extents,
    };
  }

  #setComm(comm: string): void {
    this.#comm = comm;
    this.#commWords.fill(0);
    const bytes = new Uint8Array(this.#commWords.buffer);
    for (let i = 0; i < Math.min(16, comm.length); i++) bytes[i] = comm.charCodeAt(i);
    const [a = 0, b = 0, c = 0, d = 0] = this.#commWords;
    this.#head.comm0 = a;
    this.#head.comm1 = b;
    this.#head.comm2 = c;
    this.#head.comm3 = d;
  }

  #appended(): void {
    if (this.#oldestAtMs === 0) this.#oldestAtMs = performance.now();
    if (this.#encoder.bytes >= JOURNAL_BATCH_BYTES_MAX) this.#guard(() => this.#putBatch());
    if (this.#transactionBytes >= JOURNAL_TRANSACTION_BYTES_MAX) this.flush();
  }

  #begin(): void {
    if (!this.#inTransaction) this.#writer.begin();
    this.#inTransaction = true;
  }

  #putBatch(): void {
    if (this.#encoder.count === 0) return;
    this.#begin();
    const seq = this.#writer.lastSeq + 1;
    const row = this.#row();
    const tNs = this.#encoder.firstNs;
    this.#transactionBytes += this.#encoder.bytes;
    this.#writer.putBatch({ row, tNs, seq, value: this.#encoder.finish(seq) });
    this.#encoder.reset();
    this.#batchRow = 0;
    this.#versions?.flushDue();
  }

  #putData(): void {
    if (this.#dataUsed === 0) return;
    this.#begin();
    this.#writer.putData([this.#data.subarray(0, this.#dataUsed)], this.#dataRow);
    this.#transactionBytes += this.#dataUsed;
    this.#dataUsed = 0;
  }

  #putProcess(info: ProcessInfo): void {
    this.#begin();
    this.#writer.putProcess({ startNs: Math.max(0, info.startNs), pid: info.pid }, { ...info });
  }

  /** A failed write (full disk) ends the recording, not the command. */
  #guard(action: () => void): void {
    if (this.failed !== undefined) return;
    try {
      action();
    } catch (thrown) {
      if (!(thrown instanceof DiffKeeperError) || thrown.code === "defect") throw thrown;
      this.failed = thrown;
      if (this.#inTransaction) this.#writer.rollback();
      this.#inTransaction = false;
      sayWhy(this.#writer, thrown);
    }
  }
}
