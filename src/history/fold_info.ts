/**
 * What a trace says of history that was folded into its baseline (row `i:fold`, docs/FORMAT.md, "Folded history"): up to which event,
 * what stands beside the state there, and what the events were that are gone.
 */
import { DiffKeeperError } from "../base/error.ts";
import { type Fidelity, INEXACT_WORDS, newFidelity } from "../format/fidelity.ts";
import type { JsonObject } from "../store/schema.ts";
import { decodeKeyframeRest } from "./keyframe_rest.ts";
import type { KeyframeRest } from "./keyframe.ts";

/** Sums over the events that were dropped. */
export interface DroppedSums {
  /** Bytes written to files. */
  bytes: number;
  lostEvents: number;
  lostBytes: number;
  /** How many of them were not exact. */
  fidelity: Fidelity;
}

/** See the head of the file. */
export interface FoldInfo {
  /** The last event that was dropped, and its time: the earliest moment there is. All before it are dropped too. */
  seq: number;
  tNs: number;
  rest: KeyframeRest;
  dropped: DroppedSums;
}

/** Sums of nothing. */
export function noSums(): DroppedSums {
  return { bytes: 0, lostEvents: 0, lostBytes: 0, fidelity: newFidelity() };
}

/** The JSON object of `i:fold`. */
export function encodeFold({ rest, dropped }: FoldInfo): JsonObject {
  const { bytes, lostEvents, lostBytes, fidelity } = dropped;
  return {
    ...JSON.parse(JSON.stringify(rest)) as JsonObject,
    dropped: { bytes, lost_events: lostEvents, lost_bytes: lostBytes, fidelity: { ...fidelity } },
  };
}

/** @throws {DiffKeeperError} `data_corrupt` */
export function decodeFold(json: JsonObject): FoldInfo {
  const rest = decodeKeyframeRest(json);
  if (rest.seq < 1) throw wrong();
  const { dropped } = json;
  if (!isObject(dropped)) throw wrong();
  const { fidelity } = dropped;
  if (!isObject(fidelity)) throw wrong();
  const counts = newFidelity();
  for (const word of INEXACT_WORDS) counts[word] = count(fidelity[word]);
  return {
    seq: rest.seq,
    tNs: rest.tNs,
    rest,
    dropped: {
      bytes: count(dropped["bytes"]),
      lostEvents: count(dropped["lost_events"]),
      lostBytes: count(dropped["lost_bytes"]),
      fidelity: counts,
    },
  };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function count(value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw wrong();
}

function wrong(): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", "cannot read where folded history ends");
}
