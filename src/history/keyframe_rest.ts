/** The JSON of a keyframe, read: it is outside data like everything in a trace. */
import { DiffKeeperError } from "../base/error.ts";
import type { KeyframePart } from "../store/trace_reader.ts";
import type { Gap } from "./fold.ts";
import type { KeyframeRest } from "./keyframe.ts";

type Json = { readonly [key: string]: unknown };

/** @throws {DiffKeeperError} `data_corrupt` */
export function decodeKeyframeRest(json: Json): KeyframeRest {
  return {
    seq: count(json, "seq"),
    tNs: count(json, "tNs"),
    parts: count(json, "parts"),
    nodes: count(json, "nodes"),
    gapCount: count(json, "gapCount"),
    baselineGaps: count(json, "baselineGaps"),
    unseenSince: json["unseenSince"] === undefined ? 0 : count(json, "unseenSince"),
    gaps: list(json, "gaps").map(gap),
    unread: list(json, "unread").map(nodeId),
    readBack: list(json, "readBack").map(nodeId),
    doubted: list(json, "doubted").map((entry): [number, Gap] => {
      if (!Array.isArray(entry) || entry.length !== 2) throw wrongKeyframe();
      return [nodeId(entry[0]), gap(entry[1])];
    }),
  };
}

/** The parts, which must be as many as the keyframe says. @throws {DiffKeeperError} `data_corrupt` */
export function* countParts(parts: Iterable<KeyframePart>, count: number): Generator<KeyframePart> {
  let given = 0;
  for (const part of parts) {
    given++;
    yield part;
  }
  if (given !== count) throw wrongKeyframe();
}

/** A `data_corrupt` error about a keyframe. */
export function wrongKeyframe(): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", "cannot read a keyframe: it is not whole");
}

function isRecord(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function whole(value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw wrongKeyframe();
}

function nodeId(value: unknown): number {
  return whole(value);
}

function count(json: Json, key: string): number {
  return whole(json[key]);
}

function list(json: Json, key: string): unknown[] {
  const value = json[key];
  if (Array.isArray(value)) return value;
  throw wrongKeyframe();
}

function text(json: Json, key: string): string {
  const value = json[key];
  if (typeof value === "string") return value;
  throw wrongKeyframe();
}

function gap(value: unknown): Gap {
  if (!isRecord(value)) throw wrongKeyframe();
  return {
    seq: count(value, "seq"),
    tNs: count(value, "tNs"),
    node: count(value, "node"),
    events: count(value, "events"),
    bytes: count(value, "bytes"),
    text: text(value, "text"),
    path: text(value, "path"),
  };
}
