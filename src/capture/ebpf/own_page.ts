/**
 * Shows the kernel side a page of our own, so that it learns where the kernel's direct map of all memory begins (bpf/cache.h): the page
 * lies in a memory file, /proc/self/pagemap says where in memory (proc(5)), and it begins with a pattern that nobody else has. Where
 * that is not to be had (no right to see it, pages of another size), nothing is said, and the kernel side does without.
 */
import { ptr } from "bun:ffi";
import { closeSync, openSync, readSync } from "node:fs";
import { cString, libc } from "../../../ffi/libc.ts";
import { libcGate } from "../../../ffi/libc_gate.ts";
import { libcTree } from "../../../ffi/libc_tree.ts";
import { PROT_READ_WRITE } from "../../../ffi/memory_map.ts";
import { mapShared } from "./ring.ts";

/** Mode of the fallocate that shows it: PAGE_MODE of bpf/state.h. */
const PAGE_MODE = 0x7ffffff1;
const PAGE_BYTES = 4096;
const MFD_CLOEXEC = 1;
const ENTRY_BYTES = 8;
/** An entry of pagemap: present, and its page frame number in the bits below 55. */
const PRESENT = 1n << 63n;
const FRAME_MASK = (1n << 55n) - 1n;
/** The pattern is given as a number: less than 2^53. */
const PATTERN_MAX = 2 ** 52;

/** The frame number of the page at an address of this process; 0: not to be seen. */
function frameOf(address: number): bigint {
  try {
    const fd = openSync("/proc/self/pagemap", "r");
    try {
      const entry = Buffer.alloc(ENTRY_BYTES);
      const at = Math.floor(address / PAGE_BYTES) * ENTRY_BYTES;
      if (readSync(fd, entry, 0, ENTRY_BYTES, at) < ENTRY_BYTES) return 0n;
      const value = entry.readBigUInt64LE(0);
      return (value & PRESENT) === 0n ? 0n : value & FRAME_MASK;
    } finally {
      closeSync(fd);
    }
  } catch {
    return 0n;
  }
}

/** See the head of the file. The programs are attached, and this process is the recorder. */
export function showOwnPage(): void {
  const fd = libcGate.memfd_create(cString("diffkeeper page"), MFD_CLOEXEC);
  if (fd < 0) return;
  try {
    if (libcTree.ftruncate(fd, PAGE_BYTES) !== 0) return;
    const page = mapShared(fd, PAGE_BYTES, PROT_READ_WRITE);
    const pattern = 1 + Math.floor(Math.random() * PATTERN_MAX);
    const words = new BigUint64Array(page);
    words[0] = BigInt(pattern);
    words[1] = BigInt.asUintN(64, ~BigInt(pattern));
    const frame = frameOf(Number(ptr(page)));
    if (frame !== 0n) libc.fallocate(fd, PAGE_MODE, Number(frame), pattern);
    words.fill(0n);
    libc.munmap(ptr(page), PAGE_BYTES);
  } finally {
    closeSync(fd);
  }
}
