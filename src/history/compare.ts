/**
 * Compares a trace with the real files: it is folded to its last event, and what it says of files that were written is compared with
 * them, byte by byte. The recorder does this at its end; it finds what names and times do not show: a write that was missed, a
 * payload that was not what the kernel took, a row that went wrong. It stops when its time is over and says how far it came; files
 * in doubt come first, then the last ones written.
 */
import { constants } from "node:fs";
import { openDeep } from "../../ffi/deep_path.ts";
import { libc, pinned } from "../../ffi/libc.ts";
import { AUDIT_READ_BYTES } from "../base/limits.ts";
import { Materializer } from "./content.ts";
import type { ContentLog } from "./content_log.ts";
import { ContentKind } from "./op_tokens.ts";
import type { History } from "./fold.ts";
import { Trace } from "./trace.ts";

/** What is compared. */
export interface CompareOptions {
  /** Nodes of files that were written, in the order of their first event. */
  touched: Uint32Array;
  /** Time after which no more is compared, in milliseconds. */
  timeMs: number;
}

/** What came out. */
export interface Compared {
  /** Files whose bytes were compared. */
  contents: number;
  /** Files that were touched, and that are there: what could have been compared. */
  written: number;
  /** Nodes that hold other bytes than the trace says. */
  wrong: number[];
}

const SEEK_DATA = 3;

/** The time is over. */
class Over extends Error {}

/** A real file, compared run by run. */
class RealFile {
  readonly #read = pinned(AUDIT_READ_BYTES);
  #fd = -1;
  #at = 0;
  isSame = true;

  open(fd: number): void {
    this.#fd = fd;
    this.#at = 0;
    this.isSame = true;
  }

  /** The file holds `bytes` at `at`, and nothing but zeros between the run before and this one. */
  take(at: number, bytes: Uint8Array): void {
    if (!this.isSame) return;
    this.#zeros(at);
    for (let done = 0; this.isSame && done < bytes.length;) {
      const part = bytes.subarray(done, done + AUDIT_READ_BYTES);
      const got = Number(libc.pread(this.#fd, this.#read.address, part.length, at + done));
      this.isSame = got === part.length &&
        Buffer.compare(this.#read.bytes.subarray(0, got), part) === 0;
      done += part.length;
    }
    this.#at = at + bytes.length;
  }

  /** The rest is zeros up to `size`, and nothing follows. */
  end(size: number): void {
    this.#zeros(size);
    if (this.isSame) this.isSame = Number(libc.pread(this.#fd, this.#read.address, 1, size)) === 0;
  }

  /** Holes are passed without being read. */
  #zeros(to: number): void {
    while (this.isSame && this.#at < to) {
      const data = Number(libc.lseek(this.#fd, this.#at, SEEK_DATA));
      if (data < 0 || data >= to) break;
      const from = Math.max(data, this.#at);
      const length = Math.min(to - from, AUDIT_READ_BYTES);
      const got = Number(libc.pread(this.#fd, this.#read.address, length, from));
      this.isSame = got === length &&
        this.#read.bytes.subarray(0, got).every((byte) => byte === 0);
      this.#at = from + length;
    }
    this.#at = Math.max(this.#at, to);
  }
}

/** Are all bytes of the node known from the trace itself? */
function isKnown(log: ContentLog, node: number): boolean {
  const ops = log.ops(node);
  while (ops.next()) {
    if (ops.kind !== ContentKind.DATA && ops.kind !== ContentKind.ZERO) return false;
  }
  return true;
}

/** Written files that are still there, those in doubt first, then the last ones. */
function candidates(history: History, touched: Uint32Array): number[] {
  const inDoubt = (id: number) =>
    history.readBack.has(id) || history.unread.has(id) || history.doubted.has(id);
  const there = [...touched].reverse().filter((id) =>
    history.tree.node(id)?.isFile === true && history.tree.path(id) !== undefined
  );
  return [...there.filter(inDoubt), ...there.filter((id) => !inDoubt(id))];
}

/**
 * Compares the trace in a state-dir until all is compared or the time is over.
 * @throws {DiffKeeperError} the trace cannot be read back.
 */
export function compareContents(dir: string, options: CompareOptions): Compared {
  // the time may be over before it is known which of them are there
  const verdict: Compared = { contents: 0, written: options.touched.length, wrong: [] };
  const until = performance.now() + options.timeMs;
  const look = () => {
    if (performance.now() > until) throw new Over();
  };
  const trace = Trace.open(dir);
  try {
    // rows are packed, and history is dropped, beside this
    trace.reader.hold();
    const { lastSeq } = trace.range();
    const history = trace.foldTo({ unit: "seq", from: lastSeq, to: lastSeq }, look);
    const ids = candidates(history, options.touched);
    verdict.written = ids.length;
    const { rootPaths } = trace.recording;
    const parts = { history, rootPaths, file: new RealFile(), until: look };
    const materializer = new Materializer(history.content, trace);
    for (const id of ids) {
      look();
      if (!isKnown(history.content, id)) continue;
      const isSame = compareFile(id, { ...parts, materializer });
      if (isSame === undefined) continue;
      verdict.contents++;
      if (!isSame) verdict.wrong.push(id);
    }
  } catch (thrown) {
    if (!(thrown instanceof Over)) throw thrown;
  } finally {
    trace.close();
  }
  return verdict;
}

/** undefined: the file cannot be opened, which the audit of names sees. */
function compareFile(
  id: number,
  parts: {
    history: History;
    file: RealFile;
    materializer: Materializer;
    rootPaths: readonly string[];
    until(): void;
  },
): boolean | undefined {
  const { history, rootPaths, file, materializer, until } = parts;
  const { tree, content } = history;
  const root = rootPaths[tree.rootOf(id)] ?? "";
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const fd = openDeep(`${root}/${tree.path(id) ?? ""}`, flags);
  if (fd < 0) return undefined;
  try {
    file.open(fd);
    materializer.write(id, (at, bytes) => {
      until();
      file.take(at, bytes);
    });
    file.end(content.size(id));
    return file.isSame;
  } finally {
    libc.close(fd);
  }
}
