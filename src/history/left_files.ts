/**
 * Which files a trace refers to instead of holding their content at the start: gathered while its events are read, then compared
 * with the files on disk by their state alone (inode, size, mtime, ctime; nothing is read). Used by verify, info, and by export before it
 * removes something.
 */
import { type BigIntStats, closeSync, constants, fstatSync } from "node:fs";
import { openDeep } from "../../ffi/deep_path.ts";
import { EventFlag, type Mtime, Op, type TraceEvent } from "../format/trace_event.ts";
import type { Tree } from "../resolve/tree.ts";
import type { LeftReport } from "./verify_report.ts";

/** Changed files that are named; of more only their number. */
const CHANGED_NAMED_MAX = 100;
const O_PATH = 0o10000000;
const NS = 1_000_000_000n;

interface Left {
  ino: number;
  size: number;
  mtime: Mtime | undefined;
  ctime: Mtime | undefined;
  /** Absolute; "": the place in the tree, found by `finish`. */
  path: string;
  root: number;
}

function ns(time: Mtime): bigint {
  return BigInt(time.sec) * NS + BigInt(time.nsec);
}

/** See the head of the file. */
export class LeftFiles {
  /** By node. */
  readonly files = new Map<number, Left>();

  /** Takes the events of `b:` and `s:` rows, in order; others are not looked at. */
  see(event: TraceEvent): void {
    const { node, op, mtime, ctime, path } = event;
    const isLeft = (event.flags & EventFlag.LAZY) !== 0;
    if (op === Op.BASELINE && isLeft && event.attr !== undefined) {
      const { ino, size } = event.attr;
      this.files.set(node, { ino, size, mtime, ctime, path: "", root: -1 });
    }
    if (op !== Op.CONTENT) return;
    const left = this.files.get(node);
    if (!isLeft || left === undefined) this.files.delete(node);
    else this.files.set(node, { ...left, mtime, ctime, path: path ?? "" });
  }

  /** All events were read: `tree` is the last state. */
  finish(tree: Tree): void {
    for (const [node, left] of this.files) {
      if (left.path !== "") continue;
      left.path = tree.path(node) ?? "";
      left.root = tree.rootOf(node);
    }
  }

  /** Bytes of all of them. */
  get bytes(): number {
    let bytes = 0;
    for (const { size } of this.files.values()) bytes += size;
    return bytes;
  }

  /**
   * Tells whether a file is one of them, wherever it lies and by whatever name. Its ctime may be another: a recorder that was cut
   * has not written down which files were renamed.
   */
  test(): (stat: BigIntStats) => boolean {
    const key = (ino: bigint, size: bigint, mtime: bigint) => `${ino} ${size} ${mtime}`;
    const known = new Set<string>();
    for (const { ino, size, mtime } of this.files.values()) {
      if (mtime !== undefined) known.add(key(BigInt(ino), BigInt(size), ns(mtime)));
    }
    return ({ ino, size, mtimeNs }) => known.has(key(ino, size, mtimeNs));
  }

  /** Compares with what is on disk. @param roots absolute paths of the watched folders, binary strings. */
  compare(roots: readonly string[]): LeftReport {
    const report: LeftReport = {
      files: this.files.size,
      bytes: this.bytes,
      changedFiles: 0,
      changed: [],
    };
    for (const left of this.files.values()) {
      const root = left.root < 0 ? "" : `${roots[left.root] ?? ""}/`;
      const path = root + left.path;
      if (isThere(left, path)) continue;
      report.changedFiles++;
      if (report.changed.length < CHANGED_NAMED_MAX) report.changed.push(path);
    }
    return report;
  }
}

function isThere(left: Left, path: string): boolean {
  const fd = openDeep(path, constants.O_NOFOLLOW | O_PATH);
  if (fd < 0) return false;
  const found = fstatSync(fd, { bigint: true });
  closeSync(fd);
  return Number(found.ino) === left.ino && Number(found.size) === left.size &&
    isAt(found.mtimeNs, left.mtime) && isAt(found.ctimeNs, left.ctime);
}

function isAt(found: bigint, time: Mtime | undefined): boolean {
  return time !== undefined && found === ns(time);
}
