/**
 * Writes traces from event lists, for tests of what reads them: no kernel, no root. Events get their seq by order; large
 * payloads go into data rows as the recorder's do.
 */
import { encodeEnd, encodeRecording, type EndInfo } from "../src/format/recording_info.ts";
import { EventBatchEncoder } from "../src/format/event_codec.ts";
import { type Attr, Op, type OpCode, type TraceEvent } from "../src/format/trace_event.ts";
import { sha256Hex } from "../src/format/keys.ts";
import { VersionIndex } from "../src/record/version_index.ts";
import { Tree } from "../src/resolve/tree.ts";
import { TraceWriter } from "../src/store/trace_writer.ts";

/** 2025-01-31T12:00:00.25Z. */
export const START_EPOCH_NS = BigInt(Date.UTC(2025, 0, 31, 12)) * 1_000_000n + 250_000_000n;

/** Payload from this size on goes into a data row. */
const DATA_ROW_BYTES = 4096;

/** The parts of an event that a test cares about. */
export type EventParts = Partial<TraceEvent> & { op: OpCode };

/** An Attr with what a test does not care about filled in. */
export function attr(mode: number, parts: Partial<Attr> = {}): Attr {
  const none = { uid: 0, gid: 0, rdev: 0, nlink: 1, dev: 1, gen: 1, ino: 0, size: 0 };
  return { ...none, mode, ...parts };
}

/** How a trace is made. */
export interface TraceBuilderOptions {
  rootPaths?: string[];
  /** Events per batch. */
  batchEvents?: number;
  argv?: string[];
  /** Patterns of what was recorded. */
  filters?: { include: string[]; exclude: string[] };
  /** Write `m:` rows as the recorder does. */
  index?: boolean;
}

/** See the head of the file. */
export class TraceBuilder {
  readonly dir: string;
  readonly #writer: TraceWriter;
  readonly #encoder = new EventBatchEncoder();
  readonly #batchEvents: number;
  #baselineRows = 0;
  #journalBegun = false;
  #pending = 0;
  #tNs = 0;
  #batchRow = 0;
  readonly #tree = new Tree();
  readonly #versions: VersionIndex | undefined;
  /** Seq of the last event that was added. */
  seq = 0;

  constructor(dir: string, options: TraceBuilderOptions = {}) {
    this.dir = dir;
    this.#batchEvents = options.batchEvents ?? 10_000;
    this.#writer = TraceWriter.create(dir);
    this.#writer.begin();
    this.#writer.putRecording(encodeRecording({
      argv: options.argv ?? ["make", "test"],
      cwd: "/work",
      name: "",
      envNames: ["PATH"],
      rootPaths: options.rootPaths ?? ["/work"],
      ...options.filters,
      startEpochNs: START_EPOCH_NS,
      kernel: "6.18.44",
      machine: "x86_64",
      host: "box",
      tracer: "ebpf",
      versions: { diffkeeper: "0.1.0", trace: "1" },
    }));
    this.#writer.commit();
    if (options.index === true) this.#versions = new VersionIndex(this.#writer, this.#tree);
  }

  /** Adds a baseline event. */
  baseline(parts: EventParts): void {
    this.#append({ seq: 0, flags: 0, tNs: 0, pid: 0, tid: 0, comm: "", node: 0, ...parts });
  }

  /** Adds a journal event and returns its seq. Its time is that of the event before unless it says another. */
  event(parts: EventParts): number {
    if (!this.#journalBegun) {
      this.flush();
      this.#journalBegun = true;
    }
    this.#tNs = parts.tNs ?? this.#tNs;
    const { pid = 4711 } = parts;
    const defaults = { seq: 0, flags: 0, pid, tid: pid, comm: "python3", node: 0 };
    this.#append({ ...defaults, ...parts, tNs: this.#tNs });
    this.seq++;
    if (this.#pending >= this.#batchEvents) this.flush();
    return this.seq;
  }

  /** A WRITE of some bytes. */
  write(node: number, at: number, options: EventParts & { bytes: Uint8Array | string }): number {
    const { bytes, ...parts } = options;
    const inline = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    return this.event({ ...parts, node, offset: at, length: inline.length, inline });
  }

  #append(event: TraceEvent): void {
    const { inline } = event;
    if (inline !== undefined && inline.length >= DATA_ROW_BYTES) {
      event.extents = [{ row: this.data(inline), offset: 0, length: inline.length, at: 0 }];
      event.inline = undefined;
    }
    const offset = this.#encoder.append(event);
    this.#pending++;
    if (this.#versions === undefined) return;
    this.#tree.apply(event);
    if (!this.#journalBegun || event.node === 0) return;
    if (this.#batchRow === 0) this.#batchRow = this.#writer.reserveRow();
    this.#versions.add(event.node, event, { row: this.#batchRow, offset, seq: this.seq + 1 });
  }

  /** Stores content by its digest. */
  content(bytes: Uint8Array): number {
    this.#writer.begin();
    const row = this.#writer.putContent(sha256Hex(bytes), bytes);
    this.#writer.commit();
    return row;
  }

  /** A process. */
  process(startNs: number, pid: number): void {
    this.#writer.begin();
    this.#writer.putProcess({ startNs, pid }, { pid, startNs, argv: ["make", "test"] });
    this.#writer.commit();
  }

  /** Stores payload in a row of its own. */
  data(bytes: Uint8Array): number {
    this.#writer.begin();
    const row = this.#writer.putData([bytes]);
    this.#writer.commit();
    return row;
  }

  /** Writes the batch that was gathered. */
  flush(): void {
    if (this.#pending === 0) return;
    this.#writer.begin();
    if (this.#journalBegun) {
      const seq = this.seq - this.#pending + 1;
      const tNs = this.#encoder.firstNs;
      const row = this.#batchRow === 0 ? this.#writer.reserveRow() : this.#batchRow;
      this.#batchRow = 0;
      this.#writer.putBatch({ row, tNs, seq, value: this.#encoder.finish(seq) });
    } else {
      this.#writer.putBaseline(this.#baselineRows++, this.#encoder.finish(0));
    }
    this.#writer.commit();
    this.#encoder.reset();
    this.#pending = 0;
  }

  /** Ends the trace in order. */
  finish(end: Partial<EndInfo> = {}): void {
    this.flush();
    if (this.#versions !== undefined) {
      this.#writer.begin();
      this.#versions.flush();
      this.#writer.commit();
    }
    const none = { exitCode: 0, bytes: 0, files: 0, lostEvents: 0, lostBytes: 0, losses: {} };
    this.#writer.finish(encodeEnd({ ...none, endNs: this.#tNs, events: this.seq, ...end }));
  }

  /** Leaves the trace as a recorder that was killed. */
  cut(): void {
    this.flush();
    this.#writer.abort();
  }
}

/** The watched folder as node 1. */
export function rootEvent(parts: Partial<TraceEvent> = {}): EventParts {
  return { op: Op.BASELINE, node: 1, root: 0, attr: attr(0o40755, { nlink: 2 }), ...parts };
}
