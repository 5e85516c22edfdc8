/**
 * Payloads of rows by id, bounded by bytes: the least recently used go first. A payload larger than the bound is not kept.
 */
import { assert } from "../base/assert.ts";

/** See the head of the file. */
export class RowCache {
  readonly #bytesMax: number;
  readonly #rows = new Map<number, Uint8Array>();
  #bytes = 0;
  /** Takes what had to go; absent: nobody asks for it. */
  onGone: ((payload: Uint8Array) => void) | undefined;

  constructor(bytesMax: number) {
    assert(bytesMax >= 0, "a cache must not have a negative size");
    this.#bytesMax = bytesMax;
  }

  /** Bytes kept now. */
  get bytes(): number {
    return this.#bytes;
  }

  get(id: number): Uint8Array | undefined {
    const payload = this.#rows.get(id);
    if (payload === undefined) return undefined;
    // A Map keeps insertion order: out and in again makes it the youngest.
    this.#rows.delete(id);
    this.#rows.set(id, payload);
    return payload;
  }

  /** Whether it is kept; that does not make it younger. */
  has(id: number): boolean {
    return this.#rows.has(id);
  }

  set(id: number, payload: Uint8Array): void {
    if (payload.length > this.#bytesMax) return;
    this.#remove(id);
    this.#rows.set(id, payload);
    this.#bytes += payload.length;
    for (const oldest of this.#rows.keys()) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#remove(oldest);
    }
    assert(this.#bytes <= this.#bytesMax, "a cache must stay within its bound");
  }

  clear(): void {
    this.#rows.clear();
    this.#bytes = 0;
  }

  #remove(id: number): void {
    const payload = this.#rows.get(id);
    if (payload === undefined) return;
    this.#bytes -= payload.length;
    this.#rows.delete(id);
    this.onGone?.(payload);
  }
}
