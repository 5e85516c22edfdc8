/**
 * Brings a baseline up to date, before the command starts: paths that processes outside changed while it was scanned are
 * looked at again, and events make the tree what is really there. A folder's own names are compared, but folders that
 * are still the same are not entered: whoever saw a change names its path.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { Op, type OpCode, type TraceEvent } from "../format/trace_event.ts";
import { sameInode } from "../resolve/context.ts";
import { type Node, S_IFDIR, S_IFMT } from "../resolve/node.ts";
import type { Tree } from "../resolve/tree.ts";
import type { BaselineTrace } from "./baseline.ts";
import {
  BaselineEvents,
  blank,
  type EventTarget,
  putItem,
  xattrEvents,
} from "./baseline_events.ts";
import { ChunkStore, type ContentRows } from "./chunk_store.ts";
import { ContentReader } from "./content.ts";
import { contentEvents, TreeImporter, type WatchedPath } from "./import_tree.ts";
import { Scanner } from "./scan.ts";
import type { ScannedInode } from "./scan_item.ts";
import type { WatchSet } from "./watch.ts";

/** Paths looked at in one rescan, those found on the way counted; a folder that changes faster is not settled. */
export const RESCAN_PATHS_MAX = 1_000_000;

/** What a rescan needs. */
export interface RescanOptions {
  watch: WatchSet;
  tree: Tree;
  trace: BaselineTrace;
  /** Told of every event that is written. */
  onEvent?: (event: TraceEvent) => void;
  /** Rows written so far: `rows` of the summary of the baseline, or of the last rescan. */
  rows: number;
}

/** What healing needs: as a rescan, but the events go to `target`, what files hold to `content`. */
export interface HealOptions {
  watch: WatchSet;
  tree: Tree;
  content: ContentRows;
  target: EventTarget;
}

/**
 * Looks at paths again and writes what changed as further baseline rows. Returns the number of rows written so far.
 * @throws {DiffKeeperError} `limit_exceeded` after RESCAN_PATHS_MAX; `io`, `disk_full` from the trace.
 */
export function rescan(options: RescanOptions, paths: readonly WatchedPath[]): number {
  options.trace.begin();
  try {
    const { watch, tree, trace } = options;
    const events = new BaselineEvents(trace, tree, options.rows);
    const target: EventTarget = {
      put(event) {
        events.put(event);
        options.onEvent?.(event);
      },
    };
    new Rescan({ watch, tree, content: trace, target }).run(paths);
    events.finish();
    options.trace.commit();
    return events.nextRow;
  } catch (thrown) {
    options.trace.rollback();
    throw thrown;
  }
}

/** Makes the tree what is really there at these paths, by events to `target`. @throws as `rescan`. */
export function heal(options: HealOptions, paths: readonly WatchedPath[]): void {
  new Rescan(options).run(paths);
}

class Rescan {
  readonly #watch: WatchSet;
  readonly #tree: Tree;
  readonly #target: EventTarget;
  readonly #content: ContentReader;
  readonly #importer: TreeImporter;
  readonly #stack: WatchedPath[] = [];
  #node: number;

  constructor({ watch, tree, content, target }: HealOptions) {
    this.#watch = watch;
    this.#tree = tree;
    this.#node = tree.nextId;
    this.#target = target;
    this.#content = new ContentReader(new ChunkStore(content));
    const newNode = () => this.#node++;
    this.#importer = new TreeImporter({ watch, tree, rows: content, newNode });
  }

  run(paths: readonly WatchedPath[]): void {
    this.#stack.push(...paths.toReversed());
    let looks = 0;
    for (let where = this.#stack.pop(); where !== undefined; where = this.#stack.pop()) {
      if (++looks > RESCAN_PATHS_MAX) {
        const message = `cannot settle the baseline: more than ${RESCAN_PATHS_MAX} paths changed`;
        throw new DiffKeeperError("limit_exceeded", message, {
          hint: "stop what is changing the watched folders, or --exclude it",
        });
      }
      this.#look(where);
    }
  }

  #look(where: WatchedPath): void {
    const parent = this.#at({ root: where.root, path: parentOf(where.path) });
    if (parent === undefined) {
      // The folder itself is not known: importing it brings everything below.
      this.#stack.push({ root: where.root, path: parentOf(where.path) });
      return;
    }
    const found = this.#level(where);
    const top = found[0];
    const node = this.#at(where);
    const same = node !== undefined && top !== undefined && isSame(node, top);
    if (node !== undefined && !same) this.#remove(where, node);
    if (top === undefined) return;
    if (!same) this.#add(where, parent, top);
    else {
      this.#update(where, node);
      if (node.isDir) this.#compare(where, node, found);
    }
  }

  /** The state of a path, and of the names directly in it, without content; empty when nothing is there. */
  #level(where: WatchedPath): ScannedInode[] {
    const prefix = where.path === "" ? 0 : where.path.length + 1;
    let node = 1;
    const items = this.#scan(where, {
      excluded: (path) => path.indexOf("/", prefix) >= 0,
      newNode: () => node++,
    });
    return items.filter((item) => item.parent <= 1);
  }

  #scan(
    where: WatchedPath,
    how: { excluded: (path: string) => boolean; newNode: () => number; content?: ContentReader },
  ): ScannedInode[] {
    const root = this.#watch.roots[where.root];
    assert(root !== undefined, "a rescan is about a watched folder");
    const scanner = new Scanner({
      excluded: (path, isFolder) => {
        return how.excluded(path) || this.#watch.excluded(path, isFolder, where.root);
      },
      isStateDir: (dev, ino) => this.#watch.isStateDir(dev, ino),
      newNode: how.newNode,
      // Nothing is known: every name is looked at for itself.
      known: { get: () => undefined, set: () => {} },
      content: how.content,
    });
    if (this.#watch.excluded(where.path, false, where.root)) return [];
    const items = [...scanner.scanBelow(root.path, where.path)];
    return items.filter((item) => item.kind === "inode");
  }

  #remove(where: WatchedPath, node: Node): void {
    const names = [...this.#tree.walk(node.id)].reverse();
    for (const { node: gone, path } of names) {
      const full = path === "" ? where.path : `${where.path}/${path}`;
      const parent = this.#at({ root: where.root, path: parentOf(full) });
      assert(parent !== undefined, "what is removed hangs in the tree");
      const name = nameOf(full);
      const op = gone.isDir ? Op.RMDIR : Op.UNLINK;
      this.#target.put({ ...blank(op, gone.id), parent: parent.id, name });
    }
  }

  #add(where: WatchedPath, parent: Node, top: ScannedInode): void {
    const { dev, ino, gen } = top.attr;
    const moved = (top.attr.mode & S_IFMT) === S_IFDIR &&
      this.#tree.lookup(dev, ino, gen);
    if (moved && moved.parent !== 0) {
      this.#move(where, parent, moved);
      return;
    }
    let first = true;
    for (const item of this.#importer.read(where)) {
      if (first && (item.kind === "inode" || item.kind === "link")) {
        item.parent = parent.id;
        item.name = nameOf(where.path);
      }
      first = false;
      putItem(this.#target, this.#tree, item);
    }
  }

  /** A folder that is known under another path was renamed, unless it is still there (a bind mount). */
  #move(where: WatchedPath, parent: Node, moved: Node): void {
    const from = { root: this.#tree.rootOf(moved.id), path: this.#tree.path(moved.id) ?? "" };
    const there = this.#level(from)[0];
    if (there !== undefined && isSame(moved, there)) return;
    this.#target.put({
      ...blank(Op.RENAME, moved.id),
      parent: moved.parent,
      name: moved.name,
      toParent: parent.id,
      toName: nameOf(where.path),
    });
    this.#stack.push(where);
  }

  /** Takes over state, content and attributes of an inode that is still the same. */
  #update(where: WatchedPath, node: Node): void {
    const [item] = this.#scan(where, {
      excluded: () => true,
      newNode: () => node.id,
      content: this.#content,
    });
    if (item === undefined) return;
    const content = contentEvents(item);
    if (content.length === 0) {
      content.push({ ...blank(changeOp(node, item), node.id), attr: item.attr, mtime: item.mtime });
    }
    for (const event of content) this.#target.put(event);
    const names = new Set(item.xattrs.map(({ name }) => name));
    for (const name of [...node.xattrs?.keys() ?? []]) {
      if (!names.has(name)) this.#target.put({ ...blank(Op.XATTR, node.id), xattrName: name });
    }
    for (const event of xattrEvents(item)) this.#target.put(event);
  }

  /** Puts every name of a folder that does not stand for the same inode any more on the stack. */
  #compare(where: WatchedPath, node: Node, found: readonly ScannedInode[]): void {
    const real = new Map(found.slice(1).map((item) => [item.name, item]));
    const names = new Set([...real.keys(), ...node.children?.keys() ?? []]);
    for (const name of names) {
      const item = real.get(name);
      const child = this.#tree.node(this.#tree.child(node.id, name));
      if (item !== undefined && child !== undefined && isSame(child, item)) continue;
      const path = where.path === "" ? name : `${where.path}/${name}`;
      this.#stack.push({ root: where.root, path });
    }
  }

  #at(where: WatchedPath): Node | undefined {
    const root = this.#tree.roots.find((one) => one.root === where.root);
    return root === undefined ? undefined : this.#tree.at(root.id, where.path);
  }
}

/** Whether a real inode is the one that a node stands for. */
function isSame(node: Node, item: ScannedInode): boolean {
  // A symlink cannot be changed: another target under the same number is another symlink.
  const sameTarget = !node.isSymlink || node.mtime()?.nsec === item.mtime.nsec;
  return sameInode(item.attr, node) && sameTarget &&
    (node.mode & S_IFMT) === (item.attr.mode & S_IFMT);
}

/** The op that says what differs: nobody changed a mode where only the time is another. */
function changeOp(node: Node, { attr }: ScannedInode): OpCode {
  if (node.uid !== attr.uid || node.gid !== attr.gid) return Op.CHOWN;
  return node.mode === attr.mode ? Op.UTIMES : Op.CHMOD;
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
