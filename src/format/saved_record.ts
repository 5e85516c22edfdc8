/**
 * A file of the baseline as it is saved before it is destroyed: a record of a segment (`saved-N` in the state-dir), header of 64
 * bytes and content, padded to 8 (docs/FORMAT.md, "Saved contents"). The gate writes them, the recorder takes them into the trace,
 * and readers of a trace that was cut find there what was not taken yet. A record that was being written ends a segment.
 */
import { assert } from "../base/assert.ts";
import { padded } from "./event_layout.ts";

/** "DKSV". */
const MAGIC = 0x5653_4b44;
/** Bytes before the content. */
export const SAVED_HEADER_BYTES = 64;
const U32 = 0x1_0000_0000;

const At = {
  MAGIC: 0,
  NODE: 4,
  LENGTH: 8,
  SIZE: 16,
  SAVED_NS: 24,
  MTIME_SEC: 32,
  MTIME_NSEC: 40,
  FLAGS: 44,
  CHECKSUM: 48,
  ID: 56,
} as const;

/** Bits of `flags`. */
export const SavedFlag = {
  /** The content stands in the file `saved-file-NODE`, not here. */
  FILE: 1,
} as const;

/** What a record says. */
export interface SavedRecord {
  /** Of the recording. */
  id: number;
  node: number;
  /** Of the file. */
  size: number;
  /** CLOCK_BOOTTIME of the saving. */
  savedNs: number;
  mtimeSec: number;
  mtimeNsec: number;
  flags: number;
  /** Where the content stands in the segment; 0 bytes with SavedFlag.FILE. */
  start: number;
  length: number;
}

function checksum(record: Uint8Array): bigint {
  const head = Bun.hash.xxHash3(record.subarray(0, At.CHECKSUM));
  return Bun.hash.xxHash3(record.subarray(At.ID), head);
}

/** Fills in the header of a record; `room` holds header and content. Returns the bytes to be written. */
export function sealSaved(
  room: Uint8Array,
  record: Omit<SavedRecord, "start">,
): Uint8Array {
  const end = SAVED_HEADER_BYTES + record.length;
  assert(padded(end) <= room.length, "a record must fit in its room");
  const view = new DataView(room.buffer, room.byteOffset);
  const long = (at: number, value: number) => {
    view.setUint32(at, value % U32, true);
    view.setInt32(at + 4, Math.floor(value / U32), true);
  };
  view.setUint32(At.MAGIC, MAGIC, true);
  view.setUint32(At.NODE, record.node, true);
  long(At.LENGTH, record.length);
  long(At.SIZE, record.size);
  long(At.SAVED_NS, record.savedNs);
  view.setUint32(At.MTIME_SEC, record.mtimeSec >>> 0, true);
  view.setInt32(At.MTIME_SEC + 4, Math.floor(record.mtimeSec / U32), true);
  view.setUint32(At.MTIME_NSEC, record.mtimeNsec, true);
  view.setUint32(At.FLAGS, record.flags, true);
  room.fill(0, end, padded(end));
  view.setUint32(At.ID, record.id, true);
  view.setUint32(At.ID + 4, 0, true);
  view.setBigUint64(At.CHECKSUM, checksum(room.subarray(0, end)), true);
  return room.subarray(0, padded(end));
}

/** The records of a segment, up to its end or to the first that is not whole. */
export function* savedRecords(segment: Uint8Array): Generator<SavedRecord, void, undefined> {
  const view = new DataView(segment.buffer, segment.byteOffset, segment.byteLength);
  const long = (at: number) => view.getUint32(at, true) + view.getInt32(at + 4, true) * U32;
  for (let at = 0; at + SAVED_HEADER_BYTES <= segment.length;) {
    const length = long(at + At.LENGTH);
    const end = at + SAVED_HEADER_BYTES + length;
    const isWhole = view.getUint32(at, true) === MAGIC && length >= 0 && end <= segment.length &&
      checksum(segment.subarray(at, end)) === view.getBigUint64(at + At.CHECKSUM, true);
    if (!isWhole) return;
    yield {
      id: view.getUint32(at + At.ID, true),
      node: view.getUint32(at + At.NODE, true),
      size: long(at + At.SIZE),
      savedNs: long(at + At.SAVED_NS),
      mtimeSec: long(at + At.MTIME_SEC),
      mtimeNsec: view.getUint32(at + At.MTIME_NSEC, true),
      flags: view.getUint32(at + At.FLAGS, true),
      start: at + SAVED_HEADER_BYTES,
      length,
    };
    at = padded(end);
  }
}

/** Name of a segment in the state-dir. */
export function segmentName(n: number): string {
  return `saved-${n}`;
}

/** Name of a content that is a file of its own. */
export function savedFileName(node: number): string {
  return `saved-file-${node}`;
}

/** Name of such a file while it is made in the place of another. */
export function newSavedFileName(node: number): string {
  return `${savedFileName(node)}-new`;
}

/** The number of a segment, undefined for another name. */
export function segmentNumber(name: string): number | undefined {
  const digits = /^saved-(\d{1,9})$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Whether a name in the state-dir is one of these. */
export function isSavedName(name: string): boolean {
  return /^saved-(\d{1,10}|file-\d{1,10}(-new)?)$/.test(name);
}
