/**
 * Versions of a large binary file as a linker makes them: code that calls by address, a table of addresses, strings. Each version has a
 * part more in front, so that every address is another, and one entry more in the table.
 */
import { Op } from "../../src/format/trace_event.ts";
import type { Random } from "../property/model.ts";
import { attr, type TraceBuilder } from "../trace_builder.ts";

const FIRST_NODE = 70_000;
const FUNCTIONS = 6_000;
const WORDS_PER_ENTRY = 6;
const CODE_BYTES = 24;
const ADDRESS = 0x40_1000;

/** See the head of the file. */
export class ProgramVersions {
  readonly #random: Random;
  readonly #code: Uint8Array[] = [];
  /** Functions in the order of the table, by their number. */
  readonly #order: number[] = [];
  #count = 0;

  constructor(random: Random, functions = FUNCTIONS) {
    this.#random = random;
    for (let n = 0; n < functions; n++) {
      this.#code.push(random.bytes(CODE_BYTES));
      this.#order.splice(random.below(n + 1), 0, n);
    }
  }

  /** The sections of the next version: the code, and the table. */
  next(): Uint8Array[] {
    const random = this.#random;
    const shift = 32 * this.#count;
    this.#count++;
    this.#order.splice(random.below(this.#order.length), 0, random.below(this.#code.length));
    const address = (n: number) => ADDRESS + shift + n * CODE_BYTES;
    const code = Buffer.concat([random.bytes(32), ...this.#code]);
    const functions = this.#code.length;
    for (let n = 0; n < functions; n++) {
      code.writeUInt32LE(address((n * 31) % functions), 32 + n * CODE_BYTES + 8);
    }
    const table = new Uint32Array(this.#order.length * WORDS_PER_ENTRY);
    for (const [i, n] of this.#order.entries()) {
      table.set(
        [n * 9 + this.#count, 0x0e_0012, address(n), 0, CODE_BYTES, 0],
        i * WORDS_PER_ENTRY,
      );
    }
    return [code, new Uint8Array(table.buffer)];
  }

  /** Adds the next version to a trace whose watched folder is node 1: a new file of the same name, the last section first. */
  write(builder: TraceBuilder): void {
    const node = FIRST_NODE + this.#count;
    const mtime = { sec: 1_600_000_000, nsec: this.#count };
    const file = { node, parent: 1, name: "program" };
    if (this.#count > 0) builder.event({ op: Op.UNLINK, ...file, node: node - 1 });
    const sections = this.next();
    builder.event({ op: Op.CREATE, ...file, attr: attr(0o100755), mtime });
    let end = sections.reduce((sum, { length }) => sum + length, 0);
    for (const bytes of sections.toReversed()) {
      end -= bytes.length;
      builder.write(node, end, { op: Op.WRITE, bytes, mtime });
    }
  }
}
