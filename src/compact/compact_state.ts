/**
 * The state of the recording behind the compactor: names, attributes, where contents are, and what is said of losses, folded from
 * packed rows as every reader does. From it keyframes are made; and it is taken from them again, so that its size follows the
 * tree and not the history.
 */
import { STATE_ENTRY_BYTES, STATE_PARTS_PER_COLLECTION } from "../base/limits.ts";
import { ValueKind, wrap } from "../format/envelope.ts";
import type { EventCursor } from "../format/event_codec.ts";
import type { ZstdEncodeOptions } from "../format/zstd.ts";
import { History } from "../history/fold.ts";
import { decodeFold } from "../history/fold_info.ts";
import {
  keyframeEvents,
  type KeyframeRest,
  keyframeRest,
  restoreRest,
} from "../history/keyframe.ts";
import { countParts, decodeKeyframeRest } from "../history/keyframe_rest.ts";
import { changesNames, Places } from "../history/places.ts";
import { findKeyframe } from "../store/keyframe_rows.ts";
import { INFO_FOLD } from "../store/schema.ts";
import type { TraceRows } from "../store/trace_rows.ts";
import { stateRows } from "./state_rows.ts";

/** Events between two keyframes, at least: in all, and for each node. */
interface Spacing {
  keyframeEvents: number;
  keyframeEventsPerNode: number;
}

const utf8 = new TextEncoder();

/** See the head of the file. */
export class CompactState {
  readonly #spacing: Spacing;
  #history = new History();
  #places = new Places();
  #baselineGaps = 0;
  /** Event of the last keyframe. */
  #keyframeSeq = 0;

  constructor(spacing: Spacing) {
    this.#spacing = spacing;
  }

  /** Folds a batch that comes next; one of the journal that a keyframe has already is passed over. */
  fold(cursor: EventCursor, row: number, hasNames: boolean): void {
    if (cursor.firstSeq !== 0 && cursor.firstSeq <= this.#history.lastSeq) return;
    if (cursor.firstSeq === 0 && this.#keyframeSeq > 0) return;
    cursor.rewind();
    this.#history.fold(cursor, row);
    if (!hasNames) return;
    cursor.rewind();
    if (cursor.firstSeq === 0) this.#baselineGaps += this.#places.foldBaseline(cursor);
    else while (cursor.next()) if (changesNames(cursor.op)) this.#places.fold(cursor.event());
  }

  /** Whether so much has happened since the last keyframe that the next one is cheap beside it. */
  isKeyframeDue(): boolean {
    // with a lazy baseline contents may be on disk: a keyframe cannot say that
    if (this.#history.left.size > 0) return false;
    const since = this.#history.lastSeq - this.#keyframeSeq;
    const nodes = this.#history.tree.size;
    const { keyframeEvents, keyframeEventsPerNode } = this.#spacing;
    return since >= Math.max(keyframeEvents, nodes * keyframeEventsPerNode);
  }

  /** About how many bytes the objects take that a keyframe is made of. */
  get objectBytes(): number {
    const { tree, content } = this.#history;
    return (tree.size + content.count) * STATE_ENTRY_BYTES;
  }

  /** The values of a keyframe's rows, the one that is JSON first. */
  keyframe(how: ZstdEncodeOptions): { rest: KeyframeRest; values: Uint8Array[] } {
    const values = stateRows(keyframeEvents(this.#history, this.#places), how);
    const rest = { ...keyframeRest(this.#history, this.#baselineGaps), parts: values.length };
    const json = wrap(ValueKind.JSON, utf8.encode(JSON.stringify(rest)));
    return { rest, values: [json, ...values] };
  }

  /** The baseline was folded: what stands beside it. */
  restoreFold(rows: TraceRows): void {
    const json = rows.info(INFO_FOLD);
    if (json === undefined) return;
    const { rest } = decodeFold(json);
    restoreRest(this.#history, rest);
    this.#baselineGaps = rest.baselineGaps;
    this.#keyframeSeq = rest.seq;
  }

  /** Takes the state from the last keyframe that is stored, if there is one. */
  restore(rows: TraceRows): void {
    const found = findKeyframe(rows, () => true);
    if (found === undefined) return;
    const rest = decodeKeyframeRest(found.rest);
    this.#history = new History();
    this.#places = new Places();
    let parts = 0;
    for (const { cursor, row } of countParts(found.parts(), rest.parts)) {
      this.#history.fold(cursor, row);
      cursor.rewind();
      this.#places.foldKeyframe(cursor);
      if (++parts % STATE_PARTS_PER_COLLECTION === 0) Bun.gc(true);
    }
    restoreRest(this.#history, rest);
    this.#baselineGaps = rest.baselineGaps;
    this.#keyframeSeq = rest.seq;
  }
}
