/**
 * For tests of this folder: a trace in memory, and what a reader makes of its baseline, folded through a tree of its own
 * from the encoded rows.
 */
import { createHash } from "node:crypto";
import { EventCursor } from "../format/event_codec.ts";
import { Op, type TraceEvent } from "../format/trace_event.ts";
import type { Node } from "../resolve/node.ts";
import { Tree } from "../resolve/tree.ts";
import type { BaselineTrace } from "./baseline.ts";

/** Keeps rows as the trace writer does, equal content once. */
export class TestingRows implements BaselineTrace {
  readonly batches: Uint8Array[] = [];
  readonly contents: Uint8Array[] = [];
  #open = false;
  readonly #rowOf = new Map<string, number>();

  begin(): void {
    if (this.#open) throw new Error("a transaction is open");
    this.#open = true;
  }

  commit(): void {
    if (!this.#open) throw new Error("no transaction is open");
    this.#open = false;
  }

  rollback(): void {
    this.commit();
  }

  putBaseline(n: number, value: Uint8Array): void {
    if (!this.#open) throw new Error("no transaction is open");
    if (n !== this.batches.length) throw new Error("baseline rows must be numbered in order");
    this.batches.push(value.slice());
  }

  putContent(sha256: string, bytes: Uint8Array): number {
    if (!this.#open) throw new Error("no transaction is open");
    const known = this.#rowOf.get(sha256);
    if (known !== undefined) return known;
    if (createHash("sha256").update(bytes).digest("hex") !== sha256) throw new Error("bad digest");
    const row = this.contents.push(bytes.slice());
    this.#rowOf.set(sha256, row);
    return row;
  }

  /** All events, decoded. */
  events(): TraceEvent[] {
    const events: TraceEvent[] = [];
    for (const batch of this.batches) {
      const cursor = new EventCursor(batch);
      while (cursor.next()) events.push(cursor.event());
    }
    return events;
  }
}

/** What a reader folds from the rows: the tree, and the last content of each node as extents. */
export class Folded {
  readonly tree = new Tree();
  readonly events: TraceEvent[];
  readonly #rows: TestingRows;
  readonly #content = new Map<number, TraceEvent>();

  constructor(rows: TestingRows) {
    this.#rows = rows;
    this.events = rows.events();
    for (const event of this.events) {
      this.tree.apply(event);
      if (event.op === Op.BASELINE || event.op === Op.RESYNC) this.#content.set(event.node, event);
    }
  }

  /** Paths with their first root's index in front when there are several: `0:a/b`. */
  paths(): string[] {
    const many = this.tree.roots.length > 1;
    return [...this.tree.walk()].map(({ path, root }) => many ? `${root}:${path}` : path).sort();
  }

  node(path: string, root = 0): Node | undefined {
    const top = this.tree.roots.find((one) => one.root === root);
    return top === undefined ? undefined : this.tree.at(top.id, path);
  }

  event(path: string, root = 0): TraceEvent | undefined {
    return this.#content.get(this.node(path, root)?.id ?? 0);
  }

  /** The bytes of a file. */
  content(path: string, root = 0): Buffer {
    const node = this.node(path, root);
    const bytes = Buffer.alloc(node?.size ?? 0);
    for (const { row, offset, length, at } of this.event(path, root)?.extents ?? []) {
      const chunk = this.#rows.contents[row - 1];
      if (chunk === undefined) throw new Error("an extent names no row");
      bytes.set(chunk.subarray(offset, offset + length), at);
    }
    return bytes;
  }

  /** Texts of all events of an op. */
  texts(op: TraceEvent["op"]): string[] {
    return this.events.filter((event) => event.op === op).map((event) => event.text ?? "");
  }
}
