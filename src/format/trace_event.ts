/**
 * The trace event: what the journal stores and every reader folds, as one TypeScript value.
 *
 * Specification: docs/FORMAT.md, section EVENTS. Names, paths and symlink targets are *binary strings*: one char per byte
 * (latin1), so that they are exact for names that are not UTF-8. Encoding and decoding stand in event_codec.ts.
 */

/** Operation codes, as stored. */
export const Op = {
  CREATE: 1,
  WRITE: 2,
  TRUNCATE: 3,
  RENAME: 4,
  UNLINK: 5,
  MKDIR: 6,
  RMDIR: 7,
  SYMLINK: 8,
  LINK: 9,
  MKNOD: 10,
  CHMOD: 11,
  CHOWN: 12,
  UTIMES: 13,
  XATTR: 14,
  EXEC: 15,
  EXIT: 16,
  OUTPUT: 17,
  GAP: 18,
  RESYNC: 19,
  MMAP: 20,
  NOTE: 21,
  BASELINE: 22,
  FALLOCATE: 23,
  COLLAPSE: 24,
  INSERT: 25,
  CONTENT: 26,
} as const;
export type OpName = keyof typeof Op;
export type OpCode = (typeof Op)[OpName];

/** Event flags (u24), as stored. */
export const EventFlag = {
  OUTSIDE: 1,
  EXTENTS: 2,
  TLVS: 4,
  EXCHANGE: 8,
  SETTLED: 16,
  CONCURRENT: 32,
  KEEP_SIZE: 64,
  UNREAD: 128,
  MAPPED: 256,
  LAZY: 512,
} as const;

/** The op that people see: a WRITE through a mapping is MMAP. */
export function shownOp(op: number, flags: number): number {
  return op === Op.WRITE && (flags & EventFlag.MAPPED) !== 0 ? Op.MMAP : op;
}

/** State of an inode. `mode` holds type and permission bits as in st_mode; `rdev` is the kernel's (major << 20 | minor). */
export interface Attr {
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  nlink: number;
  dev: number;
  gen: number;
  ino: number;
  size: number;
}

/** Modification time, split so that nanoseconds stay exact. */
export interface Mtime {
  sec: number;
  nsec: number;
}

/** Where a piece of content lies: `length` bytes at `offset` of row `row`, belonging `at` bytes after the event's offset. */
export interface Extent {
  row: number;
  offset: number;
  length: number;
  at: number;
}

/** One event. Fields that an op does not use are absent; ids 0 mean none. */
export interface TraceEvent {
  /** 1, 2, 3... in the journal; 0 in the baseline. Given by the batch, not by the producer. */
  seq: number;
  op: OpCode;
  flags: number;
  /** Nanoseconds since the start of the command. */
  tNs: number;
  pid: number;
  tid: number;
  comm: string;
  node: number;
  mtime?: Mtime;
  /** Change time, where content stays in the live file (flag LAZY). */
  ctime?: Mtime;
  /** WRITE, FALLOCATE, COLLAPSE, INSERT: file offset. OUTPUT: 1 stdout, 2 stderr. */
  offset?: number;
  /** WRITE, OUTPUT, FALLOCATE, COLLAPSE, INSERT: bytes. TRUNCATE, RESYNC: the new size. CONTENT: the size then. EXIT: wait status ((code << 8) | signal). */
  length?: number;
  parent?: number;
  toParent?: number;
  victim?: number;
  name?: string;
  toName?: string;
  attr?: Attr;
  target?: string;
  dirTimes?: { node: number; mtime: Mtime }[];
  xattrName?: string;
  xattrValue?: Uint8Array;
  text?: string;
  loss?: { events: number; bytes: number };
  root?: number;
  path?: string;
  argv?: string[];
  /** Content that stands in the batch itself (WRITE, OUTPUT). */
  inline?: Uint8Array;
  extents?: Extent[];
  /** WRITE whose bytes are those that `node` had at `offset` before this event: a copy inside the kernel. */
  source?: { node: number; offset: number };
}

/** TEXT of a NOTE: from here on changes may be missing, because this process makes them in a way that is not seen. */
export const IO_URING_NOTE = "uses io_uring: writes through it are not recorded";
