/**
 * When files that are mapped shared and writable are looked at between sync points: every `intervalMs`, or less often when a look
 * takes long (MAPPED_LOOK_PART). A look reads the files, then lets everything be worked on that the kernel reported meanwhile, and
 * only then makes events of what nobody reported. The longest time between two looks is kept: it is the true resolution.
 */
import { MAPPED_LOOK_PART } from "../base/limits.ts";
import { type SampledInfo, sampledText } from "../format/recording_info.ts";
import { Op } from "../format/trace_event.ts";
import { CLOCK_THREAD_CPUTIME, clockNs } from "./kernel_clock.ts";
import type { Resolver } from "../resolve/resolver.ts";
import type { EventSink } from "../resolve/sink.ts";

/** How a look is done. */
export interface LookOptions {
  /** Works on everything that the kernel has reported by now. */
  catchUp(): void;
  /** Nanoseconds since the start of the command. */
  now(): number;
}

const cpuMs = () => Number(clockNs(CLOCK_THREAD_CPUTIME)) / 1e6;

/** See the head of the file. */
export class MappedSampler {
  readonly #intervalMs: number;
  #dueMs = 0;
  /** When the last look began; 0: no file was mapped then. */
  #lastMs = 0;
  /** When the last look had read everything: what it found has this time. */
  #readMs = 0;
  #slowestMs = 0;
  /** CPU time of the last look. */
  #costMs = 0;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Looks if it is time. Call it whenever the ring was drained. */
  turn(resolver: Resolver, options: LookOptions): void {
    const { mapped } = resolver;
    const startMs = performance.now();
    if (mapped === undefined || mapped.count === 0) {
      if (this.#lastMs !== 0) this.#apart(startMs);
      this.#lastMs = 0;
      return;
    }
    if (this.#lastMs === 0) {
      this.#begin(startMs);
      return;
    }
    if (startMs < this.#dueMs || !resolver.isSettled) return;
    const isWhole = this.look(resolver, options);
    this.#dueMs = startMs + Math.max(this.#intervalMs, this.#costMs / MAPPED_LOOK_PART);
    if (!isWhole) return;
    this.#apart(this.#readMs);
    this.#lastMs = startMs;
  }

  /**
   * Looks now. Returns false when it was not all: what happened meanwhile still waits, then the look counts for nothing, or there
   * was more than one look takes.
   */
  look(resolver: Resolver, options: LookOptions): boolean {
    const { mapped } = resolver;
    if (mapped === undefined) return true;
    let began = cpuMs();
    const isWhole = mapped.look();
    this.#costMs = cpuMs() - began;
    this.#readMs = performance.now();
    const t = options.now();
    options.catchUp();
    began = cpuMs();
    if (resolver.isSettled) mapped.take(t);
    else mapped.drop();
    this.#costMs += cpuMs() - began;
    return isWhole && resolver.isSettled;
  }

  /** What `i:end` says of it; nothing if no file was mapped. */
  info(resolver: Resolver): { sampled?: SampledInfo } {
    const files = resolver.mapped?.seen.size ?? 0;
    if (files === 0) return {};
    const slowestMs = Math.ceil(this.#slowestMs);
    return { sampled: { files, intervalMs: this.#intervalMs, slowestMs } };
  }

  /** Says it among the events too, at the end. `tNs` since the start. */
  note(resolver: Resolver, sink: EventSink, tNs: number): void {
    const { sampled } = this.info(resolver);
    if (sampled === undefined) return;
    const text = `sampled: ${sampledText(sampled)}`;
    sink.event({ seq: 0, op: Op.NOTE, flags: 0, tNs, pid: 0, tid: 0, comm: "", node: 0, text });
  }

  /** Until `ms` the trace says what was read when the look before began. */
  #apart(ms: number): void {
    this.#slowestMs = Math.max(this.#slowestMs, ms - this.#lastMs);
  }

  #begin(nowMs: number): void {
    this.#lastMs = nowMs;
    this.#dueMs = nowMs + this.#intervalMs;
  }
}
