/**
 * How each trace event changes the namespace model: the one meaning of docs/FORMAT.md, section Ops,
 * for names, attributes and sizes. Events come from a trace file, which is outside data: what does
 * not fit the model is a `data_corrupt` error. No cycle with tree.ts at run time: types only.
 */
import { DiffKeeperError } from "../base/error.ts";
import { type Attr, EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import { type Node, S_IFDIR, S_IFMT } from "./node.ts";
import type { Tree } from "./tree.ts";

function needAttr(event: TraceEvent): Attr {
  if (event.attr) return event.attr;
  throw new DiffKeeperError("data_corrupt", `cannot apply an event: op ${event.op} without ATTR`);
}

/** A folder counts the `..` of its folders, except where the file system does not (nlink 1). */
function countFolder(tree: Tree, parent: number, by: number): void {
  const dir = tree.node(parent);
  if (dir && dir.nlink >= 2) dir.nlink += by;
}

function setTimes(tree: Tree, event: TraceEvent): void {
  if (event.mtime) tree.need(event.node).setMtime(event.mtime);
  if (!event.dirTimes) return;
  for (const { node, mtime } of event.dirTimes) tree.need(node).setMtime(mtime);
}

/** CREATE, MKDIR, SYMLINK, MKNOD, BASELINE: a new node, with a name unless root or TMPFILE. */
function create(tree: Tree, event: TraceEvent): void {
  const node = tree.addNode(event.node, needAttr(event));
  if (event.target !== undefined) node.target = event.target;
  if (event.root !== undefined) tree.setRoot(node, event.root);
  const parent = event.parent ?? 0;
  if (parent !== 0) {
    tree.link(node, parent, event.name ?? "");
    if (node.isDir && event.op !== Op.BASELINE) countFolder(tree, parent, 1);
  }
}

/** Adds a name; the node comes with ATTR when it was not known (from outside). */
function link(tree: Tree, event: TraceEvent): void {
  const known = tree.node(event.node);
  const node = known ?? tree.addNode(event.node, needAttr(event));
  if (event.target !== undefined) node.target = event.target;
  tree.link(node, event.parent ?? 0, event.name ?? "");
  if (event.attr) node.setAttr(event.attr);
  else if (known && event.pid !== 0) node.nlink++; // pid 0: the baseline, whose ATTR counts it
}

function lostName(tree: Tree, node: Node, parent: number): void {
  if (node.isDir) countFolder(tree, parent, -1);
  if (node.nlink > 0) node.nlink = node.isDir ? 0 : node.nlink - 1;
}

function unlink(tree: Tree, event: TraceEvent): void {
  const parent = event.parent ?? 0;
  const name = event.name ?? "";
  if (tree.child(parent, name) !== event.node) {
    throw new DiffKeeperError(
      "data_corrupt",
      `cannot apply an event: ${JSON.stringify(name)} is not node ${event.node}`,
    );
  }
  lostName(tree, tree.unlink(parent, name), parent);
}

/** What left the watched folders is forgotten by identity: it changes unseen from now on. */
function forget(tree: Tree, from: Node): void {
  for (const { node } of tree.walk(from.id)) {
    const stays = node.links().some((l) => tree.rootOf(l.parent) >= 0);
    if (!stays) tree.unbind(node);
  }
}

function rename(tree: Tree, event: TraceEvent): void {
  const parent = event.parent ?? 0;
  const name = event.name ?? "";
  const to = { parent: event.toParent ?? 0, name: event.toName ?? "" };
  if (parent === 0) {
    const node = tree.node(event.node) ?? tree.addNode(event.node, needAttr(event));
    if (event.attr) node.setAttr(event.attr);
    if (event.target !== undefined) node.target = event.target;
    const victim = tree.node(tree.child(to.parent, to.name));
    if (victim) lostName(tree, tree.unlink(to.parent, to.name), to.parent);
    tree.link(node, to.parent, to.name);
    if (node.isDir) countFolder(tree, to.parent, 1);
    return;
  }
  if (to.parent === 0) {
    const node = tree.unlink(parent, name);
    if (node.isDir) countFolder(tree, parent, -1);
    forget(tree, node);
    return;
  }
  if ((event.flags & EventFlag.EXCHANGE) !== 0) {
    exchange(tree, event, to);
    return;
  }
  const moved = tree.need(event.node);
  if (tree.child(parent, name) !== event.node) {
    throw new DiffKeeperError("data_corrupt", "cannot apply a RENAME: another node has the name");
  }
  const victim = tree.rename(parent, name, to);
  if (victim) lostName(tree, victim, to.parent);
  if (moved.isDir && parent !== to.parent) {
    countFolder(tree, parent, -1);
    countFolder(tree, to.parent, 1);
  }
}

function exchange(tree: Tree, event: TraceEvent, to: { parent: number; name: string }): void {
  const parent = event.parent ?? 0;
  const node = tree.need(tree.child(parent, event.name ?? ""));
  const other = tree.need(tree.child(to.parent, to.name));
  tree.exchange(parent, event.name ?? "", to);
  if (parent === to.parent || node.isDir === other.isDir) return;
  countFolder(tree, parent, node.isDir ? -1 : 1);
  countFolder(tree, to.parent, node.isDir ? 1 : -1);
}

function attributes(tree: Tree, event: TraceEvent): void {
  if (event.attr === undefined) return;
  const node = tree.need(event.node);
  if ((node.mode & S_IFMT) === S_IFDIR !== ((event.attr.mode & S_IFMT) === S_IFDIR)) {
    throw new DiffKeeperError(
      "data_corrupt",
      "cannot apply an event: it turns a folder into a file",
    );
  }
  node.setAttr(event.attr);
}

function xattr(tree: Tree, event: TraceEvent): void {
  const node = tree.need(event.node);
  const name = event.xattrName ?? "";
  if (event.xattrValue) {
    node.xattrs ??= new Map();
    // A copy, which `slice` of a Buffer is not: the event may stand in a buffer that is used again.
    node.xattrs.set(name, new Uint8Array(event.xattrValue));
    return;
  }
  node.xattrs?.delete(name);
  if (node.xattrs?.size === 0) node.xattrs = undefined;
}

function sizes(tree: Tree, event: TraceEvent): void {
  const node = tree.need(event.node);
  const length = event.length ?? 0;
  const offset = event.offset ?? 0;
  const end = offset + length;
  if (event.source) tree.need(event.source.node);
  if (event.op === Op.COLLAPSE) node.size -= Math.max(0, Math.min(length, node.size - offset));
  else if (event.op === Op.INSERT) node.size = Math.max(node.size, offset) + length;
  else if (event.op === Op.TRUNCATE || event.op === Op.RESYNC) node.size = length;
  else if ((event.flags & EventFlag.KEEP_SIZE) === 0 && end > node.size) node.size = end;
}

/** Folds one event into the model. */
export function applyEvent(tree: Tree, event: TraceEvent): void {
  switch (event.op) {
    case Op.CREATE:
    case Op.MKDIR:
    case Op.SYMLINK:
    case Op.MKNOD:
    case Op.BASELINE:
      create(tree, event);
      break;
    case Op.LINK:
      link(tree, event);
      break;
    case Op.UNLINK:
    case Op.RMDIR:
      unlink(tree, event);
      break;
    case Op.RENAME:
      rename(tree, event);
      break;
    case Op.CHMOD:
    case Op.CHOWN:
    case Op.UTIMES:
      attributes(tree, event);
      break;
    case Op.XATTR:
      xattr(tree, event);
      break;
    case Op.WRITE:
    case Op.TRUNCATE:
    case Op.FALLOCATE:
    case Op.COLLAPSE:
    case Op.INSERT:
      sizes(tree, event);
      break;
    case Op.RESYNC:
      attributes(tree, event);
      sizes(tree, event);
      break;
    default:
      return;
  }
  setTimes(tree, event);
}
