/**
 * NODE records: the kernel announces an inode before the first record about it. Known inodes learn
 * their generation; folders outside are remembered as bases of paths; an inode of the watched
 * folders that the tree does not know waits here for the record that creates it. When that record
 * never comes, `adopt` makes the node from what was announced and from the live file (SETTLED).
 */
import type { KernelInode, NodeRecord } from "../format/kernel_decode.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { bringIn, makeOp } from "./content.ts";
import { attrOf, type Context, mtimeOf, sameInode } from "./context.ts";
import { removeName } from "./names.ts";
import { MTIME_UNKNOWN, type Node, S_IFDIR, S_IFMT } from "./node.ts";
import type { Announced } from "./places.ts";

/** Takes in one NODE record. */
export function announce(ctx: Context, record: NodeRecord, deleted: boolean): void {
  const { inode } = record;
  const { places, tree } = ctx;
  if (tree.lookup(inode.dev, inode.ino, inode.gen)) return;
  const isDir = (inode.mode & S_IFMT) === S_IFDIR;
  const abs = places.announcedPath(record);
  if (record.root < 0) {
    if (isDir && abs !== undefined) places.learnOutside(inode, abs);
    return;
  }
  if (abs !== undefined) {
    const found = places.below(abs);
    const node = found && tree.at(found.root, found.names.join("/"));
    if (node && !deleted && isTheSame(node, inode)) {
      tree.bind(node, inode);
      ctx.epoch++;
      return;
    }
    if (places.leftOut(abs, isDir)) {
      if (isDir) places.learnOutside(inode, abs);
      else ctx.ignored.set(inode.dev, inode.ino, inode.gen);
      return;
    }
  }
  if (isIgnored(ctx, inode)) return;
  places.announced.set(inode.dev, inode.ino, { record, deleted });
}

/** Same inode under another device number (stat and the kernel differ), or not yet identified. */
function isTheSame(node: Node, inode: KernelInode): boolean {
  if ((node.mode & S_IFMT) !== (inode.mode & S_IFMT)) return false;
  return node.ino === 0 || (node.ino === inode.ino && node.gen === 0);
}

/** Are records about this inode dropped? */
export function isIgnored(ctx: Context, id: { dev: number; ino: number; gen: number }): boolean {
  const gen = ctx.ignored.get(id.dev, id.ino);
  return gen !== undefined && (gen === id.gen || gen === 0 || id.gen === 0);
}

/** Makes the node of an announced inode whose creation was not seen; undefined: not possible. */
export function adopt(ctx: Context, id: { dev: number; ino: number }): Node | undefined {
  const known = ctx.places.announced.get(id.dev, id.ino);
  if (!known) return undefined;
  ctx.places.announced.delete(id.dev, id.ino);
  const abs = ctx.places.announcedPath(known.record);
  const found = abs === undefined ? undefined : ctx.places.below(abs);
  if (!found || known.deleted || found.names.length === 0) return unnamed(ctx, known);
  let dir = ctx.tree.need(found.root);
  for (const name of found.names.slice(0, -1)) {
    const next = ctx.tree.node(ctx.tree.child(dir.id, name)) ?? folder(ctx, dir, name);
    if (!next.isDir) return unnamed(ctx, known);
    dir = next;
  }
  const name = found.names[found.names.length - 1] ?? "";
  const { inode } = known.record;
  const there = ctx.tree.node(ctx.tree.child(dir.id, name));
  if (there && sameInode(inode, there)) return there;
  if (there) removeName(ctx, { dir, name, node: there });
  ctx.stats.unresolved++;
  const fields = { parent: dir.id, name, flags: EventFlag.SETTLED };
  return bringIn(ctx, inode, { op: makeOp(inode.mode), abs, ...fields });
}

/** A file without a name that something still writes to. */
function unnamed(ctx: Context, known: Announced): Node {
  ctx.stats.unresolved++;
  const { inode } = known.record;
  const fields = { attr: attrOf(inode), mtime: mtimeOf(inode), flags: EventFlag.SETTLED };
  const id = ctx.tree.nextId;
  ctx.emit(makeOp(inode.mode), id, { parent: 0, ...fields });
  return ctx.tree.need(id);
}

/** A folder on the way to an announced inode that nothing is known of but its name. */
function folder(ctx: Context, dir: Node, name: string): Node {
  const abs = ctx.places.absOf(dir.id, name);
  const seen = abs === undefined ? undefined : ctx.options.assist?.lstat?.(abs);
  const isDir = seen !== undefined && (seen.mode & S_IFMT) === S_IFDIR;
  const guess = { uid: dir.uid, gid: dir.gid, dev: dir.dev, mode: S_IFDIR | 0o755, nlink: 2 };
  const rest = { gen: 0, ino: 0, size: 0, rdev: 0, mtimeSec: 0, mtimeNsec: MTIME_UNKNOWN };
  const state = isDir ? seen : { ...guess, ...rest };
  const id = ctx.tree.nextId;
  const fields = { parent: dir.id, name, attr: attrOf(state), mtime: mtimeOf(state) };
  ctx.emit(Op.MKDIR, id, { ...fields, flags: EventFlag.SETTLED });
  return ctx.tree.need(id);
}
