/**
 * A kernel record while the Resolver works on it: decoded, so that it can wait after its bytes in
 * the ring are gone. WRITE, CHUNK and OUTPUT become a unit only when the fast path leaves them.
 */
import type {
  CallRecord,
  CopySource,
  ExecRecord,
  KernelInode,
  MmapRecord,
  OpenRecord,
} from "../format/kernel_decode.ts";
import type { Syscall } from "../format/kernel_syscall.ts";
import type { Extent } from "../format/trace_event.ts";
import type { Head } from "./context.ts";

/** Bytes of one call, collected from its records. */
export interface WriteUnit {
  kind: "write";
  head: Head;
  /** OUTPUT, not WRITE. */
  output: boolean;
  dev: number;
  gen: number;
  ino: number;
  size: number;
  mode: number;
  mtimeSec: number;
  mtimeNsec: number;
  offset: number;
  lockSeq: number;
  /** Bytes the call wrote. */
  length: number;
  /** Whole payload of a small call; pieces of larger ones go to `extents` at once. */
  bytes: Uint8Array | undefined;
  extents: Extent[];
  /** Payload is complete up to here. */
  covered: number;
  /** Ranges of the call's bytes that were not captured. */
  missing: { at: number; length: number }[];
  /** The inode is left out: payload is not kept. */
  dropped: boolean;
  /** The bytes are those of another file at that moment. */
  source?: CopySource;
  /** Node of the source, once it is looked up. */
  copyOf?: number;
}

/** Any other record that has to keep its place in the order. */
export type Unit =
  | WriteUnit
  | { kind: "open"; head: Head; open: OpenRecord }
  | { kind: "call"; head: Head; call: CallRecord; syscall: Syscall }
  | { kind: "touched"; head: Head; touched: KernelInode[]; lockSeq: number }
  | { kind: "exec"; head: Head; exec: ExecRecord }
  | { kind: "exit"; head: Head; code: number }
  | { kind: "mmap"; head: Head; mmap: MmapRecord }
  | { kind: "sync"; head: Head; mmap: MmapRecord }
  | { kind: "note"; head: Head; note: number }
  | { kind: "gap"; head: Head; text: string; loss: { events: number; bytes: number } };

/** Place of a unit in the order of changes, taken inside the inode lock; 0: none. */
export function lockSeqOf(unit: Unit): number {
  if (unit.kind === "write" || unit.kind === "touched") return unit.lockSeq;
  if (unit.kind === "open") return unit.open.lockSeq;
  return unit.kind === "call" ? unit.call.lockSeq : 0;
}

/** A call on names or attributes. */
export type CallUnit = Extract<Unit, { kind: "call" }>;
export type OpenUnit = Extract<Unit, { kind: "open" }>;

/**
 * What became of a unit: "done" (also: nothing to do), or "wait": it contradicts the tree, so an
 * older record must still be on its way. With `force` nothing waits: the kernel's facts win.
 */
export type Outcome = "done" | "wait";
