/**
 * What files held at the start, where the trace itself does not have it: what the recorder saved and had no time to take into the
 * trace (a trace that was cut, or is being recorded), and the files on disk that nobody has touched. A file on disk counts only
 * if it is still in the very state that the trace names (inode, size, mtime, ctime), before it is read and after.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
} from "node:fs";
import { openDeep } from "../../ffi/deep_path.ts";
import { libc } from "../../ffi/libc.ts";
import { DiffKeeperError } from "../base/error.ts";
import { savedFileName, SavedFlag, savedRecords, segmentNumber } from "../format/saved_record.ts";
import type { Mtime } from "../format/trace_event.ts";
import type { Node } from "../resolve/node.ts";
import type { BaseSource } from "./content.ts";
import type { History, LeftFile } from "./fold.ts";
import type { Trace } from "./trace.ts";

const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const SEEK_DATA = 3;
const NS = 1_000_000_000n;
const HINT = "record with --baseline full to have a trace that needs no files";

/** Where a content stands: in a file, from a byte on. */
interface Saved {
  path: string;
  start: number;
  size: number;
  mtime: Mtime;
}

function ns(time: Mtime): bigint {
  return BigInt(time.sec) * NS + BigInt(time.nsec);
}

function sameTime(a: Mtime | undefined, b: Mtime | undefined): boolean {
  return a !== undefined && b !== undefined && a.sec === b.sec && a.nsec === b.nsec;
}

/** See the head of the file. One file is open at a time; what was wrong with those before it is told by `close`. */
export class BaseFiles implements BaseSource {
  readonly #trace: Trace;
  readonly #history: History;
  #saved: Map<number, Saved> | undefined;
  #last: History | undefined;
  /** It was cut, or is being recorded. */
  #isOpen: boolean | undefined;
  #node = 0;
  #doubt: string | undefined;
  #fd = -1;
  #start = 0;
  #end = 0;
  /** Of the file on disk that is open; undefined: it is one of the recorder's. */
  #mark: { size: bigint; mtimeNs: bigint; ctimeNs: bigint } | undefined;

  constructor(trace: Trace, history: History) {
    this.#trace = trace;
    this.#history = history;
  }

  /** Opens what a file held at the start. Returns why it cannot be had, for people. */
  open(node: Node): string | undefined {
    this.#leave();
    this.#node = node.id;
    const left = this.#history.left.get(node.id);
    if (left === undefined) return "the trace does not say where it is";
    const saved = this.#savedOf(node.id);
    if (saved !== undefined) return this.#openSaved(saved, left, node);
    const path = left.path ?? this.#pathIn(this.#history, node.id);
    if (path !== undefined && this.#openLive(path, node, left)) return undefined;
    this.#isOpen ??= this.#trace.state() !== "ended";
    if (this.#openMoved(node, left, this.#isOpen)) return undefined;
    return `it was left in the file on disk, which has changed or gone since (${HINT})`;
  }

  /** Closes the file. Returns why what was read since the last `close` cannot be trusted. */
  close(): string | undefined {
    this.#leave();
    const doubt = this.#doubt;
    this.#doubt = undefined;
    return doubt;
  }

  #leave(): void {
    if (this.#fd < 0) return;
    const now = this.#mark === undefined ? undefined : fstatSync(this.#fd, { bigint: true });
    const isSame = now === undefined || (now.size === this.#mark?.size &&
      now.mtimeNs === this.#mark.mtimeNs && now.ctimeNs === this.#mark.ctimeNs);
    closeSync(this.#fd);
    this.#fd = -1;
    this.#node = 0;
    if (!isSame) this.#doubt = "the file on disk changed while it was read";
  }

  read(node: number, at: number, into: Uint8Array): void {
    if (node !== this.#node) this.#doubt ??= this.open(this.#history.tree.need(node));
    let done = 0;
    while (done < into.length) {
      const want = Math.min(into.length - done, this.#end - at - done);
      const position = this.#start + at + done;
      const got = want <= 0 ? 0 : readSync(this.#fd, into, done, want, position);
      // it was cut meanwhile: `close` says so
      if (got === 0) return void into.fill(0, done);
      done += got;
    }
  }

  nextData(node: number, at: number): number {
    if (node !== this.#node) this.#doubt ??= this.open(this.#history.tree.need(node));
    if (this.#start > 0 || at >= this.#end) return at;
    const found = Number(libc.lseek(this.#fd, at, SEEK_DATA));
    return found < 0 ? this.#end : found;
  }

  #openSaved(saved: Saved, left: LeftFile, node: Node): string | undefined {
    const isSame = saved.size === this.#history.content.startSize(node.id) &&
      sameTime(saved.mtime, left.mtime);
    if (!isSame) return "it was changed before it could be saved";
    try {
      this.#fd = openSync(saved.path, READ_FLAGS);
    } catch (thrown) {
      throw new DiffKeeperError("io", `cannot read "${saved.path}"`, { cause: thrown });
    }
    this.#start = saved.start;
    this.#end = saved.size;
    this.#mark = undefined;
    return undefined;
  }

  #openLive(path: string, node: Node, left: LeftFile): boolean {
    if (left.mtime === undefined) return false;
    const fd = openDeep(path, READ_FLAGS);
    if (fd < 0) return false;
    const { ino, size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
    const isSame = Number(ino) === node.ino &&
      Number(size) === this.#history.content.startSize(node.id) &&
      mtimeNs === ns(left.mtime) &&
      (left.ctime === undefined || ctimeNs === ns(left.ctime));
    if (!isSame) {
      closeSync(fd);
      return false;
    }
    this.#fd = fd;
    this.#start = 0;
    this.#end = Number(size);
    this.#mark = { size, mtimeNs, ctimeNs };
    return true;
  }

  /**
   * A folder above it was renamed: the last state knows where it is. In a trace that was cut (`isOpen`) nobody wrote down which files
   * were renamed themselves, which changes their ctime.
   */
  #openMoved(node: Node, left: LeftFile, isOpen: boolean): boolean {
    this.#last ??= this.#trace.foldTo({ unit: "seq", from: 0, to: Number.MAX_SAFE_INTEGER });
    const now = this.#last.tree.node(node.id);
    const path = this.#pathIn(this.#last, node.id);
    if (now === undefined || path === undefined) return false;
    if (!isOpen) return this.#openLive(path, node, left);
    // written to since: then the gate has saved it
    if (!this.#last.content.isUntouched(node.id)) return false;
    return this.#openLive(path, node, { ...left, mtime: now.mtime(), ctime: undefined });
  }

  #pathIn(history: History, id: number): string | undefined {
    const path = history.tree.path(id);
    const root = this.#trace.recording.rootPaths[history.tree.rootOf(id)];
    if (path === undefined || root === undefined) return undefined;
    return path === "" ? root : root === "/" ? `/${path}` : `${root}/${path}`;
  }

  /** What the recorder saved and did not take yet. */
  #savedOf(node: number): Saved | undefined {
    const { reader, recording } = this.#trace;
    this.#saved ??= savedIn(reader.dir, recording.savedId ?? 0);
    return this.#saved.get(node);
  }
}

/** What stands in the state-dir for this recording. */
function savedIn(dir: string, id: number): Map<number, Saved> {
  const saved = new Map<number, Saved>();
  for (const name of readdirSync(dir)) {
    if (segmentNumber(name) === undefined) continue;
    const path = `${dir}/${name}`;
    for (const record of savedRecords(readFileSync(path))) {
      const { node, start, size, mtimeSec, mtimeNsec, flags } = record;
      const mtime = { sec: mtimeSec, nsec: mtimeNsec };
      const isFile = (flags & SavedFlag.FILE) !== 0;
      if (record.id !== id || saved.has(node)) continue;
      saved.set(
        node,
        isFile
          ? { path: `${dir}/${savedFileName(node)}`, start: 0, size, mtime }
          : { path, start, size, mtime },
      );
    }
  }
  return saved;
}
