/**
 * The audit at the end of a recording: names and attributes of everything in the watched folders are compared with the tree that
 * the trace restores. What differs (a write through a memory map, io_uring, something lost) is read again and healed by events
 * at the end, flagged SETTLED, so that the trace ends with what is really there, and says how many times it had to. Contents of what
 * was written are compared too, as far as there is time for it.
 */
import { DiffKeeperError } from "../base/error.ts";
import { EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import { sameInode } from "../resolve/context.ts";
import { InodeMap } from "../resolve/inode_map.ts";
import type { Node } from "../resolve/node.ts";
import type { EventSink } from "../resolve/sink.ts";
import type { Tree } from "../resolve/tree.ts";
import { blank, type EventTarget } from "./baseline_events.ts";
import type { ContentRows } from "./chunk_store.ts";
import type { ContentVerdict } from "./messages.ts";
import type { WatchedPath } from "./import_tree.ts";
import { heal } from "./rescan.ts";
import { Scanner } from "./scan.ts";
import type { ScannedInode, ScannedRemark } from "./scan_item.ts";
import type { WatchRoot, WatchSet } from "./watch.ts";

/** What an audit found. */
export interface AuditVerdict {
  /** Everything compared: files, folders, symlinks, each name. */
  entries: number;
  /** Files whose content was compared, byte by byte, of those that were written and are there. */
  contents: number;
  written: number;
  /** Names that were not as recorded, or held other bytes; all healed. */
  differences: number;
  /** The first of them, for people. */
  paths: string[];
  /** Of the differences, those that were there still when all had been healed. */
  left: number;
  /** Watched folders that were removed, moved or replaced themselves: not compared. Absolute paths. */
  gone: string[];
}

/** What an audit works with. */
export interface AuditOptions {
  watch: WatchSet;
  tree: Tree;
  /** Where events and content go. */
  sink: EventSink & ContentRows;
  /** Nodes that were mapped shared, written by several tasks at once, or changed where something was lost: read again. */
  reread: ReadonlySet<number>;
  /** Compares contents of these nodes, of all that were written without a list. Absent: not wanted. */
  contents?: (nodes?: readonly number[]) => Promise<ContentVerdict>;
  /** Brings the tree up to what the kernel has reported by now. */
  catchUp(): void;
  /** t_ns of events that heal. */
  endNs(): number;
}

const PATHS_SHOWN_MAX = 5;
/** Said of a watched folder, behind its path. */
export const GONE_TEXT =
  "the watched folder itself was removed, moved or replaced: it was not compared at the end, " +
  "and what stands there now is not recorded (watch the folder above it)";
const LEFT_TEXT = "is not what the trace says, and could not be healed";
const S_IFMT = 0o170000;

function sameTime(node: Node, item: ScannedInode): boolean {
  return node.mtimeSec === item.mtime.sec && node.mtimeNsec === item.mtime.nsec;
}

/** Labels that a security module gives a new inode by itself, and that no call tells of (security_inode_init_security): not compared. */
const GIVEN_LABEL = /^security\.(selinux|SMACK64\w*|ima|evm|apparmor)$/;

/** Are the extended attributes those of the real inode? */
function sameXattrs(node: Node, item: ScannedInode): boolean {
  if (node.xattrs === undefined && item.xattrs.length === 0) return true;
  const expected = [...node.xattrs?.keys() ?? []].filter((name) => !GIVEN_LABEL.test(name));
  const found = item.xattrs.filter(({ name }) => !GIVEN_LABEL.test(name));
  return expected.length === found.length && found.every(({ name, value }) => {
    const known = node.xattrs?.get(name);
    return known !== undefined && Buffer.compare(known, value) === 0;
  });
}

/** Is the node what the real inode is? */
function isAsRecorded(node: Node, item: ScannedInode): boolean {
  const { attr } = item;
  if (node.dev !== attr.dev || node.ino !== attr.ino || node.mode !== attr.mode) return false;
  if (node.uid !== attr.uid || node.gid !== attr.gid || !sameTime(node, item)) return false;
  if (!sameXattrs(node, item) || (node.isSymlink && node.target !== item.target)) return false;
  return !node.isFile || node.size === attr.size;
}

/** Of each folder met, by its number in the scan. */
type Folders = Map<number, { node: Node | undefined; path: string; names: number }>;

/** Compares the watched folders with the tree. */
class Comparison {
  readonly #options: AuditOptions;
  entries = 0;
  differing: WatchedPath[] = [];
  readonly gone = new Set<number>();
  /** What could not be looked at, in words. */
  readonly gaps: string[] = [];
  /** Folders met: one that is there twice is looked at once, as by the scan of the baseline. */
  readonly #met = new InodeMap<number>();

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  run(): this {
    for (const root of this.#options.watch.roots) {
      try {
        this.#root(root);
      } catch (thrown) {
        if (!(thrown instanceof DiffKeeperError) || thrown.code !== "not_found") throw thrown;
        this.gone.add(root.index);
      }
    }
    return this;
  }

  #root(root: WatchRoot): void {
    const { watch, tree } = this.#options;
    let numbers = 1;
    const scanner = new Scanner({
      excluded: (path, isFolder) => watch.excluded(path, isFolder, root.index),
      isStateDir: (dev, ino) => watch.isStateDir(dev, ino),
      newNode: () => numbers++,
      attributes: true,
      known: this.#met,
    });
    /** Of each folder met, by its number in the scan. */
    const folders: Folders = new Map();
    for (const item of scanner.scan(root.path)) {
      if (item.kind !== "inode") {
        if (item.kind !== "link" && item.isSkipped === true) this.#skipped(root, item, folders);
        continue;
      }
      const above = folders.get(item.parent);
      const top = tree.roots[root.index];
      if (above === undefined && top !== undefined && !sameInode(item.attr, top)) {
        this.gone.add(root.index);
        return;
      }
      this.entries++;
      if (above !== undefined) above.names++;
      const node = above === undefined
        ? top
        : tree.node(tree.child(above.node?.id ?? 0, item.name));
      const path = above === undefined || above.path === ""
        ? item.name
        : `${above.path}/${item.name}`;
      const isFolder = (item.attr.mode & S_IFMT) === 0o040000;
      if (isFolder) {
        folders.set(item.node, { node, path: above === undefined ? "" : path, names: 0 });
      }
      if (above !== undefined && above.node === undefined) continue;
      if (node === undefined || !isAsRecorded(node, item)) {
        this.differing.push({ root: root.index, path: above === undefined ? "" : path });
      }
    }
    for (const { node, path, names } of folders.values()) {
      this.#missing(root, { node, path, names });
    }
  }

  /** The name is there; a snapshot that was made meanwhile has not been told of yet. */
  #skipped(root: WatchRoot, { path, text, kind }: ScannedRemark, folders: Folders): void {
    const { tree } = this.#options;
    const slash = path.lastIndexOf("/");
    const top = tree.roots[root.index]?.id ?? 0;
    const folder = tree.at(top, slash < 0 ? "" : path.slice(0, slash));
    const above = [...folders.values()].find(({ node }) => node !== undefined && node === folder);
    const isKnown = tree.child(folder?.id ?? 0, path.slice(slash + 1)) !== 0;
    if (above !== undefined && isKnown) above.names++;
    if (kind === "gap") this.gaps.push(text);
  }

  /** A name of the tree that is not there any more makes its folder differ. */
  #missing(root: WatchRoot, folder: { node: Node | undefined; path: string; names: number }): void {
    const { watch, tree } = this.#options;
    let expected = 0;
    for (const [name, id] of folder.node?.children ?? []) {
      const path = folder.path === "" ? name : `${folder.path}/${name}`;
      if (!watch.excluded(path, tree.node(id)?.isDir ?? false, root.index)) expected++;
    }
    if (expected > folder.names) this.differing.push({ root: root.index, path: folder.path });
  }
}

/** Sends healing events through the tree into the journal. */
class HealTarget implements EventTarget {
  readonly #options: AuditOptions;
  constructor(options: AuditOptions) {
    this.#options = options;
  }
  put(event: TraceEvent): void {
    const healed = { ...event, tNs: this.#options.endNs(), flags: event.flags | EventFlag.SETTLED };
    this.#options.tree.apply(healed);
    this.#options.sink.event(healed);
  }
}

function placeOf(tree: Tree, id: number): WatchedPath | undefined {
  const path = tree.path(id);
  return path === undefined ? undefined : { root: tree.rootOf(id), path };
}

/** A watched folder is one inode: what stands under its path afterwards is not recorded. */
function noteGone({ sink, endNs }: AuditOptions, path: string): void {
  const text = `${path}: ${GONE_TEXT}`;
  sink.event({ ...blank(Op.NOTE, 0), tNs: endNs(), text });
}

function keyOf({ root, path }: WatchedPath): string {
  return `${root}:${path}`;
}

function noteGap({ sink, endNs }: AuditOptions, text: string): void {
  sink.event({ ...blank(Op.GAP, 0), tNs: endNs(), text, loss: { events: 0, bytes: 0 } });
}

/** What differs still when all was healed: somebody changes it all the time, or the trace cannot say what it is. */
function again(
  options: AuditOptions,
  before: readonly WatchedPath[],
): { left: WatchedPath[]; gaps: string[] } {
  options.catchUp();
  const { differing, gaps, gone } = new Comparison(options).run();
  const healed = new Set(before.map(keyOf));
  const left = differing.filter((where) => !gone.has(where.root) && healed.has(keyOf(where)));
  return { left, gaps };
}

/** What holds other bytes is looked at once more, with all that the kernel has reported meanwhile. */
async function compareContents({ contents, catchUp }: AuditOptions): Promise<ContentVerdict> {
  if (contents === undefined) return { contents: 0, written: 0, wrong: [] };
  const found = await contents();
  if (found.wrong.length === 0) return found;
  catchUp();
  return { ...found, wrong: (await contents(found.wrong)).wrong };
}

/**
 * Compares, heals and reports.
 * @throws {DiffKeeperError} `io`, `disk_full` from the trace.
 */
export async function audit(options: AuditOptions): Promise<AuditVerdict> {
  options.catchUp();
  let compared = new Comparison(options).run();
  const { entries } = compared;
  if (compared.differing.length > 0) {
    // others may have changed something since the command ended: what the kernel says of it comes first
    options.catchUp();
    compared = new Comparison(options).run();
  }
  const { differing } = compared;
  const paths = new Map(differing.map((where) => [keyOf(where), where]));
  const found = await compareContents(options);
  for (const id of found.wrong) {
    const where = placeOf(options.tree, id);
    if (where === undefined || paths.has(keyOf(where))) continue;
    differing.push(where);
    paths.set(keyOf(where), where);
  }
  for (const id of options.reread) {
    const where = placeOf(options.tree, id);
    if (where !== undefined) paths.set(keyOf(where), where);
  }
  const { watch, tree, sink } = options;
  const there = [...paths.values()].filter(({ root }) => !compared.gone.has(root));
  heal({ watch, tree, content: sink, target: new HealTarget(options) }, there);
  const { left, gaps } = differing.length === 0
    ? { left: [], gaps: compared.gaps }
    : again(options, differing);
  for (const text of gaps) noteGap(options, text);
  for (const { path } of left.slice(0, PATHS_SHOWN_MAX)) {
    noteGap(options, `${path || "."}: ${LEFT_TEXT}`);
  }
  const gone = watch.roots.filter(({ index }) => compared.gone.has(index)).map(({ path }) => path);
  for (const path of gone) noteGone(options, path);
  return {
    entries,
    contents: found.contents,
    written: found.written,
    differences: differing.length,
    left: left.length,
    paths: differing.slice(0, PATHS_SHOWN_MAX).map(({ path }) => path),
    gone,
  };
}
