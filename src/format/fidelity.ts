/**
 * What of a recording is not exact, as counts and as words: content read back later (settled), changes that overlapped
 * (concurrent), content that could not be had (unread), shared mappings, and losses. The recorder counts while it writes,
 * readers where a trace does not say; both by the flags and ops of docs/FORMAT.md alone, so that they agree.
 */
import { formatCount } from "../base/units.ts";
import { EventFlag, Op } from "./trace_event.ts";

/** Why an event is not exact; `note` is a remark of the recorder, beside the events. */
export const INEXACT_WORDS = [
  "gap",
  "unread",
  "settled",
  "concurrent",
  "mapped",
  "resync",
  "note",
] as const;
export type InexactWord = (typeof INEXACT_WORDS)[number];

/** Flags of an event that is not exact. */
export const INEXACT_FLAGS = EventFlag.SETTLED | EventFlag.CONCURRENT | EventFlag.UNREAD |
  EventFlag.MAPPED;

const WORD_OF_OP: ReadonlyMap<number, InexactWord> = new Map<number, InexactWord>([
  [Op.GAP, "gap"],
  [Op.MMAP, "mapped"],
  [Op.RESYNC, "resync"],
  [Op.NOTE, "note"],
]);

const WORDS_OF_FLAGS: readonly (readonly [number, InexactWord])[] = [
  [EventFlag.UNREAD, "unread"],
  [EventFlag.SETTLED, "settled"],
  [EventFlag.CONCURRENT, "concurrent"],
  [EventFlag.MAPPED, "mapped"],
];

/** Whether an event is anything else than exact. */
export function isInexact(op: number, flags: number): boolean {
  return (flags & INEXACT_FLAGS) !== 0 || WORD_OF_OP.has(op);
}

/** Why an event is not exact; empty: it is. */
export function inexactWords(op: number, flags: number): InexactWord[] {
  const word = WORD_OF_OP.get(op);
  const words = word === undefined ? [] : [word];
  for (const [flag, name] of WORDS_OF_FLAGS) if ((flags & flag) !== 0) words.push(name);
  return words;
}

/** Events that are not exact, by word; an event counts under each of its words. */
export type Fidelity = Record<InexactWord, number>;

/** All zero: exact so far. */
export function newFidelity(): Fidelity {
  return { gap: 0, unread: 0, settled: 0, concurrent: 0, mapped: 0, resync: 0, note: 0 };
}

/** Counts an event. */
export function countInexact(fidelity: Fidelity, op: number, flags: number): void {
  if (!isInexact(op, flags)) return;
  for (const word of inexactWords(op, flags)) fidelity[word]++;
}

/** Adds counts up. */
export function addFidelity(to: Fidelity, more: Fidelity): void {
  for (const word of INEXACT_WORDS) to[word] += more[word];
}

/** Whether nothing is missing or in doubt; notes and whole contents read back say nothing of that. */
export function isExact(fidelity: Fidelity): boolean {
  const { settled, concurrent, unread, mapped, gap } = fidelity;
  return settled + concurrent + unread + mapped + gap === 0;
}

/**
 * `exact`, or `3 settled, 1 unread, 2 gaps`. What was read back is settled where the recorder says so; notes say nothing of
 * content.
 */
export function fidelityText(fidelity: Fidelity): string {
  const { settled, concurrent, unread, mapped, gap } = fidelity;
  const parts = [[settled, "settled"], [concurrent, "concurrent"], [unread, "unread"], [
    mapped,
    "mapped",
  ], [gap, gap === 1 ? "gap" : "gaps"]] as const;
  const texts = parts.filter(([count]) => count > 0)
    .map(([count, word]) => `${formatCount(count)} ${word}`);
  return texts.length === 0 ? "exact" : texts.join(", ");
}
