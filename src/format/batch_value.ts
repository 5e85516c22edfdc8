/** The events of a `b:` or `l:` row, raw or packed, as one cursor. */
import { unwrapAny, ValueKind } from "./envelope.ts";
import { EventCursor } from "./event_cursor.ts";
import { unpackEvents } from "./event_unpacker.ts";
import { corruptRow, parsePackedRow } from "./packed_row.ts";
import { zstdDecodeExact } from "./zstd.ts";

/** Opened events. `isPacked`: their payload is in the row's content and not in the cursor's bytes. */
export interface OpenedBatch {
  cursor: EventCursor;
  isPacked: boolean;
}

/**
 * Opens the value of a row of events.
 * @param row id of the row.
 * @throws {DiffKeeperError} `data_corrupt`
 */
export function openBatch(value: Uint8Array, row: number): OpenedBatch {
  // the kind alone: the cursor checks the envelope of a raw batch itself
  if (value[4] === ValueKind.EVENTS) return { cursor: new EventCursor(value), isPacked: false };
  const { kind, payload } = unwrapAny(value);
  if (kind !== ValueKind.PACKED_EVENTS) throw corruptRow("it holds no events");
  const { events } = parsePackedRow(payload);
  if (events === undefined) throw corruptRow("its events are missing");
  const packed = zstdDecodeExact(events.frame, events.length);
  return { cursor: new EventCursor(unpackEvents(packed, row)), isPacked: true };
}
