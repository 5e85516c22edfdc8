/**
 * The last write of every node, in flat arrays: who wrote where until when, and its number in the
 * lock order. Tells whether two writes on one inode overlapped in time and in place.
 */

/** A write as it is compared. */
export interface WriteSpan {
  t: number;
  enter: number;
  tid: number;
  offset: number;
  length: number;
}

/** Last writes by node id. */
export class Recent {
  #seq = new Float64Array(4096);
  #t = new Float64Array(4096);
  #start = new Float64Array(4096);
  #end = new Float64Array(4096);
  #tid = new Uint32Array(4096);

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
    const tid = new Uint32Array(length);
    tid.set(this.#tid);
    this.#tid = tid;
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
    this.#t[node] = span.t;
    this.#tid[node] = span.tid;
    this.#start[node] = span.offset;
    this.#end[node] = span.offset + span.length;
  }

  /** The bytes in doubt when another task's last write overlapped this one; undefined: no doubt. */
  clash(node: number, span: WriteSpan): { start: number; end: number } | undefined {
    const t = this.#t[node] ?? 0;
    if (t <= span.enter || this.#tid[node] === span.tid) return undefined;
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
