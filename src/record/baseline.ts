/**
 * The baseline: what the watched folders hold before the command starts. `full` copies it into the trace: first a pass over
 * states only, which gives the figures for the limit and the progress; then the pass that reads. `lazy` takes states only and
 * leaves what files hold where it is (base_content.ts, gate.ts); `none` leaves it and nobody saves it. Memory is bound by the
 * longest folder listing and one chunk, not by the tree (the namespace model itself grows with it). Nothing is left out
 * silently: what cannot be read is a GAP event and counted in the summary.
 */
import { DiffKeeperError } from "../base/error.ts";
import { EAGER_BYTES_MAX, EAGER_FILES_MAX, PROGRESS_INTERVAL_MS } from "../base/limits.ts";
import { formatBytes } from "../base/units.ts";
import { InodeMap } from "../resolve/inode_map.ts";
import type { LeftFile } from "../format/left_file.ts";
import type { LeftFiles } from "../format/left_files.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { S_IFDIR, S_IFMT, S_IFREG } from "../resolve/node.ts";
import { Tree } from "../resolve/tree.ts";
import { BaseTable } from "./base_table.ts";
import { BaselineEvents, type BaselineRows, blank } from "./baseline_events.ts";
import { ChunkStore, type ContentRows } from "./chunk_store.ts";
import { ContentReader } from "./content.ts";
import type { FolderAhead } from "./folder_ahead.ts";
import type { KnownStates } from "./inode_reader.ts";
import { Scanner } from "./scan.ts";
import type { ScanItem } from "./scan_item.ts";
import type { WatchRoot, WatchSet } from "./watch.ts";

/** Data that a baseline copies at most, unless the caller says otherwise: a copy of more takes minutes, not seconds. */
export const BASELINE_BYTES_MAX = 8 * 1024 ** 3;

/** How long the scan runs before it lets timers and signals of the process have their turn. */
const TURN_MS = 50;
/** The same for a rehearsal, which must end as soon as it is told to. */
const REHEARSAL_TURN_MS = 5;

/** Content bytes of one transaction: enough that its cost does not count, little enough for memory. */
const TRANSACTION_BYTES = 1 << 25;

/** The trace that is written: src/store/trace_writer.ts, between transactions. */
export interface BaselineTrace extends BaselineRows, ContentRows {
  begin(): void;
  commit(): void;
  rollback(): void;
}

/** How far a baseline is. */
export interface BaselineProgress {
  files: number;
  bytes: number;
  /** Files and bytes in all, as of the first pass. */
  totalFiles: number;
  totalGuess: number;
}

/** How much a baseline takes; the meaning stands at the head of the file. */
export type BaselineMode = "full" | "lazy" | "none";

/** What a baseline needs. */
export interface BaselineOptions {
  watch: WatchSet;
  tree: Tree;
  trace: BaselineTrace;
  /** Default `full`. */
  mode?: BaselineMode;
  /** How long it runs before others have their turn; default 50. */
  turnMs?: number;
  /** Files whose content is left where it is, by node. */
  table?: BaseTable;
  /** What earlier runs learned; default: nothing. */
  known?: KnownStates;
  /** Looks ahead of the scan where nothing is copied. */
  ahead?: FolderAhead;
  /** Default `BASELINE_BYTES_MAX`. */
  bytesMax?: number;
  /** Called at most every PROGRESS_INTERVAL_MS. */
  onProgress?: (progress: BaselineProgress) => void;
  /** Ends the scan with the signal's reason. */
  signal?: AbortSignal;
}

/** What came out. */
export interface BaselineSummary {
  folders: number;
  /** Everything that is not a folder, each inode once. */
  files: number;
  /** Further names of those. */
  links: number;
  /** Bytes read; equal chunks are stored once. */
  bytes: number;
  /** GAP events: something could not be read. The first texts are in `gapTexts`. */
  gaps: number;
  gapTexts: string[];
  notes: number;
  /** Rows written, `b:0` up to this number. */
  rows: number;
}

/** How many texts of gaps the summary carries; the trace has all. */
const GAP_TEXTS_MAX = 10;

/**
 * Copies all watched folders into the trace and the tree.
 * @throws {DiffKeeperError} `limit_exceeded` when there is more data than `bytesMax`; `io`, `disk_full` from the trace.
 */
export async function takeBaseline(options: BaselineOptions): Promise<BaselineSummary> {
  return await new Baseline(options).take();
}

/** Whether the watched folders hold so little that copying it takes less time than guarding it. Ends early when not. */
export function isSmall(watch: WatchSet): boolean {
  let [files, bytes] = [0, 0];
  for (const root of watch.roots) {
    const scanner = new Scanner({
      excluded: (path, isFolder) => watch.excluded(path, isFolder, root.index),
      isStateDir: (dev, ino) => watch.isStateDir(dev, ino),
      newNode: () => 1,
      known: new InodeMap<number>(),
    });
    for (const item of scanner.scan(root.path)) {
      if (item.kind !== "inode") continue;
      if ((item.attr.mode & S_IFMT) === S_IFREG) bytes += item.attr.size;
      if (++files > EAGER_FILES_MAX || bytes > EAGER_BYTES_MAX) return false;
    }
  }
  return true;
}

/** A trace that keeps nothing. */
const NOWHERE: BaselineTrace = {
  begin: () => undefined,
  commit: () => undefined,
  rollback: () => undefined,
  putBaseline: () => undefined,
  putContent: () => 0,
};

/**
 * Takes a baseline for nothing, until `signal` ends it: while the kernel side is loaded there is time for it. Afterwards the code is
 * compiled and `known` has learned what it met, so that the real one is the quicker.
 */
export async function rehearse(
  options: Pick<BaselineOptions, "watch" | "known" | "ahead"> & {
    mode: BaselineMode;
    signal: AbortSignal;
  },
): Promise<void> {
  const nothing = { tree: new Tree(), table: new BaseTable(), trace: NOWHERE };
  try {
    await new Baseline({ ...options, ...nothing, turnMs: REHEARSAL_TURN_MS }).take();
  } catch {
    // it was ended, or met what the real one will meet and tell
  }
}

/** Nothing is known of earlier runs. */
const UNKNOWN_STATES: KnownStates = {
  generation: () => -1,
  generations: () => 0,
  learn: () => undefined,
};

const NONE_TEXT = "what files held at the start is not in this trace (--baseline none)";

class Baseline {
  readonly #options: BaselineOptions;
  readonly #bytesMax: number;
  readonly #events: BaselineEvents;
  readonly #summary: BaselineSummary;
  #totalFiles = 0;
  #totalBytes = 0;
  #uncommittedBytes = 0;
  #turnAt = 0;
  #progressAt = 0;

  constructor(options: BaselineOptions) {
    this.#options = options;
    this.#bytesMax = options.bytesMax ?? BASELINE_BYTES_MAX;
    this.#events = new BaselineEvents(options.trace, options.tree);
    this.#summary = {
      folders: 0,
      files: 0,
      links: 0,
      bytes: 0,
      gaps: 0,
      gapTexts: [],
      notes: 0,
      rows: 0,
    };
  }

  async take(): Promise<BaselineSummary> {
    const { trace } = this.#options;
    if (this.#mode === "full") await this.#measure();
    trace.begin();
    try {
      await this.#copy();
    } catch (thrown) {
      trace.rollback();
      throw thrown;
    }
    trace.commit();
    return this.#summary;
  }

  async #copy(): Promise<void> {
    const sink = new ChunkStore(this.#options.trace, (bytes) => this.#countBytes(bytes));
    let node = this.#options.tree.nextId;
    const known = new InodeMap<number>();
    for (const root of this.#options.watch.roots) {
      const scanner = new Scanner({
        ...this.#filters(root),
        newNode: () => node++,
        known,
        ...(this.#mode === "full" ? { content: new ContentReader(sink) } : {
          lazy: this.#options.known ?? UNKNOWN_STATES,
          ...(this.#options.ahead !== undefined && { ahead: this.#options.ahead }),
        }),
        ...(this.#mode === "lazy" && {
          leftFiles: (files: LeftFiles) => {
            files.node = node;
            if (!this.#takeLeftFiles(files)) return false;
            node += files.files;
            return true;
          },
          left: (file: LeftFile, fill: number) => {
            file.node = node;
            if (!this.#takeLeft(file, fill)) return false;
            node++;
            return true;
          },
        }),
      });
      for (const items of scanner.scanBatches(root.path)) {
        for (const item of items) this.#take(item, root.index);
        if (this.#isTurn()) await this.#giveTurn();
      }
    }
    if (this.#mode === "none") this.#events.put({ ...blank(Op.GAP, 0), text: NONE_TEXT });
    this.#events.finish();
    this.#summary.rows = this.#events.nextRow;
  }

  get #mode(): BaselineMode {
    return this.#options.mode ?? "full";
  }

  #take(item: ScanItem, root: number): void {
    const isLeft = item.kind === "inode" && item.flags === EventFlag.LAZY;
    if (isLeft && this.#mode === "none") {
      item.flags = EventFlag.UNREAD;
      delete item.ctime;
    }
    if (this.#events.add(item, root)) this.#count(item);
  }

  #takeLeft(file: LeftFile, fill: number): boolean {
    if (!this.#events.addLeft(file, fill)) return false;
    this.#summary.files++;
    this.#options.table?.addInode(file.node, file);
    return true;
  }

  #takeLeftFiles(files: LeftFiles): boolean {
    if (!this.#events.addLeftFiles(files)) return false;
    this.#summary.files += files.files;
    this.#options.table?.addFiles(files);
    return true;
  }

  /** Adds up what there is to read, and refuses before anything is copied. */
  async #measure(): Promise<void> {
    const known = new InodeMap<number>();
    const largest = { path: "", bytes: 0 };
    let node = 1;
    for (const root of this.#options.watch.roots) {
      const scanner = new Scanner({ ...this.#filters(root), newNode: () => node++, known });
      const below = new BytesBelow();
      for (const item of scanner.scan(root.path)) {
        if (item.kind !== "inode") continue;
        this.#totalFiles++;
        this.#totalBytes += below.add(item);
        if (this.#isTurn()) await this.#giveTurn();
      }
      const top = below.largest();
      if (top.bytes > largest.bytes) Object.assign(largest, top);
    }
    if (this.#totalBytes > this.#bytesMax) throw this.#tooMuch(this.#totalBytes, largest.path);
  }

  #filters(root: WatchRoot) {
    const { watch } = this.#options;
    return {
      choosesFiles: watch.choosesFiles,
      excluded: (path: string, isFolder: boolean) => watch.excluded(path, isFolder, root.index),
      isStateDir: (dev: number, ino: number) => watch.isStateDir(dev, ino),
    };
  }

  #count(item: ScanItem): void {
    const summary = this.#summary;
    switch (item.kind) {
      case "inode":
        if ((item.attr.mode & S_IFMT) === S_IFDIR) summary.folders++;
        else summary.files++;
        if (item.flags === EventFlag.LAZY) {
          this.#options.table?.add(item.node, item.attr.dev, item.attr.ino);
        }
        return;
      case "link":
        summary.links++;
        return;
      case "note":
        summary.notes++;
        return;
      case "gap":
        summary.gaps++;
        if (summary.gapTexts.length < GAP_TEXTS_MAX) summary.gapTexts.push(item.text);
    }
  }

  #countBytes(bytes: number): void {
    this.#summary.bytes += bytes;
    if (this.#summary.bytes > this.#bytesMax) throw this.#tooMuch(this.#summary.bytes, "");
    this.#uncommittedBytes += bytes;
    if (this.#uncommittedBytes < TRANSACTION_BYTES) return;
    this.#options.trace.commit();
    this.#options.trace.begin();
    this.#uncommittedBytes = 0;
  }

  #tooMuch(bytes: number, largest: string): DiffKeeperError {
    const message = `cannot copy the watched folders: they hold ${formatBytes(bytes)} of data, ` +
      `the limit is ${formatBytes(this.#bytesMax)}`;
    const example = largest === "" ? "" : ` (the largest part is "${largest}")`;
    return new DiffKeeperError("limit_exceeded", message, {
      hint: `--watch a narrower folder, --exclude what need not be kept${example}, ` +
        "or raise --baseline-max",
    });
  }

  #isTurn(): boolean {
    return Date.now() >= this.#turnAt;
  }

  async #giveTurn(): Promise<void> {
    const { onProgress, signal } = this.#options;
    const now = Date.now();
    if (onProgress !== undefined && now >= this.#progressAt) {
      const { files, folders, bytes } = this.#summary;
      onProgress({
        files: files + folders,
        bytes,
        totalFiles: Math.max(this.#totalFiles, files + folders),
        totalGuess: this.#totalBytes,
      });
      this.#progressAt = now + PROGRESS_INTERVAL_MS;
    }
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    this.#turnAt = Date.now() + (this.#options.turnMs ?? TURN_MS);
  }
}

/** Bytes of data below each name that stands directly in the watched folder. */
class BytesBelow {
  /** By folder node: index in `#tops`. */
  readonly #topOf = new Map<number, number>();
  readonly #tops: { path: string; bytes: number }[] = [];
  #root = 0;

  /** Adds an inode; returns its bytes of data (holes do not count). */
  add(item: Extract<ScanItem, { kind: "inode" }>): number {
    const type = item.attr.mode & S_IFMT;
    if (item.parent === 0) this.#root = item.node;
    let top = this.#topOf.get(item.parent);
    if (top === undefined && item.parent === this.#root && item.parent !== 0) {
      top = this.#tops.push({ path: item.name, bytes: 0 }) - 1;
    }
    if (type === S_IFDIR && top !== undefined) this.#topOf.set(item.node, top);
    if (type !== S_IFREG) return 0;
    const bytes = Math.min(item.attr.size, item.allocatedBytes);
    const entry = top === undefined ? undefined : this.#tops[top];
    if (entry !== undefined) entry.bytes += bytes;
    return bytes;
  }

  largest(): { path: string; bytes: number } {
    return this.#tops.reduce((a, b) => b.bytes > a.bytes ? b : a, { path: "", bytes: 0 });
  }
}
