/**
 * Files of text whose versions resemble each other, as programs write them: written anew in place, replaced by a new file under
 * the same name, and appended to. So that compaction finds what it looks for, which random bytes never are.
 */
import { Op } from "../../src/format/trace_event.ts";
import type { Random } from "../property/model.ts";
import { attr, type TraceBuilder } from "../trace_builder.ts";

const FIRST_NODE = 50_000;
const IN_PLACE = FIRST_NODE;
const LOG = FIRST_NODE + 1;
const LINES = 60;

/** Adds versions to a trace whose watched folder is node 1. */
export class TextVersions {
  readonly #builder: TraceBuilder;
  readonly #random: Random;
  readonly #lines: string[] = [];
  #next = LOG + 1;
  #replaced = 0;
  #logBytes = 0;
  #times = 0;

  constructor(builder: TraceBuilder, random: Random) {
    this.#builder = builder;
    this.#random = random;
    for (let line = 0; line < LINES; line++) this.#lines.push(this.#line());
    for (const [node, name] of [[IN_PLACE, "in-place.txt"], [LOG, "some.log"]] as const) {
      builder.event({ op: Op.CREATE, node, parent: 1, name, attr: attr(0o100644), ...this.#at() });
    }
  }

  /** One more version of each. */
  step(): void {
    const random = this.#random;
    this.#lines[random.below(LINES)] = this.#line();
    const bytes = Buffer.from(this.#lines.join(""));
    const builder = this.#builder;
    builder.event({ op: Op.TRUNCATE, node: IN_PLACE, length: 0, ...this.#at() });
    builder.write(IN_PLACE, 0, { op: Op.WRITE, bytes, ...this.#at() });
    const node = this.#next++;
    const file = { node, parent: 1, name: "replaced.new" };
    builder.event({ op: Op.CREATE, ...file, attr: attr(0o100644), ...this.#at() });
    const part = bytes.subarray(random.below(40));
    builder.write(node, 0, { op: Op.WRITE, bytes: part, ...this.#at() });
    const to = { toParent: 1, toName: "replaced.txt", victim: this.#replaced };
    builder.event({ op: Op.RENAME, ...file, ...to });
    this.#replaced = node;
    for (let count = random.below(4); count >= 0; count--) {
      const line = Buffer.from(this.#line());
      builder.write(LOG, this.#logBytes, { op: Op.WRITE, bytes: line, ...this.#at() });
      this.#logBytes += line.length;
    }
  }

  /** A time that no event before had, so that an export does not have its own. */
  #at(): { mtime: { sec: number; nsec: number } } {
    return { mtime: { sec: 1_600_000_000, nsec: this.#times++ } };
  }

  #line(): string {
    const random = this.#random;
    return `at ${random.below(1_000_000)}: request ${random.below(50)} took ${
      random.below(9)
    } ms\n`;
  }
}
