/**
 * The `m:` rows: for each path, where its versions stand in the journal. An index only: everything in it can be found by folding
 * the journal. So it is written seldom, sorted by path, and a recording that is cut has a part of it. Versions wait in one
 * growing array of numbers per node, filed under the path that the node had when the first of them came.
 */
import { VERSION_INDEX_EVENTS_MAX } from "../base/limits.ts";
import { encodeVersions, type Version } from "../format/versions_codec.ts";
import { EventFlag, Op, type OpCode } from "../format/trace_event.ts";
import type { Tree } from "../resolve/tree.ts";
import type { TraceWriter } from "../store/trace_writer.ts";

/** Numbers of one version: seq, tNs, row, offset, op, flags, size. */
const FIELDS = 7;
const FIRST_VERSIONS = 4;

/** The parts of an event that a version keeps. */
interface VersionOf {
  op: number;
  flags: number;
  tNs: number;
  /** RENAME: the node that lost its name to this one, 0 none. */
  victim?: number | undefined;
}

class VersionList {
  readonly path: string;
  #numbers = new Float64Array(FIRST_VERSIONS * FIELDS);
  #used = 0;

  constructor(path: string) {
    this.path = path;
  }

  push(event: VersionOf, at: { row: number; offset: number; seq: number }, size: number): void {
    if (this.#used === this.#numbers.length) {
      const larger = new Float64Array(this.#numbers.length * 2);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    const n = this.#numbers;
    let i = this.#used;
    n[i++] = at.seq;
    n[i++] = event.tNs;
    n[i++] = at.row;
    n[i++] = at.offset;
    n[i++] = event.op;
    n[i++] = event.flags;
    n[i++] = size;
    this.#used = i;
  }

  versions(): Version[] {
    const result: Version[] = [];
    for (let i = 0; i < this.#used; i += FIELDS) {
      const [seq = 0, tNs = 0, row = 0, offset = 0, op = 0, flags = 0, size = 0] = this.#numbers
        .subarray(i, i + FIELDS);
      result.push({ seq, tNs, row, offset, op: op as OpCode, flags, size });
    }
    return result;
  }
}

/** See the head of the file. */
export class VersionIndex {
  readonly #writer: TraceWriter;
  readonly #tree: Tree;
  readonly #open = new Map<number, VersionList>();
  #closed: VersionList[] = [];
  #lastNode = 0;
  #lastList: VersionList | undefined;
  #count = 0;

  constructor(writer: TraceWriter, tree: Tree) {
    this.#writer = writer;
    this.#tree = tree;
  }

  /** Files an event of a node; the tree has it applied already. `at.seq` is the event's own number. */
  add(node: number, event: VersionOf, at: { row: number; offset: number; seq: number }): void {
    const list = node === this.#lastNode ? this.#lastList : this.#listOf(node);
    this.#lastNode = node;
    this.#lastList = list;
    if (list === undefined) return;
    list.push(event, at, this.#tree.node(node)?.size ?? 0);
    this.#count++;
    if (event.op === Op.RENAME || event.op === Op.UNLINK || event.op === Op.RMDIR) {
      this.#close(node, (event.flags & EventFlag.EXCHANGE) !== 0);
      if (event.victim !== undefined && event.victim !== 0) this.#close(event.victim, false);
    }
  }

  #listOf(node: number): VersionList | undefined {
    const known = this.#open.get(node);
    if (known !== undefined) return known;
    const path = this.#tree.path(node);
    if (path === undefined) return undefined;
    const list = new VersionList(path);
    this.#open.set(node, list);
    return list;
  }

  /**
   * The node's name changed: what comes next belongs to another path. A folder takes what is below it along. `all`: another node
   * changed its name too, and which one is not known here.
   */
  #close(node: number, all: boolean): void {
    const isFolder = this.#tree.node(node)?.children !== undefined;
    const closing = isFolder || all ? [...this.#open.keys()] : [node];
    for (const id of closing) {
      const list = this.#open.get(id);
      if (list !== undefined) this.#closed.push(list);
      this.#open.delete(id);
    }
    this.#lastNode = 0;
    this.#lastList = undefined;
  }

  /** Writes the rows if enough of them wait. Inside a transaction. */
  flushDue(): void {
    if (this.#count >= VERSION_INDEX_EVENTS_MAX) this.flush();
  }

  /** Writes all rows that wait. Inside a transaction. */
  flush(): void {
    const byPath = new Map<string, VersionList[]>();
    for (const list of [...this.#closed, ...this.#open.values()]) {
      const lists = byPath.get(list.path);
      if (lists === undefined) byPath.set(list.path, [list]);
      else lists.push(list);
    }
    for (const path of [...byPath.keys()].sort()) {
      const versions = (byPath.get(path) ?? []).flatMap((list) => list.versions());
      versions.sort((a, b) => a.seq - b.seq);
      this.#writer.putVersions({ path, tNs: versions[0]?.tNs ?? 0 }, encodeVersions(versions));
    }
    this.#open.clear();
    this.#closed = [];
    this.#lastNode = 0;
    this.#lastList = undefined;
    this.#count = 0;
  }
}
