/**
 * Payload lengths of rows by id, for millions of rows: four bytes per id, in pages that are made when one of their ids is
 * met, so that ids far apart cost a page each and not the room between them.
 */
import { assert } from "../base/assert.ts";

const PAGE_IDS = 4096;

/** See the head of the file. */
export class RowLengths {
  readonly #pages = new Map<number, Uint32Array>();

  /** @param length in bytes, below 2^32 - 1. */
  set(id: number, length: number): void {
    assert(length >= 0 && length < 0xffff_ffff, "a length must fit beside its mark");
    const number = Math.floor(id / PAGE_IDS);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = new Uint32Array(PAGE_IDS);
      this.#pages.set(number, page);
    }
    // One more than the length: 0 says that there is no such row.
    page[id % PAGE_IDS] = length + 1;
  }

  /** Undefined: no row with this id was met. */
  get(id: number): number | undefined {
    const length = this.#pages.get(Math.floor(id / PAGE_IDS))?.[id % PAGE_IDS] ?? 0;
    return length === 0 ? undefined : length - 1;
  }
}
