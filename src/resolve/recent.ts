/**
 * The last write of every node, in flat arrays: who wrote where until when, and its number in the
 * lock order. Tells whether two writes on one inode overlapped in time and in place.
 */

import { SEEN_MAX } from "./bounds.ts";

/** A write as it is compared. */
export interface WriteSpan {
  t: number;
  enter: number;
  tid: number;
  offset: number;
  length: number;
  /** Place in the order of changes, 0: none. */
  seq: number;
}

/** Last writes by node id. */
export class Recent {
  /** Nodes that two tasks wrote at once, without an order: their content is read again at the end. */
  readonly suspects = new Set<number>();
  #seq = new Float64Array(4096);
  #t = new Float64Array(4096);
  #start = new Float64Array(4096);
  #end = new Float64Array(4096);
  #tid = new Uint32Array(4096);
  /** Whether the last write had no place in the order of changes. */
  #loose = new Uint32Array(4096);
  /** The end of the last write by a task other than that of the last one. */
  #otherT = new Float64Array(4096);
  #cutT = new Float64Array(4096);
  #cutTid = new Uint32Array(4096);
  /** Whether the last cut had no place in the order of changes. */
  #cutLoose = new Uint32Array(4096);
  #copyT = new Float64Array(4096);
  #copyTid = new Uint32Array(4096);
  readonly #copyTo = new Map<number, number>();
  readonly #attributes = new Map<number, { t: number; tid: number }>();

  #grow(node: number): void {
    const length = Math.max(node + 1, this.#seq.length * 2);
    const wider = (old: Float64Array<ArrayBuffer>) => {
      const fresh = new Float64Array(length);
      fresh.set(old);
      return fresh;
    };
    this.#seq = wider(this.#seq);
    this.#t = wider(this.#t);
    this.#start = wider(this.#start);
    this.#end = wider(this.#end);
    this.#otherT = wider(this.#otherT);
    this.#cutT = wider(this.#cutT);
    this.#copyT = wider(this.#copyT);
    const narrow = (old: Uint32Array<ArrayBuffer>) => {
      const fresh = new Uint32Array(length);
      fresh.set(old);
      return fresh;
    };
    this.#tid = narrow(this.#tid);
    this.#loose = narrow(this.#loose);
    this.#cutTid = narrow(this.#cutTid);
    this.#cutLoose = narrow(this.#cutLoose);
    this.#copyTid = narrow(this.#copyTid);
  }

  /** Lock number of the node's last write, 0 if none. */
  seq(node: number): number {
    return this.#seq[node] ?? 0;
  }

  setSeq(node: number, seq: number): void {
    if (node >= this.#seq.length) this.#grow(node);
    this.#seq[node] = seq;
  }

  set(node: number, span: WriteSpan): void {
    if (node >= this.#seq.length) this.#grow(node);
    if (this.#tid[node] !== span.tid) this.#otherT[node] = this.#t[node] as number;
    this.#t[node] = span.t;
    this.#tid[node] = span.tid;
    this.#loose[node] = span.seq === 0 ? 1 : 0;
    this.#start[node] = span.offset;
    this.#end[node] = span.offset + span.length;
  }

  /**
   * The size was set. Returns true when another task's write or cut overlapped it and nothing says which came first; `ordered`:
   * this one has its place.
   */
  cut(node: number, by: { t: number; enter: number; tid: number }, ordered: boolean): boolean {
    if (node >= this.#seq.length) this.#grow(node);
    const isSecond = (this.#cutT[node] as number) > by.enter && this.#cutTid[node] !== by.tid;
    this.#cutT[node] = by.t;
    this.#cutTid[node] = by.tid;
    const isSecondLoose = !ordered || this.#cutLoose[node] === 1;
    this.#cutLoose[node] = ordered ? 0 : 1;
    const isFirst = (this.#t[node] as number) > by.enter && this.#tid[node] !== by.tid;
    const isFirstLoose = !ordered || this.#loose[node] === 1;
    return (isSecond && isSecondLoose) || (isFirst && isFirstLoose);
  }

  /** Notes an attribute call; true when another task's attribute call on the node overlapped it. */
  isAttributeClash(node: number, by: { t: number; enter: number; tid: number }): boolean {
    const before = this.#attributes.get(node);
    if (this.#attributes.size >= SEEN_MAX) this.#attributes.clear();
    this.#attributes.set(node, { t: by.t, tid: by.tid });
    return before !== undefined && before.t > by.enter && before.tid !== by.tid;
  }

  /** Did another task set the size while this write was running, before or after it? */
  isCut(node: number, span: WriteSpan): boolean {
    const isLoose = span.seq === 0 || this.#cutLoose[node] === 1;
    return isLoose && (this.#cutT[node] ?? 0) > span.enter &&
      this.#cutTid[node] !== span.tid;
  }

  /** `source` was copied into `node`. Returns true when another task changed the source meanwhile. */
  copied(source: number, node: number, by: WriteSpan): boolean {
    const most = Math.max(source, node);
    if (most >= this.#seq.length) this.#grow(most);
    this.#copyT[source] = by.t;
    this.#copyTid[source] = by.tid;
    if (this.#copyTo.size >= SEEN_MAX) this.#copyTo.clear();
    this.#copyTo.set(source, node);
    const isLast = this.#tid[source] !== by.tid && (this.#t[source] as number) > by.enter;
    const isOther = (this.#otherT[source] as number) > by.enter;
    return isLast || isOther || this.isCut(source, { ...by, seq: 0 });
  }

  /** Was this node being copied by another task while this write was running? */
  isCopied(node: number, span: WriteSpan): boolean {
    return (this.#copyT[node] ?? 0) > span.enter && this.#copyTid[node] !== span.tid;
  }

  /** Where it was copied to last; 0 unknown. */
  copiedTo(node: number): number {
    return this.#copyTo.get(node) ?? 0;
  }

  /** Was another task's last write running at the same time? */
  isOverlapped(node: number, span: WriteSpan): boolean {
    return (this.#t[node] ?? 0) > span.enter && this.#tid[node] !== span.tid;
  }

  /** The bytes in doubt when another task's last write overlapped this one, and nothing says which came first. */
  clash(node: number, span: WriteSpan): { start: number; end: number } | undefined {
    const t = this.#t[node] ?? 0;
    if (t <= span.enter || this.#tid[node] === span.tid) return undefined;
    if (span.seq !== 0 && this.#loose[node] !== 1) return undefined;
    this.suspects.add(node);
    const start = this.#start[node] ?? 0;
    const end = this.#end[node] ?? 0;
    if (end <= span.offset || start >= span.offset + span.length) return undefined;
    // A shared file position may have been read too late: the range may lie one write earlier.
    const slack = Math.max(end - start, span.length);
    return {
      start: Math.max(0, Math.min(start, span.offset) - slack),
      end: Math.max(end, span.offset + span.length),
    };
  }
}
