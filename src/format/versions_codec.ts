/**
 * VERSIONS values (docs/FORMAT.md, "VERSIONS"): what one batch did to one path, 40 bytes per event, each a pointer to the
 * event in its batch. Entries stand in the order of their seq.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { ENVELOPE_BYTES, seal, unwrap, ValueKind } from "./envelope.ts";
import { isOp, U32 } from "./event_layout.ts";
import type { OpCode } from "./trace_event.ts";

/** Bytes of one entry. */
export const VERSION_BYTES = 40;

/** One version of a path. */
export interface Version {
  seq: number;
  /** Nanoseconds since the start of the command. */
  tNs: number;
  /** Row id of the `l:` batch that holds the event. */
  row: number;
  /** Where the event stands in the batch, in bytes from the end of the envelope; for `EventCursor.seek`. */
  offset: number;
  op: OpCode;
  flags: number;
  /** Size of the file after the event. */
  size: number;
}

/** The value of an `m:` row. The caller owns the result. */
export function encodeVersions(versions: readonly Version[]): Uint8Array {
  assert(versions.length > 0, "an m: row must have a version");
  const value = new Uint8Array(ENVELOPE_BYTES + versions.length * VERSION_BYTES);
  const words = new Uint32Array(value.buffer);
  let at = ENVELOPE_BYTES / 4;
  let lastSeq = 0;
  for (const version of versions) {
    assert(version.seq >= lastSeq, "versions must stand in the order of their seq");
    lastSeq = version.seq;
    words[at] = version.seq;
    words[at + 1] = version.seq / U32;
    words[at + 2] = version.tNs;
    words[at + 3] = version.tNs / U32;
    words[at + 4] = version.row;
    words[at + 5] = version.row / U32;
    words[at + 6] = version.offset;
    words[at + 7] = version.op | (version.flags << 8);
    words[at + 8] = version.size;
    words[at + 9] = version.size / U32;
    at += VERSION_BYTES / 4;
  }
  seal(value, ValueKind.VERSIONS);
  return value;
}

/**
 * Reads the value of an `m:` row.
 * @throws {DiffKeeperError} `data_corrupt`
 */
export function decodeVersions(value: Uint8Array): Version[] {
  const bytes = unwrap(value, ValueKind.VERSIONS);
  if (bytes.length === 0 || bytes.length % VERSION_BYTES !== 0) {
    throw corrupt("its size is not a multiple of 40");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const u64 = (at: number) => view.getUint32(at, true) + view.getUint32(at + 4, true) * U32;
  const versions: Version[] = [];
  let lastSeq = 0;
  for (let at = 0; at < bytes.length; at += VERSION_BYTES) {
    const opFlags = view.getUint32(at + 28, true);
    const op = opFlags & 0xff;
    if (!isOp(op)) throw corrupt("an entry has an unknown op");
    const version: Version = {
      seq: u64(at),
      tNs: u64(at + 8),
      row: u64(at + 16),
      offset: view.getUint32(at + 24, true),
      op,
      flags: opFlags >>> 8,
      size: u64(at + 32),
    };
    if (version.seq < lastSeq) throw corrupt("its entries are not in order");
    lastSeq = version.seq;
    versions.push(version);
  }
  return versions;
}

function corrupt(why: string): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", `cannot read the versions of a path: ${why}`);
}
