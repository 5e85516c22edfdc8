/**
 * The listing of the folder that a scan has in hand, one fill of the buffer after the other. Its begin may have been read ahead; else
 * the states of what it names are read together where that is of use. Files of which all that is needed is known then are passed
 * on together, and the scan need not look at them.
 */
import { type LeftFiles, STATX_WORDS } from "../format/left_files.ts";
import type { FolderAhead } from "./folder_ahead.ts";
import { FolderReader, NAME_OFFSET } from "./folder_reader.ts";
import type { FolderSlot } from "./folder_slot.ts";
import { FolderStates, STATES_MAX } from "./folder_states.ts";
import type { InodeReaderOptions } from "./inode_reader.ts";
import type { InodeStat, Mount } from "./inode_stat.ts";

const NO_STATES = new Uint32Array(0);

/** What it needs of a scan's options. */
interface ListingOptions extends Pick<InodeReaderOptions, "lazy" | "leftFiles"> {
  choosesFiles?: boolean;
  ahead?: FolderAhead;
}

/** An open folder. */
export interface ListedFolder {
  readonly fd: number;
  readonly node: number;
  /** The kernel's s_dev. */
  readonly dev: number;
  readonly mount: Mount;
  /** Whether no part of its listing gives a name twice. */
  readonly listsOnce: boolean;
  /** What was read ahead of it. */
  slot: FolderSlot | undefined;
}

/** See the head of the file. */
export class FolderListing {
  /** Of the fill in hand. */
  readonly reader = new FolderReader();
  readonly #options: ListingOptions;
  readonly #stat: InodeStat;
  /** States where nobody looked ahead. */
  readonly #states = new FolderStates();
  /** Entries whose states are there; `count` is 0 but for the begin of a listing. */
  readonly #files: LeftFiles = {
    count: 0,
    states: NO_STATES,
    gens: new Float64Array(STATES_MAX),
    files: 0,
    source: this.reader.bytes,
    starts: this.reader.starts,
    namesAt: NAME_OFFSET,
    parent: 0,
    dev: 0,
    node: 0,
  };

  /** @param stat gets the states that `readState` reads. */
  constructor(options: ListingOptions, stat: InodeStat) {
    this.#options = options;
    this.#stat = stat;
  }

  /** Reads on, and returns what `FolderReader.fill` does. @param fills how many times that was done before. */
  fill(folder: ListedFolder, fills: number): number | "end" {
    if (fills > 0) this.leaveSlot(folder);
    const { slot } = folder;
    const count = slot === undefined ? this.reader.fill(folder.fd) : slot.count;
    this.#files.count = 0;
    if (count === "end" || count < 0) return count;
    if (slot !== undefined) this.reader.take(slot.reader, count);
    if (fills === 0) this.#begin(folder, count);
    return count;
  }

  #begin(folder: ListedFolder, count: number): void {
    const { lazy, leftFiles, choosesFiles } = this.#options;
    const files = this.#files;
    const isTogether = lazy !== undefined && leftFiles !== undefined && choosesFiles === false &&
      folder.listsOnce;
    if (!isTogether && folder.slot === undefined) return;
    const states = folder.slot?.states ?? this.#states;
    if (folder.slot === undefined) states.read(folder.fd, this.reader, count);
    files.states = states.words;
    files.count = states.count;
    files.files = 0;
    if (isTogether) {
      files.parent = folder.node;
      files.dev = folder.dev;
      files.files = lazy.generations(files, folder.mount);
    }
    if (files.files > 0 && leftFiles?.(files) === true) return;
    files.gens.fill(-1, 0, files.count);
  }

  /** Whether an entry was passed on. */
  isLeft(entry: number): boolean {
    return entry < this.#files.count && (this.#files.gens[entry] as number) >= 0;
  }

  /** Reads the state of an entry. Returns 0, or the error number. @param fd the open folder. */
  readState(fd: number, entry: number): number {
    const { states, count } = this.#files;
    if (entry < count && this.#stat.take(states, entry * STATX_WORDS)) return 0;
    return this.#stat.readAt(fd, this.reader.address(entry));
  }

  /** What was read ahead is not needed any more. */
  leaveSlot(folder: ListedFolder): void {
    if (folder.slot !== undefined) this.#options.ahead?.release(folder.slot);
    folder.slot = undefined;
  }
}
