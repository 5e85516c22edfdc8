/**
 * The consumer side of a BPF ring buffer, by mmap: one page of consumer position (writable), one page of producer position and the
 * data mapped twice (read-only), so that no record wraps (kernel/bpf/ringbuf.c, Documentation/bpf/ringbuf.rst).
 * Words that the kernel changes are read with Atomics: plain loads are hoisted by the JIT. Positions are u64; they stay below
 * 2^53 for the life of a recording. The consumer position is stored as one 64-bit word: a torn store would look like a full ring.
 */
import { type Pointer, toArrayBuffer } from "bun:ffi";
import { errno, errnoText, libc } from "../../../ffi/libc.ts";
import { assert } from "../../base/assert.ts";
import { DiffKeeperError } from "../../base/error.ts";

const PAGE_BYTES = 4096;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const RECORD_HEADER_BYTES = 8;
const BUSY = 0x80000000;
const DISCARD = 0x40000000;
/** The consumer position is published after this many bytes, so that the writer gets room while a long walk goes on. */
const PUBLISH_BYTES = 1 << 18;

/** Takes one record: the mapped data as bytes and as words, and where the record starts. It must not keep the views. */
export type RecordHandler = (bytes: Uint8Array, words: Uint32Array, offset: number) => void;

function map(fd: number, lengthBytes: number, prot: number, offset: number): Pointer {
  const address = libc.mmap(null, lengthBytes, prot, MAP_SHARED, fd, offset);
  if (address === null || Number(address) === -1 || Number(address) >= 2 ** 63) {
    throw new DiffKeeperError("io", `cannot map the ring buffer: ${errnoText(errno())}`);
  }
  return address;
}

/** A mapped ring buffer of `sizeBytes` (a power of two). One consumer only. */
export class Ring {
  readonly sizeBytes: number;
  readonly #mask: number;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #signed: Int32Array;
  readonly #producer: Int32Array;
  readonly #consumer: BigInt64Array;
  #position = 0;

  constructor(mapFd: number, sizeBytes: number) {
    assert((sizeBytes & (sizeBytes - 1)) === 0, "the ring's size is a power of two");
    this.sizeBytes = sizeBytes;
    this.#mask = sizeBytes - 1;
    const consumer = map(mapFd, PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
    const producer = map(mapFd, PAGE_BYTES + 2 * sizeBytes, PROT_READ, PAGE_BYTES);
    this.#consumer = new BigInt64Array(toArrayBuffer(consumer, 0, PAGE_BYTES), 0, 1);
    const data = toArrayBuffer(producer, 0, PAGE_BYTES + 2 * sizeBytes);
    this.#producer = new Int32Array(data, 0, 2);
    this.#bytes = new Uint8Array(data, PAGE_BYTES);
    this.#words = new Uint32Array(data, PAGE_BYTES);
    this.#signed = new Int32Array(data, PAGE_BYTES);
  }

  #producerPosition(): number {
    const high = Atomics.load(this.#producer, 1) >>> 0;
    const low = Atomics.load(this.#producer, 0) >>> 0;
    const again = Atomics.load(this.#producer, 1) >>> 0;
    if (high === again) return high * 2 ** 32 + low;
    return again * 2 ** 32 + (Atomics.load(this.#producer, 0) >>> 0);
  }

  /** Bytes reserved and not yet consumed. */
  get pendingBytes(): number {
    return this.#producerPosition() - this.#position;
  }

  /**
   * Hands every complete record to `handle`, oldest first, until the ring is empty, a record is still being written, or
   * `bytesMax` were consumed. Returns the bytes consumed.
   */
  drain(handle: RecordHandler, bytesMax: number): number {
    const start = this.#position;
    const end = Math.min(this.#producerPosition(), start + bytesMax);
    let published = start;
    while (this.#position < end) {
      const at = this.#position & this.#mask;
      const length = Atomics.load(this.#signed, at >> 2);
      if ((length & BUSY) !== 0) break;
      const size = length & ~(BUSY | DISCARD);
      if ((length & DISCARD) === 0) handle(this.#bytes, this.#words, at + RECORD_HEADER_BYTES);
      this.#position += (size + RECORD_HEADER_BYTES + 7) & ~7;
      if (this.#position - published >= PUBLISH_BYTES) {
        Atomics.store(this.#consumer, 0, BigInt(this.#position));
        published = this.#position;
      }
    }
    if (published !== this.#position) Atomics.store(this.#consumer, 0, BigInt(this.#position));
    return this.#position - start;
  }
}
