/**
 * Packs once more what was packed in a hurry, beside a recorder or with --fast: every blob and every batch of events is encoded anew,
 * from the same base, and taken where it is smaller. Nothing moves: a row keeps its id, its content and what it is a difference from, so
 * each row is right on its own, before and after, and a kill between two of them leaves nothing to mend.
 */
import { Buffer } from "node:buffer";
import { assert } from "../base/assert.ts";
import {
  COMPACT_DEEP_BYTES,
  CONTENT_CHUNK_BYTES_MAX,
  REPACK_BYTES_PER_STEP,
  REPACK_GARBAGE_BYTES,
  REPACK_ROWS_PER_STEP,
} from "../base/limits.ts";
import { releaseBytes } from "../base/release.ts";
import { unwrapAny, ValueKind } from "../format/envelope.ts";
import { PACKED_POINTER } from "../format/packed_layout.ts";
import {
  type Blob,
  Codec,
  encodePackedRow,
  type PackedRow,
  parsePackedRow,
} from "../format/packed_row.ts";
import { zstdDecode, zstdDecodeExact, zstdEncode, type ZstdEncodeOptions } from "../format/zstd.ts";
import type { CompactStore } from "../store/compact_store.ts";
import type { JsonObject } from "../store/schema.ts";
import { decodeBlob } from "../store/content_reader.ts";
import type { Row } from "../store/trace_rows.ts";
import { deltaRecompress } from "../../wasm/codecs.ts";
import { type Effort, SMALL_BYTES } from "./blob_maker.ts";

/** See the head of the file. */
export class Repacker {
  readonly #store: CompactStore;
  readonly #effort: Effort;
  /** The last row that was looked at, and the bytes of content up to there. */
  #id: number;
  #bytes: number;
  #isDone: boolean;
  /** Bytes at which the garbage is collected next. */
  #collectAt = 0;

  constructor(store: CompactStore, effort: Effort) {
    this.#store = store;
    this.#effort = effort;
    const progress = store.progress();
    const number = (name: string) => {
      const value = progress?.[name];
      return typeof value === "number" ? value : 0;
    };
    this.#id = number("repacked_id");
    this.#bytes = number("repacked_bytes");
    this.#isDone = progress?.["fast"] !== true;
  }

  /** Packs the next rows. @returns false when there was nothing to do. */
  step(): boolean {
    if (this.#isDone || this.#effort.isFast) return false;
    const values: { id: number; value: Uint8Array }[] = [];
    const limit = this.#bytes + REPACK_BYTES_PER_STEP;
    for (let rows = 0; rows < REPACK_ROWS_PER_STEP && this.#bytes < limit; rows++) {
      const row = this.#store.rowAfter(this.#id);
      if (row === undefined) {
        this.#isDone = true;
        break;
      }
      this.#id = row.id;
      const value = this.#again(row);
      if (value !== undefined) values.push({ id: row.id, value });
    }
    const change: JsonObject = this.#isDone
      ? { fast: false, repacked_id: 0, repacked_bytes: 0 }
      : { repacked_id: this.#id, repacked_bytes: this.#bytes };
    this.#store.transaction(() => {
      for (const { id, value } of values) this.#store.replace(id, value);
    }, change);
    if (this.#bytes > this.#collectAt) {
      this.#collectAt = this.#bytes + REPACK_GARBAGE_BYTES;
      Bun.gc(true);
    }
    return true;
  }

  /** The row's new value; undefined: it would not be smaller. */
  #again(row: Row): Uint8Array | undefined {
    const kind = row.value[4];
    if (kind !== ValueKind.PACKED_EVENTS && kind !== ValueKind.PACKED_DATA) return undefined;
    const packed = this.#store.rows.check(() => parsePackedRow(unwrapAny(row.value).payload));
    const pointerBase = kind === ValueKind.PACKED_EVENTS ? PACKED_POINTER : 0;
    const blobs = packed.blobs.map((blob, index) => {
      return this.#blob(blob, { row: row.id, offset: pointerBase + (packed.starts[index] ?? 0) });
    });
    const value = encodePackedRow(kind, blobs, this.#events(packed.events));
    return value.length < row.value.length ? value : undefined;
  }

  #events(events: PackedRow["events"]): PackedRow["events"] {
    if (events === undefined) return undefined;
    const packed = zstdDecodeExact(events.frame, events.length);
    const frame = zstdEncode(packed, this.#effort.events);
    if (frame.length >= events.frame.length) return events;
    assert(
      Buffer.compare(zstdDecodeExact(frame, events.length), packed) === 0,
      "events must come back",
    );
    return { length: events.length, frame };
  }

  /** The blob, encoded in the same way from the same base. */
  #blob(blob: Blob, at: { row: number; offset: number }): Blob {
    this.#bytes += blob.length;
    const { codec, stored } = blob;
    if (codec === Codec.LINES) {
      const columns = zstdDecode(stored, { maxBytes: blob.length });
      return this.#smaller(blob, zstdEncode(columns, this.#effort.events), undefined);
    }
    if (codec === Codec.DELTA) {
      return this.#smaller(blob, deltaRecompress(stored, this.#effort.events), this.#baseOf(blob));
    }
    if (codec !== Codec.ZSTD && codec !== Codec.PREFIX) return blob;
    const { content } = this.#store;
    const bytes = content.piece(at.row, at.offset).bytes;
    const base = this.#baseOf(blob);
    const how = base === undefined ? this.#how(blob) : { ...this.#how(blob), prefix: base };
    return this.#smaller(blob, zstdEncode(bytes, how), base);
  }

  #baseOf({ base }: Blob): Uint8Array | undefined {
    return base === undefined ? undefined : this.#store.content.range(base);
  }

  #how({ length }: Blob): ZstdEncodeOptions {
    const { small, large, solid, deep } = this.#effort;
    if (length < SMALL_BYTES) return small;
    if (length <= CONTENT_CHUNK_BYTES_MAX / 8) return large;
    return this.#bytes <= COMPACT_DEEP_BYTES ? deep : solid;
  }

  /** With what is smaller; what is new is decoded and compared before it is taken. */
  #smaller(blob: Blob, stored: Uint8Array, base: Uint8Array | undefined): Blob {
    if (stored.length >= blob.stored.length) return blob;
    const after = { ...blob, stored };
    const bytes = decodeBlob(after, base);
    assert(
      Bun.hash.xxHash3(bytes) === blob.checksum && bytes.length === blob.length,
      "what was compressed again must come back",
    );
    releaseBytes(bytes);
    return after;
  }
}
