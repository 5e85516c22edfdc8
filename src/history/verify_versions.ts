/**
 * Checks `m:` rows against the journal: every entry must point to an event with its seq, time, op, flags and size, of a node
 * that has the row's path then. Entries are taken in chunks of bounded size, each sorted by seq, so that a walk along the
 * journal meets them in order; a trace with more of them is walked once per chunk.
 */
import { assert } from "../base/assert.ts";
import type { EventCursor } from "../format/event_codec.ts";
import type { Version } from "../format/versions_codec.ts";
import type { Tree } from "../resolve/tree.ts";
import type { Problems } from "./verify_report.ts";

/** Entries of a chunk: 64 bytes each. */
export const CHUNK_ENTRIES_MAX = 1 << 19;
/** A seq beyond this does not fit beside the number of the entry in a double. */
const SEQ_MAX = 2 ** 34;
/** Numbers of an entry: seq, tNs, row, offset, op, size, and which source it has. */
const FIELDS = 7;
const FIRST_ENTRIES = 1024;

/** The `m:` row that an entry stands in. */
export interface VersionSource {
  row: number;
  path: string;
}

/** Entries that wait for their events. */
export class VersionChunk {
  readonly #problems: Problems;
  readonly #roots: readonly string[];
  readonly #sources: VersionSource[] = [];
  #numbers = new Float64Array(FIRST_ENTRIES * FIELDS);
  readonly #entriesMax: number;
  #count = 0;
  #order = new Float64Array(0);
  #next = 0;

  /**
   * @param rootPaths of the watched folders: a path may begin with one of them.
   * @param entriesMax for tests.
   */
  constructor(
    problems: Problems,
    rootPaths: readonly string[],
    entriesMax: number = CHUNK_ENTRIES_MAX,
  ) {
    assert(entriesMax > 0 && entriesMax <= CHUNK_ENTRIES_MAX, "a chunk must hold entries");
    this.#entriesMax = entriesMax;
    this.#problems = problems;
    this.#roots = rootPaths;
  }

  get isFull(): boolean {
    return this.#count === this.#entriesMax;
  }

  /** Adds an entry. */
  add(source: VersionSource, version: Version): void {
    assert(!this.isFull, "a full chunk takes no more entries");
    const { seq, tNs, row, offset, op, size } = version;
    if (seq < 1 || seq >= SEQ_MAX) {
      this.#problems.add(source, `an entry has the seq ${seq}`);
      return;
    }
    if (this.#sources.at(-1) !== source) this.#sources.push(source);
    const at = this.#count++ * FIELDS;
    if (at === this.#numbers.length) {
      const larger = new Float64Array(this.#numbers.length * 2);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers.set([seq, tNs, row, offset, op, size, this.#sources.length - 1], at);
  }

  /** No more entries come: from now on events are given in the order of their seq. */
  sort(): void {
    this.#order = new Float64Array(this.#count);
    for (let at = 0; at < this.#count; at++) {
      this.#order[at] = (this.#numbers[at * FIELDS] ?? 0) * CHUNK_ENTRIES_MAX + at;
    }
    this.#order.sort();
    this.#next = 0;
  }

  /** Whether an entry waits for the event with this seq. */
  wants(seq: number): boolean {
    const next = this.#order[this.#next];
    return next !== undefined && Math.floor(next / CHUNK_ENTRIES_MAX) <= seq;
  }

  /**
   * Compares the entries of the event on which the cursor stands.
   * @param pathBefore of the event's node before the tree took the event; the tree has taken it.
   */
  check(
    cursor: EventCursor,
    row: number,
    at: { tree: Tree; pathBefore?: string | undefined },
  ): void {
    while (this.wants(cursor.seq)) {
      const { source, seq, ...entry } = this.#take();
      const size = at.tree.node(cursor.node)?.size ?? 0;
      const wrong = seq === cursor.seq
        ? difference(entry, { cursor, row, size })
        : "it is not there";
      const isAtPath = this.#isAt(source.path, at.pathBefore) ||
        this.#isAt(source.path, at.tree.path(cursor.node));
      if (wrong !== "") this.#problems.add(source, `an entry names event #${seq}: ${wrong}`);
      else if (!isAtPath) {
        this.#problems.add(source, `an entry names event #${seq}, which is of another file`);
      }
    }
  }

  /** The journal has ended: what still waits names events that are not there. */
  finish(): void {
    while (this.#next < this.#order.length) {
      const { source, seq } = this.#take();
      this.#problems.add(source, `an entry names event #${seq}, which is not there`);
    }
  }

  #take(): Entry & { seq: number; source: VersionSource } {
    const start = ((this.#order[this.#next++] ?? 0) % CHUNK_ENTRIES_MAX) * FIELDS;
    const [seq = 0, tNs = 0, row = 0, offset = 0, op = 0, size = 0, from = 0] = this.#numbers
      .subarray(start, start + FIELDS);
    const source = this.#sources[from];
    assert(source !== undefined, "an entry must have a source");
    return { seq, tNs, row, offset, op, size, source };
  }

  #isAt(path: string, found: string | undefined): boolean {
    if (found === undefined) return false;
    if (path === found) return true;
    return this.#roots.some((root) => path === (found === "" ? root : `${root}/${found}`));
  }
}

type Entry = Pick<Version, "tNs" | "row" | "offset" | "size"> & { op: number };

function difference(
  version: Entry,
  event: { cursor: EventCursor; row: number; size: number },
): string {
  const { cursor, row, size } = event;
  if (version.row !== row) return `it stands in row ${row}, not ${version.row}`;
  if (version.offset !== cursor.eventOffset) return "it stands at another offset";
  if (version.op !== cursor.op) return "its op is another";
  if (version.tNs !== cursor.tNs) return "its time is another";
  if (version.size !== size) return `its file has ${size} bytes then, not ${version.size}`;
  return "";
}
