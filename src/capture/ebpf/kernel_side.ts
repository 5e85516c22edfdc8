/**
 * The attached recorder as its reader has it: the ring, the shared memory, the map of inodes. It is made from handles, because the
 * thread that loads and attaches the programs (object.ts) is not the one that reads: the loading takes the main thread as long as
 * the reader needs to start.
 */
import { libbpf } from "../../../ffi/libbpf.ts";
import { pinned } from "../../../ffi/libc.ts";
import { PROT_READ_WRITE } from "../../../ffi/memory_map.ts";
import { mapShared, Ring } from "./ring.ts";
import { Shared, SHARED_BYTES } from "./shared.ts";

/** struct inode_key of bpf/state.h: dev, gen (u32 each), ino (u64). */
const INODE_KEY_BYTES = 16;

/** What one thread tells another of an attached recorder: descriptors of this process. */
export interface KernelHandles {
  ringFd: number;
  ringBytes: number;
  sharedFd: number;
  inodesFd: number;
  /** Names of the kernel hooks in use. */
  hooks: string[];
}

/** See the head of the file. */
export class KernelSide {
  readonly ring: Ring;
  readonly shared: Shared;
  readonly hooks: readonly string[];
  readonly #inodesFd: number;

  /** @throws {DiffKeeperError} `io`: the memory cannot be mapped. */
  constructor(handles: KernelHandles) {
    this.ring = new Ring(handles.ringFd, handles.ringBytes);
    this.shared = new Shared(mapShared(handles.sharedFd, SHARED_BYTES, PROT_READ_WRITE));
    this.hooks = handles.hooks;
    this.#inodesFd = handles.inodesFd;
  }

  /**
   * Says in which watched folder an inode lies that has other names too: opened by one outside, it is recorded all the same. Kept
   * without a generation, which a scan does not know.
   */
  putLinked(inode: { dev: number; ino: number }, root: number): void {
    const key = pinned(INODE_KEY_BYTES);
    const view = new DataView(key.bytes.buffer);
    view.setUint32(0, inode.dev, true);
    view.setBigUint64(8, BigInt(inode.ino), true);
    const verdict = pinned(8);
    new DataView(verdict.bytes.buffer).setInt32(0, root, true);
    // a full map is counted by the kernel side, and what is missed here the audit finds
    libbpf().bpf_map_update_elem(this.#inodesFd, key.address, verdict.address, 0);
  }

  /** Nothing more is recorded. The programs stay attached, and return at once, until the process ends. */
  close(): void {
    this.shared.enabled = false;
  }
}
