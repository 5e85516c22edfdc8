/**
 * The codecs of a trace's content, in one place: deltas against a base, zstd with or without a base as prefix, and the borders
 * of content-defined chunks. All are pure and synchronous. docs/FORMAT.md ("Codecs") has the bytes, docs/decisions when which
 * one is smallest and fastest.
 */
export { chunkBorders } from "./chunks.ts";
export { deltaApply, type DeltaApplyOptions } from "../src/format/delta_decoder.ts";
export {
  deltaEncode,
  deltaEncodeFast,
  type DeltaEncodeOptions,
  type DeltaFastOptions,
  deltaRecompress,
} from "./delta.ts";
export { moduleBytes, releaseModule } from "./module.ts";
export {
  zstdDecode,
  type ZstdDecodeOptions,
  zstdEncode,
  type ZstdEncodeOptions,
} from "../src/format/zstd.ts";
