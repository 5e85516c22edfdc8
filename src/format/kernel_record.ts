/**
 * Kernel records: what the BPF programs put into the ring buffer, as constants.
 *
 * The specification is bpf/record.h; names here are its names without the prefix, and
 * tests/kernel/layout_test.ts compiles that header and compares every size, offset and value.
 * Records are little-endian and multiples of 8 bytes. WRITE, CHUNK and OUTPUT are hot: readers take
 * their fields in place through a Uint32Array and the offsets below. Decoders of the other kinds
 * stand in kernel_decode.ts, the meaning of call numbers in kernel_syscall.ts.
 */

/** Version of the records: an object of another one is not loaded. */
export const DK_ABI = 2;
export const DK_TOUCH_MAX = 8;
export const DK_CHUNK_BYTES = 262144;
export const DK_NAMES_BYTES = 8192;
export const DK_PATH_BYTES = 4096;
export const DK_XATTR_BYTES = 65536;
export const DK_ARGV_BYTES = 16384;

/** enum dk_kind. */
export const Kind = {
  NODE: 1,
  WRITE: 2,
  CHUNK: 3,
  OPEN: 4,
  CALL: 5,
  FORK: 6,
  EXEC: 7,
  EXIT: 8,
  OUTPUT: 9,
  STOP: 10,
  LOSS: 11,
  MMAP: 12,
  NOTE: 13,
  SKIP: 14,
  COPY: 15,
  TOUCHED: 16,
  SYNC: 17,
} as const;

/** dk_header.flags (DK_F_*). */
export const KernelFlag = {
  OUTSIDE: 0x0001,
  LAST: 0x0002,
  NO_PAYLOAD: 0x0004,
  CREATED: 0x0008,
  TRUNCATED: 0x0010,
  TMPFILE: 0x0020,
  BY_FD: 0x0040,
  STOPPED: 0x0080,
  DELETED: 0x0100,
  CUT: 0x0200,
  SHARED: 0x0400,
  THREAD: 0x0800,
  APPEND: 0x1000,
  CACHED: 0x2000,
  /** CALL with a value: by a task of another user namespace, whose ids the value holds. */
  USER_NS: 0x4000,
} as const;

/** enum dk_note. */
export const NoteKind = { IO_URING: 1, IA32: 2, AIO: 3, NO_IO_URING: 4 } as const;

/** enum dk_lost_class: index into the kernel side's dk_lost[]. */
export const LostClass = {
  RING: 0,
  PAYLOAD: 1,
  TASK: 2,
  INODE: 3,
  TOUCH: 4,
  WALK: 5,
  SCRATCH: 6,
  BYTES: 7,
} as const;
export const LOST_CLASSES = 8;

/** struct dk_header: offsets of its fields. */
export const Header = {
  SIZE: 64,
  size: 0,
  kind: 4,
  flags: 6,
  t_ns: 8,
  enter_ns: 16,
  pid: 24,
  tid: 28,
  nr: 32,
  fd: 36,
  ret: 40,
  comm: 48,
  COMM_BYTES: 16,
} as const;

/** struct dk_inode. */
export const InodeAt = {
  SIZE: 56,
  dev: 0,
  gen: 4,
  ino: 8,
  size: 16,
  mtime_sec: 24,
  mtime_nsec: 32,
  mode: 36,
  uid: 40,
  gid: 44,
  nlink: 48,
  rdev: 52,
} as const;

/** struct dk_node. */
export const NodeAt = {
  SIZE: 144,
  inode: 64,
  anchor_dev: 120,
  root: 124,
  anchor_ino: 128,
  names_len: 136,
  depth: 140,
} as const;

/** struct dk_write: WRITE, CHUNK, OUTPUT. */
export const WriteAt = {
  SIZE: 128,
  dev: 64,
  gen: 68,
  ino: 72,
  size: 80,
  mtime_sec: 88,
  mtime_nsec: 96,
  mode: 100,
  offset: 104,
  lock_seq: 112,
  payload_off: 120,
  payload_len: 124,
} as const;

/** struct dk_copy: a dk_write, and where its bytes come from. */
export const CopyAt = {
  SIZE: 160,
  src_dev: 128,
  src_gen: 132,
  src_ino: 136,
  src_offset: 144,
  src_size: 152,
} as const;

/** struct dk_touched. */
export const TouchedAt = { SIZE: 80, lock_seq: 64, count: 72, pad: 76 } as const;

/** struct dk_open. */
export const OpenAt = {
  SIZE: 192,
  inode: 64,
  parent: 120,
  open_flags: 176,
  name_len: 180,
  path_len: 182,
  lock_seq: 184,
} as const;

/** struct dk_call. */
export const CallAt = {
  SIZE: 256,
  arg: 64,
  base: 96,
  touched: 208,
  str_len: 212,
  lock_seq: 224,
  str_addr: 232,
} as const;

/** struct dk_fork. */
export const ForkAt = { SIZE: 72, child_pid: 64, child_tid: 68 } as const;

/** struct dk_exec. */
export const ExecAt = {
  SIZE: 96,
  ppid: 64,
  uid: 68,
  gid: 72,
  cwd_dev: 76,
  cwd_ino: 80,
  exe_len: 88,
  argv_len: 92,
} as const;

/** struct dk_exit. */
export const ExitAt = { SIZE: 72, code: 64, group_dead: 68 } as const;

/** struct dk_mmap. */
export const MmapAt = { SIZE: 136, inode: 64, offset: 120, length: 128 } as const;

/** struct dk_note_rec. */
export const NoteAt = { SIZE: 72, note: 64, pad: 68 } as const;
