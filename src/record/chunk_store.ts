/**
 * The plain chunk sink: hashes each chunk in this thread and gives it to the trace, which keeps equal chunks once. Counts
 * the bytes, and refuses to go on where the limit is reached.
 */
import { CONTENT_CHUNK_BYTES_MAX } from "../base/limits.ts";
import { pinned } from "../../ffi/libc.ts";
import { assert } from "../base/assert.ts";
import { sha256Hex } from "../format/keys.ts";
import type { ChunkSink } from "./content.ts";

/** Where content rows go: src/store/trace_writer.ts. */
export interface ContentRows {
  /** Stores `bytes` under their SHA-256 (64 hex digits), once; returns the row id. The bytes are copied. */
  putContent(sha256: string, bytes: Uint8Array): number;
}

/** Hashes and stores, one chunk at a time. */
export class ChunkStore implements ChunkSink {
  readonly room = pinned(CONTENT_CHUNK_BYTES_MAX);
  readonly #rows: ContentRows;
  readonly #count: (bytes: number) => void;

  /** @param count is told the size of each chunk before it is stored; it may throw. */
  constructor(rows: ContentRows, count: (bytes: number) => void = () => {}) {
    this.#rows = rows;
    this.#count = count;
  }

  take(length: number): number {
    assert(length > 0 && length <= CONTENT_CHUNK_BYTES_MAX, "a chunk has a size");
    this.#count(length);
    const bytes = this.room.bytes.subarray(0, length);
    return this.#rows.putContent(sha256Hex(bytes), bytes);
  }
}
