/**
 * The timeline for people: `[00m:01.203s] #1042 WRITE status.log (15B) python3[4711]`, one line per event or burst. On a
 * terminal the columns are aligned and colored; in a pipe they are plain, so that other programs find single spaces. Names
 * and output are escaped: nothing recorded can write to the terminal.
 */
import { formatBytes, formatCount } from "../base/units.ts";
import { inexactWords } from "../format/fidelity.ts";
import { formatTime } from "../format/time_expr.ts";
import { EventFlag, Op, shownOp, type TraceEvent } from "../format/trace_event.ts";
import type { Burst } from "../history/bursts.ts";
import { printed, textOf } from "../history/path_text.ts";
import type { Trace } from "../history/trace.ts";
import { oneLine } from "./output.ts";
import { exitCodeOfStatus, OP_NAMES } from "./timeline_json.ts";

/** Characters of output, arguments and texts that a line shows. */
const TEXT_CHARS_MAX = 80;
/** Bytes of output that are looked at for that. */
const OUTPUT_BYTES_MAX = 1024;
/** Escaped names kept; then all are forgotten, because they can be made again. */
const TEXTS_KEPT_MAX = 4096;
/** Stands for a path: no watched folder has it, and a file that never had a name (O_TMPFILE). */
const ELSEWHERE = "<elsewhere>";
const UNNAMED = "<unnamed>";
const OP_WIDTH = 8;

const SGR = { reset: "\x1b[0m", dim: "\x1b[2m", bold: "\x1b[1m", gap: "\x1b[1;31m" } as const;
const OP_COLORS: Readonly<Record<number, string>> = {
  [Op.CREATE]: "\x1b[32m",
  [Op.MKDIR]: "\x1b[32m",
  [Op.SYMLINK]: "\x1b[32m",
  [Op.LINK]: "\x1b[32m",
  [Op.WRITE]: "\x1b[33m",
  [Op.TRUNCATE]: "\x1b[33m",
  [Op.RENAME]: "\x1b[36m",
  [Op.UNLINK]: "\x1b[31m",
  [Op.RMDIR]: "\x1b[31m",
  [Op.EXEC]: "\x1b[35m",
  [Op.EXIT]: "\x1b[35m",
  [Op.GAP]: SGR.gap,
};

const FILE_TYPES: Readonly<Record<number, string>> = {
  [0o010000]: "fifo",
  [0o020000]: "character device",
  [0o060000]: "block device",
  [0o140000]: "socket",
};

/** How lines look. */
export interface TextStyle {
  color: boolean;
  aligned: boolean;
  /** Say of each line why it is not exact. */
  why: boolean;
}

/** Makes the lines of one trace. */
export class TimelineText {
  readonly #trace: Trace;
  readonly #roots: readonly string[];
  readonly #style: TextStyle;
  readonly #seqWidth: number;
  #ms = -1;
  #timeText = "";
  readonly #texts = new Map<string, string>();

  constructor(trace: Trace, style: TextStyle) {
    this.#trace = trace;
    this.#roots = trace.recording.rootPaths;
    this.#style = style;
    this.#seqWidth = style.aligned ? String(trace.range().lastSeq).length + 1 : 0;
  }

  /** One line, without the newline. */
  line(burst: Burst): string {
    const { last } = burst;
    const { aligned } = this.#style;
    const name = OP_NAMES.get(shownOp(last.op, last.flags)) ?? "?";
    const number = `#${last.seq}`.padStart(this.#seqWidth);
    const op = aligned ? name.padEnd(OP_WIDTH) : name;
    const parts = [this.#paint(this.#time(last.tNs), SGR.dim), number];
    parts.push(this.#paint(op, OP_COLORS[last.op]));
    const subject = this.#subject(burst);
    if (subject !== "") parts.push(last.op === Op.GAP ? this.#paint(subject, SGR.gap) : subject);
    const details = detailsOf(burst, this.#style.why);
    if (details !== "") parts.push(`(${details})`);
    if (last.pid !== 0) {
      parts.push(this.#paint(`${this.#escaped(last.comm)}[${last.pid}]`, SGR.dim));
    }
    return parts.join(" ");
  }

  /** Many events share a millisecond. */
  #time(tNs: number): string {
    const ms = Math.floor(tNs / 1_000_000);
    if (ms !== this.#ms) this.#timeText = `[${formatTime(tNs)}]`;
    this.#ms = ms;
    return this.#timeText;
  }

  #paint(text: string, color: string | undefined): string {
    return this.#style.color && color !== undefined ? `${color}${text}${SGR.reset}` : text;
  }

  #subject(burst: Burst): string {
    const { op, place, event, flags } = burst.last;
    if (event !== undefined) {
      const text = event.op === Op.OUTPUT ? this.#output(event) : textSubject(event);
      if (text !== undefined) return text;
    }
    const path = this.#path(place.root, place.path);
    if (op === Op.RENAME) {
      const arrow = (flags & EventFlag.EXCHANGE) !== 0 ? "<->" : "->";
      const from = place.path === undefined ? ELSEWHERE : path;
      const to = place.to === undefined ? ELSEWHERE : this.#path(place.toRoot ?? -1, place.to);
      return `${from} ${arrow} ${to}`;
    }
    if (op === Op.LINK && place.of !== undefined) {
      return `${path} of ${this.#path(place.ofRoot ?? -1, place.of)}`;
    }
    if (op === Op.SYMLINK) return `${path} -> ${this.#escaped(event?.target ?? "")}`;
    return path;
  }

  /** The stream and the first line of what was printed. */
  #output(event: TraceEvent): string {
    const stream = event.offset === 2 ? "stderr" : "stdout";
    const text = this.#trace.outputText(event, OUTPUT_BYTES_MAX);
    const end = text.indexOf("\n");
    const first = end < 0 ? text : text.slice(0, end);
    const more = end >= 0 && end < text.length - 1 ? " ..." : "";
    return `${stream} "${clipped(first)}"${more}`;
  }

  /** Relative to the watched folder; absolute where there are several. */
  #path(root: number, path: string | undefined): string {
    if (path === undefined) return UNNAMED;
    if (this.#roots.length < 2 || root < 0) return path === "" ? "." : this.#escaped(path);
    const folder = this.#roots[root] ?? "";
    return this.#escaped(path === "" ? folder : `${folder}/${path}`);
  }

  /** A binary string for the eye; the same few come again and again. */
  #escaped(binary: string): string {
    const known = this.#texts.get(binary);
    if (known !== undefined) return known;
    const text = printed(binary);
    if (this.#texts.size >= TEXTS_KEPT_MAX) this.#texts.clear();
    this.#texts.set(binary, text);
    return text;
  }
}

/** The subject of events that are not about a path. */
function textSubject(event: TraceEvent): string | undefined {
  switch (event.op) {
    case Op.EXEC:
      return clipped((event.argv ?? [event.path ?? ""]).map(shellWord).join(" "));
    case Op.EXIT:
      return "";
    case Op.GAP:
      return gapText(event);
    case Op.NOTE:
      return clipped(event.text ?? "");
    default:
      return undefined;
  }
}

function gapText(event: TraceEvent): string {
  const { events, bytes } = event.loss ?? { events: 0, bytes: 0 };
  const what = [];
  if (events > 0) what.push(events === 1 ? "1 event" : `${formatCount(events)} events`);
  if (bytes > 0) what.push(formatBytes(bytes));
  const lost = what.length === 0 ? "unknown amount" : what.join(", ");
  const where = event.path === undefined ? "" : ` in ${printed(event.path)}`;
  return `${lost} lost${where}: ${clipped(event.text ?? "no reason given")}`;
}

/** What stands in parentheses. */
function detailsOf(burst: Burst, why: boolean): string {
  const { last, count } = burst;
  const parts: string[] = why ? inexactWords(last.op, burst.flags) : [];
  const own = ownDetails(burst);
  if (own !== "") parts.push(own);
  if (count > 1) parts.push(`since #${burst.firstSeq}`);
  if (!why) parts.push(...flagTexts(burst.flags));
  if (!why && last.op === Op.MMAP) parts.push("mapped");
  if ((burst.flags & EventFlag.OUTSIDE) !== 0) parts.push("outside");
  if (last.place.unlinked) parts.push("deleted");
  return parts.join(", ");
}

/** What a line without --gaps says of an event that is not exact. */
function flagTexts(flags: number): string[] {
  const texts: string[] = [];
  if ((flags & EventFlag.UNREAD) !== 0) texts.push("content not captured");
  if ((flags & EventFlag.SETTLED) !== 0) texts.push("settled");
  if ((flags & EventFlag.CONCURRENT) !== 0) texts.push("concurrent");
  return texts;
}

function ownDetails(burst: Burst): string {
  const { op, event, length, offset } = burst.last;
  switch (op) {
    case Op.WRITE:
      if (event?.source !== undefined) return `${formatBytes(length)} copied`;
      if (burst.count === 1) return formatBytes(length);
      return `${formatBytes(burst.bytes)} in ${formatCount(burst.count)} ${writesOf(burst)}`;
    case Op.OUTPUT:
    case Op.MMAP:
    case Op.RESYNC:
      return formatBytes(length);
    case Op.TRUNCATE:
      return `to ${formatBytes(length)}`;
    case Op.FALLOCATE:
      return `${formatBytes(length)} of zeros at ${offset}`;
    case Op.COLLAPSE:
      return `${formatBytes(length)} cut out at ${offset}`;
    case Op.INSERT:
      return `${formatBytes(length)} of zeros put in at ${offset}`;
    case Op.CHMOD:
      return event?.attr === undefined ? "" : `0${(event.attr.mode & 0o7777).toString(8)}`;
    case Op.CHOWN:
      return event?.attr === undefined ? "" : `${event.attr.uid}:${event.attr.gid}`;
    case Op.MKNOD:
      return FILE_TYPES[(event?.attr?.mode ?? 0) & 0o170000] ?? "";
    case Op.XATTR:
      return xattrText(event);
    case Op.EXIT:
      return exitText(event?.length ?? 0);
    default:
      return "";
  }
}

function writesOf(burst: Burst): string {
  return (burst.last.flags & EventFlag.MAPPED) !== 0 ? "changes" : "writes";
}

function xattrText(event: TraceEvent | undefined): string {
  const name = oneLine(textOf(event?.xattrName ?? ""));
  const value = event?.xattrValue;
  return value === undefined ? `${name} removed` : `${name}, ${formatBytes(value.length)}`;
}

function exitText(status: number): string {
  const signal = status & 0x7f;
  return signal === 0 ? `exit ${exitCodeOfStatus(status)}` : `signal ${signal}`;
}

function clipped(text: string): string {
  const line = oneLine(text);
  return line.length <= TEXT_CHARS_MAX ? line : `${line.slice(0, TEXT_CHARS_MAX - 3)}...`;
}

/** An argument as one would type it. */
export function shellWord(binary: string): string {
  const text = textOf(binary);
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
