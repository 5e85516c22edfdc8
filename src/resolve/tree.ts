/**
 * The namespace model: every inode of the watched folders, its attributes and its names, at one
 * point of the recording. The recorder's Resolver and every reader change it only by `apply` of
 * trace events, so that what a reader folds is what the recorder knew. Content is not here (only
 * sizes are); that is the history's business.
 *
 * Node ids come from the trace and are never used twice; a node stays known after its last name is
 * gone, because it can be written through an open descriptor. Identity (dev, ino) points to the
 * latest node that had it; generation 0 means not known, and is bound on first sight.
 * How each operation folds stands in fold.ts.
 */
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import type { Attr, TraceEvent } from "../format/trace_event.ts";
import { applyEvent } from "./fold.ts";
import { InodeMap } from "./inode_map.ts";
import { MTIME_UNKNOWN, Node } from "./node.ts";
import { PackedNodes } from "./packed_nodes.ts";

/** Folders above a node that a path or root lookup follows; deeper is a loop. PATH_MAX cannot. */
const DEPTH_MAX = 65_536;
const TWO_32 = 0x1_0000_0000;

/** The model. All methods are synchronous; binary strings for names and paths. */
export class Tree {
  #nodes: (Node | undefined)[] = [undefined];
  #byInode = new InodeMap<Node>();
  #roots: Node[] = [];
  #count = 0;
  /** Files of the baseline that nobody has asked about. */
  #packed: PackedNodes | undefined;
  /** Whether a batch with more of them is to come. */
  #isPacking = false;

  /** Nodes known, with those that have no name any more. */
  get size(): number {
    return this.#count;
  }

  /** The smallest id never used; the Resolver gives it to the next new node. */
  get nextId(): number {
    return Math.max(this.#nodes.length, this.#packed?.end ?? 0);
  }

  /** Watched folders by index; folders that have no node yet are left out. */
  get roots(): readonly Node[] {
    return this.#roots;
  }

  node(id: number): Node | undefined {
    return this.#nodes[id] ?? this.#unpack(id);
  }

  /** The node that an event names. @throws {DiffKeeperError} data_corrupt, when it is unknown. */
  need(id: number): Node {
    const node = this.node(id);
    if (!node) {
      throw new DiffKeeperError("data_corrupt", `cannot apply an event: node ${id} is not known`);
    }
    return node;
  }

  /** The node that `name` stands for in the folder `dir`, 0 when there is none. */
  child(dir: number, name: string): number {
    return this.node(dir)?.children?.get(name) ?? 0;
  }

  /** Latest node with this identity; a known other generation is another inode. gen 0: any. */
  lookup(dev: number, ino: number, gen: number): Node | undefined {
    const node = this.#latest(dev, ino);
    if (!node) return undefined;
    if (gen === 0 || node.gen === gen) return node;
    if (node.gen === 0) {
      node.gen = gen;
      return node;
    }
    return node.older?.gen === gen ? node.older : undefined;
  }

  /**
   * Says which inode a node is. The latest node bound to an identity wins; the one before it is
   * still found by its generation, because records of the two can come in either order.
   */
  bind(node: Node, identity: { dev: number; ino: number; gen: number }): void {
    this.unbind(node);
    node.dev = identity.dev;
    node.ino = identity.ino;
    node.gen = identity.gen;
    if (node.ino === 0) return;
    // while files are packed their inodes are compared later, all at once
    const before = this.#isScanning
      ? this.#byInode.get(node.dev, node.ino)
      : this.#latest(node.dev, node.ino);
    if (before) before.older = undefined;
    node.older = before;
    this.#byInode.set(node.dev, node.ino, node);
  }

  /** Forgets which inode a node is: it is found by its id alone from now on. */
  unbind(node: Node): void {
    const latest = this.#byInode.get(node.dev, node.ino);
    if (latest === node) {
      if (node.older) this.#byInode.set(node.dev, node.ino, node.older);
      else this.#byInode.delete(node.dev, node.ino);
    } else if (latest?.older === node) {
      latest.older = undefined;
    }
    node.older = undefined;
  }

  /** Whether there are packed files that the index does not know. */
  get #isScanning(): boolean {
    return this.#isPacking || this.#packed?.isIndexed === false;
  }

  #latest(dev: number, ino: number): Node | undefined {
    const node = this.#byInode.get(dev, ino);
    if (node !== undefined || this.#packed === undefined) return node;
    const id = this.#index().find(dev, ino % TWO_32, Math.floor(ino / TWO_32));
    // the index itself may have made it a node
    return id === 0 ? this.#byInode.get(dev, ino) : this.#unpack(id);
  }

  /** Makes the node of a packed file; undefined: there is none with this id. */
  #unpack(id: number): Node | undefined {
    // the index itself may have made it a node
    if (this.#packed === undefined || !this.#index().has(id)) return this.#nodes[id];
    const node = this.#packed.takeOut(id);
    this.#place(node);
    const other = this.#byInode.get(node.dev, node.ino);
    if (other !== undefined && other.id > id) {
      if (other.older === undefined || other.older.id < id) other.older = node;
      return node;
    }
    if (other) other.older = undefined;
    node.older = other;
    if (node.ino !== 0) this.#byInode.set(node.dev, node.ino, node);
    return node;
  }

  /** The packed files, all findable. */
  #index(): PackedNodes {
    const packed = this.#packed;
    assert(packed !== undefined, "there are packed files");
    if (packed.isIndexed) return packed;
    const twins = packed.index({
      hasNode: (id) => this.#nodes[id] !== undefined,
      hasInode: (dev, ino) => this.#byInode.get(dev, ino) !== undefined,
    });
    for (const id of twins) this.#unpack(id);
    return packed;
  }

  #place(node: Node): void {
    while (this.#nodes.length < node.id) this.#nodes.push(undefined);
    this.#nodes[node.id] = node;
  }

  /**
   * Adds files of the baseline as `apply` of their events would, without making a Node of one before somebody asks. Their names must
   * not be there, and `expectLeft` must have been asked about their folders.
   * @param batch events, those of other things too; must not change any more.
   * @param files how many of them are such files; `end`: one more than the largest id in them.
   */
  addLeft(batch: Uint32Array, files: number, end: number): void {
    this.#packed ??= new PackedNodes();
    this.#packed.add(batch, end);
    this.#isPacking = false;
    this.#count += files;
  }

  /** Says that events to come in `addLeft` name files in this folder. Returns whether it is one. */
  expectLeft(folder: number): boolean {
    const dir = this.#nodes[folder];
    if (dir === undefined || !dir.isDir || this.#packed?.isFull === true) return false;
    dir.packed = this;
    this.#isPacking = true;
    return true;
  }

  /** Node's own business: the names of packed files in a folder. */
  unfold(folder: number, into: Map<string, number>): boolean {
    if (this.#packed !== undefined) this.#index().unfold(folder, into);
    return !this.#isPacking;
  }

  /** Makes a node without a name. @throws {DiffKeeperError} data_corrupt, when the id is taken. */
  addNode(id: number, attr: Attr): Node {
    const isTaken = this.#nodes[id] !== undefined ||
      this.#packed?.isIndexed === true && this.#packed.has(id);
    if (id < 1 || isTaken || id > 0xffffffff) {
      throw new DiffKeeperError("data_corrupt", `cannot add node ${id}: the id is taken or bad`);
    }
    const node = new Node(id);
    node.setAttr(attr);
    if (node.isDir) node.children = new Map();
    this.#place(node);
    this.#count++;
    this.bind(node, attr);
    return node;
  }

  /** Makes a node the watched folder with this index. */
  setRoot(node: Node, index: number): void {
    assert(index >= 0, "a root has an index");
    node.root = index;
    if (!this.#roots.includes(node)) this.#roots.push(node);
    this.#roots.sort((a, b) => a.root - b.root);
  }

  /** Gives a node a name. @throws {DiffKeeperError} data_corrupt: no folder, or name taken. */
  link(node: Node, parent: number, name: string): void {
    const dir = this.need(parent);
    // while files are packed, names are compared when the folder is unfolded
    const children = this.#isScanning ? dir.knownChildren : dir.children;
    if (!children) throw new DiffKeeperError("data_corrupt", "cannot link: no folder");
    if (children.has(name)) {
      throw new DiffKeeperError("data_corrupt", `cannot link ${JSON.stringify(name)}: it is there`);
    }
    children.set(name, node.id);
    if (node.parent === 0) {
      node.parent = parent;
      node.name = name;
      return;
    }
    node.more ??= [];
    node.more.push({ parent, name });
  }

  /** Takes a name away and returns what it named. @throws {DiffKeeperError} data_corrupt. */
  unlink(parent: number, name: string): Node {
    const dir = this.need(parent);
    const id = dir.children?.get(name);
    if (id === undefined) {
      throw new DiffKeeperError("data_corrupt", `cannot unlink ${JSON.stringify(name)}: no name`);
    }
    dir.children?.delete(name);
    const node = this.need(id);
    node.lastParent = parent;
    if (node.parent === parent && node.name === name) {
      const next = node.more?.shift();
      node.parent = next ? next.parent : 0;
      node.name = next ? next.name : "";
    } else {
      const at = node.more?.findIndex((l) => l.parent === parent && l.name === name) ?? -1;
      assert(at >= 0, "a name in a folder is a link of its node");
      node.more?.splice(at, 1);
    }
    if (node.more?.length === 0) node.more = undefined;
    return node;
  }

  /** Moves a name; what the target named before loses that name and is returned. */
  rename(parent: number, name: string, to: { parent: number; name: string }): Node | undefined {
    const node = this.need(this.child(parent, name));
    const victim = this.node(this.child(to.parent, to.name));
    if (victim === node) return undefined;
    if (victim) this.unlink(to.parent, to.name);
    this.unlink(parent, name);
    this.link(node, to.parent, to.name);
    return victim;
  }

  /** Two names change places. */
  exchange(parent: number, name: string, to: { parent: number; name: string }): void {
    const node = this.unlink(parent, name);
    const other = this.unlink(to.parent, to.name);
    this.link(node, to.parent, to.name);
    this.link(other, parent, name);
  }

  /**
   * Path of a node from its watched folder, by its first name; "" for the folder itself, undefined
   * when the node hangs nowhere.
   */
  path(id: number): string | undefined {
    let node = this.node(id);
    let path = "";
    for (let depth = 0; node && depth < DEPTH_MAX; depth++) {
      if (node.root >= 0) return path;
      if (node.parent === 0) return undefined;
      path = path === "" ? node.name : `${node.name}/${path}`;
      node = this.#nodes[node.parent];
    }
    return undefined;
  }

  /** Path of a name in a folder, as `path` gives it. */
  pathOf(parent: number, name: string): string | undefined {
    const dir = this.path(parent);
    if (dir === undefined || dir === "") return dir === undefined ? undefined : name;
    return `${dir}/${name}`;
  }

  /** Index of the watched folder that a node hangs in (by its first name), -1 when nowhere. */
  rootOf(id: number): number {
    let node = this.node(id);
    for (let depth = 0; node && depth < DEPTH_MAX; depth++) {
      if (node.root >= 0) return node.root;
      if (node.parent === 0) return -1;
      node = this.#nodes[node.parent];
    }
    return -1;
  }

  /** True when `id` is `ancestor` or hangs below it. */
  isWithin(id: number, ancestor: number): boolean {
    let at = id;
    for (let depth = 0; at !== 0 && depth < DEPTH_MAX; depth++) {
      if (at === ancestor) return true;
      at = this.node(at)?.parent ?? 0;
    }
    return false;
  }

  /** The node at a path below a node, without following symlinks; "" is the node itself. */
  at(from: number, path: string): Node | undefined {
    let node = this.node(from);
    if (path === "") return node;
    for (const name of path.split("/")) {
      node = this.node(this.child(node?.id ?? 0, name));
      if (!node) return undefined;
    }
    return node;
  }

  /**
   * Every name below a node (default: below all roots, the roots first), folders before what they
   * hold, names of a folder in byte order. A file with two names comes twice.
   */
  *walk(from?: number): Generator<{ node: Node; path: string; root: number }> {
    const starts = from === undefined ? [...this.#roots] : [this.need(from)];
    const stack = starts.reverse().map((node) => ({ node, path: "", root: this.rootOf(node.id) }));
    for (let entry = stack.pop(); entry; entry = stack.pop()) {
      yield entry;
      const { children } = entry.node;
      if (!children || children.size === 0) continue;
      const names = [...children.keys()].sort();
      for (let i = names.length - 1; i >= 0; i--) {
        const name = names[i] as string;
        const path = entry.path === "" ? name : `${entry.path}/${name}`;
        stack.push({ node: this.need(children.get(name) ?? 0), path, root: entry.root });
      }
    }
  }

  /** Every node known, also those without a name, by id. */
  *nodes(): Generator<Node> {
    for (let id = 1; id < this.nextId; id++) {
      const node = this.node(id);
      if (node) yield node;
    }
  }

  /** As `nodes`, without files that `addLeft` added and nobody has asked about: each of them has one name. */
  *unpacked(): Generator<Node> {
    for (const node of this.#nodes) if (node) yield node;
  }

  /**
   * The size of a file that came by `addLeft` and that nobody has asked about: it is where it was, unchanged, in the watched folders.
   * undefined: it is not such a file.
   */
  untouchedSize(id: number): number | undefined {
    if (this.#packed === undefined) return undefined;
    const packed = this.#index();
    return packed.has(id) ? packed.size(id) : undefined;
  }

  /** The size that a file had when it came by `addLeft`; undefined: it did not. */
  leftSize(id: number): number | undefined {
    return this.#packed === undefined ? undefined : this.#index().size(id);
  }

  /** Folds one event. @throws {DiffKeeperError} data_corrupt, when it does not fit the model. */
  apply(event: TraceEvent): void {
    applyEvent(this, event);
  }

  /** Folds a WRITE without an event object: it ends at byte `end`; MTIME_UNKNOWN: no new mtime. */
  applyWrite(node: Node, end: number, after: { mtimeSec: number; mtimeNsec: number }): void {
    if (end > node.size) node.size = end;
    if (after.mtimeNsec === MTIME_UNKNOWN) return;
    node.mtimeSec = after.mtimeSec;
    node.mtimeNsec = after.mtimeNsec;
  }
}
