/**
 * The WebAssembly module of the codecs (c/*.c, built by tools/build.ts): compiled once, one instance at a time. Its memory
 * only grows, up to CODEC_MEMORY_BYTES_MAX, and is kept for the next call; `releaseModule` gives it back. Nothing here is
 * asynchronous, and a call never leaves state behind that the next one relies on, except where delta_window.ts says so.
 */
import { readFileSync } from "node:fs";
import wasmPath from "../build/codecs.wasm" with { type: "file" };
import { assert } from "../src/base/assert.ts";
import { CODEC_MEMORY_BYTES_MAX } from "../src/base/limits.ts";

const PAGE_BYTES = 65_536;
const ALIGNMENT = 16;

/** What c/*.c exports; every number is an address or a count of bytes. */
export interface CodecExports {
  readonly memory: WebAssembly.Memory;
  readonly __heap_base: WebAssembly.Global;
  suffix_sort(text: number, n: number, sa: number, buckets: number, types: number): void;
  /** 1: done; 0: call again with the suffix array. */
  delta_run(delta: number): number;
  /** The same with the table of strings. */
  delta_run_fast(delta: number): void;
  chunks_start(): void;
  chunk_length(
    bytes: number,
    length: number,
    skip: number,
    wanted: number,
    most: number,
    strict: number,
    lax: number,
  ): number;
}

let compiled: WebAssembly.Module | undefined;
let instance: CodecExports | undefined;

/** The instance of this thread; made at the first call, in about a millisecond. */
export function codecModule(): CodecExports {
  if (instance === undefined) {
    compiled ??= new WebAssembly.Module(readFileSync(wasmPath));
    instance = new WebAssembly.Instance(compiled).exports as unknown as CodecExports;
    instance.chunks_start();
  }
  return instance;
}

/** Forgets the instance, so that its memory (up to CODEC_MEMORY_BYTES_MAX) goes with the next garbage collection. */
export function releaseModule(): void {
  instance = undefined;
}

/** Bytes of memory that the instance holds now; it never shrinks. */
export function moduleBytes(): number {
  return instance?.memory.buffer.byteLength ?? 0;
}

/** Regions laid one after another in the memory of an instance, from the end of its own data on. */
export class Layout {
  readonly #exports: CodecExports;
  #end: number;

  constructor(exports: CodecExports) {
    this.#exports = exports;
    this.#end = roundUp(exports.__heap_base.value as number);
  }

  /** The address of the next region, 16-byte aligned; nothing is cleared. */
  take(bytes: number): number {
    const at = this.#end;
    this.#end = roundUp(at + bytes);
    return at;
  }

  /** Makes the memory large enough for all regions; views of it made before are void. */
  commit(): void {
    assert(this.#end <= CODEC_MEMORY_BYTES_MAX, "the codecs stay within their memory");
    const { memory } = this.#exports;
    const missing = this.#end - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
  }
}

function roundUp(address: number): number {
  return Math.ceil(address / ALIGNMENT) * ALIGNMENT;
}
