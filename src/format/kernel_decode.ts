/**
 * Decoders of kernel records other than WRITE, CHUNK and OUTPUT (which are read in place).
 *
 * Records come from outside: a length that does not fit is a `data_corrupt` error, never an
 * assertion. Names, paths, comm and argv are binary strings: one char per byte (latin1). A u64 is a
 * number made of two u32, because a BigInt costs more than the rest of the decoding.
 */
import { DiffKeeperError } from "../base/error.ts";
import {
  CallAt,
  CopyAt,
  DK_ARGV_BYTES,
  DK_NAMES_BYTES,
  DK_PATH_BYTES,
  DK_TOUCH_MAX,
  DK_XATTR_BYTES,
  ExecAt,
  ExitAt,
  ForkAt,
  Header,
  InodeAt,
  MmapAt,
  NodeAt,
  NoteAt,
  OpenAt,
  TouchedAt,
} from "./kernel_record.ts";

/** A record's bytes: the whole ring (or any buffer), and where this record starts. */
export interface RecordBytes {
  u8: Uint8Array;
  view: DataView;
  at: number;
}

/** struct dk_inode as a value: identity and state of an inode. */
export interface KernelInode {
  dev: number;
  gen: number;
  ino: number;
  size: number;
  mtimeSec: number;
  mtimeNsec: number;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  rdev: number;
}

/** struct dk_node as a value; `names` leaf first. */
export interface NodeRecord {
  inode: KernelInode;
  root: number;
  anchorDev: number;
  anchorIno: number;
  names: string[];
}

/** struct dk_open as a value. */
export interface OpenRecord {
  inode: KernelInode;
  parent: KernelInode;
  openFlags: number;
  name: string;
  /** Place in the order of changes, 0 unknown. */
  lockSeq: number;
}

/** struct dk_call as a value. What arg and str mean stands in kernel_syscall.ts. */
export interface CallRecord {
  arg: [number, number, number, number];
  base: [KernelInode, KernelInode];
  touched: KernelInode[];
  str: [string, string, string];
  /** Place in the order of changes, 0 unknown. */
  lockSeq: number;
  /** Address of each string that could not be read, else 0. */
  away: number[];
}

/** struct dk_exec as a value; `exe` is the absolute path inside the mount namespace. */
export interface ExecRecord {
  ppid: number;
  uid: number;
  gid: number;
  cwdDev: number;
  cwdIno: number;
  exe: string;
  argv: string[];
}

/** struct dk_mmap as a value. */
export interface MmapRecord {
  inode: KernelInode;
  offset: number;
  length: number;
}

function corrupt(what: string): never {
  throw new DiffKeeperError("data_corrupt", `cannot read a kernel record: ${what}`);
}

/** The whole record must lie in the buffer and hold at least `least` bytes; returns its size. */
function sizeOf(r: RecordBytes, least: number): number {
  if (r.at < 0 || r.at + Header.SIZE > r.u8.length) corrupt("it starts beyond the buffer");
  const size = r.view.getUint32(r.at, true);
  if (size < least) corrupt("it is shorter than its kind");
  if (r.at + size > r.u8.length) corrupt("it is longer than the buffer");
  return size;
}

/** A u64 as a number, exact to 2^53. */
export function u64At(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 4294967296 + view.getUint32(at, true);
}

/** An i64 as a number. */
export function i64At(view: DataView, at: number): number {
  return view.getInt32(at + 4, true) * 4294967296 + view.getUint32(at, true);
}

const LATIN1_PIECE_BYTES = 4096;

/** Bytes as a binary string: one char per byte. */
export function latin1At(u8: Uint8Array, start: number, length: number): string {
  let text = "";
  for (let done = 0; done < length; done += LATIN1_PIECE_BYTES) {
    const end = Math.min(length, done + LATIN1_PIECE_BYTES);
    text += String.fromCharCode(...u8.subarray(start + done, start + end));
  }
  return text;
}

/** The dk_inode at byte `at` of the buffer. */
export function decodeInode(view: DataView, at: number): KernelInode {
  return {
    dev: view.getUint32(at + InodeAt.dev, true),
    gen: view.getUint32(at + InodeAt.gen, true),
    ino: u64At(view, at + InodeAt.ino),
    size: u64At(view, at + InodeAt.size),
    mtimeSec: i64At(view, at + InodeAt.mtime_sec),
    mtimeNsec: view.getUint32(at + InodeAt.mtime_nsec, true),
    mode: view.getUint32(at + InodeAt.mode, true),
    uid: view.getUint32(at + InodeAt.uid, true),
    gid: view.getUint32(at + InodeAt.gid, true),
    nlink: view.getUint32(at + InodeAt.nlink, true),
    rdev: view.getUint32(at + InodeAt.rdev, true),
  };
}

/** NUL-terminated strings back to back; a last one without its NUL counts too. */
function splitNul(u8: Uint8Array, start: number, length: number): string[] {
  if (length === 0) return [];
  const parts = latin1At(u8, start, length).split("\0");
  if (parts[parts.length - 1] === "") parts.pop();
  return parts;
}

/** @throws {DiffKeeperError} data_corrupt, when a length does not fit. */
export function decodeNode(r: RecordBytes): NodeRecord {
  const size = sizeOf(r, NodeAt.SIZE);
  const length = r.view.getUint32(r.at + NodeAt.names_len, true);
  if (length > DK_NAMES_BYTES || NodeAt.SIZE + length > size) corrupt("NODE names do not fit");
  return {
    inode: decodeInode(r.view, r.at + NodeAt.inode),
    root: r.view.getInt32(r.at + NodeAt.root, true),
    anchorDev: r.view.getUint32(r.at + NodeAt.anchor_dev, true),
    anchorIno: u64At(r.view, r.at + NodeAt.anchor_ino),
    names: splitNul(r.u8, r.at + NodeAt.SIZE, length),
  };
}

/** @throws {DiffKeeperError} data_corrupt, when a length does not fit. */
export function decodeOpen(r: RecordBytes): OpenRecord {
  const size = sizeOf(r, OpenAt.SIZE);
  const length = r.view.getUint16(r.at + OpenAt.name_len, true);
  const pathLength = r.view.getUint16(r.at + OpenAt.path_len, true);
  if (length > DK_PATH_BYTES || OpenAt.SIZE + length > size) corrupt("OPEN name does not fit");
  const end = OpenAt.SIZE + length;
  if (end + pathLength > size) corrupt("OPEN path does not fit");
  // renamed before the call returned: the name it was made with is the last of the path
  const path = latin1At(r.u8, r.at + end, pathLength);
  const given = path.slice(path.lastIndexOf("/") + 1);
  return {
    inode: decodeInode(r.view, r.at + OpenAt.inode),
    parent: decodeInode(r.view, r.at + OpenAt.parent),
    openFlags: r.view.getUint32(r.at + OpenAt.open_flags, true),
    name: given === "" ? latin1At(r.u8, r.at + OpenAt.SIZE, length) : given,
    lockSeq: u64At(r.view, r.at + OpenAt.lock_seq),
  };
}

/** @throws {DiffKeeperError} data_corrupt, when a count or length does not fit. */
export function decodeCall(r: RecordBytes): CallRecord {
  const size = sizeOf(r, CallAt.SIZE);
  const { view, at } = r;
  const count = view.getUint32(at + CallAt.touched, true);
  if (count > DK_TOUCH_MAX) corrupt("CALL touches too many inodes");
  const touched: KernelInode[] = [];
  for (let i = 0; i < count; i++) {
    touched.push(decodeInode(view, at + CallAt.SIZE + i * InodeAt.SIZE));
  }
  let place = CallAt.SIZE + count * InodeAt.SIZE;
  const str: [string, string, string] = ["", "", ""];
  for (let i = 0; i < 3; i++) {
    const length = view.getUint32(at + CallAt.str_len + 4 * i, true);
    if (length > DK_XATTR_BYTES || place + length > size) corrupt("CALL string does not fit");
    str[i] = latin1At(r.u8, at + place, length);
    place += length;
  }
  const arg = at + CallAt.arg;
  return {
    arg: [u64At(view, arg), u64At(view, arg + 8), u64At(view, arg + 16), u64At(view, arg + 24)],
    base: [
      decodeInode(view, at + CallAt.base),
      decodeInode(view, at + CallAt.base + InodeAt.SIZE),
    ],
    touched,
    str,
    lockSeq: u64At(view, at + CallAt.lock_seq),
    away: [0, 1, 2].map((i) => u64At(view, at + CallAt.str_addr + 8 * i)),
  };
}

/** Where the bytes of a COPY come from. */
export interface CopySource {
  dev: number;
  gen: number;
  ino: number;
  offset: number;
  size: number;
}

/** The part of a COPY that a WRITE does not have. @throws {DiffKeeperError} data_corrupt, when it is too short. */
export function decodeCopySource(r: RecordBytes): CopySource {
  sizeOf(r, CopyAt.SIZE);
  const { view, at } = r;
  return {
    dev: view.getUint32(at + CopyAt.src_dev, true),
    gen: view.getUint32(at + CopyAt.src_gen, true),
    ino: u64At(view, at + CopyAt.src_ino),
    offset: u64At(view, at + CopyAt.src_offset),
    size: u64At(view, at + CopyAt.src_size),
  };
}

/** @throws {DiffKeeperError} data_corrupt, when the count does not fit. */
export function decodeTouched(r: RecordBytes): { touched: KernelInode[]; lockSeq: number } {
  const size = sizeOf(r, TouchedAt.SIZE);
  const count = r.view.getUint32(r.at + TouchedAt.count, true);
  if (count > DK_TOUCH_MAX || TouchedAt.SIZE + count * InodeAt.SIZE > size) {
    corrupt("TOUCHED inodes do not fit");
  }
  const touched: KernelInode[] = [];
  for (let i = 0; i < count; i++) {
    touched.push(decodeInode(r.view, r.at + TouchedAt.SIZE + i * InodeAt.SIZE));
  }
  return { touched, lockSeq: u64At(r.view, r.at + TouchedAt.lock_seq) };
}

/** @throws {DiffKeeperError} data_corrupt, when the record is too short. */
export function decodeFork(r: RecordBytes): { childPid: number; childTid: number } {
  sizeOf(r, ForkAt.SIZE);
  return {
    childPid: r.view.getUint32(r.at + ForkAt.child_pid, true),
    childTid: r.view.getUint32(r.at + ForkAt.child_tid, true),
  };
}

/** @throws {DiffKeeperError} data_corrupt, when a length does not fit. */
export function decodeExec(r: RecordBytes): ExecRecord {
  const size = sizeOf(r, ExecAt.SIZE);
  const { view, at } = r;
  const exe = view.getUint32(at + ExecAt.exe_len, true);
  const argv = view.getUint32(at + ExecAt.argv_len, true);
  if (exe > DK_NAMES_BYTES || argv > DK_ARGV_BYTES || ExecAt.SIZE + exe + argv > size) {
    corrupt("EXEC strings do not fit");
  }
  return {
    ppid: view.getUint32(at + ExecAt.ppid, true),
    uid: view.getUint32(at + ExecAt.uid, true),
    gid: view.getUint32(at + ExecAt.gid, true),
    cwdDev: view.getUint32(at + ExecAt.cwd_dev, true),
    cwdIno: u64At(view, at + ExecAt.cwd_ino),
    exe: `/${splitNul(r.u8, at + ExecAt.SIZE, exe).reverse().join("/")}`,
    argv: splitNul(r.u8, at + ExecAt.SIZE + exe, argv),
  };
}

/** @throws {DiffKeeperError} data_corrupt, when the record is too short. */
export function decodeExit(r: RecordBytes): { code: number; groupDead: boolean } {
  sizeOf(r, ExitAt.SIZE);
  return {
    code: r.view.getInt32(r.at + ExitAt.code, true),
    groupDead: r.view.getUint32(r.at + ExitAt.group_dead, true) !== 0,
  };
}

/** @throws {DiffKeeperError} data_corrupt, when the record is too short. */
export function decodeMmap(r: RecordBytes): MmapRecord {
  sizeOf(r, MmapAt.SIZE);
  return {
    inode: decodeInode(r.view, r.at + MmapAt.inode),
    offset: u64At(r.view, r.at + MmapAt.offset),
    length: u64At(r.view, r.at + MmapAt.length),
  };
}

/** @throws {DiffKeeperError} data_corrupt, when the record is too short. */
export function decodeNote(r: RecordBytes): { note: number } {
  sizeOf(r, NoteAt.SIZE);
  return { note: r.view.getUint32(r.at + NoteAt.note, true) };
}
