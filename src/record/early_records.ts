/**
 * Records that come before the command starts. The identities that NODE records announce are kept, because the kernel
 * announces each inode once. Changes by other processes make paths to look at again; those that come after the last look are
 * handed to the Resolver as the first events. Bounded: what does not fit is counted.
 */
import type { RecordHandler } from "../capture/ebpf/ring.ts";
import { EARLY_CHANGES_BYTES_MAX } from "../base/limits.ts";
import { decodeCall, decodeOpen, type RecordBytes } from "../format/kernel_decode.ts";
import { Kind, WriteAt } from "../format/kernel_record.ts";
import type { Tree } from "../resolve/tree.ts";
import type { WatchedPath } from "./import_tree.ts";

const KIND_WORD = 1;
const KIND_MASK = 0xffff;
const CHANGES: ReadonlySet<number> = new Set([Kind.WRITE, Kind.CHUNK, Kind.OPEN, Kind.CALL]);

interface Identity {
  dev: number;
  ino: number;
}

/** Inodes that a record says have changed. */
function changedInodes(bytes: Uint8Array): Identity[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const record: RecordBytes = { u8: bytes, view, at: 0 };
  switch (view.getUint16(4, true)) {
    case Kind.WRITE:
      return [{
        dev: view.getUint32(WriteAt.dev, true),
        ino: Number(view.getBigUint64(WriteAt.ino, true)),
      }];
    case Kind.OPEN: {
      const { inode, parent } = decodeOpen(record);
      return [inode, parent];
    }
    case Kind.CALL: {
      const { base, touched } = decodeCall(record);
      return [...touched, ...base].filter((inode) => inode.ino !== 0);
    }
    default:
      return [];
  }
}

/** See the head of the file. */
export class EarlyRecords {
  readonly #nodes: Uint8Array[] = [];
  #changes: Uint8Array[] = [];
  #bytes = 0;
  /** Changes that did not fit and are forgotten. */
  dropped = 0;

  take(bytes: Uint8Array, words: Uint32Array, offset: number): void {
    const kind = (words[(offset >> 2) + KIND_WORD] ?? 0) & KIND_MASK;
    const size = words[offset >> 2] ?? 0;
    if (kind === Kind.NODE) this.#nodes.push(bytes.slice(offset, offset + size));
    if (!CHANGES.has(kind)) return;
    if (this.#bytes + size > EARLY_CHANGES_BYTES_MAX) {
      this.dropped++;
      return;
    }
    this.#bytes += size;
    this.#changes.push(bytes.slice(offset, offset + size));
  }

  /** Paths that changed since the last call, as far as the tree knows them; the changes are forgotten. */
  takeChangedPaths(tree: Tree): WatchedPath[] {
    const paths = new Map<string, WatchedPath>();
    for (const change of this.#changes) {
      for (const { dev, ino } of changedInodes(change)) {
        const node = tree.lookup(dev, ino, 0);
        const path = node === undefined ? undefined : tree.path(node.id);
        if (node === undefined || path === undefined) continue;
        const root = tree.rootOf(node.id);
        paths.set(`${root}:${path}`, { root, path });
      }
    }
    this.#changes = [];
    this.#bytes = 0;
    return [...paths.values()];
  }

  /** Hands over identities and the changes since the last look, in their order, and forgets them. */
  replay(handle: RecordHandler): void {
    for (const record of [...this.#nodes, ...this.#changes]) {
      handle(record, new Uint32Array(record.buffer, 0, record.length >> 2), 0);
    }
    this.#nodes.length = 0;
    this.#changes = [];
  }
}
