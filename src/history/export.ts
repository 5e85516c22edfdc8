/**
 * Rebuilds the tree of a folded History in a target folder: contents, names, modes, times, symlinks, hard links, empty
 * folders, FIFOs, sockets, devices, extended attributes, and owners when root. Two walks: the first makes everything in
 * folders that only we can enter, the second sets the state of folders, deepest first, because making an entry changes its
 * folder's time. Hard links are made in between. What cannot be restored exactly is told in the report, never left out in
 * silence. Which calls are made, and why they cannot leave the target, stands in target.ts.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import type { Node } from "../resolve/node.ts";
import type { BaseFiles } from "./base_files.ts";
import { Materializer, type PayloadSource } from "./content.ts";
import { type ExportReport, ReportBuilder } from "./export_report.ts";
import type { History } from "./fold.ts";
import { Selection } from "./selection.ts";
import {
  closeFd,
  createFile,
  EntryFinisher,
  type EntryState,
  makeFolder,
  makeLink,
  openFolder,
  reopenFolder,
  setSize,
  writeAt,
} from "./target.ts";

/** Folders inside each other; each keeps a descriptor open. A deeper tree is a loop in a damaged trace. */
export const EXPORT_DEPTH_MAX = 10_000;

const PREFIX_MODE = 0o755;

/** What to export and where to. */
export interface ExportOptions {
  /** Descriptor of the empty target folder (openTarget). The caller closes it. */
  target: number;
  /** Absolute paths of the watched folders by index, binary strings. */
  rootPaths: readonly string[];
  /** Only what it takes; absent: all. */
  selection?: Selection;
  /** What files held at the start, where the trace does not have it; absent: it is unknown. */
  base?: BaseFiles;
  /** Whether to set owners. */
  owner: boolean;
  onProgress?: (entries: number) => void;
}

interface Frame {
  fd: number;
  node: Node;
  name: string;
  /** Relative to its watched folder. */
  path: string;
  covered: boolean;
  folders: { name: string; node: Node }[];
}

interface Place {
  folder: number;
  name: string;
}

/** What a walk does with each folder. */
interface Step {
  open(parent: number, name: string): number;
  enter(frame: Frame): void;
  leave(frame: Frame): void;
}

/**
 * Rebuilds the tree in the target.
 * @throws {DiffKeeperError} `disk_full`, `not_writable`, `io`, `data_corrupt`.
 */
export function exportTree(
  history: History,
  payloads: PayloadSource,
  options: ExportOptions,
): ExportReport {
  return new TreeExport(history, payloads, options).run();
}

class TreeExport {
  readonly #history: History;
  readonly #options: ExportOptions;
  readonly #selection: Selection;
  readonly #materializer: Materializer;
  readonly #finisher: EntryFinisher;
  readonly #rootFds = new Map<number, number>();
  /** First place made of nodes with several names. */
  readonly #places = new Map<number, Place>();
  readonly #pending: (Place & { node: number; path: string })[] = [];
  readonly #report: ReportBuilder;
  #entries = 0;

  constructor(history: History, payloads: PayloadSource, options: ExportOptions) {
    this.#history = history;
    this.#options = options;
    this.#selection = options.selection ?? new Selection(history.tree, options.rootPaths);
    this.#materializer = new Materializer(history.content, payloads, options.base);
    this.#report = new ReportBuilder(history);
    this.#finisher = new EntryFinisher({
      owner: options.owner,
      complain: (_, text) => this.#report.warn("state", text),
    });
  }

  run(): ExportReport {
    this.#report.warnOfGaps();
    const roots = this.#selection.roots();
    for (const root of roots) this.#rootFds.set(root.id, this.#openRoot(root, roots.length > 1));
    for (const root of roots) {
      this.#walk(root, {
        open: (parent, name) => makeFolder(parent, name),
        enter: (frame) => this.#makeEntries(frame),
        leave: () => this.#report.counts.folders++,
      });
    }
    this.#makeLinks();
    for (const root of roots) {
      this.#walk(root, {
        open: (parent, name) => openFolder(parent, name),
        enter: () => undefined,
        leave: (frame) => this.#finishFolder(frame),
      });
    }
    for (const fd of this.#rootFds.values()) {
      if (fd !== this.#options.target) closeFd(fd);
    }
    return this.#report.finish();
  }

  /** One watched folder is the target itself; of several each lies under its absolute path in the target. */
  #openRoot(root: Node, isOneOfMany: boolean): number {
    let fd = this.#options.target;
    if (!isOneOfMany) return fd;
    for (const name of (this.#options.rootPaths[root.root] ?? "").split("/")) {
      if (name === "") continue;
      const next = makeFolder(fd, name, true);
      this.#finisher.finish(next, name, { mode: PREFIX_MODE, uid: 0, gid: 0, rdev: 0 });
      if (fd !== this.#options.target) closeFd(fd);
      fd = next;
    }
    return fd;
  }

  #walk(root: Node, step: Step): void {
    const covered = this.#selection.coversRoot(root);
    const fd = this.#rootFds.get(root.id);
    assert(fd !== undefined, "a root is opened before it is walked");
    const top: Frame = { fd, node: root, name: "", path: "", covered, folders: [] };
    const frames = [top];
    this.#enter(top, step);
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const next = frame.folders.pop();
      if (next === undefined) {
        frames.pop();
        step.leave(frame);
        if (frame !== top) closeFd(frame.fd);
        continue;
      }
      if (frames.length >= EXPORT_DEPTH_MAX) throw tooDeep();
      const path = frame.path === "" ? next.name : `${frame.path}/${next.name}`;
      this.#report.path = path;
      const child: Frame = {
        fd: step.open(frame.fd, next.name),
        node: next.node,
        name: next.name,
        path,
        covered: frame.covered || this.#selection.matches(path, root),
        folders: [],
      };
      frames.push(child);
      this.#enter(child, step);
    }
  }

  #enter(frame: Frame, step: Step): void {
    step.enter(frame);
    for (const [name, id] of inOrder(frame.node)) {
      const node = this.#history.tree.need(id);
      if (!node.isDir) continue;
      if (frame.covered || this.#selection.needs(node)) frame.folders.push({ name, node });
    }
  }

  /** Makes all entries of a folder that are not folders. */
  #makeEntries(frame: Frame): void {
    const root = this.#history.tree.rootOf(frame.node.id);
    for (const [name, id] of inOrder(frame.node)) {
      const node = this.#history.tree.need(id);
      if (node.isDir) continue;
      const path = frame.path === "" ? name : `${frame.path}/${name}`;
      const isSelected = frame.covered || this.#selection.matchesIn(path, root);
      if (!isSelected) continue;
      this.#report.path = path;
      this.#entries++;
      if (this.#entries % 256 === 0) this.#options.onProgress?.(this.#entries);
      this.#makeEntry(frame, name, node);
    }
  }

  #makeEntry(frame: Frame, name: string, node: Node): void {
    if (node.more !== undefined) {
      if (this.#places.has(node.id)) {
        this.#pending.push({ node: node.id, folder: frame.node.id, name, path: this.#report.path });
        return;
      }
      this.#places.set(node.id, { folder: frame.node.id, name });
    }
    const state = stateOf(node);
    if (node.isFile) this.#makeFile(frame.fd, name, node);
    else if (node.isSymlink) {
      this.#finisher.symlink(frame.fd, name, { ...state, target: node.target ?? "" });
      this.#report.counts.symlinks++;
    } else if (this.#finisher.special(frame.fd, name, state)) this.#report.counts.special++;
    else this.#places.delete(node.id);
  }

  #makeFile(folder: number, name: string, node: Node): void {
    const fd = createFile(folder, name);
    const missing = this.#openBase(node);
    let end = 0;
    this.#materializer.write(node.id, (at, bytes) => {
      writeAt(fd, at, { bytes, name });
      end = at + bytes.length;
      this.#report.counts.bytes += bytes.length;
    });
    const size = this.#history.content.size(node.id);
    if (size !== end) setSize(fd, size, name);
    this.#finisher.finish(fd, name, stateOf(node));
    closeFd(fd);
    this.#report.counts.files++;
    this.#report.warnOfContent(node.id, missing ?? this.#options.base?.close());
  }

  /** Looks for what files held at the start, where that is needed. Returns why it cannot be had. */
  #openBase(node: Node): string | undefined {
    const { content, unread, tree } = this.#history;
    const { base } = this.#options;
    let missing: string | undefined;
    for (const id of content.bases(node.id)) {
      const why = base === undefined ? "it is not in the trace" : base.open(tree.need(id));
      if (why === undefined) continue;
      missing = why;
      content.loseBase(node.id, id);
      unread.add(node.id);
    }
    return missing;
  }

  #makeLinks(): void {
    for (const { node, folder, name, path } of this.#pending) {
      const first = this.#places.get(node);
      this.#report.path = path;
      if (first === undefined) {
        this.#report.warn("state", "could not be made, as its first name");
        continue;
      }
      const from = this.#openById(first.folder);
      const to = this.#openById(folder);
      makeLink({ folder: from, name: first.name }, to, name);
      for (const fd of [from, to]) closeFd(fd);
      this.#report.counts.links++;
    }
  }

  /** Opens a folder that was made before, step by step from its root. */
  #openById(id: number): number {
    const names: string[] = [];
    let node = this.#history.tree.need(id);
    while (!this.#rootFds.has(node.id)) {
      if (names.push(node.name) > EXPORT_DEPTH_MAX) throw tooDeep();
      node = this.#history.tree.need(node.parent);
    }
    let fd = reopenFolder(this.#rootFds.get(node.id) ?? -1);
    for (const name of names.reverse()) {
      const next = openFolder(fd, name);
      closeFd(fd);
      fd = next;
    }
    return fd;
  }

  #finishFolder(frame: Frame): void {
    this.#report.path = frame.path;
    this.#finisher.finish(frame.fd, frame.name, stateOf(frame.node));
    this.#report.warnOfContent(frame.node.id);
  }
}

/** Names of a folder in byte order, so that the report does not depend on how the state was come by. */
function inOrder(node: Node): [string, number][] {
  return [...node.children ?? []].sort(([a], [b]) => a < b ? -1 : 1);
}

function stateOf(node: Node): EntryState {
  const { mode, uid, gid, rdev, xattrs } = node;
  return { mode, uid, gid, rdev, mtime: node.mtime(), xattrs };
}

function tooDeep(): DiffKeeperError {
  return new DiffKeeperError(
    "limit_exceeded",
    `cannot export: more than ${EXPORT_DEPTH_MAX} folders inside each other`,
  );
}
