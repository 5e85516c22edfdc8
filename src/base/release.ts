/**
 * Gives the memory of large buffers back at once. The runtime collects them when it likes, which is after hundreds of megabytes
 * where every step takes some of 8 MB; and memory that is given back warm need not be fetched and cleared by the kernel again.
 */
import { RELEASE_BYTES_MIN } from "./limits.ts";

/**
 * Frees the memory that `bytes` is a view of; all views of it are empty from then on. The caller must own the whole buffer and
 * know all of its views. Small ones are left to the collector: they may be parts of a buffer that others use too.
 */
export function releaseBytes(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < RELEASE_BYTES_MIN) return;
  buffer.transfer(0);
}
