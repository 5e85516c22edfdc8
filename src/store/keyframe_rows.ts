/** Finds keyframes among the rows of a trace (docs/FORMAT.md, "Keyframes") and reads their parts, each when it is asked for. */
import { openBatch } from "../format/batch_value.ts";
import type { EventCursor } from "../format/event_codec.ts";
import { buildKey, rangeOf } from "../format/keys.ts";
import type { JsonObject } from "./schema.ts";
import { keyAfter, type TraceRows } from "./trace_rows.ts";

/** A part of a keyframe: events without seq. */
export interface KeyframePart {
  row: number;
  cursor: EventCursor;
}

/** A keyframe: the state after an event. */
export interface StoredKeyframe {
  seq: number;
  tNs: number;
  /** What stands beside its events. */
  rest: JsonObject;
  parts(): Generator<KeyframePart>;
}

/**
 * The last keyframe whose moment is accepted; undefined: there is none.
 * @throws {DiffKeeperError} `data_corrupt`
 */
export function findKeyframe(
  rows: TraceRows,
  accept: (seq: number, tNs: number) => boolean,
): StoredKeyframe | undefined {
  const range = rangeOf("keyframe");
  let { to } = range;
  for (;;) {
    const found = rows.lastKey({ from: range.from, to });
    if (found === undefined) return undefined;
    const { tNs, seq } = rows.key(found, "keyframe");
    to = buildKey({ sort: "keyframe", tNs, seq, part: 0 });
    if (!accept(seq, tNs)) continue;
    const head = rows.byKeyBytes(to);
    if (head === undefined) throw rows.corrupt("a keyframe has no beginning");
    return { tNs, seq, rest: rows.json(head), parts: () => partsOf(rows, { tNs, seq }) };
  }
}

function* partsOf(rows: TraceRows, at: { tNs: number; seq: number }): Generator<KeyframePart> {
  const key = (part: number) => buildKey({ sort: "keyframe", ...at, part });
  const to = keyAfter(key(Number.MAX_SAFE_INTEGER));
  for (let part = 1;; part++) {
    const row = rows.first({ from: key(part), to });
    if (row === undefined) return;
    if (rows.key(row.key, "keyframe").part !== part) {
      throw rows.corrupt("a part of a keyframe is missing");
    }
    const { cursor } = rows.check(() => openBatch(row.value, row.id));
    if (cursor.firstSeq !== 0) throw rows.corrupt("a part of a keyframe has a seq");
    yield { row: row.id, cursor };
  }
}
