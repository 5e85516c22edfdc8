/**
 * Looks ahead in the ring: is there, behind the record in hand, one of another process about the same inode? Then what the file
 * holds now may be later than that record. Calls by path name their inodes where the filesystem tells; other calls are not seen.
 */
import type { Ring } from "../capture/ebpf/ring.ts";
import { MAPPED_AHEAD_BYTES_MAX } from "../base/limits.ts";
import {
  CallAt,
  DK_TOUCH_MAX,
  Header,
  InodeAt,
  Kind,
  OpenAt,
  WriteAt,
} from "../format/kernel_record.ts";

const KIND_MASK = 0xffff;
const TWO_32 = 2 ** 32;

const u64 = (words: Uint32Array, at: number) =>
  (words[(at >> 2) + 1] ?? 0) * TWO_32 + (words[at >> 2] ?? 0);

/** Does the record at byte `at` change the inode? */
function isAbout(words: Uint32Array, at: number, ino: number): boolean {
  switch ((words[(at + Header.kind) >> 2] ?? 0) & KIND_MASK) {
    case Kind.WRITE:
    case Kind.COPY:
      return u64(words, at + WriteAt.ino) === ino;
    case Kind.OPEN:
      return u64(words, at + OpenAt.inode + InodeAt.ino) === ino;
    case Kind.CALL: {
      const touched = Math.min(words[(at + CallAt.touched) >> 2] ?? 0, DK_TOUCH_MAX);
      for (let i = 0; i < touched; i++) {
        if (u64(words, at + CallAt.SIZE + i * InodeAt.SIZE + InodeAt.ino) === ino) return true;
      }
      return false;
    }
    default:
      return false;
  }
}

/** Has another process than `pid` changed the inode, in what `ring` holds behind the record in hand? */
export function isChangedSince(ring: Ring, ino: number, pid: number): boolean {
  return ring.hasAhead(
    (words, at) => words[(at + Header.pid) >> 2] !== pid && isAbout(words, at, ino),
    MAPPED_AHEAD_BYTES_MAX,
  );
}
