/** A state as packed rows of events, as keyframes and folded baselines have it. */
import { JOURNAL_BATCH_BYTES_MAX, STATE_PARTS_PER_COLLECTION } from "../base/limits.ts";
import { ValueKind } from "../format/envelope.ts";
import { EventBatchEncoder } from "../format/event_codec.ts";
import { EventPacker } from "../format/event_packer.ts";
import { encodePackedRow } from "../format/packed_row.ts";
import type { TraceEvent } from "../format/trace_event.ts";
import { zstdEncode, type ZstdEncodeOptions } from "../format/zstd.ts";

/** The values of the rows. */
export function stateRows(events: Iterable<TraceEvent>, how: ZstdEncodeOptions): Uint8Array[] {
  const values: Uint8Array[] = [];
  const encoder = new EventBatchEncoder();
  const packer = new EventPacker();
  for (const event of events) {
    encoder.append(event);
    if (encoder.bytes < JOURNAL_BATCH_BYTES_MAX) continue;
    values.push(finished(encoder, 0, how, packer));
    if (values.length % STATE_PARTS_PER_COLLECTION === 0) Bun.gc(true);
  }
  if (encoder.count > 0) values.push(finished(encoder, 0, how, packer));
  return values;
}

/** Events without payload of their own as one packed row; the encoder is empty then. */
export function finished(
  encoder: EventBatchEncoder,
  firstSeq: number,
  how: ZstdEncodeOptions,
  packer = new EventPacker(),
): Uint8Array {
  packer.reset();
  packer.add(encoder.finish(firstSeq));
  packer.place(new Uint8Array(0), []);
  const columns = packer.pack();
  const frame = zstdEncode(columns, how);
  encoder.reset();
  return encodePackedRow(ValueKind.PACKED_EVENTS, [], { length: columns.length, frame });
}
