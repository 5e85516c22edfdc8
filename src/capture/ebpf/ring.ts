/**
 * The consumer side of a BPF ring buffer, by mmap: one page of consumer position (writable), one page of producer position and the
 * data mapped twice (read-only), so that no record wraps (kernel/bpf/ringbuf.c, Documentation/bpf/ringbuf.rst).
 * Words that the kernel changes: plain loads are hoisted by the JIT, and Atomics.load is compiled as a read-modify-write, which
 * faults on read-only pages (measured: Bun 1.4.5). So a plain load, with an atomic operation on memory of our own before it:
 * the compiler must not move loads across that. Positions are u64; they stay below 2^53 for the life of a recording. The
 * consumer position is stored as one 64-bit word: a torn store would look like a full ring.
 */
import { errno, errnoText } from "../../../ffi/libc.ts";
import { MAP_SHARED, mapFile, PROT_READ, PROT_READ_WRITE } from "../../../ffi/memory_map.ts";
import { assert } from "../../base/assert.ts";
import { DiffKeeperError } from "../../base/error.ts";

const PAGE_BYTES = 4096;
const RECORD_HEADER_BYTES = 8;
const BUSY = 0x80000000;
const DISCARD = 0x40000000;
const SIZE_MASK = 0x3fffffff;
/** The consumer position is published after this many bytes, so that the writer gets room while a long walk goes on. */
const PUBLISH_BYTES = 1 << 18;

/** Takes one record: the mapped data as bytes and as words, and where the record starts. It must not keep the views. */
export type RecordHandler = (bytes: Uint8Array, words: Uint32Array, offset: number) => void;

/** Looks at one record: the mapped data as words, and where the record starts, in bytes. */
export type RecordTest = (words: Uint32Array, offset: number) => boolean;

/**
 * Maps memory of a BPF map, shared with the kernel, for the life of the process.
 * @throws {DiffKeeperError} `io`.
 */
export function mapShared(fd: number, lengthBytes: number, prot: number, offset = 0): ArrayBuffer {
  const map = mapFile(fd, lengthBytes, { prot, flags: MAP_SHARED, offset });
  if (map !== undefined) return map.memory;
  throw new DiffKeeperError("io", `cannot map a BPF map: ${errnoText(errno())}`);
}

/** A mapped ring buffer of `sizeBytes` (a power of two). One consumer only. */
export class Ring {
  readonly sizeBytes: number;
  readonly #mask: number;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #producer: Uint32Array;
  readonly #fence = new Int32Array(new SharedArrayBuffer(4));
  readonly #consumer: BigInt64Array;
  #position = 0;

  constructor(mapFd: number, sizeBytes: number) {
    assert((sizeBytes & (sizeBytes - 1)) === 0, "the ring's size is a power of two");
    this.sizeBytes = sizeBytes;
    this.#mask = sizeBytes - 1;
    this.#consumer = new BigInt64Array(mapShared(mapFd, PAGE_BYTES, PROT_READ_WRITE), 0, 1);
    const data = mapShared(mapFd, PAGE_BYTES + 2 * sizeBytes, PROT_READ, PAGE_BYTES);
    this.#producer = new Uint32Array(data, 0, 2);
    this.#bytes = new Uint8Array(data, PAGE_BYTES);
    this.#words = new Uint32Array(data, PAGE_BYTES);
  }

  #producerPosition(): number {
    Atomics.add(this.#fence, 0, 1);
    const high = this.#producer[1] ?? 0;
    Atomics.add(this.#fence, 0, 1);
    const low = this.#producer[0] ?? 0;
    Atomics.add(this.#fence, 0, 1);
    const again = this.#producer[1] ?? 0;
    // high changed in between: low wrapped, so with the new high and low 0 we only see a little less than there is
    return high === again ? high * 2 ** 32 + low : again * 2 ** 32;
  }

  /** Bytes reserved and not yet consumed. */
  get pendingBytes(): number {
    return this.#producerPosition() - this.#position;
  }

  /** Where in the stream of all records, in bytes, the next one to be handed out begins; while one is handed out, its own place. */
  get position(): number {
    return this.#position;
  }

  /** Where in the stream the next record will begin that the kernel reserves. */
  get end(): number {
    return this.#producerPosition();
  }

  /**
   * Hands every complete record to `handle`, oldest first, until the ring is empty, a record is still being written, or
   * `bytesMax` were consumed. Returns the bytes consumed. `beforeRoom` is called each time before the kernel gets room.
   */
  drain(handle: RecordHandler, bytesMax: number, beforeRoom?: () => void): number {
    const start = this.#position;
    const end = Math.min(this.#producerPosition(), start + bytesMax);
    let published = start;
    while (this.#position < end) {
      const at = this.#position & this.#mask;
      Atomics.add(this.#fence, 0, 1);
      const length = this.#words[at >> 2] ?? 0;
      if ((length & BUSY) !== 0) break;
      const size = length & SIZE_MASK;
      if ((length & DISCARD) === 0) handle(this.#bytes, this.#words, at + RECORD_HEADER_BYTES);
      this.#position += (size + RECORD_HEADER_BYTES + 7) & ~7;
      if (this.#position - published >= PUBLISH_BYTES) {
        this.#publish(beforeRoom);
        published = this.#position;
      }
    }
    if (published !== this.#position) this.#publish(beforeRoom);
    return this.#position - start;
  }

  /**
   * While `drain` hands out a record: does one behind it pass `test`? Looks at `bytesMax` of them; what cannot be looked at (more, or
   * still being written) counts as passing.
   */
  hasAhead(test: RecordTest, bytesMax: number): boolean {
    const size = (this.#words[(this.#position & this.#mask) >> 2] ?? 0) & SIZE_MASK;
    let next = this.#position + ((size + RECORD_HEADER_BYTES + 7) & ~7);
    const end = this.#producerPosition();
    if (end - next > bytesMax) return true;
    while (next < end) {
      const at = next & this.#mask;
      Atomics.add(this.#fence, 0, 1);
      const length = this.#words[at >> 2] ?? 0;
      if ((length & BUSY) !== 0) return true;
      if ((length & DISCARD) === 0 && test(this.#words, at + RECORD_HEADER_BYTES)) return true;
      next += ((length & SIZE_MASK) + RECORD_HEADER_BYTES + 7) & ~7;
    }
    return false;
  }

  #publish(beforeRoom: (() => void) | undefined): void {
    beforeRoom?.();
    Atomics.store(this.#consumer, 0, BigInt(this.#position));
  }
}
