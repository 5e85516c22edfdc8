/**
 * The layout of an EVENTS value (docs/FORMAT.md, "EVENTS"): sizes, word positions, tags, and which op uses which field.
 * Shared by event_encoder.ts and event_cursor.ts, so that writer and reader cannot disagree.
 *
 * Positions named `*_WORD` count u32 words from the start of an event. Offsets that leave this room (the return value of an
 * append, `EventCursor.eventOffset`, `payloadOffset`) count bytes from the end of the envelope, as all pointers of a trace.
 */
import { ENVELOPE_BYTES } from "./envelope.ts";
import { Op, type OpCode } from "./trace_event.ts";

/** Header of a batch: counts, sizes, first seq, first and last time. */
export const BATCH_HEADER_BYTES = 40;
/** Where the first event stands in a value. */
export const EVENTS_START = ENVELOPE_BYTES + BATCH_HEADER_BYTES;
/** Fixed part of an event. */
export const EVENT_FIXED_BYTES = 64;
/** Row id, offset, length, reserved (u32 each), at (u64). */
export const EXTENT_BYTES = 24;
/** Tag, reserved (u16 each), length (u32). */
export const TAG_HEADER_BYTES = 8;
/** An entry of the comm table: TASK_COMM_LEN of the kernel. */
export const COMM_BYTES = 16;
/** `mtime_nsec` of an event that does not change its node's mtime. */
export const NO_MTIME = 0xffff_ffff;
/** 2^32. */
export const U32 = 4_294_967_296;

/** Words of the fixed part. */
export const WORD = {
  SIZE: 0,
  OP_FLAGS: 1,
  T: 2,
  PID: 4,
  TID: 5,
  NODE: 6,
  COMM: 7,
  OFFSET: 8,
  LENGTH: 10,
  MTIME_SEC: 12,
  MTIME_NSEC: 14,
  PAYLOAD: 15,
} as const;

/** Tagged fields, as stored. */
export const Tag = {
  NAME: 1,
  TO_NAME: 2,
  ATTR: 3,
  TARGET: 4,
  DIRTIME: 5,
  XATTR_NAME: 6,
  XATTR_VALUE: 7,
  TEXT: 8,
  LOSS: 9,
  ROOT: 10,
  PATH: 11,
  ARGV: 12,
  SOURCE: 13,
  CTIME: 14,
} as const;

/** Bytes of the tagged fields of fixed length. */
export const ATTR_BYTES = 48;
export const DIRTIME_BYTES = 16;
export const LOSS_BYTES = 16;
export const ROOT_BYTES = 4;
export const SOURCE_BYTES = 16;
export const CTIME_BYTES = 16;

/** What each op uses, as bits by op number: a table, because the cursor asks it for every event. */
const KNOWN = 1;
const NAMES = 2;
const OFFSET = 4;
const LENGTH = 8;
const USES = new Uint8Array(256);
for (const op of Object.values(Op)) USES[op] = KNOWN;
for (const op of [Op.CREATE, Op.MKDIR, Op.SYMLINK, Op.MKNOD, Op.LINK, Op.BASELINE]) {
  USES[op] = KNOWN | NAMES;
}
for (const op of [Op.RENAME, Op.UNLINK, Op.RMDIR]) USES[op] = KNOWN | NAMES;
for (const op of [Op.WRITE, Op.OUTPUT, Op.FALLOCATE, Op.COLLAPSE, Op.INSERT]) {
  USES[op] = KNOWN | OFFSET | LENGTH;
}
for (const op of [Op.TRUNCATE, Op.RESYNC, Op.EXIT, Op.CONTENT]) USES[op] = KNOWN | LENGTH;

/** Whether the number is an op of this version. */
export function isOp(op: number): op is OpCode {
  return USES[op] !== 0 && op < USES.length;
}

/** Whether `offset` and `length` of the op hold parent, toParent and victim. */
export function isNameOp(op: number): boolean {
  return ((USES[op] ?? 0) & NAMES) !== 0;
}

/** Whether the op has an `offset` even when it is 0. */
export function hasOffset(op: number): boolean {
  return ((USES[op] ?? 0) & OFFSET) !== 0;
}

/** Whether the op has a `length` even when it is 0. */
export function hasLength(op: number): boolean {
  return ((USES[op] ?? 0) & LENGTH) !== 0;
}

/** Rounds up to a multiple of 8. */
export function padded(bytes: number): number {
  return bytes + 7 - ((bytes + 7) % 8);
}
