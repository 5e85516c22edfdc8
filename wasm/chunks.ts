/**
 * Content-defined chunks through the WebAssembly module: the bytes go through a small region of its memory, so that inputs
 * of any size need a megabyte. The borders depend on nothing but the bytes (docs/FORMAT.md, "Chunks").
 */
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_WANTED } from "../src/base/limits.ts";
import { LAX_MASK, STRICT_MASK } from "./chunks_twin.ts";
import { codecModule, Layout } from "./module.ts";

/** Bytes copied into the module at once. */
const STAGE_BYTES = 1 << 20;

/**
 * The end of each chunk, ascending; the last is `bytes.length`, none if there are no bytes. A chunk has CHUNK_BYTES_MIN + 1 to
 * CHUNK_BYTES_MAX bytes, the last one from 1 on.
 */
export function chunkBorders(bytes: Uint8Array): number[] {
  const exports = codecModule();
  const layout = new Layout(exports);
  const stage = layout.take(STAGE_BYTES);
  layout.commit();
  const memory = new Uint8Array(exports.memory.buffer);
  const borders: number[] = [];
  let start = 0;
  let staged = 0;
  let stagedEnd = 0;
  while (start < bytes.length) {
    if (stagedEnd < bytes.length && stagedEnd - start < CHUNK_BYTES_MAX) {
      staged = start;
      stagedEnd = Math.min(bytes.length, start + STAGE_BYTES);
      memory.set(bytes.subarray(staged, stagedEnd), stage);
    }
    const from = stage + start - staged;
    start += exports.chunk_length(
      from,
      stagedEnd - start,
      CHUNK_BYTES_MIN,
      CHUNK_BYTES_WANTED,
      CHUNK_BYTES_MAX,
      STRICT_MASK,
      LAX_MASK,
    );
    borders.push(start);
  }
  return borders;
}
