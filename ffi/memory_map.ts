/** mmap(2) of files, memory files and BPF maps, for the life of the process: nothing is unmapped. */
import { type Pointer, toArrayBuffer } from "bun:ffi";
import { libc } from "./libc.ts";

/** Protection and sharing: PROT_* and MAP_* of linux/mman.h. */
export const PROT_READ = 1;
export const PROT_READ_WRITE = 3;
export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;

/** Above the user half of the address space: MAP_FAILED is (void *)-1. */
const ADDRESS_END = 2 ** 63;

/** Mapped memory: `address` for C, `memory` for us. */
export interface MemoryMap {
  memory: ArrayBuffer;
  address: Pointer;
}

/** Maps `lengthBytes` of a descriptor from `offset`, a multiple of the page size; undefined: refused, `errno()` says why. */
export function mapFile(
  fd: number,
  lengthBytes: number,
  how: { prot: number; flags: number; offset?: number },
): MemoryMap | undefined {
  const { prot, flags, offset = 0 } = how;
  const address = Number(libc.mmap(null, lengthBytes, prot, flags, fd, offset)) as Pointer;
  if (address <= 0 || address >= ADDRESS_END) return undefined;
  return { memory: toArrayBuffer(address, 0, lengthBytes), address };
}
