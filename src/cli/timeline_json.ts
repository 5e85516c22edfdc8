/**
 * The timeline as JSON, one object per line: a contract that programs rely on. Keys that are always
 * there: seq, t_ns, wall, op, root, path (the last two null where an event has no place in a watched folder). Where they
 * apply: path_b64, to, to_b64, offset, length, pid, comm, outside, and what an operation has of its own.
 */
import { INEXACT_FLAGS, inexactWords } from "../format/fidelity.ts";
import { EventFlag, Op, type OpName, shownOp } from "../format/trace_event.ts";
import { base64Of, isText, textOf } from "../history/path_text.ts";
import type { EventPlace } from "../history/places.ts";
import type { TimelineEntry } from "../history/timeline.ts";
import type { Trace } from "../history/trace.ts";

const NS_PER_S = 1_000_000_000;

/** Names of operations by code. */
export const OP_NAMES: ReadonlyMap<number, OpName> = new Map(
  Object.entries(Op).map(([name, code]) => [code, name as OpName]),
);

/** Flags that a line shows. */
const SHOWN_FLAGS = EventFlag.OUTSIDE | INEXACT_FLAGS;
const WRITE_HEAD = '{"seq":0,"t_ns":0,"wall":""';

const HAS_OFFSET: ReadonlySet<number> = new Set([
  Op.WRITE,
  Op.FALLOCATE,
  Op.COLLAPSE,
  Op.INSERT,
  Op.MMAP,
]);
const HAS_LENGTH: ReadonlySet<number> = new Set([
  Op.WRITE,
  Op.FALLOCATE,
  Op.COLLAPSE,
  Op.INSERT,
  Op.MMAP,
  Op.TRUNCATE,
  Op.RESYNC,
  Op.OUTPUT,
]);

/** Makes the lines of one trace. */
export class TimelineJson {
  readonly #trace: Trace;
  readonly #roots: readonly string[];
  readonly #why: boolean;
  readonly #startS: number;
  readonly #startNs: number;
  #place: EventPlace | undefined;
  #comm: string | undefined;
  #middle = "";
  #tail = "";
  #second = -1;
  #secondText = "";

  /** @param options.why with a list of why an event is not exact. */
  constructor(trace: Trace, options: { why: boolean } = { why: false }) {
    this.#why = options.why;
    const { startEpochNs, rootPaths } = trace.recording;
    this.#trace = trace;
    this.#roots = rootPaths;
    this.#startS = Number(startEpochNs / BigInt(NS_PER_S));
    this.#startNs = Number(startEpochNs % BigInt(NS_PER_S));
  }

  /** One event as one line, without the newline. */
  line(entry: TimelineEntry): string {
    const isPlainWrite = entry.event === undefined && (entry.flags & SHOWN_FLAGS) === 0;
    return isPlainWrite ? this.#writeLine(entry) : this.#anyLine(entry);
  }

  /** As `#anyLine` says it, three times as fast: nearly all lines are writes. */
  #writeLine(entry: TimelineEntry): string {
    const { seq, tNs, place, offset, length, pid, comm } = entry;
    if (place !== this.#place || comm !== this.#comm) {
      const object = this.#head(entry);
      this.#place = place;
      this.#comm = comm;
      // {"seq":0,"t_ns":0,"wall":"","op":... without what changes from write to write
      this.#middle = JSON.stringify({ ...object, seq: 0, t_ns: 0, wall: "" }).slice(
        WRITE_HEAD.length,
        -1,
      );
      this.#tail = `"comm":${JSON.stringify(textOf(comm))}${
        place.unlinked ? ',"unlinked":true' : ""
      }}`;
    }
    return `{"seq":${seq},"t_ns":${tNs},"wall":"${
      this.wall(tNs)
    }"${this.#middle},"offset":${offset},` +
      `"length":${length},"pid":${pid},${this.#tail}`;
  }

  #head(entry: TimelineEntry): Record<string, unknown> {
    const { seq, tNs, op, flags, place } = entry;
    const object: Record<string, unknown> = {
      seq,
      t_ns: tNs,
      wall: this.wall(tNs),
      op: OP_NAMES.get(shownOp(op, flags)),
      root: place.root < 0 ? null : textOf(this.#roots[place.root] ?? ""),
    };
    putPath(object, "path", place.path);
    return object;
  }

  #anyLine(entry: TimelineEntry): string {
    const { op, place, pid, flags } = entry;
    const object = this.#head(entry);
    if (op === Op.RENAME) putPath(object, "to", place.to);
    if (place.toRoot !== undefined && place.toRoot !== place.root) {
      object["to_root"] = textOf(this.#roots[place.toRoot] ?? "");
    }
    if (op === Op.LINK && place.of !== undefined) putPath(object, "of", place.of);
    if (HAS_OFFSET.has(op)) object["offset"] = entry.offset;
    if (HAS_LENGTH.has(op)) object["length"] = entry.length;
    if (pid !== 0) {
      object["pid"] = pid;
      object["comm"] = textOf(entry.comm);
    }
    if ((flags & EventFlag.OUTSIDE) !== 0) object["outside"] = true;
    if ((flags & EventFlag.UNREAD) !== 0) object["unread"] = true;
    if ((flags & EventFlag.MAPPED) !== 0) object["stored"] = true;
    if ((flags & EventFlag.SETTLED) !== 0) object["settled"] = true;
    if ((flags & EventFlag.CONCURRENT) !== 0) object["concurrent"] = true;
    if (place.unlinked) object["unlinked"] = true;
    if (this.#why) object["why"] = inexactWords(op, flags);
    if (entry.event !== undefined) putDetails(object, entry, this.#trace);
    return JSON.stringify(object);
  }

  /** Wall clock of an event, RFC 3339 with nanoseconds. */
  wall(tNs: number): string {
    const seconds = Math.floor(tNs / NS_PER_S);
    const ns = this.#startNs + (tNs - seconds * NS_PER_S);
    const second = this.#startS + seconds + (ns >= NS_PER_S ? 1 : 0);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, 19);
    }
    return `${this.#secondText}.${String(ns % NS_PER_S).padStart(9, "0")}Z`;
  }
}

function putPath(object: Record<string, unknown>, key: string, path: string | undefined): void {
  object[key] = path === undefined ? null : path === "" ? "." : textOf(path);
  if (path !== undefined && !isText(path)) object[`${key}_b64`] = base64Of(path);
}

/** What an operation has of its own. */
function putDetails(object: Record<string, unknown>, entry: TimelineEntry, trace: Trace): void {
  const { event, op, flags } = entry;
  if (event === undefined) return;
  if (op === Op.RENAME && (flags & EventFlag.EXCHANGE) !== 0) object["exchange"] = true;
  if (event.target !== undefined) putPath(object, "target", event.target);
  if (event.attr !== undefined) {
    object["mode"] = `0${(event.attr.mode & 0o7777).toString(8)}`;
    object["uid"] = event.attr.uid;
    object["gid"] = event.attr.gid;
  }
  if (event.source !== undefined) object["copied_from"] = event.source.offset;
  if (event.xattrName !== undefined) object["xattr"] = textOf(event.xattrName);
  if (op === Op.EXEC) {
    object["exe"] = textOf(event.path ?? "");
    object["argv"] = (event.argv ?? []).map(textOf);
  }
  if (op === Op.EXIT) {
    object["exit_code"] = exitCodeOfStatus(event.length ?? 0);
  }
  if (op === Op.OUTPUT) {
    object["stream"] = event.offset === 2 ? "stderr" : "stdout";
    object["text"] = trace.outputText(event);
  }
  if (event.text !== undefined) object["text"] = event.text;
  if (event.loss !== undefined) {
    object["lost_events"] = event.loss.events;
    object["lost_bytes"] = event.loss.bytes;
  }
}

/** A wait status ((code << 8) | signal) as the shell says it: 128+n for signal n. */
export function exitCodeOfStatus(status: number): number {
  const signal = status & 0x7f;
  return signal !== 0 ? 128 + signal : (status >>> 8) & 0xff;
}
