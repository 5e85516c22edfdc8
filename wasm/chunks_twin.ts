/**
 * The twin of c/chunks.c: the same borders in TypeScript, for tests, and the table of the gear hash for others here.
 */
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_WANTED } from "../src/base/limits.ts";

/** A border before the wanted size needs 17 zero bits, a later one 13: two more and two less than log2 of that size. */
export const STRICT_MASK = 0xffff_8000;
export const LAX_MASK = 0xfff8_0000;

let table: Int32Array | undefined;

/** 256 words of 32 bits: the finalizer of MurmurHash3 of (byte + 1) * 0x9E3779B9. */
export function gearTable(): Int32Array {
  if (table !== undefined) return table;
  table = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let h = Math.imul(byte + 1, 0x9e37_79b9);
    h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
    table[byte] = h ^ (h >>> 16);
  }
  return table;
}

/** As `chunkBorders` of chunks.ts. */
export function chunkBordersTwin(bytes: Uint8Array): number[] {
  const gear = gearTable();
  const borders: number[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = Math.min(bytes.length, start + CHUNK_BYTES_MAX);
    let hash = 0;
    let border = end;
    for (let at = start + CHUNK_BYTES_MIN; at < end; at++) {
      hash = ((hash << 1) + (gear[bytes[at] ?? 0] ?? 0)) | 0;
      const mask = at - start < CHUNK_BYTES_WANTED ? STRICT_MASK : LAX_MASK;
      if ((hash & mask) === 0) {
        border = at + 1;
        break;
      }
    }
    borders.push(border);
    start = border;
  }
  return borders;
}
