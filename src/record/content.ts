/**
 * The bytes of one open regular file, cut into chunks of at most 1 MiB on 1 MiB borders and handed to a `ChunkSink`, as
 * extents. Only data is read: holes are found with SEEK_DATA and SEEK_HOLE (lseek(2)) and no extent covers them. A file
 * that changes while it is read is read again, at most `CONTENT_READS_MAX` times in all. Memory: the sink's one room.
 */
import { Errno, errno, libc, type Pinned } from "../../ffi/libc.ts";
import { EventFlag, type Extent } from "../format/trace_event.ts";
import { assert } from "../base/assert.ts";
import { CONTENT_CHUNK_BYTES_MAX } from "../base/limits.ts";
import { type InodeStat, sameMark } from "./inode_stat.ts";

/** How often a file is read before its last reading is taken, marked SETTLED, though it still changes. */
export const CONTENT_READS_MAX = 4;

/**
 * Pieces of data between holes that are kept apart in one file. Beyond, holes inside a chunk are read as zeros, so that
 * the event of a file in a million pieces stays far below EVENT_BYTES_MAX.
 */
export const CONTENT_PIECES_MAX = 65_536;

/** Where holes can matter: below this size reading zeros is cheaper than asking. */
const SPARSE_BYTES_MIN = 65_536;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Where chunks go. The reader fills `room`, then `take` stores its first bytes. */
export interface ChunkSink {
  /** Space for one chunk, CONTENT_CHUNK_BYTES_MAX long; what it is may change with every `take`. */
  readonly room: Pinned;
  /** Stores the first `length` bytes of `room` and returns the row they are in, or the number that stands for it. */
  take(length: number): number;
}

/** What was read. `code` is an error number; then the content is not known and there are no extents. */
export interface Content {
  extents: Extent[];
  flags: number;
  code: number;
}

/** Reads files into one sink. */
export class ContentReader {
  readonly #sink: ChunkSink;

  constructor(sink: ChunkSink) {
    this.#sink = sink;
  }

  /** Reads the whole of `fd`, whose state `stat` has; afterwards `stat` has the state that fits the content. */
  read(fd: number, stat: InodeStat): Content {
    assert(stat.size >= 0, "a regular file has a size");
    let before = stat.mark();
    let extents: Extent[] = [];
    for (let reads = 0; reads < CONTENT_READS_MAX; reads++) {
      extents = [];
      let code = this.#readOnce(fd, stat, extents);
      if (code === 0) code = stat.readFd(fd);
      if (code !== 0) return { extents: [], flags: EventFlag.UNREAD, code };
      const after = stat.mark();
      if (sameMark(before, after)) return { extents, flags: 0, code: 0 };
      before = after;
    }
    return { extents, flags: EventFlag.SETTLED, code: 0 };
  }

  /** Appends the extents of one pass; returns 0 or an error number. */
  #readOnce(fd: number, stat: InodeStat, extents: Extent[]): number {
    const size = stat.size;
    const sparse = size > SPARSE_BYTES_MIN && stat.allocatedBytes < size;
    let at = 0;
    while (at < size) {
      let end = size;
      if (sparse) {
        at = Number(libc.lseek(fd, at, SEEK_DATA));
        if (at < 0) return errno() === Errno.ENXIO ? 0 : errno();
        end = Number(libc.lseek(fd, at, SEEK_HOLE));
        if (end < 0) return errno() === Errno.ENXIO ? 0 : errno();
      }
      if (extents.length >= CONTENT_PIECES_MAX) end = borderAfter(at);
      end = Math.min(end, size);
      const read = this.#readSegment(fd, at, end, extents);
      if (read < 0) return -read;
      // Shorter than it said: it was cut meanwhile. The caller sees it in the mark and reads again.
      if (read === 0) return 0;
      at += read;
    }
    return 0;
  }

  /** Reads [at, end) in chunks. Returns the bytes read, 0 if there were none, or minus an error number. */
  #readSegment(fd: number, at: number, end: number, extents: Extent[]): number {
    let next = at;
    while (next < end) {
      const want = Math.min(end, borderAfter(next)) - next;
      const { address } = this.#sink.room;
      const got = Number(libc.pread(fd, address, want, next));
      if (got < 0) return -errno();
      if (got === 0) break;
      const row = this.#sink.take(got);
      extents.push({ row, offset: 0, length: got, at: next });
      next += got;
    }
    return next - at;
  }
}

/** The next multiple of the chunk size. */
function borderAfter(offset: number): number {
  return (Math.floor(offset / CONTENT_CHUNK_BYTES_MAX) + 1) * CONTENT_CHUNK_BYTES_MAX;
}
