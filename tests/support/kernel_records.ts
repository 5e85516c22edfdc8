/**
 * Builds kernel records by hand, byte for byte as bpf/record.h says, for tests of what reads them.
 */
import type { KernelInode } from "../../src/format/kernel_decode.ts";
import {
  CallAt,
  ExecAt,
  ExitAt,
  ForkAt,
  Header,
  InodeAt,
  KernelFlag,
  Kind,
  MmapAt,
  NodeAt,
  NoteAt,
  OpenAt,
  TouchedAt,
  WriteAt,
} from "../../src/format/kernel_record.ts";
import { syscallNumber } from "../../src/format/kernel_syscall.ts";

/** Header fields; `t` and `enter` in ns since the start that the test gave the Resolver. */
export interface Who {
  t: number;
  enter?: number;
  pid?: number;
  tid?: number;
  fd?: number;
  nr?: number;
  ret?: number;
  flags?: number;
  comm?: string;
}

/** CLOCK_BOOTTIME of the start in all tests: far enough to need more than 32 bits. */
export const START_NS = 123_456_789_012_345n;

/** An inode with defaults. */
export function inode(fields: Partial<KernelInode>): KernelInode {
  return {
    ...{ dev: 0x800001, gen: 1, ino: 0, size: 0, mtimeSec: 1_700_000_000, mtimeNsec: 1 },
    ...{ mode: 0o100644, uid: 1000, gid: 1000, nlink: 1, rdev: 0 },
    ...fields,
  };
}

export const NO_INODE: KernelInode = inode({ dev: 0, gen: 0, ino: 0, mode: 0 });

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

function putInode(view: DataView, at: number, i: KernelInode): void {
  view.setUint32(at + InodeAt.dev, i.dev, true);
  view.setUint32(at + InodeAt.gen, i.gen, true);
  view.setBigUint64(at + InodeAt.ino, BigInt(i.ino), true);
  view.setBigUint64(at + InodeAt.size, BigInt(i.size), true);
  view.setBigInt64(at + InodeAt.mtime_sec, BigInt(i.mtimeSec), true);
  view.setUint32(at + InodeAt.mtime_nsec, i.mtimeNsec, true);
  view.setUint32(at + InodeAt.mode, i.mode, true);
  view.setUint32(at + InodeAt.uid, i.uid, true);
  view.setUint32(at + InodeAt.gid, i.gid, true);
  view.setUint32(at + InodeAt.nlink, i.nlink, true);
  view.setUint32(at + InodeAt.rdev, i.rdev, true);
}

function record(kind: number, bytes: number, who: Who): { u8: Uint8Array; view: DataView } {
  const u8 = new Uint8Array(Math.ceil(bytes / 8) * 8);
  const view = new DataView(u8.buffer);
  view.setUint32(0, u8.length, true);
  view.setUint16(Header.kind, kind, true);
  view.setUint16(Header.flags, who.flags ?? 0, true);
  view.setBigUint64(Header.t_ns, START_NS + BigInt(who.t), true);
  view.setBigUint64(Header.enter_ns, START_NS + BigInt(who.enter ?? who.t), true);
  view.setUint32(Header.pid, who.pid ?? 100, true);
  view.setUint32(Header.tid, who.tid ?? who.pid ?? 100, true);
  view.setUint32(Header.nr, who.nr ?? 0, true);
  view.setUint32(Header.fd, who.fd ?? 0xffffffff, true);
  view.setBigInt64(Header.ret, BigInt(who.ret ?? 0), true);
  u8.set(bytesOf((who.comm ?? "test").slice(0, 15)), Header.comm);
  return { u8, view };
}

/** NODE; `names` leaf first. */
export function nodeRecord(
  who: Who,
  node: { inode: KernelInode; root: number; names: string[]; anchor?: KernelInode },
): Uint8Array {
  const names = bytesOf(node.names.map((n) => `${n}\0`).join(""));
  const { u8, view } = record(Kind.NODE, NodeAt.SIZE + names.length, who);
  putInode(view, NodeAt.inode, node.inode);
  view.setUint32(NodeAt.anchor_dev, node.anchor?.dev ?? 0, true);
  view.setInt32(NodeAt.root, node.root, true);
  view.setBigUint64(NodeAt.anchor_ino, BigInt(node.anchor?.ino ?? 0), true);
  view.setUint32(NodeAt.names_len, names.length, true);
  view.setUint32(NodeAt.depth, node.names.length, true);
  u8.set(names, NodeAt.SIZE);
  return u8;
}

/** Fields of WRITE, CHUNK and OUTPUT. */
export interface WriteFields {
  inode: KernelInode;
  offset: number;
  payload: Uint8Array;
  lockSeq?: number;
  payloadOff?: number;
  /** Without it: WRITE. */
  kind?: number;
  /** More records of this call follow. */
  more?: boolean;
}

export function writeRecord(who: Who, w: WriteFields): Uint8Array {
  const flags = (who.flags ?? 0) | (w.more ? 0 : KernelFlag.LAST);
  const ret = who.ret ?? w.payload.length;
  const size = WriteAt.SIZE + w.payload.length;
  const { u8, view } = record(w.kind ?? Kind.WRITE, size, { ...who, ret, flags });
  view.setUint32(WriteAt.dev, w.inode.dev, true);
  view.setUint32(WriteAt.gen, w.inode.gen, true);
  view.setBigUint64(WriteAt.ino, BigInt(w.inode.ino), true);
  view.setBigUint64(WriteAt.size, BigInt(w.inode.size), true);
  view.setBigInt64(WriteAt.mtime_sec, BigInt(w.inode.mtimeSec), true);
  view.setUint32(WriteAt.mtime_nsec, w.inode.mtimeNsec, true);
  view.setUint32(WriteAt.mode, w.inode.mode, true);
  view.setBigUint64(WriteAt.offset, BigInt(w.offset), true);
  view.setBigUint64(WriteAt.lock_seq, BigInt(w.lockSeq ?? 0), true);
  view.setUint32(WriteAt.payload_off, w.payloadOff ?? 0, true);
  view.setUint32(WriteAt.payload_len, w.payload.length, true);
  u8.set(w.payload, WriteAt.SIZE);
  return u8;
}

/** TOUCHED: `who.ret` is the negative errno. */
export function touchedRecord(
  who: Who,
  { touched, lockSeq = 0 }: { touched: KernelInode[]; lockSeq?: number },
): Uint8Array {
  const { u8, view } = record(Kind.TOUCHED, TouchedAt.SIZE + touched.length * InodeAt.SIZE, who);
  view.setBigUint64(TouchedAt.lock_seq, BigInt(lockSeq), true);
  view.setUint32(TouchedAt.count, touched.length, true);
  for (const [i, t] of touched.entries()) putInode(view, TouchedAt.SIZE + i * InodeAt.SIZE, t);
  return u8;
}

/** OPEN: flags CREATED, TRUNCATED or TMPFILE in `who`. */
export function openRecord(
  who: Who,
  open: { inode: KernelInode; parent: KernelInode; name: string; path?: string; lockSeq?: number },
): Uint8Array {
  const name = bytesOf(open.name);
  const path = bytesOf(open.path ?? "");
  const { u8, view } = record(Kind.OPEN, OpenAt.SIZE + name.length + path.length, who);
  putInode(view, OpenAt.inode, open.inode);
  putInode(view, OpenAt.parent, open.parent);
  view.setUint16(OpenAt.name_len, name.length, true);
  view.setUint16(OpenAt.path_len, path.length, true);
  view.setBigUint64(OpenAt.lock_seq, BigInt(open.lockSeq ?? 0), true);
  u8.set(name, OpenAt.SIZE);
  u8.set(path, OpenAt.SIZE + name.length);
  return u8;
}

/** Fields of CALL; what is left out is 0, empty or absent. */
export interface CallFields {
  arg?: number[];
  /** What relative paths start from. */
  base?: (KernelInode | undefined)[];
  /** What absolute paths start from: the root of a chroot. */
  jail?: KernelInode;
  str?: string[];
  touched?: KernelInode[];
  lockSeq?: number;
  /** Addresses of strings that could not be read. */
  away?: number[];
}

/** CALL by the name of its system call. */
export function callRecord(who: Who, name: string, call: CallFields): Uint8Array {
  const strs = [0, 1, 2].map((i) => bytesOf(call.str?.[i] ?? ""));
  const touched = call.touched ?? [];
  const fixed = CallAt.SIZE + touched.length * InodeAt.SIZE;
  const size = strs.reduce((sum, s) => sum + s.length, fixed);
  const nr = syscallNumber(name, "x64");
  const { u8, view } = record(Kind.CALL, size, { nr, ...who });
  for (let i = 0; i < 4; i++) {
    view.setBigUint64(CallAt.arg + 8 * i, BigInt(call.arg?.[i] ?? 0), true);
  }
  for (let i = 0; i < 2; i++) {
    const start = call.str?.[i]?.startsWith("/") === true ? call.jail : call.base?.[i];
    putInode(view, CallAt.base + i * InodeAt.SIZE, start ?? NO_INODE);
  }
  view.setUint32(CallAt.touched, touched.length, true);
  view.setBigUint64(CallAt.lock_seq, BigInt(call.lockSeq ?? 0), true);
  for (let i = 0; i < 3; i++) {
    view.setBigUint64(CallAt.str_addr + 8 * i, BigInt(call.away?.[i] ?? 0), true);
  }
  touched.forEach((t, i) => putInode(view, CallAt.SIZE + i * InodeAt.SIZE, t));
  let at = fixed;
  strs.forEach((s, i) => {
    view.setUint32(CallAt.str_len + 4 * i, s.length, true);
    u8.set(s, at);
    at += s.length;
  });
  return u8;
}

export function forkRecord(who: Who, child: number): Uint8Array {
  const { u8, view } = record(Kind.FORK, ForkAt.SIZE, who);
  view.setUint32(ForkAt.child_pid, child, true);
  view.setUint32(ForkAt.child_tid, child, true);
  return u8;
}

/** EXEC; `exe` an absolute path. */
export function execRecord(
  who: Who,
  exec: { exe: string; argv: string[]; cwd: KernelInode; ppid?: number; uid?: number },
): Uint8Array {
  const exe = bytesOf(exec.exe.slice(1).split("/").reverse().map((n) => `${n}\0`).join(""));
  const argv = bytesOf(exec.argv.map((a) => `${a}\0`).join(""));
  const { u8, view } = record(Kind.EXEC, ExecAt.SIZE + exe.length + argv.length, who);
  view.setUint32(ExecAt.ppid, exec.ppid ?? 1, true);
  view.setUint32(ExecAt.uid, exec.uid ?? 1000, true);
  view.setUint32(ExecAt.cwd_dev, exec.cwd.dev, true);
  view.setBigUint64(ExecAt.cwd_ino, BigInt(exec.cwd.ino), true);
  view.setUint32(ExecAt.exe_len, exe.length, true);
  view.setUint32(ExecAt.argv_len, argv.length, true);
  u8.set(exe, ExecAt.SIZE);
  u8.set(argv, ExecAt.SIZE + exe.length);
  return u8;
}

export function exitRecord(who: Who, code: number, groupDead = true): Uint8Array {
  const { u8, view } = record(Kind.EXIT, ExitAt.SIZE, who);
  view.setInt32(ExitAt.code, code, true);
  view.setUint32(ExitAt.group_dead, groupDead ? 1 : 0, true);
  return u8;
}

/** SKIP: a number of the order of changes that no other record carries. */
export function skipRecord(who: Who, lockSeq: number): Uint8Array {
  return record(Kind.SKIP, Header.SIZE, { ...who, ret: lockSeq }).u8;
}

export function mmapRecord(
  who: Who,
  map: { inode: KernelInode; offset: number; length: number },
): Uint8Array {
  const { u8, view } = record(Kind.MMAP, MmapAt.SIZE, who);
  putInode(view, MmapAt.inode, map.inode);
  view.setBigUint64(MmapAt.offset, BigInt(map.offset), true);
  view.setBigUint64(MmapAt.length, BigInt(map.length), true);
  return u8;
}

export function noteRecord(who: Who, note: number): Uint8Array {
  const { u8, view } = record(Kind.NOTE, NoteAt.SIZE, who);
  view.setUint32(NoteAt.note, note, true);
  return u8;
}
