/**
 * What the rows `i:recording`, `i:end` and `i:cut` of a trace say, as values: the recorder writes them with `encode*`, every reader
 * gets them with `decode*`. Both are JSON objects; unknown keys are skipped, so that newer recorders can say more.
 * Paths that are not UTF-8 stand in base64 beside a readable form.
 */
import { Buffer, isUtf8 } from "node:buffer";
import { DiffKeeperError } from "../base/error.ts";
import { formatCount } from "../base/units.ts";
import { type Fidelity, INEXACT_WORDS, newFidelity } from "./fidelity.ts";

/** A JSON object as it comes out of a trace. */
export type JsonRecord = { readonly [key: string]: unknown };

/** What was known when the recording began. */
export interface RecordingInfo {
  argv: string[];
  cwd: string;
  /** What the user called the recording; "" for none. */
  name: string;
  /** Names of the command's environment variables; values are not stored. */
  envNames: string[];
  /** Absolute paths of the watched folders by index, binary strings. */
  rootPaths: string[];
  /** Patterns of what alone is recorded and of what is left out. Absent: not known (older recorders did not say). */
  include?: string[];
  exclude?: string[];
  /** Wall clock of the start, nanoseconds since 1970. t_ns 0 is this moment. */
  startEpochNs: bigint;
  /** As uname -r; the machine as uname -m. */
  kernel: string;
  machine: string;
  host: string;
  /** How changes were seen: `ebpf (fentry)`. */
  tracer: string;
  /** Of the contents that are saved beside the trace; absent: none are. */
  savedId?: number;
  /** Version by component: diffkeeper, trace, bun, libbpf. */
  versions: Record<string, string>;
}

/** What the audit at the end compared. */
export interface AuditInfo {
  /** Names. */
  entries: number;
  /** Files whose bytes were compared, of those that were written and were there. */
  contents: number;
  written: number;
  /** Names that were not as recorded, or held other bytes, and were healed. */
  differences: number;
  /** Of them, those that were there still when all had been healed. */
  left: number;
}

/** Behind a number of differences: what became of them. */
export function healedText({ differences, left }: AuditInfo): string {
  if (differences === 0) return "";
  return left === 0 ? ", healed at the end" : `, ${formatCount(left)} could not be healed`;
}

/** What was known when it ended in order. */
export interface EndInfo {
  /** As the shell says it: 128+n for signal n. */
  exitCode: number;
  /** t_ns of the end. */
  endNs: number;
  events: number;
  /** Bytes written by the events. */
  bytes: number;
  /** Files touched: what is no folder and an event is about. */
  files: number;
  /** Events lost, and bytes of content lost. */
  lostEvents: number;
  lostBytes: number;
  /** Events lost by class: ring_full, unread... */
  losses: Record<string, number>;
  /** What was compared with the real folders at the end. Absent: nothing. */
  audit?: AuditInfo;
  /** Events of the journal that are not exact. Absent: not counted. */
  fidelity?: Fidelity;
  /** Processes of the command that were alive when the recording ended. Absent: not counted. */
  running?: number;
  /** Absent: no file was mapped shared and writable. */
  sampled?: SampledInfo;
}

/** How well changes through shared mappings were seen. */
export interface SampledInfo {
  /** Files that were mapped shared and writable. */
  files: number;
  /** How often they were to be compared between sync points, and the longest time between two comparisons. */
  intervalMs: number;
  slowestMs: number;
}

/** `3 files mapped shared, every 20 ms (at most 45 ms apart)`: what happened between sync points is as old as that. */
export function sampledText({ files, intervalMs, slowestMs }: SampledInfo): string {
  const what = files === 1 ? "1 file mapped shared" : `${files} files mapped shared`;
  const slowest = slowestMs > intervalMs ? ` (at most ${slowestMs} ms apart)` : "";
  return `${what}, every ${intervalMs} ms${slowest}`;
}

/** The JSON object of `i:recording`. */
export function encodeRecording(info: RecordingInfo): JsonValueRecord {
  return {
    argv: info.argv,
    cwd: info.cwd,
    name: info.name,
    env: info.envNames,
    roots: info.rootPaths.map((path) => ({
      path: Buffer.from(path, "latin1").toString("utf8"),
      ...(isUtf8(Buffer.from(path, "latin1"))
        ? {}
        : { path_b64: Buffer.from(path, "latin1").toString("base64") }),
    })),
    ...(info.include === undefined ? {} : { include: info.include }),
    ...(info.exclude === undefined ? {} : { exclude: info.exclude }),
    start_epoch_ns: String(info.startEpochNs),
    kernel: info.kernel,
    machine: info.machine,
    host: info.host,
    tracer: info.tracer,
    ...(info.savedId === undefined ? {} : { saved_id: info.savedId }),
    versions: info.versions,
  };
}

/** The JSON object of `i:end`. */
export function encodeEnd(end: EndInfo): JsonValueRecord {
  return {
    exit_code: end.exitCode,
    end_ns: end.endNs,
    events: end.events,
    bytes: end.bytes,
    files: end.files,
    lost_events: end.lostEvents,
    lost_bytes: end.lostBytes,
    losses: end.losses,
    ...(end.audit === undefined ? {} : { audit: auditJson(end.audit) }),
    ...(end.fidelity === undefined ? {} : { fidelity: { ...end.fidelity } }),
    ...(end.running === undefined ? {} : { running: end.running }),
    ...(end.sampled === undefined ? {} : {
      sampled: {
        files: end.sampled.files,
        interval_ms: end.sampled.intervalMs,
        slowest_ms: end.sampled.slowestMs,
      },
    }),
  };
}

/** Why recording stopped before the command did: an error of the recorder. */
export interface CutInfo {
  code: string;
  message: string;
}

/** The JSON object of `i:cut`. */
export function encodeCut({ code, message }: CutInfo): JsonValueRecord {
  return { code, message };
}

/** @throws {DiffKeeperError} `data_corrupt`, as `decodeRecording`. */
export function decodeCut(json: JsonRecord): CutInfo {
  return { code: text(json, "code"), message: text(json, "message") };
}

/** JSON that can be stored. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonValueRecord;
/** A JSON object that can be stored. */
export interface JsonValueRecord {
  [key: string]: JsonValue;
}

/** @throws {DiffKeeperError} `data_corrupt` when a key that must be there is not, or is of another kind. */
export function decodeRecording(json: JsonRecord): RecordingInfo {
  const epoch = text(json, "start_epoch_ns");
  if (!/^\d{1,20}$/.test(epoch)) throw wrong("start_epoch_ns");
  return {
    argv: strings(json, "argv"),
    cwd: text(json, "cwd", ""),
    name: text(json, "name", ""),
    envNames: strings(json, "env", []),
    rootPaths: list(json, "roots").map(rootPath),
    ...(json["include"] === undefined ? {} : { include: strings(json, "include") }),
    ...(json["exclude"] === undefined ? {} : { exclude: strings(json, "exclude") }),
    startEpochNs: BigInt(epoch),
    kernel: text(json, "kernel", ""),
    machine: text(json, "machine", ""),
    host: text(json, "host", ""),
    tracer: text(json, "tracer", ""),
    ...(json["saved_id"] === undefined ? {} : { savedId: count(json, "saved_id") }),
    versions: mapOf(json, "versions", (value): value is string => typeof value === "string"),
  };
}

/** @throws {DiffKeeperError} `data_corrupt`, as `decodeRecording`. */
export function decodeEnd(json: JsonRecord): EndInfo {
  return {
    exitCode: count(json, "exit_code"),
    endNs: count(json, "end_ns"),
    events: count(json, "events"),
    bytes: count(json, "bytes"),
    files: count(json, "files"),
    lostEvents: count(json, "lost_events"),
    lostBytes: count(json, "lost_bytes"),
    losses: mapOf(json, "losses", (value): value is number => typeof value === "number"),
    ...audit(json),
    ...fidelity(json),
    ...(json["running"] === undefined ? {} : { running: count(json, "running") }),
    ...sampled(json),
  };
}

function auditJson({ entries, contents, written, differences, left }: AuditInfo) {
  return { entries, contents, written, differences, left };
}

function audit(json: JsonRecord): { audit?: AuditInfo } {
  const found = json["audit"];
  if (found === undefined) return {};
  if (!isRecord(found)) throw wrong("audit");
  const [entries, differences] = [count(found, "entries"), count(found, "differences")];
  // absent in traces of before
  const of = (key: string) => found[key] === undefined ? 0 : count(found, key);
  const [contents, written, left] = [of("contents"), of("written"), of("left")];
  return { audit: { entries, contents, written, differences, left } };
}

function fidelity(json: JsonRecord): { fidelity?: Fidelity } {
  const found = json["fidelity"];
  if (found === undefined) return {};
  if (!isRecord(found)) throw wrong("fidelity");
  const fidelity = newFidelity();
  for (const word of INEXACT_WORDS) fidelity[word] = count(found, word);
  return { fidelity };
}

function sampled(json: JsonRecord): { sampled?: SampledInfo } {
  const found = json["sampled"];
  if (found === undefined) return {};
  if (!isRecord(found)) throw wrong("sampled");
  const intervalMs = count(found, "interval_ms");
  return {
    sampled: { files: count(found, "files"), intervalMs, slowestMs: count(found, "slowest_ms") },
  };
}

function rootPath(value: unknown): string {
  if (!isRecord(value)) throw wrong("roots");
  const exact = value["path_b64"];
  const bytes = typeof exact === "string"
    ? Buffer.from(exact, "base64")
    : Buffer.from(text(value, "path"), "utf8");
  return bytes.toString("latin1");
}

function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(json: JsonRecord, key: string, absent?: string): string {
  const value = json[key] ?? absent;
  if (typeof value !== "string") throw wrong(key);
  return value;
}

function count(json: JsonRecord, key: string): number {
  const value = json[key] ?? 0;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw wrong(key);
  return value;
}

function list(json: JsonRecord, key: string, absent?: unknown[]): unknown[] {
  const value = json[key] ?? absent;
  if (!Array.isArray(value)) throw wrong(key);
  return value;
}

function strings(json: JsonRecord, key: string, absent?: string[]): string[] {
  return list(json, key, absent).map((value) => {
    if (typeof value !== "string") throw wrong(key);
    return value;
  });
}

function mapOf<T>(
  json: JsonRecord,
  key: string,
  is: (value: unknown) => value is T,
): Record<string, T> {
  const found = json[key] ?? {};
  if (!isRecord(found)) throw wrong(key);
  const result: Record<string, T> = {};
  for (const [name, value] of Object.entries(found)) {
    if (!is(value)) throw wrong(key);
    result[name] = value;
  }
  return result;
}

function wrong(key: string): DiffKeeperError {
  return new DiffKeeperError(
    "data_corrupt",
    `cannot read the trace: its info has no valid "${key}"`,
  );
}
