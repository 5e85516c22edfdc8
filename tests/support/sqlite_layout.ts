/**
 * Where the keys and values of a trace lie in its file, byte by byte, read straight from SQLite's pages and by nothing of
 * ours: https://sqlite.org/fileformat2.html. Only what a trace has: one table and its one index, sound and complete.
 */
import { Database } from "bun:sqlite";
import { readFileSync } from "node:fs";

/** What a byte of the file belongs to. */
export const ByteKind = { OTHER: 0, KEY: 1, VALUE: 2, INDEX: 3 } as const;

/** Types of b-tree pages. */
const Page = { INDEX_INTERIOR: 2, TABLE_INTERIOR: 5, INDEX_LEAF: 10, TABLE_LEAF: 13 } as const;
const FILE_HEADER_BYTES = 100;

/** One kind per byte of the file. */
export function byteKinds(path: string): Uint8Array {
  const db = new Database(`file:${path}?immutable=1`, 0x41);
  const roots = db.query<{ rootpage: number }, []>("SELECT rootpage FROM sqlite_schema").all();
  db.close();
  return new Layout(readFileSync(path)).kinds(roots.map(({ rootpage }) => rootpage));
}

class Layout {
  readonly #bytes: Buffer;
  readonly #pageSize: number;
  readonly #kinds: Uint8Array;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    const size = bytes.readUInt16BE(16);
    this.#pageSize = size === 1 ? 65_536 : size;
    this.#kinds = new Uint8Array(bytes.length);
  }

  kinds(roots: readonly number[]): Uint8Array {
    const open = [...roots];
    for (let page = open.pop(); page !== undefined; page = open.pop()) {
      open.push(...this.#page(page));
    }
    return this.#kinds;
  }

  /** Marks the cells of a page and gives the pages below it. */
  #page(number: number): number[] {
    const base = (number - 1) * this.#pageSize;
    const header = base + (number === 1 ? FILE_HEADER_BYTES : 0);
    const type = this.#bytes[header] ?? 0;
    const isInterior = type === Page.INDEX_INTERIOR || type === Page.TABLE_INTERIOR;
    const below = isInterior ? [this.#bytes.readUInt32BE(header + 8)] : [];
    const pointers = header + (isInterior ? 12 : 8);
    for (let i = 0; i < this.#bytes.readUInt16BE(header + 3); i++) {
      let at = base + this.#bytes.readUInt16BE(pointers + 2 * i);
      if (isInterior) {
        below.push(this.#bytes.readUInt32BE(at));
        at += 4;
      }
      if (type !== Page.TABLE_INTERIOR) this.#cell(at, type === Page.TABLE_LEAF);
    }
    return below;
  }

  #cell(start: number, isTable: boolean): void {
    const [length, afterLength] = this.#varint(start);
    const at = isTable ? this.#varint(afterLength)[1] : afterLength;
    const places = this.#payload(at, length, isTable);
    const [headerSize, first] = this.#varint(places[0] ?? at);
    const header = first - (places[0] ?? at);
    let body = headerSize;
    // The columns: (id, key, value) in the table, (key, id) in the index.
    const columns = isTable ? [ByteKind.OTHER, ByteKind.KEY, ByteKind.VALUE] : [ByteKind.INDEX];
    let from = (places[0] ?? at) + header;
    for (const kind of columns) {
      const [serial, next] = this.#varint(from);
      from = next;
      const size = serial >= 12 ? (serial - 12) >> 1 : 0;
      for (let i = 0; i < size && kind !== ByteKind.OTHER; i++) {
        this.#kinds[places[body + i] ?? 0] = kind;
      }
      body += size;
    }
  }

  /** Where each byte of a payload lies, along its overflow pages. */
  #payload(at: number, length: number, isTable: boolean): Float64Array {
    const usable = this.#pageSize;
    const max = isTable ? usable - 35 : Math.floor(((usable - 12) * 64) / 255) - 23;
    const min = Math.floor(((usable - 12) * 32) / 255) - 23;
    const wanted = min + ((length - min) % (usable - 4));
    const local = length <= max ? length : wanted <= max ? wanted : min;
    const places = new Float64Array(length);
    for (let i = 0; i < local; i++) places[i] = at + i;
    let page = local === length ? 0 : this.#bytes.readUInt32BE(at + local);
    for (let done = local; done < length;) {
      const start = (page - 1) * usable;
      page = this.#bytes.readUInt32BE(start);
      for (let i = 4; i < usable && done < length; i++) places[done++] = start + i;
    }
    return places;
  }

  #varint(start: number): [value: number, end: number] {
    let value = 0;
    for (let at = start;; at++) {
      const byte = this.#bytes[at] ?? 0;
      value = value * 128 + (byte & 0x7f);
      if (byte < 0x80) return [value, at + 1];
    }
  }
}
