/**
 * Checks a whole trace offline against docs/FORMAT.md: SQLite's own structure, every row's key, envelope and checksum, every
 * event and every reference, and that the whole journal folds through the Tree. Rows are read one at a time; in memory are
 * the tree, four bytes per row and a bounded chunk of version entries. It goes on after a problem where it can, so that
 * all damaged rows are named; the fold alone ends at its first error.
 */
import { Buffer } from "node:buffer";
import { DiffKeeperError } from "../base/error.ts";
import { ERROR_CAUSES_MAX, SOLID_BYTES_MAX } from "../base/limits.ts";
import { unwrap, unwrapAny, ValueKind } from "../format/envelope.ts";
import { INEXACT_WORDS } from "../format/fidelity.ts";
import {
  KEY_LETTERS,
  type KeyRange,
  parseKey,
  rangeOf,
  sha256Hex,
  type TraceKey,
} from "../format/keys.ts";
import {
  decodeEnd,
  decodeRecording,
  type EndInfo,
  type JsonRecord,
} from "../format/recording_info.ts";
import { decodePackedJson } from "../format/packed_json.ts";
import { decodeVersions } from "../format/versions_codec.ts";
import { keyAfter, type Row, TraceReader } from "../store/trace_reader.ts";
import { INFO_FOLD } from "../store/schema.ts";
import { History } from "./fold.ts";
import { decodeFold, type FoldInfo } from "./fold_info.ts";
import { countParts, decodeKeyframeRest, wrongKeyframe } from "./keyframe_rest.ts";
import { RowLengths } from "./row_lengths.ts";
import { EventCheck, unpackAll } from "./verify_events.ts";
import { Problems, type VerifyReport } from "./verify_report.ts";
import { VersionChunk } from "./verify_versions.ts";

/** Lines of SQLite's own check that are shown. */
const INTEGRITY_LINES_MAX = 100;
/** Rows after which progress is reported. */
const PROGRESS_ROWS = 64;
/** Every key is below this one: no sort begins with this letter. */
const KEY_END = Buffer.from([0xff, 0xff]);
const utf8 = new TextDecoder("utf-8", { fatal: true });

type Sort = TraceKey["sort"];
type KeyOf<S extends Sort> = Extract<TraceKey, { sort: S }>;

/** How to check. */
export interface VerifyOptions {
  /** Told now and then how many rows of how many were looked at. */
  onRows?: (done: number, total: number) => void;
  /** Entries of versions that are compared in one walk along the journal; for tests. */
  chunkEntries?: number;
}

/**
 * Checks the trace in a state-dir.
 * @throws {DiffKeeperError} as `TraceReader.open`, when it cannot be opened at all; `io`.
 */
export function verifyTrace(dir: string, options: VerifyOptions = {}): VerifyReport {
  const reader = TraceReader.open(dir);
  try {
    return new Verification(reader, options).run();
  } finally {
    reader.close();
  }
}

class Verification {
  readonly #reader: TraceReader;
  readonly #options: VerifyOptions;
  readonly #problems = new Problems();
  readonly #lengths = new RowLengths();
  readonly #counts = new Map<Sort, number>();
  readonly #events: EventCheck;
  #state: VerifyReport["state"] = "cut";
  #end: EndInfo | undefined;
  #stored: JsonRecord | undefined;
  #roots: readonly string[] = [];
  #fold: FoldInfo | undefined;
  #rows = 0;
  #total = 0;

  constructor(reader: TraceReader, options: VerifyOptions) {
    this.#reader = reader;
    this.#options = options;
    this.#events = new EventCheck(reader, this.#problems, this.#lengths);
  }

  run(): VerifyReport {
    // beside a recorder rows are packed, and dropped
    this.#try({}, () => this.#reader.hold());
    this.#try({}, () => this.#total = this.#reader.countAll());
    this.#info();
    // While it is recorded its file changes, and a long look at it would hold up the recorder.
    if (this.#state !== "recording") {
      this.#try({}, () => {
        for (const line of this.#reader.integrity(INTEGRITY_LINES_MAX)) {
          this.#problems.add({}, `SQLite: ${line}`);
        }
      });
    }
    this.#strayKeys();
    this.#content();
    this.#each("info", ({ row }) => {
      this.#json(row);
    });
    this.#each("process", ({ row, key }) => this.#process(row, key));
    this.#batches();
    this.#keyframes();
    this.#checkCounts();
    return this.#report();
  }

  #report(): VerifyReport {
    const { events, lastNs } = this.#events;
    return {
      state: this.#state,
      endNs: Math.max(lastNs, this.#end?.endNs ?? 0),
      events,
      files: this.#events.fileCount(),
      rows: this.#rows,
      audit: this.#end?.audit,
      left: this.#left(),
      problems: this.#problems.kept,
      problemCount: this.#problems.count,
    };
  }

  /** Files that the trace refers to, each compared with the one on disk. */
  #left(): VerifyReport["left"] {
    const { left } = this.#events;
    if (left.files.size === 0 || this.#problems.count > 0) return undefined;
    return left.compare(this.#roots);
  }

  #info(): void {
    this.#try({}, () => {
      const { recording, end, state } = this.#reader.info();
      this.#state = state;
      this.#roots = decodeRecording(recording).rootPaths;
      this.#takeFold();
      if (end === undefined) return;
      this.#end = decodeEnd(end);
      const stored = end["stored"];
      if (typeof stored === "object" && stored !== null && !Array.isArray(stored)) {
        this.#stored = stored;
      } else this.#problems.add({ path: "i:end" }, "it does not say how many rows there are");
    });
  }

  #takeFold(): void {
    const json = this.#reader.extraInfo(INFO_FOLD);
    if (json === undefined) return;
    this.#fold = decodeFold(json);
    this.#events.foldedTo(this.#fold.seq);
  }

  /** Keys that are of no sort stand between the ranges of the sorts. */
  #strayKeys(): void {
    let from: Uint8Array = new Uint8Array(0);
    const sorts = (Object.keys(KEY_LETTERS) as Sort[])
      .sort((a, b) => KEY_LETTERS[a] < KEY_LETTERS[b] ? -1 : 1);
    for (const range of [...sorts.map(rangeOf), { from: KEY_END, to: KEY_END }]) {
      for (;;) {
        const next = this.#next({ from, to: range.from });
        if (next === undefined) break;
        this.#problems.add({ row: next.row?.id, key: next.bytes }, "it is not a key");
        from = keyAfter(next.bytes);
      }
      from = range.to;
    }
  }

  /** Rows of payload; their lengths are kept for the extents that point to them. */
  #content(): void {
    this.#each("content", ({ row, key }) => {
      const length = this.#payload(row);
      const bytes = this.#reader.slice({ row: row.id, offset: 0, length });
      if (sha256Hex(bytes) !== key.sha256) this.#wrong(row, "it is not what its key says");
      if (length > SOLID_BYTES_MAX) this.#wrong(row, "it is larger than a chunk");
    });
    this.#each("data", ({ row, key }) => {
      this.#payload(row);
      if (key.n !== row.id) this.#wrong(row, `its key is not that of row ${row.id}`);
    });
  }

  /** Checks a row of payload, raw or packed; returns the bytes it stands for. */
  #payload(row: Row): number {
    const { kind, payload } = unwrapAny(row.value);
    let length = payload.length;
    // of kind PACKED_EVENTS: it was a row of events that were folded
    const isPacked = kind === ValueKind.PACKED_DATA || kind === ValueKind.PACKED_EVENTS;
    if (isPacked) length = unpackAll(this.#reader, row.id);
    else if (kind !== ValueKind.DATA) this.#wrong(row, "it holds no payload");
    this.#lengths.set(row.id, length);
    if (isPacked) this.#events.packed(row.id, kind === ValueKind.PACKED_EVENTS);
    return length;
  }

  #json(row: Row): JsonRecord {
    let value: unknown;
    try {
      value = JSON.parse(utf8.decode(unwrap(row.value, ValueKind.JSON)));
    } catch (thrown) {
      if (thrown instanceof DiffKeeperError) throw thrown;
      throw new DiffKeeperError("data_corrupt", "it is not JSON", { cause: thrown });
    }
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as JsonRecord;
    }
    throw new DiffKeeperError("data_corrupt", "it is not a JSON object");
  }

  #process(row: Row, key: KeyOf<"process">): void {
    if (row.value[4] === ValueKind.PACKED_JSON) return this.#packedProcesses(row, key);
    this.#processInfo(row, key, this.#json(row));
  }

  #packedProcesses(row: Row, first: KeyOf<"process">): void {
    const packed = decodePackedJson(row.value);
    this.#counts.set("process", (this.#counts.get("process") ?? 0) + packed.length - 1);
    for (const [index, one] of packed.entries()) {
      const { key: text, info } = one as { key?: unknown; info?: unknown };
      const isWhole = typeof text === "string" && typeof info === "object" && info !== null;
      if (!isWhole) throw new DiffKeeperError("data_corrupt", "a process is not whole");
      const key = parseKey(Buffer.from(text, "latin1"));
      if (!isSort(key, "process")) throw new DiffKeeperError("data_corrupt", "it is no process");
      if (index === 0 && (key.pid !== first.pid || key.startNs !== first.startNs)) {
        this.#wrong(row, "its first process is not that of its key");
      }
      this.#processInfo(row, key, info as JsonRecord);
    }
  }

  #processInfo(row: Row, key: KeyOf<"process">, info: JsonRecord): void {
    const { pid, startNs } = info;
    if (pid !== undefined && pid !== key.pid) this.#wrong(row, "its pid is not that of its key");
    // A process that was there before the command has a start below 0, its key 0.
    const start = typeof startNs === "number" ? Math.max(0, startNs) : startNs;
    if (start !== undefined && start !== key.startNs) {
      this.#wrong(row, "its start is not that of its key");
    }
  }

  /** Baseline, journal and versions: the first walk checks all, further ones only the next chunk of versions. */
  #batches(): void {
    const events = this.#events;
    const chunks = this.#versionChunks();
    events.begin(chunks.next().value);
    this.#each("baseline", ({ row, key }) => events.baseline(row, key.n));
    this.#each("saved", ({ row, key }) => events.saved(row, key.n));
    this.#each("journal", ({ row, key }) => events.journal(row, key));
    events.finish();
    for (const further of chunks) {
      if (!events.isBroken) this.#try({}, () => events.again(further));
    }
  }

  /** Every keyframe must fold, and what it points to must be there. */
  #keyframes(): void {
    this.#each("keyframe", ({ row, key }) => {
      if (key.part === 0) this.#json(row);
      else this.#events.part(row);
    });
    for (let before = Number.POSITIVE_INFINITY;;) {
      const found = this.#try({}, () => this.#reader.keyframe((seq) => seq < before));
      if (found === undefined) return;
      before = found.seq;
      this.#try({ path: `keyframe #${found.seq}` }, () => {
        const rest = decodeKeyframeRest(found.rest);
        const history = new History();
        for (const { cursor, row } of countParts(found.parts(), rest.parts)) {
          history.fold(cursor, row);
        }
        if (history.tree.size !== rest.nodes) throw wrongKeyframe();
      });
    }
  }

  *#versionChunks(): Generator<VersionChunk, undefined> {
    const make = () => new VersionChunk(this.#problems, this.#roots, this.#options.chunkEntries);
    let chunk = make();
    for (const { row, key } of this.#sort("version")) {
      const source = { row: row.id, path: key.path };
      const versions = this.#try({ row: row.id, key: row.key }, () => decodeVersions(row.value));
      if (versions === undefined) continue;
      if (versions[0]?.tNs !== key.tNs) this.#wrong(row, "its first time is not that of its key");
      for (const version of versions) {
        if (chunk.isFull) {
          yield chunk;
          chunk = make();
        }
        chunk.add(source, version);
      }
    }
    yield chunk;
    return undefined;
  }

  /** What the end row says there is must be there; and the index must have led to every row of the table. */
  #checkCounts(): void {
    if (this.#state !== "recording" && this.#rows !== this.#total) {
      this.#problems.add({}, `of ${this.#total} rows ${this.#rows} are found by their keys`);
    }
    if (this.#stored === undefined) return;
    const found: [string, number][] = [["lastSeq", this.#events.lastSeq]];
    for (const [name, sort] of STORED_SORTS) found.push([name, this.#counts.get(sort) ?? 0]);
    for (const [name, count] of found) {
      this.#agree(`stored.${name}`, this.#stored[name] ?? ABSENT[name], count);
    }
    this.#agree("events", this.#end?.events, this.#events.events + (this.#fold?.seq ?? 0));
    const { fidelity } = this.#events;
    for (const word of INEXACT_WORDS) {
      const found = fidelity[word] + (this.#fold?.dropped.fidelity[word] ?? 0);
      this.#agree(`fidelity.${word}`, this.#end?.fidelity?.[word] ?? found, found);
    }
  }

  #agree(name: string, said: unknown, found: number): void {
    if (said === found) return;
    this.#problems.add({ path: "i:end" }, `it says ${name} is ${said}, there are ${found}`);
  }

  #each<S extends Sort>(sort: S, check: (found: { row: Row; key: KeyOf<S> }) => void): void {
    for (const found of this.#sort(sort)) {
      this.#try({ row: found.row.id, key: found.row.key }, () => check(found));
    }
  }

  /** The rows of one sort whose keys are in their form. */
  *#sort<S extends Sort>(sort: S): Generator<{ row: Row; key: KeyOf<S> }> {
    const range = rangeOf(sort);
    let from = range.from;
    for (;;) {
      const next = this.#next({ from, to: range.to });
      if (next === undefined) return;
      from = keyAfter(next.bytes);
      this.#counts.set(sort, (this.#counts.get(sort) ?? 0) + 1);
      if (next.row === undefined) continue;
      const key = this.#try({ row: next.row.id, key: next.bytes }, () => parseKey(next.bytes));
      if (key !== undefined && isSort(key, sort)) yield { row: next.row, key };
    }
  }

  /** The next key of the range and its row, which is absent where it cannot be had. Undefined: no more can be found. */
  #next(range: KeyRange): { bytes: Uint8Array; row: Row | undefined } | undefined {
    const bytes = this.#try({}, () => this.#reader.keyFrom(range));
    if (bytes === undefined) return undefined;
    if (++this.#rows % PROGRESS_ROWS === 0) this.#options.onRows?.(this.#rows, this.#total);
    return { bytes, row: this.#try({ key: bytes }, () => this.#reader.rowOf(bytes)) };
  }

  #wrong(row: Row, text: string): void {
    this.#problems.add({ row: row.id, key: row.key }, text);
  }

  /** Makes a problem of what is damaged; what else fails is thrown on. */
  #try<T>(where: { row?: number; key?: Uint8Array; path?: string }, run: () => T): T | undefined {
    try {
      return run();
    } catch (thrown) {
      if (!(thrown instanceof DiffKeeperError) || !DAMAGE.has(thrown.code)) throw thrown;
      this.#problems.add(where, reasonOf(thrown));
      return undefined;
    }
  }
}

/** Codes of errors that say something of the trace and not of this machine. */
const DAMAGE: ReadonlySet<string> = new Set(["data_corrupt", "truncated", "version_too_new"]);

/** Counts that traces of version 1 do not have. */
const ABSENT: Readonly<Record<string, number>> = { keyframes: 0, saved: 0 };

/** Counts of `stored` in `i:end`, each with its sort of rows. */
const STORED_SORTS: readonly (readonly [string, Sort])[] = [
  ["baseline", "baseline"],
  ["journal", "journal"],
  ["data", "data"],
  ["versions", "version"],
  ["processes", "process"],
  ["contents", "content"],
  ["saved", "saved"],
  ["keyframes", "keyframe"],
];

/** The innermost message without its first half, which says what was tried and not what is wrong. */
export function reasonOf(thrown: DiffKeeperError): string {
  let error: Error = thrown;
  for (let depth = 0; depth < ERROR_CAUSES_MAX && error.cause instanceof Error; depth++) {
    error = error.cause;
  }
  return error.message.replace(/^cannot read (?:a value|a batch|the versions|trace)[^:]*: /, "");
}

function isSort<S extends Sort>(key: TraceKey, sort: S): key is KeyOf<S> {
  return key.sort === sort;
}
