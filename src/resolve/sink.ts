/**
 * What the Resolver talks to: the sink that takes its trace events, and the assistant that looks at
 * the live system where a kernel record alone is not enough. The Resolver itself does no I/O; src/
 * record implements both, tests implement fakes.
 */
import type { KernelInode } from "../format/kernel_decode.ts";
import type { Extent, OpCode, TraceEvent } from "../format/trace_event.ts";

/**
 * A WRITE or OUTPUT event whose content is one piece. One object is used for all: a sink must take
 * what it needs before it returns, also the bytes `u8[start, start + length)`.
 */
export interface WriteView {
  op: OpCode;
  flags: number;
  tNs: number;
  pid: number;
  tid: number;
  comm: string;
  /** 0 for OUTPUT. */
  node: number;
  /** WRITE: file offset; OUTPUT: 1 stdout, 2 stderr. */
  offset: number;
  /** Bytes written; the payload has as many. */
  length: number;
  mtimeSec: number;
  /** MTIME_UNKNOWN: no modification time. */
  mtimeNsec: number;
  u8: Uint8Array;
  start: number;
}

/** A process, as the trace keeps it. Sent again whole whenever something of it changes. */
export interface ProcessInfo {
  pid: number;
  ppid: number;
  /** Path of the executable, a binary string; "" while not known. */
  exe: string;
  argv: string[];
  /** Absolute path, a binary string; "" when not known. */
  cwd: string;
  uid: number;
  gid: number;
  comm: string;
  /** Since the start of the command. */
  startNs: number;
  /** Absent while it runs. */
  endNs?: number;
  /** Wait status: (code << 8) | signal. */
  exit?: number;
}

/** Takes trace events in their order. The tree has each event applied already when it arrives. */
export interface EventSink {
  event(event: TraceEvent): void;
  /** The fast path of `event`, for one piece of content. */
  write(view: WriteView): void;
  /** Stores content that a later event will point to; copies the bytes. `at` of the result is 0. */
  store(u8: Uint8Array, start: number, length: number): Extent;
  process(info: ProcessInfo): void;
}

/** Which file to read back: by inode, by descriptor of a process, by path; whichever is there. */
export interface ReadTarget {
  dev: number;
  gen: number;
  ino: number;
  /** 0: no descriptor known. */
  pid: number;
  fd: number;
  /** Absolute path, a binary string, when one is known. */
  path: string | undefined;
}

/** One entry of a folder that came in from outside. */
export interface TreeEntry {
  /** Path below the folder, a binary string; folders come before what they hold. */
  path: string;
  inode: KernelInode;
  /** Target of a symlink. */
  target?: string;
}

/** Changed bytes of a mapped file; `bytes` are good until the next range is asked for. */
export interface MappedRange {
  offset: number;
  bytes: Uint8Array;
  /** It is not known what was there before: the bytes need not be new. */
  doubtful: boolean;
}

/**
 * What the recorder knows of files that are mapped shared and writable, to compare them with what they hold. Files are given by their
 * node. What a kernel record or an event says must be told, in its order, so that only what nobody told is found.
 */
export interface MappedFiles {
  /** Follows a file from what it holds now, of the size it has in the tree; false: it cannot be read, or it is too much. */
  follow(node: number, target: ReadTarget, size: number): boolean;
  forget(node: number): void;
  wrote(node: number, at: { offset: number; bytes: Uint8Array }): void;
  /** The range is zeros now. */
  zeroed(node: number, range: { offset: number; length: number }): void;
  resized(node: number, size: number): void;
  /** It changed in a way nobody can tell: the range counts as changed at the next look. */
  unsure(node: number, range: { offset: number; length: number }): void;
  /** What differs, in ascending order, known from then on. `except`: bytes that count as unchanged. */
  changes(node: number, except?: { offset: number; length: number }): Iterable<MappedRange>;
  /** What differs, copied and not yet known; `take` gives of it what nobody changed in between. */
  look(node: number): MappedRange[];
  take(node: number, found: MappedRange[]): MappedRange[];
  /** Modification time of the file; undefined: it cannot be had. */
  mtime(node: number): { sec: number; nsec: number } | undefined;
  /** Files that became too much to follow since the last call. */
  lost(): number[];
}

/** Live help; every answer may be undefined: not possible. Paths are absolute binary strings. */
export interface Assist {
  /** Up to `length` bytes at `offset`; fewer: the file ends there. */
  read?(target: ReadTarget, range: { offset: number; length: number }): Uint8Array | undefined;
  /** Everything below a folder, without the folder itself. */
  readTree?(path: string): Iterable<TreeEntry> | undefined;
  /** The inode a path names, symlinks not followed; dev in the kernel's form. */
  lstat?(path: string): KernelInode | undefined;
  /** Extended attributes of what a path names, symlinks not followed; names as binary strings. */
  xattrs?(path: string): Map<string, Uint8Array> | undefined;
  /** Bytes of a stopped process's memory; without `length` up to the first NUL. A binary string. */
  memory?(pid: number, address: number, length?: number): string | undefined;
  mapped?: MappedFiles;
  /** A file that has names outside too got one in the watched folder with this index. */
  linked?(inode: { dev: number; ino: number }, root: number): void;
  /** Target of a symlink; undefined for everything else. */
  readlink?(path: string): string | undefined;
}

/** A watched folder: its absolute path and its node in the tree, which has its identity. */
export interface WatchedRoot {
  path: string;
  node: number;
}

/** What the Resolver is told at its start. */
export interface ResolverOptions {
  roots: WatchedRoot[];
  /** Is a new name left out? Asked once, when a name appears: path from the watched folder. */
  excluded(path: string, isDir: boolean, root: number): boolean;
  /** CLOCK_BOOTTIME of the command's start. */
  startNs: bigint;
  /** What the wall clock showed at `startNs`, as it goes now, and what it shows now, in seconds; absent: nobody knows. */
  wallClock?: () => { start: number; now: number };
  /** The first number of the order of changes; default 1. */
  firstLockSeq?: number;
  /** Has another process than `pid` changed this inode since, by a record that is not worked on yet? Absent: nobody knows of any. */
  isChangedSince?(ino: number, pid: number): boolean;
  /** process.arch of the recorded system; default x64. */
  arch?: "x64" | "arm64";
  assist?: Assist;
  /** Devices on which a call may move or remove an inode without touching it; its folders it touches. */
  partial?: ReadonlySet<number>;
  /** Devices on which a rename touches the folder of the new name before that of the old one. */
  newFirst?: ReadonlySet<number>;
  /** Every new ctime is told of: a call that touched no inode has changed none. */
  ctimeTells?: boolean;
  /** Devices where a whiteout (RENAME_WHITEOUT) takes no default ACL over from its folder, as other new inodes do. */
  bareWhiteouts?: ReadonlySet<number>;
}
