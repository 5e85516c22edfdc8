/**
 * Time expressions: what people write after --time, --from, --to and --around, and how the timeline writes a time.
 *
 * The inclusive rule: a time includes everything the timeline prints under it. Written to the second (`2m14s`, and
 * `2m`, which is `2m0s`) it reaches to the end of that second, `2m14.5s` to the end of that tenth, `02m:14.512s` to the
 * end of that millisecond; more digits are finer still. So an expression names a *span*: `before:` ends just before the
 * span, `--from` begins where it begins, `--time` and `--to` end where it ends. Pure: the range of the recording comes
 * from the caller.
 */
import { DiffKeeperError } from "../base/error.ts";

const NS_PER_S = 1_000_000_000;
const NS_PER_MS = 1_000_000;
const DIGITS_MAX = 15;

/** The forms of a time, for hints and `--help`. */
export const TIME_FORMS =
  "2m14s, 2m14.5s, 1h2m, 250ms, 02m:14.512s, '#1042', 'before:#1042', end, end-5s, start, 2025-01-31T12:00:00Z";

/** The inclusive rule in one line, for `--help`. */
export const TIME_RULE =
  "a time includes all that the timeline prints under it: 2m14s reaches to the end of second 14, " +
  "2m14.5s to the end of that tenth; '#1042' is the state after event 1042";

/** What a time expression says, before the recording is known. */
export type TimeExpr =
  & { before: boolean; text: string }
  & (
    | { kind: "event"; seq: number }
    | { kind: "start" }
    | { kind: "end" }
    | { kind: "clock"; ns: number; precisionNs: number }
    | { kind: "fromEnd"; ns: number }
    | { kind: "instant"; epochNs: bigint; precisionNs: number }
  );

/** The range of a recording that expressions are resolved against. */
export interface TimeRange {
  /** Number of the last event, 0 when there is none. */
  lastSeq: number;
  /** The earliest moment there is, when history before it was dropped: the event before the first one that is kept. */
  first?: { seq: number; tNs: number };
  /** Nanoseconds from the start to the end, or to the last event of a cut or running recording. */
  endNs: number;
  /** Wall clock of the start, nanoseconds since 1970-01-01T00:00:00Z. */
  startEpochNs: bigint;
}

/** Events from `from` to `to`, both included, counted by event number or by t_ns. `to < from`: nothing. */
export interface TimeSpan {
  unit: "seq" | "ns";
  from: number;
  to: number;
}

/** Whether an event lies before the span begins. */
export function isBeforeSpan(span: TimeSpan, seq: number, tNs: number): boolean {
  return (span.unit === "seq" ? seq : tNs) < span.from;
}

/** Whether an event lies after the span ends. */
export function isAfterSpan(span: TimeSpan, seq: number, tNs: number): boolean {
  return (span.unit === "seq" ? seq : tNs) > span.to;
}

/** Writes nanoseconds as the timeline does, rounded down to the millisecond: `02m:14.512s`. */
export function formatTime(tNs: number): string {
  const ms = Math.floor(tNs / NS_PER_MS);
  const minutes = Math.floor(ms / 60_000);
  const rest = ms - minutes * 60_000;
  const seconds = Math.floor(rest / 1000);
  const part = rest - seconds * 1000;
  return `${pad(minutes, 2)}m:${pad(seconds, 2)}.${pad(part, 3)}s`;
}

function pad(value: number, width: number): string {
  return String(value).padStart(width, "0");
}

/**
 * Reads a time expression.
 * @throws {DiffKeeperError} code `usage` with the valid forms as hint.
 */
export function parseTime(text: string): TimeExpr {
  const trimmed = text.trim();
  const before = trimmed.startsWith("before:");
  const body = (before ? trimmed.slice(7) : trimmed).replace(/^\[([^\]]*)\]$/, "$1");
  const common = { before, text };
  if (body === "start") return { ...common, kind: "start" };
  if (body === "end") return { ...common, kind: "end" };
  if (body.startsWith("#")) return { ...common, kind: "event", seq: parseSeq(body, text) };
  if (body.startsWith("end-")) {
    return { ...common, kind: "fromEnd", ns: parseDuration(body.slice(4), text).ns };
  }
  if (/^\d{4}-/.test(body)) return { ...common, kind: "instant", ...parseInstant(body, text) };
  return { ...common, kind: "clock", ...parseDuration(body, text) };
}

function parseSeq(body: string, text: string): number {
  if (!/^#\d{1,15}$/.test(body)) {
    const time = /^#(\d+\.\d+)$/.exec(body)?.[1];
    const hint = time === undefined ? "write '#1042'" : `write ${time}s if a time is meant`;
    throw wrong(text, "an event number is # and digits", hint);
  }
  return Number(body.slice(1));
}

const DURATION =
  /^(?:(\d+)h:?)?(?:(\d+)m:?)?(?:(\d+)(?:\.(\d+))?s)?(?:(\d+)ms)?(?:(\d+)us)?(?:(\d+)ns)?$/;

function parseDuration(body: string, text: string): { ns: number; precisionNs: number } {
  if (body.startsWith("-")) {
    throw wrong(text, "it is negative", "for a time before the end write end-5s");
  }
  if (/^\d+(\.\d+)?$/.test(body)) {
    const event = body.includes(".") ? "" : ` or '#${body}'`;
    throw wrong(text, "the unit is missing", `write ${body}s${event}`);
  }
  const match = DURATION.exec(body);
  if (match === null || body === "") throw wrong(text, "it is not a time");
  const [h, m, s, fraction, ms, us, ns] = match.slice(1);
  if ((fraction ?? "").length > 9) throw wrong(text, "it is finer than a nanosecond");
  if (fraction !== undefined && (ms ?? us ?? ns) !== undefined) {
    throw wrong(text, "it has two fractions");
  }
  for (const part of [h, m, s, ms, us, ns]) {
    if ((part ?? "").length > DIGITS_MAX) throw wrong(text, "it has too many digits");
  }
  const total = (Number(h ?? 0) * 3600 + Number(m ?? 0) * 60 + Number(s ?? 0)) * NS_PER_S +
    Number((fraction ?? "").padEnd(9, "0")) + Number(ms ?? 0) * NS_PER_MS + Number(us ?? 0) * 1000 +
    Number(ns ?? 0);
  if (total > Number.MAX_SAFE_INTEGER) throw wrong(text, "it is longer than 104 days");
  let precisionNs = 10 ** (9 - (fraction ?? "").length);
  if (ms !== undefined) precisionNs = NS_PER_MS;
  if (us !== undefined) precisionNs = 1000;
  if (ns !== undefined) precisionNs = 1;
  return { ns: total, precisionNs };
}

const INSTANT =
  /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/;

function parseInstant(body: string, text: string): { epochNs: bigint; precisionNs: number } {
  const match = INSTANT.exec(body);
  if (match === null) {
    throw wrong(
      text,
      "it is not an RFC 3339 instant",
      "write it with its zone, as 2025-01-31T12:00:00Z",
    );
  }
  const [date, clock, fraction = "", zone = "Z"] = match.slice(1);
  const ms = Date.parse(`${date}T${clock}${zone.toUpperCase()}`);
  if (Number.isNaN(ms)) throw wrong(text, "there is no such day or time");
  const epochNs = BigInt(ms) * BigInt(NS_PER_MS) + BigInt(fraction.padEnd(9, "0"));
  return { epochNs, precisionNs: 10 ** (9 - fraction.length) };
}

function wrong(text: string, why: string, hint?: string): DiffKeeperError {
  return new DiffKeeperError("usage", `cannot read the time "${text}": ${why}`, {
    hint: hint ?? `valid times: ${TIME_FORMS}`,
  });
}

/** How strict `resolveTime` is: `open` accepts times that a running recording has not reached yet. */
export interface ResolveOptions {
  open?: boolean;
}

/**
 * Finds the span of events that an expression names in a recording.
 * @throws {DiffKeeperError} code `out_of_range` with the recording's range as hint.
 */
export function resolveTime(
  expr: TimeExpr,
  range: TimeRange,
  options: ResolveOptions = {},
): TimeSpan {
  const span = spanOf(expr, range);
  const end = span.unit === "seq" ? range.lastSeq : range.endNs;
  const isNamed = expr.kind === "event" || expr.kind === "clock" || expr.kind === "instant" ||
    expr.kind === "fromEnd";
  if (isNamed) {
    if (span.from > end && options.open !== true) {
      throw outside(expr, range, afterText(span, range));
    }
    const first = span.unit === "seq" ? 1 : 0;
    if (span.to < first) throw outside(expr, range, "it lies before the start");
  }
  const found = expr.before ? { unit: span.unit, from: span.from, to: span.from - 1 } : span;
  const { first } = range;
  if (first === undefined) return found;
  const isKept = found.unit === "seq" ? found.to >= first.seq : found.to >= first.tNs;
  if (isKept) return found;
  throw beforeHistory(range, expr.text);
}

/** A moment was asked for that lies in history which was dropped. */
export function beforeHistory(range: TimeRange, text?: string): DiffKeeperError {
  const { seq = 0, tNs = 0 } = range.first ?? {};
  const what = text === undefined ? "cannot go there" : `cannot go to "${text}"`;
  return new DiffKeeperError(
    "out_of_range",
    `${what}: history before #${seq} at ${formatTime(tNs)} was dropped`,
    { hint: `the earliest moment is '#${seq}'; this recording holds ${rangeText(range)}` },
  );
}

function spanOf(expr: TimeExpr, range: TimeRange): TimeSpan {
  switch (expr.kind) {
    case "event":
      return { unit: "seq", from: expr.seq, to: expr.seq };
    case "start":
      return { unit: "seq", from: 0, to: 0 };
    case "end":
      return { unit: "seq", from: range.lastSeq, to: range.lastSeq };
    case "clock":
      return { unit: "ns", from: expr.ns, to: expr.ns + expr.precisionNs - 1 };
    case "fromEnd":
      return fromEnd(range.endNs - expr.ns);
    case "instant": {
      const from = Number(expr.epochNs - range.startEpochNs);
      return { unit: "ns", from, to: from + expr.precisionNs - 1 };
    }
  }
}

/** `end-5s` names the millisecond that the timeline would print there. */
function fromEnd(tNs: number): TimeSpan {
  const from = Math.floor(tNs / NS_PER_MS) * NS_PER_MS;
  return { unit: "ns", from, to: from + NS_PER_MS - 1 };
}

function afterText(span: TimeSpan, range: TimeRange): string {
  if (span.unit === "seq") return `the last event is #${range.lastSeq}`;
  return `the recording ended at ${formatTime(range.endNs)}`;
}

function outside(expr: TimeExpr, range: TimeRange, why: string): DiffKeeperError {
  return new DiffKeeperError("out_of_range", `cannot go to "${expr.text}": ${why}`, {
    hint: `this recording holds ${rangeText(range)}`,
  });
}

/** The range of a recording in words: `00m:00.000s to 02m:14.512s, #1 to #1042`. */
export function rangeText(range: TimeRange): string {
  const { seq = 0, tNs = 0 } = range.first ?? {};
  const events = range.lastSeq === seq ? "no events" : `#${seq + 1} to #${range.lastSeq}`;
  return `${formatTime(tNs)} to ${formatTime(range.endNs)}, ${events}`;
}
