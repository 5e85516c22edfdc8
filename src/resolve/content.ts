/**
 * Content that no record carried: read back from the live file, and whole files and folders that
 * come into the watched folders. Everything read so is flagged SETTLED, what could not be read is
 * flagged UNREAD: its bytes are zeros in the trace, and the trace says so.
 */
import type { KernelInode } from "../format/kernel_decode.ts";
import { EventFlag, type Extent, Op, type TraceEvent } from "../format/trace_event.ts";
import { READ_BACK_BYTES } from "./bounds.ts";
import { attrOf, type Context, mtimeOf } from "./context.ts";
import { type Node, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "./node.ts";
import type { ReadTarget, TreeEntry } from "./sink.ts";

/** Adds a piece to extents; grows the last one where the bytes lie back to back. */
export function addExtent(extents: Extent[], piece: Extent): void {
  const last = extents[extents.length - 1];
  const joins = last !== undefined && last.row === piece.row &&
    last.offset + last.length === piece.offset && last.at + last.length === piece.at;
  if (joins) last.length += piece.length;
  else extents.push(piece);
}

function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/**
 * Reads `[offset, offset + length)` of a file into extents; `at` and `end` (where the file or the
 * range ended) count from `offset`.
 */
export function readBack(
  ctx: Context,
  target: ReadTarget,
  range: { offset: number; length: number },
): { extents: Extent[]; complete: boolean; end: number } {
  const extents: Extent[] = [];
  let end = 0;
  const assist = ctx.options.assist;
  for (let at = 0; at < range.length; at += READ_BACK_BYTES) {
    const length = Math.min(READ_BACK_BYTES, range.length - at);
    const bytes = assist?.read?.(target, { offset: range.offset + at, length });
    if (!bytes) return { extents, complete: false, end };
    end = at + bytes.length;
    if (!isZero(bytes)) {
      addExtent(extents, { ...ctx.sink.store(bytes, 0, bytes.length), at });
    }
    if (bytes.length < length) break; // the file is shorter by now: the rest reads as zeros
  }
  return { extents, complete: true, end };
}

/** Emits RESYNC: the whole content of a node, as it is now. */
export function resync(ctx: Context, node: Node, size: number): void {
  const path = ctx.places.abs(node.id);
  const target = { dev: node.dev, gen: node.gen, ino: node.ino, pid: 0, fd: 0, path };
  const { extents, complete } = readBack(ctx, target, { offset: 0, length: size });
  ctx.emit(Op.RESYNC, node.id, {
    length: size,
    extents,
    mtime: node.mtime(),
    flags: EventFlag.SETTLED | EventFlag.EXTENTS | (complete ? 0 : EventFlag.UNREAD),
  });
}

/**
 * Emits RESYNC with the size the live file has, after changes whose order nobody knows. Nothing is
 * emitted when the file cannot be read: what was recorded is then the best there is.
 */
export function resyncLive(ctx: Context, node: Node): void {
  const { dev, gen, ino } = node;
  const target = { dev, gen, ino, pid: 0, fd: 0, path: ctx.places.abs(node.id) };
  const limit = node.size + READ_BACK_BYTES;
  const { extents, complete, end } = readBack(ctx, target, { offset: 0, length: limit });
  if (!complete) return;
  const flags = EventFlag.SETTLED | EventFlag.CONCURRENT | EventFlag.EXTENTS;
  ctx.emit(Op.RESYNC, node.id, { length: end, extents, flags });
}

/** The op that makes an inode of this type. */
export function makeOp(mode: number): TraceEvent["op"] {
  const type = mode & S_IFMT;
  if (type === S_IFDIR) return Op.MKDIR;
  if (type === S_IFLNK) return Op.SYMLINK;
  return type === S_IFREG ? Op.CREATE : Op.MKNOD;
}

/**
 * Makes a node from the state of its inode and fills it: content of a file, entries of a folder.
 * `first` is the event that gives it its name (RENAME or LINK from outside, or the op that makes
 * such an inode); it stands without node, attr and target here.
 */
export function bringIn(
  ctx: Context,
  inode: KernelInode,
  first: Partial<TraceEvent> & { op: TraceEvent["op"]; abs: string | undefined },
): Node {
  const { op, abs, ...fields } = first;
  const isLink = (inode.mode & S_IFMT) === S_IFLNK;
  const target = isLink && abs !== undefined ? ctx.options.assist?.readlink?.(abs) : undefined;
  ctx.ignored.delete(inode.dev, inode.ino);
  ctx.places.announced.delete(inode.dev, inode.ino);
  const id = ctx.tree.nextId;
  ctx.emit(op, id, {
    ...fields,
    attr: { ...attrOf(inode), size: isLink ? inode.size : 0 },
    mtime: mtimeOf(inode),
    target: isLink ? target ?? "" : undefined,
  });
  const node = ctx.tree.need(id);
  if (node.isFile && inode.nlink > 1) ctx.options.assist?.linked?.(inode, ctx.tree.rootOf(id));
  fill(ctx, node, { size: inode.size, abs });
  if (node.isDir && abs !== undefined) bringInBelow(ctx, node, abs);
  return node;
}

/** Entries of a folder that came in, parents first. */
function bringInBelow(ctx: Context, top: Node, abs: string): void {
  const entries = ctx.options.assist?.readTree?.(abs);
  if (!entries) {
    ctx.gap("a folder came in from outside and could not be read", { events: 0, bytes: 0 }, top.id);
    return;
  }
  const folders = new Map<string, Node>([["", top]]);
  for (const entry of entries) {
    const cut = entry.path.lastIndexOf("/");
    const dir = folders.get(cut < 0 ? "" : entry.path.slice(0, cut));
    if (!dir) continue; // left out above
    const node = bringInEntry(ctx, entry, { dir, name: entry.path.slice(cut + 1) });
    if (node?.isDir) folders.set(entry.path, node);
  }
  const mtime = top.mtime();
  if (mtime) ctx.emit(Op.UTIMES, top.id, { mtime, flags: EventFlag.SETTLED });
}

function bringInEntry(
  ctx: Context,
  entry: TreeEntry,
  to: { dir: Node; name: string },
): Node | undefined {
  const { inode } = entry;
  const isDir = (inode.mode & S_IFMT) === S_IFDIR;
  const parent = to.dir.id;
  if (ctx.places.excluded(parent, to.name, isDir)) return undefined;
  if (ctx.tree.child(parent, to.name) !== 0) return undefined;
  const known = isDir ? undefined : ctx.tree.lookup(inode.dev, inode.ino, inode.gen);
  const mtime = mtimeOf(inode);
  const flags = EventFlag.SETTLED;
  if (known) {
    const attr = { ...attrOf(inode), size: known.size };
    ctx.emit(Op.LINK, known.id, { parent, name: to.name, attr, mtime, flags });
    return known;
  }
  ctx.ignored.delete(inode.dev, inode.ino);
  ctx.places.announced.delete(inode.dev, inode.ino);
  const isLink = (inode.mode & S_IFMT) === S_IFLNK;
  const attr = { ...attrOf(inode), size: isLink ? inode.size : 0 };
  const target = isLink ? entry.target ?? "" : undefined;
  const id = ctx.tree.nextId;
  ctx.emit(makeOp(inode.mode), id, { parent, name: to.name, attr, mtime, target, flags });
  const node = ctx.tree.need(id);
  fill(ctx, node, { size: inode.size, abs: ctx.places.abs(id) });
  return node;
}

/** Content and extended attributes of a node that was not watched until now. */
export function fill(
  ctx: Context,
  node: Node,
  from: { size: number; abs: string | undefined },
): void {
  if (node.isFile && (from.size > 0 || node.size > 0)) resync(ctx, node, from.size);
  const xattrs = from.abs === undefined ? undefined : ctx.options.assist?.xattrs?.(from.abs);
  if (!xattrs) return;
  for (const [xattrName, xattrValue] of xattrs) {
    ctx.emit(Op.XATTR, node.id, { xattrName, xattrValue, flags: EventFlag.SETTLED });
  }
}
