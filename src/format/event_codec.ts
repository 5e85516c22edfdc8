/**
 * The codec of EVENTS values: `EventBatchEncoder` writes a batch, `EventCursor` reads it. The two stand in files of their
 * own, their common layout in event_layout.ts; everybody imports them from here.
 */
export { EventBatchEncoder, WriteHead } from "./event_encoder.ts";
export { EventCursor } from "./event_cursor.ts";
export { NO_MTIME } from "./event_layout.ts";
