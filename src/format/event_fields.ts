/**
 * The tagged fields of an event (docs/FORMAT.md, "Tagged field"): writing those that a TraceEvent has, reading them back.
 * Field: u16 tag, u16 reserved, u32 length, bytes, padded with zeros to a multiple of 8. Unknown tags are skipped; a known tag
 * other than DIRTIME stands at most once.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import {
  ATTR_BYTES,
  CTIME_BYTES,
  DIRTIME_BYTES,
  LOSS_BYTES,
  padded,
  ROOT_BYTES,
  SOURCE_BYTES,
  Tag,
  TAG_HEADER_BYTES,
  U32,
} from "./event_layout.ts";
import type { GrowingBuffer } from "./growing_buffer.ts";
import type { Attr, Mtime, TraceEvent } from "./trace_event.ts";

const NSEC_MAX = 999_999_999;
const TAG_MAX = Math.max(...Object.values(Tag));
const utf8 = new TextEncoder();
const text = new TextDecoder();

/** Puts every tagged field that the event has. */
export function putFields(buffer: GrowingBuffer, event: TraceEvent): void {
  assert(buffer.position % 8 === 0, "tagged fields must start at a multiple of 8");
  putName(buffer, Tag.NAME, event.name);
  putName(buffer, Tag.TO_NAME, event.toName);
  if (event.attr !== undefined) putAttr(buffer, event.attr);
  putName(buffer, Tag.TARGET, event.target);
  if (event.dirTimes !== undefined) {
    for (const { node, mtime } of event.dirTimes) {
      putTag(buffer, Tag.DIRTIME, DIRTIME_BYTES);
      buffer.putU32(node);
      buffer.putU32(mtime.nsec);
      buffer.putU64(mtime.sec);
    }
  }
  putName(buffer, Tag.XATTR_NAME, event.xattrName);
  if (event.xattrValue !== undefined) putBytes(buffer, Tag.XATTR_VALUE, event.xattrValue);
  if (event.text !== undefined) putBytes(buffer, Tag.TEXT, utf8.encode(event.text));
  if (event.loss !== undefined) {
    putTag(buffer, Tag.LOSS, LOSS_BYTES);
    buffer.putU64(event.loss.events);
    buffer.putU64(event.loss.bytes);
  }
  if (event.root !== undefined) {
    putTag(buffer, Tag.ROOT, ROOT_BYTES);
    buffer.putU32(event.root);
    buffer.putU32(0);
  }
  putName(buffer, Tag.PATH, event.path);
  if (event.argv !== undefined) {
    putName(buffer, Tag.ARGV, event.argv.map((word) => `${word}\0`).join(""));
  }
  if (event.source !== undefined) {
    putTag(buffer, Tag.SOURCE, SOURCE_BYTES);
    buffer.putU32(event.source.node);
    buffer.putU32(0);
    buffer.putU64(event.source.offset);
  }
  if (event.ctime !== undefined) {
    putTag(buffer, Tag.CTIME, CTIME_BYTES);
    buffer.putU64(event.ctime.sec);
    buffer.putU32(event.ctime.nsec);
    buffer.putU32(0);
  }
  assert(buffer.position % 8 === 0, "tagged fields must end at a multiple of 8");
}

function putTag(buffer: GrowingBuffer, tag: number, length: number): void {
  buffer.putU32(tag);
  buffer.putU32(length);
}

function putName(buffer: GrowingBuffer, tag: number, name: string | undefined): void {
  if (name === undefined) return;
  putTag(buffer, tag, name.length);
  buffer.putLatin1Padded(name);
}

function putBytes(buffer: GrowingBuffer, tag: number, bytes: Uint8Array): void {
  putTag(buffer, tag, bytes.length);
  buffer.putPadded(bytes);
}

function putAttr(buffer: GrowingBuffer, attr: Attr): void {
  putTag(buffer, Tag.ATTR, ATTR_BYTES);
  buffer.putU32(attr.mode);
  buffer.putU32(attr.uid);
  buffer.putU32(attr.gid);
  buffer.putU32(attr.rdev);
  buffer.putU32(attr.nlink);
  buffer.putU32(attr.dev);
  buffer.putU32(attr.gen);
  buffer.putU32(0);
  buffer.putU64(attr.ino);
  buffer.putU64(attr.size);
}

/** Where the tagged fields of one event lie. */
export interface FieldRange {
  view: DataView;
  /** First and last byte (excluded) in the view; both multiples of 8. */
  from: number;
  to: number;
}

/**
 * Checks that the fields fill the range exactly; allocates nothing.
 * @throws {DiffKeeperError} `data_corrupt`
 */
export function checkFields(view: DataView, from: number, to: number): void {
  let at = from;
  while (at < to) {
    if (at + TAG_HEADER_BYTES > to) throw corruptField("a tagged field is cut");
    const next = at + TAG_HEADER_BYTES + padded(view.getUint32(at + 4, true));
    if (next > to) throw corruptField("a tagged field is longer than its event");
    at = next;
  }
}

/**
 * Reads the tagged fields into the event.
 * @throws {DiffKeeperError} `data_corrupt`: a length or value breaks a "must", or a field stands twice.
 */
export function readFields(range: FieldRange, event: TraceEvent): void {
  const { view, from, to } = range;
  checkFields(view, from, to);
  let seen = 0;
  for (let at = from; at < to;) {
    const tag = view.getUint16(at, true);
    const length = view.getUint32(at + 4, true);
    if (tag !== Tag.DIRTIME && tag <= TAG_MAX) {
      if ((seen & (1 << tag)) !== 0) throw corruptField("a tagged field stands twice");
      seen |= 1 << tag;
    }
    const start = view.byteOffset + at + TAG_HEADER_BYTES;
    readField(tag, Buffer.from(view.buffer, start, length), event);
    at += TAG_HEADER_BYTES + padded(length);
  }
}

function readField(tag: number, bytes: Buffer, event: TraceEvent): void {
  switch (tag) {
    case Tag.NAME:
      event.name = bytes.toString("latin1");
      break;
    case Tag.TO_NAME:
      event.toName = bytes.toString("latin1");
      break;
    case Tag.ATTR:
      event.attr = readAttr(bytes);
      break;
    case Tag.TARGET:
      event.target = bytes.toString("latin1");
      break;
    case Tag.DIRTIME:
      readDirTime(bytes, event);
      break;
    case Tag.XATTR_NAME:
      event.xattrName = bytes.toString("latin1");
      break;
    case Tag.XATTR_VALUE:
      event.xattrValue = bytes;
      break;
    case Tag.TEXT:
      event.text = text.decode(bytes);
      break;
    case Tag.LOSS:
      needLength(bytes, LOSS_BYTES);
      event.loss = { events: readU64(bytes, 0), bytes: readU64(bytes, 8) };
      break;
    case Tag.ROOT:
      needLength(bytes, ROOT_BYTES);
      event.root = bytes.readUInt32LE(0);
      break;
    case Tag.PATH:
      event.path = bytes.toString("latin1");
      break;
    case Tag.ARGV:
      event.argv = readArgv(bytes);
      break;
    case Tag.SOURCE:
      needLength(bytes, SOURCE_BYTES);
      event.source = { node: bytes.readUInt32LE(0), offset: readU64(bytes, 8) };
      break;
    case Tag.CTIME:
      event.ctime = readCtime(bytes);
      break;
  }
}

function readAttr(bytes: Buffer): Attr {
  needLength(bytes, ATTR_BYTES);
  return {
    mode: bytes.readUInt32LE(0),
    uid: bytes.readUInt32LE(4),
    gid: bytes.readUInt32LE(8),
    rdev: bytes.readUInt32LE(12),
    nlink: bytes.readUInt32LE(16),
    dev: bytes.readUInt32LE(20),
    gen: bytes.readUInt32LE(24),
    ino: readU64(bytes, 32),
    size: readU64(bytes, 40),
  };
}

function readDirTime(bytes: Buffer, event: TraceEvent): void {
  needLength(bytes, DIRTIME_BYTES);
  const nsec = bytes.readUInt32LE(4);
  if (nsec > NSEC_MAX) throw corruptField("the nanoseconds of a folder's time are above 999999999");
  const sec = bytes.readUInt32LE(8) + bytes.readInt32LE(12) * U32;
  event.dirTimes ??= [];
  event.dirTimes.push({ node: bytes.readUInt32LE(0), mtime: { sec, nsec } });
}

function readCtime(bytes: Buffer): Mtime {
  needLength(bytes, CTIME_BYTES);
  const nsec = bytes.readUInt32LE(8);
  if (nsec > NSEC_MAX) throw corruptField("the nanoseconds of a change time are above 999999999");
  return { sec: bytes.readUInt32LE(0) + bytes.readInt32LE(4) * U32, nsec };
}

function readArgv(bytes: Buffer): string[] {
  if (bytes.length === 0) return [];
  if (bytes[bytes.length - 1] !== 0) throw corruptField("an argv does not end with NUL");
  return bytes.toString("latin1", 0, bytes.length - 1).split("\0");
}

function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * U32;
}

function needLength(bytes: Buffer, length: number): void {
  if (bytes.length !== length) throw corruptField("a tagged field has the wrong length");
}

/** A `data_corrupt` error about a batch. The text is constant. */
export function corruptField(why: string): DiffKeeperError {
  return new DiffKeeperError("data_corrupt", `cannot read a batch of events: ${why}`);
}
