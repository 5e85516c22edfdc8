/**
 * Records that come before the command starts. The identities that NODE records announce are kept, because the kernel
 * announces each inode once; changes by other processes are part of the baseline and only counted.
 */
import { Kind } from "../format/kernel_record.ts";
import type { RecordHandler } from "../capture/ebpf/ring.ts";

const KIND_WORD = 1;
const KIND_MASK = 0xffff;

/** See the head of the file. */
export class EarlyRecords {
  readonly #nodes: Uint8Array[] = [];
  /** Changes in the watched folders while the baseline was taken. */
  changes = 0;

  take(bytes: Uint8Array, words: Uint32Array, offset: number): void {
    const kind = (words[(offset >> 2) + KIND_WORD] ?? 0) & KIND_MASK;
    const size = words[offset >> 2] ?? 0;
    if (kind === Kind.NODE) this.#nodes.push(bytes.slice(offset, offset + size));
    else if (kind === Kind.WRITE || kind === Kind.OPEN || kind === Kind.CALL) this.changes++;
  }

  /** Hands over the announced identities in their order and forgets them. */
  replay(handle: RecordHandler): void {
    for (const node of this.#nodes) handle(node, new Uint32Array(node.buffer), 0);
    this.#nodes.length = 0;
  }
}
