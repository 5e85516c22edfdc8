/**
 * What comes into the watched folders from outside during a recording (moved or linked in): read from the real tree by the
 * same scan as the baseline, at the time the drain gets to it. So its content is as of then, and is marked SETTLED.
 * The caller makes the event that names the top (RENAME or LINK with ATTR); everything else is here.
 */
import { EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import { InodeMap } from "../resolve/inode_map.ts";
import { S_IFMT, S_IFREG } from "../resolve/node.ts";
import type { Tree } from "../resolve/tree.ts";
import { blank, eventsOf, xattrEvents } from "./baseline_events.ts";
import { ChunkStore, type ContentRows } from "./chunk_store.ts";
import { ContentReader } from "./content.ts";
import type { KnownInodes } from "./inode_reader.ts";
import { Scanner } from "./scan.ts";
import type { ScanItem, ScannedInode } from "./scan_item.ts";
import type { WatchSet } from "./watch.ts";

/** What an import needs. */
export interface ImportOptions {
  watch: WatchSet;
  tree: Tree;
  /** Must be in a transaction. */
  rows: ContentRows;
  /** Gives the next node id. */
  newNode: () => number;
}

/** Where something is: a watched folder and the path in it, a binary string. */
export interface WatchedPath {
  root: number;
  path: string;
}

/** Reads real files and folders into a trace that is being made. */
export class TreeImporter {
  readonly #options: ImportOptions;
  readonly #content: ContentReader;

  constructor(options: ImportOptions) {
    this.#options = options;
    this.#content = new ContentReader(new ChunkStore(options.rows));
  }

  /**
   * Yields what is at a path and below it: the top first, with parent 0, then what it holds. Nothing is
   * yielded when it is gone by now. The tree is not changed.
   */
  *read(where: WatchedPath): Generator<ScanItem, void, undefined> {
    const { watch, tree } = this.#options;
    const root = watch.roots[where.root];
    if (root === undefined) return;
    const scanner = new Scanner({
      excluded: (path, isFolder) => watch.excluded(path, isFolder, where.root),
      isStateDir: (dev, ino) => watch.isStateDir(dev, ino),
      newNode: this.#options.newNode,
      known: knownIn(tree),
      content: this.#content,
    });
    yield* scanner.scanBelow(root.path, where.path);
  }

  /**
   * The events of an item of `read`, but not the one that names the top: for the top its content (RESYNC) and attributes,
   * for the rest BASELINE, LINK, XATTR, GAP and NOTE. Time and process are for the caller to fill in.
   */
  events(item: ScanItem, top: number): TraceEvent[] {
    if (item.kind === "inode" && item.node === top) {
      return [...contentEvents(item), ...xattrEvents(item)];
    }
    const events = eventsOf(item);
    for (const event of events) {
      if (event.extents !== undefined) event.flags |= EventFlag.SETTLED;
    }
    return events;
  }
}

/** The whole content of a regular file as RESYNC, with its state; nothing for other types. */
export function contentEvents(item: ScannedInode): TraceEvent[] {
  if ((item.attr.mode & S_IFMT) !== S_IFREG) return [];
  const event = blank(Op.RESYNC, item.node);
  event.flags = item.flags | EventFlag.SETTLED;
  event.length = item.attr.size;
  event.attr = item.attr;
  event.mtime = item.mtime;
  if (item.extents.length > 0) event.extents = item.extents;
  return [event];
}

/** Inodes that have a name in the tree, and those that the scan itself meets. */
function knownIn(tree: Tree): KnownInodes {
  const met = new InodeMap<number>();
  return {
    get(dev, ino, gen) {
      const node = tree.lookup(dev, ino, 0) && tree.lookup(dev, ino, gen());
      // A node without a name is a deleted file; its inode number may belong to another by now.
      const named = node !== undefined && (node.parent !== 0 || node.root >= 0);
      return met.get(dev, ino) ?? (named ? node.id : undefined);
    },
    set: (dev, ino, node) => met.set(dev, ino, node),
  };
}
