/**
 * Takes what a trace only refers to into a copy of it: contents that a lazy baseline left in the files on disk, or that the
 * recorder saved beside the trace. A file that has changed since is no longer what it was: its content is marked as unknown in the
 * copy and told by name, because on another machine nobody could find that out.
 */
import { JOURNAL_BATCH_BYTES_MAX, JOURNAL_TRANSACTION_BYTES_MAX } from "../base/limits.ts";
import { EventBatchEncoder } from "../format/event_codec.ts";
import { rangeOf } from "../format/keys.ts";
import { EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import type { History } from "../history/fold.ts";
import { Trace } from "../history/trace.ts";
import type { CompactStore } from "../store/compact_store.ts";
import type { Effort } from "./blob_maker.ts";
import { StartContents } from "./start_contents.ts";

/** Files that are named which could not be embedded; of more only their number. */
export const MISSING_NAMED_MAX = 1_000;

/** A file whose content at the start could not be had. */
export interface MissingContent {
  /** Absolute, a binary string. */
  path: string;
  bytes: number;
  why: string;
}

/** What was taken in. */
export interface EmbedReport {
  files: number;
  bytes: number;
  missingFiles: number;
  missing: MissingContent[];
}

const HEAD = { seq: 0, tNs: 0, pid: 0, tid: 0, comm: "" } as const;

/**
 * Embeds what the copy refers to. `source` is the trace that was copied, in its place: beside it is what its recorder saved.
 * @throws {DiffKeeperError} `data_corrupt`, `io`, `disk_full`
 */
export function embedContents(
  copy: CompactStore,
  source: Trace,
  options: { effort: Effort; onFile?: (done: number, total: number) => void },
): EmbedReport {
  const embedding = new Embedding(copy, source, options.effort);
  const nodes = [...startOf(copy.path).left.keys()];
  for (const [index, node] of nodes.entries()) {
    embedding.file(node);
    options.onFile?.(index + 1, nodes.length);
  }
  embedding.finish();
  return embedding.report;
}

/** What the copy itself says of the start: a recorder may have written on in the trace that was copied. */
function startOf(path: string): History {
  const trace = Trace.open(path);
  try {
    return trace.start();
  } finally {
    trace.close();
  }
}

class Embedding {
  readonly report: EmbedReport = { files: 0, bytes: 0, missingFiles: 0, missing: [] };
  readonly #contents: StartContents;
  readonly #store: CompactStore;
  readonly #encoder = new EventBatchEncoder();
  #nextSaved: number;

  constructor(store: CompactStore, source: Trace, effort: Effort) {
    this.#store = store;
    this.#contents = new StartContents(store, source, effort);
    this.#nextSaved = store.rows.count(rangeOf("saved"));
  }

  /** One file: its content becomes rows, and an event says where. */
  file(node: number): void {
    const { size, extents, why } = this.#contents.take(node);
    if (why === undefined) {
      this.report.files++;
      this.report.bytes += size;
      this.#put({ ...HEAD, op: Op.CONTENT, flags: 0, node, length: size, extents });
      return;
    }
    this.report.missingFiles++;
    if (this.report.missing.length < MISSING_NAMED_MAX) {
      this.report.missing.push({ path: this.#contents.pathOf(node), bytes: size, why });
    }
    this.#put({ ...HEAD, op: Op.CONTENT, flags: EventFlag.UNREAD, node, length: 0 });
  }

  finish(): void {
    if (this.#encoder.count === 0) return;
    const n = this.#nextSaved++;
    const store = this.#store;
    this.#contents.commit(() => {
      store.insert({ sort: "saved", n }, store.reserveId(), this.#encoder.finish(0));
      store.count({ saved: 1 });
    });
    this.#encoder.reset();
  }

  #put(event: TraceEvent): void {
    this.#encoder.append(event);
    const isFull = this.#encoder.bytes >= JOURNAL_BATCH_BYTES_MAX;
    if (isFull || this.#contents.waitingBytes >= JOURNAL_TRANSACTION_BYTES_MAX) this.finish();
  }
}
