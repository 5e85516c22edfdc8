/**
 * What a mapped file is known to hold, in pieces of MAPPED_CHUNK_BYTES; a piece that is all zeros takes no memory. `changes` reads the
 * file and gives what differs, as exact ranges. A file is only compared as far as its known size: a store through a mapping cannot
 * make a file longer, so whatever lies beyond comes from a call whose record is still on its way.
 */
import { readSync } from "node:fs";
import { Errno, errno, libc } from "../../ffi/libc.ts";
import { assert } from "../base/assert.ts";
import { MAPPED_CHUNK_BYTES, MAPPED_JOIN_BYTES } from "../base/limits.ts";
import type { MappedRange } from "../resolve/sink.ts";

const CHUNK = MAPPED_CHUNK_BYTES;
/** Pieces are compared in blocks of this size; of one that differs the first and the last changed byte are looked for. */
const BLOCK_BYTES = 128;
const SEEK_DATA = 3;
/** Pieces of one range that can be noted as unsure or told: 4 GiB. */
const MARKED_MAX = 65_536;
const ZEROS = Buffer.alloc(CHUNK);
/** One piece of the live file; all shadows use it, one at a time. */
const room = Buffer.alloc(CHUNK);

/** Asks for memory of a further piece; false: there is no more. */
export type Allow = (bytes: number) => boolean;

/** See the head of the file. */
export class MappedShadow {
  readonly fd: number;
  readonly #allow: Allow;
  readonly #chunks = new Map<number, Buffer>();
  readonly #unsure = new Set<number>();
  /** Pieces that were told of since the last `look`. */
  #told: Set<number> | undefined;
  /** The whole file was compared since the last `look`. */
  #isCompared = false;
  #size: number;
  /** Bytes kept. */
  bytes = 0;
  /** There was no memory for something: the rest of the trace must not rely on this any more. */
  isLost = false;

  /** @param fd of the file, open for reading; owned from now on. */
  constructor(fd: number, size: number, allow: Allow) {
    assert(fd >= 0 && size >= 0, "a shadow has a file and a size");
    this.fd = fd;
    this.#size = size;
    this.#allow = allow;
  }

  /** Takes the content as it is now as known. Returns false when it cannot be read or kept. */
  load(): boolean {
    for (let i = 0; i * CHUNK < this.#size; i++) {
      i = this.#nextData(i);
      const got = this.#read(i);
      if (got < 0) return false;
      if (got > 0 && !isSame(room, ZEROS, got)) room.copy(this.#need(i), 0, 0, got);
      if (this.isLost) return false;
    }
    return true;
  }

  wrote(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const at = offset + done;
      const from = at % CHUNK;
      const length = Math.min(CHUNK - from, bytes.length - done);
      const i = Math.floor(at / CHUNK);
      this.#need(i).set(bytes.subarray(done, done + length), from);
      this.#told?.add(i);
      done += length;
    }
    this.#size = Math.max(this.#size, offset + bytes.length);
  }

  zeroed(offset: number, length: number): void {
    for (const [i, chunk] of this.#chunks) {
      const from = Math.max(0, offset - i * CHUNK);
      const to = Math.min(CHUNK, offset + length - i * CHUNK);
      if (from < to) chunk.fill(0, from, to);
    }
    if (this.#told !== undefined) this.#mark(this.#told, offset, length);
    this.#size = Math.max(this.#size, offset + length);
  }

  resized(size: number): void {
    if (size < this.#size) {
      this.zeroed(size, this.#size - size);
      for (const i of [...this.#chunks.keys()]) if (i * CHUNK >= size) this.#drop(i);
    }
    this.#size = size;
  }

  unsure(offset: number, length: number): void {
    this.#mark(this.#unsure, offset, length);
    if (this.#told !== undefined) this.#mark(this.#told, offset, length);
    this.#size = Math.max(this.#size, offset + length);
  }

  /** What differs, ascending; known once the next is asked for. The bytes are good until then. */
  *changes(except?: { offset: number; length: number }): Generator<MappedRange> {
    this.#isCompared = true;
    for (let i = 0; i * CHUNK < this.#size; i++) {
      i = this.#nextUseful(i);
      for (const range of this.#differences(i, except)) {
        yield range;
        if (this.isLost) return;
        const from = range.offset - i * CHUNK;
        this.#need(i).set(range.bytes, from);
      }
    }
  }

  /** What differs, copied, at most `bytesMax`; nothing of it is known yet. */
  look(bytesMax: number): MappedRange[] {
    const found: MappedRange[] = [];
    this.#told = new Set();
    this.#isCompared = false;
    let bytes = 0;
    for (let i = 0; i * CHUNK < this.#size && bytes < bytesMax; i++) {
      i = this.#nextUseful(i);
      const wasUnsure = this.#unsure.has(i);
      for (const range of this.#differences(i)) {
        found.push({ ...range, bytes: range.bytes.slice() });
        bytes += range.bytes.length;
      }
      if (wasUnsure) this.#unsure.add(i);
    }
    return found;
  }

  /** Of what `look` found, what nobody told of in between; known from now on. */
  take(found: readonly MappedRange[]): MappedRange[] {
    const told = this.#told ?? new Set();
    this.#told = undefined;
    if (this.#isCompared) return [];
    const fresh = found.filter(({ offset }) => !told.has(Math.floor(offset / CHUNK)));
    for (const { offset, bytes } of fresh) {
      const i = Math.floor(offset / CHUNK);
      this.#unsure.delete(i);
      this.#need(i).set(bytes, offset - i * CHUNK);
    }
    return fresh;
  }

  /** Was anything told since `look`? */
  get wasTold(): boolean {
    return this.#told !== undefined && (this.#told.size > 0 || this.#isCompared);
  }

  /** Notes the pieces of a range; where they are too many to note the shadow is lost. */
  #mark(set: Set<number>, offset: number, length: number): void {
    const end = Math.ceil((offset + length) / CHUNK);
    const first = Math.floor(offset / CHUNK);
    if (end - first > MARKED_MAX) this.isLost = true;
    else for (let i = first; i < end; i++) set.add(i);
  }

  #need(i: number): Buffer {
    const known = this.#chunks.get(i);
    if (known !== undefined) return known;
    if (!this.#allow(CHUNK)) this.isLost = true;
    // when there is no memory the bytes go nowhere: the shadow is lost and asked no more
    if (this.isLost) return Buffer.alloc(CHUNK);
    this.bytes += CHUNK;
    const chunk = Buffer.alloc(CHUNK);
    this.#chunks.set(i, chunk);
    return chunk;
  }

  #drop(i: number): void {
    if (!this.#chunks.delete(i)) return;
    this.bytes -= CHUNK;
    this.#allow(-CHUNK);
  }

  /** Reads piece `i` of the file, as far as its known size; bytes read, or -1. */
  #read(i: number): number {
    const want = Math.min(CHUNK, this.#size - i * CHUNK);
    let got = 0;
    try {
      while (got < want) {
        const more = readSync(this.fd, room, got, want - got, i * CHUNK + got);
        if (more === 0) break;
        got += more;
      }
    } catch {
      return -1;
    }
    return Math.max(0, got);
  }

  /** From `i` on, the first piece with data in the file; beyond the end when there is none. */
  #nextData(i: number): number {
    const at = Number(libc.lseek(this.fd, i * CHUNK, SEEK_DATA));
    if (at >= 0) return Math.max(i, Math.floor(at / CHUNK));
    return errno() === Errno.ENXIO ? Math.ceil(this.#size / CHUNK) : i;
  }

  /** The first piece from `i` on that has data in the file, or in here. */
  #nextUseful(i: number): number {
    if (this.#chunks.has(i) || this.#unsure.has(i)) return i;
    const data = this.#nextData(i);
    if (data === i) return i;
    let first = data;
    for (const at of this.#chunks.keys()) if (at > i && at < first) first = at;
    for (const at of this.#unsure) if (at > i && at < first) first = at;
    return first;
  }

  /** Ranges of piece `i` that differ. */
  *#differences(i: number, except?: { offset: number; length: number }): Generator<MappedRange> {
    const got = this.#read(i);
    if (got <= 0) return;
    const known = this.#chunks.get(i) ?? ZEROS;
    if (except !== undefined) hide(known, i, except);
    const base = i * CHUNK;
    if (this.#unsure.delete(i)) {
      yield { offset: base, bytes: room.subarray(0, got), doubtful: true };
      return;
    }
    if (isSame(room, known, got)) return;
    // the ranges first: while one is out, `room` may be used for another file
    for (const [from, to] of differingRanges(known, got)) {
      const bytes = Buffer.from(room.subarray(from, to));
      yield { offset: base + from, bytes, doubtful: false };
    }
  }
}

/** Makes the bytes of a range in `room` what is known. */
function hide(known: Buffer, i: number, except: { offset: number; length: number }): void {
  const from = Math.max(0, except.offset - i * CHUNK);
  const to = Math.min(CHUNK, except.offset + except.length - i * CHUNK);
  if (from < to) known.copy(room, from, from, to);
}

function isSame(a: Buffer, b: Buffer, length: number): boolean {
  return a.compare(b, 0, length, 0, length) === 0;
}

/** Ranges of `room` that differ from `known`: one in each block, joined where they lie near each other. */
function differingRanges(known: Buffer, length: number): [number, number][] {
  const ranges: [number, number][] = [];
  for (let block = 0; block < length; block += BLOCK_BYTES) {
    const end = Math.min(block + BLOCK_BYTES, length);
    if (room.compare(known, block, end, block, end) === 0) continue;
    let from = block;
    while (room[from] === known[from]) from++;
    let to = end;
    while (room[to - 1] === known[to - 1]) to--;
    const last = ranges.at(-1);
    if (last !== undefined && from - last[1] < MAPPED_JOIN_BYTES) last[1] = to;
    else ranges.push([from, to]);
  }
  return ranges;
}
