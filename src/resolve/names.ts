/**
 * Calls that make and remove names: mkdir, mknod, symlink, bind, link, unlink, rmdir, and opens
 * that create. Each looks at the tree first; where it contradicts the call (the name is there
 * already, or is not there), the call waits for the record that explains it, and only when none comes
 * the kernel's facts are forced on the tree. Nothing is emitted before that decision.
 */
import type { CallRecord, KernelInode } from "../format/kernel_decode.ts";
import {
  AT_EMPTY_PATH,
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  CallKind,
  kernelDevice,
} from "../format/kernel_syscall.ts";
import { KernelFlag } from "../format/kernel_record.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { bringIn, makeOp } from "./content.ts";
import { attrOf, type Context, mtimeOf, sameInode } from "./context.ts";
import { MTIME_UNKNOWN, type Node, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from "./node.ts";
import {
  dirTimes,
  type Entry,
  isDirMode,
  leftOutIn,
  locate,
  meant,
  movesAreWhole,
  setFolderTime,
  touchesAreWhole,
  touchOf,
} from "./touched.ts";
import type { CallUnit, OpenUnit, Outcome } from "./unit.ts";

/** Counts what had to be forced or could not be placed. */
export function unresolved(ctx: Context): Outcome {
  ctx.stats.unresolved++;
  return "done";
}

/** Takes a name away that the kernel says is gone, with everything below it. */
export function removeName(ctx: Context, entry: { dir: Node; name: string; node: Node }): void {
  const below = [...ctx.tree.walk(entry.node.id)].slice(1).reverse();
  for (const { path } of below) {
    const cut = path.lastIndexOf("/");
    const dir = ctx.tree.at(entry.node.id, cut < 0 ? "" : path.slice(0, cut));
    const name = path.slice(cut + 1);
    const node = dir && ctx.tree.node(ctx.tree.child(dir.id, name));
    if (!dir || !node) continue;
    const op = node.isDir ? Op.RMDIR : Op.UNLINK;
    ctx.emit(op, node.id, { parent: dir.id, name, flags: EventFlag.SETTLED });
  }
  const op = entry.node.isDir ? Op.RMDIR : Op.UNLINK;
  const { dir, name, node } = entry;
  ctx.emit(op, node.id, { parent: dir.id, name, flags: EventFlag.SETTLED });
}

/** Makes way for a name that must be free; false: it must wait. */
function makeWay(ctx: Context, entry: Entry, force: boolean): boolean {
  if (!entry.node) return true;
  if (!force) return false;
  ctx.stats.unresolved++;
  removeName(ctx, { ...entry, node: entry.node });
  return true;
}

/** A made inode that no touched inode and no live file describes: what the call asked for. */
function guessed(dir: Node, mode: number, rdev: number): KernelInode {
  return {
    dev: dir.dev,
    gen: 0,
    ino: 0,
    size: 0,
    mtimeSec: 0,
    mtimeNsec: MTIME_UNKNOWN,
    mode,
    uid: dir.uid,
    gid: dir.gid,
    nlink: isDirMode(mode) ? 2 : 1,
    rdev,
  };
}

/** What type and bits a making call asked for. */
function askedMode(unit: CallUnit): number {
  const mode = unit.call.arg[0] % 4294967296;
  const { kind } = unit.syscall;
  if (kind === CallKind.MKDIR) return S_IFDIR | (mode & 0o1777 & ~0o022);
  if (kind === CallKind.SYMLINK) return S_IFLNK | 0o777;
  if (kind === CallKind.BIND) return S_IFSOCK | 0o755;
  const type = (mode & S_IFMT) === 0 ? S_IFREG : mode & S_IFMT;
  return type | (mode & 0o7777 & ~0o022);
}

/** The touched inode that this call has just made: right type, and the tree has it nowhere. */
function madeInode(ctx: Context, call: CallRecord, type: number): KernelInode | undefined {
  return call.touched.find((t) => {
    if ((t.mode & S_IFMT) !== type) return false;
    const node = ctx.tree.lookup(t.dev, t.ino, t.gen);
    return !node || (node.parent === 0 && node.root < 0);
  });
}

/** mkdir, mknod, symlink, bind. */
export function make(ctx: Context, unit: CallUnit, force: boolean): Outcome {
  const { call } = unit;
  const isSymlink = unit.syscall.kind === CallKind.SYMLINK;
  const at = locate(ctx, call, isSymlink ? 1 : 0);
  if (!at.entry) {
    if (at.status === "outside") return "done";
    return force ? unresolved(ctx) : "wait";
  }
  const { entry } = at;
  const asked = askedMode(unit);
  if (ctx.places.excluded(entry.dir.id, entry.name, isDirMode(asked))) {
    leftOutIn(ctx, call, [entry]);
    return "done";
  }
  if (entry.node && touchOf(call, entry.node)) return "done"; // the baseline has it already
  if (!makeWay(ctx, entry, force)) return "wait";
  const times = dirTimes(ctx, call, [entry]);
  let flags = times.flags;
  let state = madeInode(ctx, call, asked & S_IFMT);
  if (!state) {
    const abs = ctx.places.absOf(entry.dir.id, entry.name);
    const seen = abs === undefined ? undefined : ctx.options.assist?.lstat?.(abs);
    const fits = seen !== undefined && (seen.mode & S_IFMT) === (asked & S_IFMT);
    state = fits ? seen : guessed(entry.dir, asked, kernelDevice(call.arg[1] % 4294967296));
    flags |= EventFlag.SETTLED;
  }
  const target = isSymlink ? call.str[0] : undefined;
  const size = target === undefined ? 0 : target.length;
  ctx.places.announced.delete(state.dev, state.ino);
  ctx.ignored.delete(state.dev, state.ino);
  const id = ctx.tree.nextId;
  ctx.emit(makeOp(asked), id, {
    parent: entry.dir.id,
    name: entry.name,
    attr: { ...attrOf(state), size: isDirMode(asked) ? state.size : size },
    mtime: mtimeOf(state),
    target,
    dirTimes: times.dirTimes,
    flags,
  });
  ctx.inherit(id, entry.dir);
  return "done";
}

/** unlink, rmdir, unlinkat. */
export function remove(ctx: Context, unit: CallUnit, force: boolean): Outcome {
  const { call, syscall } = unit;
  const flags = syscall.atFlags >= 0 ? call.arg[0] % 4294967296 : 0;
  const isDir = syscall.kind === CallKind.RMDIR || (flags & AT_REMOVEDIR) !== 0;
  const at = locate(ctx, call, 0, { not: isDir ? victims(ctx, call) : [] });
  if (!at.entry) {
    if (at.status === "outside") return "done";
    return force ? unresolved(ctx) : "wait";
  }
  const { entry } = at;
  const { dir, name, node } = entry;
  if (!node && ctx.places.excluded(dir.id, name, isDir)) {
    leftOutIn(ctx, call, [entry]);
    return "done";
  }
  const fits = node !== undefined && node.isDir === isDir &&
    !(isDir && node.children?.size) &&
    (touchOf(call, node) !== undefined || !movesAreWhole(ctx, call, node.dev));
  if (!fits && !force) return "wait";
  const times = dirTimes(ctx, call, [entry]);
  if (fits && node) {
    const op = isDir ? Op.RMDIR : Op.UNLINK;
    ctx.emit(op, node.id, { parent: dir.id, name, ...times });
    return "done";
  }
  ctx.stats.unresolved++;
  // a folder that was not touched has lost no name
  const isMeant = touchOf(call, dir) !== undefined || !touchesAreWhole(call, dir.dev);
  if (node && isMeant) removeName(ctx, { dir, name, node });
  return "done";
}

/** Touched folders that have no name any more. */
function victims(ctx: Context, call: CallRecord): Node[] {
  const found: Node[] = [];
  for (const t of call.touched) {
    const node = isDirMode(t.mode) && t.nlink === 0
      ? ctx.tree.lookup(t.dev, t.ino, t.gen)
      : undefined;
    if (node) found.push(node);
  }
  return found;
}

/**
 * The file whose inode on the filesystem below a call changed (overlayfs): it has the same number, unless it was copied up. What else
 * is known of both must agree.
 */
function fromBelow(ctx: Context, call: CallRecord, dev: number): Node | undefined {
  const below = call.touched.find((t) => t.dev !== dev && !isDirMode(t.mode));
  const node = below && ctx.tree.lookup(dev, below.ino, 0);
  if (!node || node.mode !== below.mode || node.uid !== below.uid || node.gid !== below.gid) {
    return undefined;
  }
  return node.isFile && node.size !== below.size ? undefined : node;
}

/** The inode that a link call gives a new name: by touched, by path, by the descriptor's inode. */
function linkSource(
  ctx: Context,
  unit: CallUnit,
  dev: number,
): { node?: Node; state?: KernelInode } {
  const { call } = unit;
  const flags = unit.syscall.atFlags >= 0 ? call.arg[0] % 4294967296 : 0;
  const node = fromBelow(ctx, call, dev);
  if (node) return { node };
  const state = meant(call, (t) => !isDirMode(t.mode) && t.dev === dev) ??
    ((flags & AT_EMPTY_PATH) !== 0 && call.str[0] === "" ? call.base[0] : undefined);
  if (state) return { node: ctx.tree.lookup(state.dev, state.ino, state.gen), state };
  const follow = (flags & AT_SYMLINK_FOLLOW) !== 0;
  const place = ctx.places.resolve(call.base[0], call.str[0], { follow });
  if (place.status === "found") return { node: ctx.tree.node(place.node) };
  return {};
}

/** link, linkat. */
export function link(ctx: Context, unit: CallUnit, force: boolean): Outcome {
  const { call } = unit;
  const at = locate(ctx, call, 1);
  if (!at.entry) {
    if (at.status === "outside") return "done";
    return force ? unresolved(ctx) : "wait";
  }
  const { entry } = at;
  const { dir, name } = entry;
  if (ctx.places.excluded(dir.id, name, false)) {
    leftOutIn(ctx, call, [entry]);
    return "done";
  }
  const source = linkSource(ctx, unit, dir.dev);
  if (entry.node && entry.node === source.node) return "done";
  const abs = ctx.places.absOf(dir.id, name);
  let { node, state } = source;
  if (!node) {
    const from = ctx.places.resolve(call.base[0], call.str[0], { follow: false });
    if (from.status === "missing" || (from.status === "found" && from.node === 0)) {
      const isExcluded = from.status === "found" &&
        ctx.places.excluded(from.dir, from.name, false);
      if (!force && !isExcluded) return "wait";
    }
    state ??= abs === undefined ? undefined : ctx.options.assist?.lstat?.(abs);
    if (state) node = ctx.tree.lookup(state.dev, state.ino, state.gen);
    if (!node && !state) return unresolved(ctx);
  }
  if (!makeWay(ctx, entry, force)) return "wait";
  const { dirTimes: times, flags } = dirTimes(ctx, call, [entry]);
  const fields = { parent: dir.id, name, dirTimes: times, flags };
  if (node) ctx.emit(Op.LINK, node.id, fields);
  else if (state) bringIn(ctx, state, { op: Op.LINK, abs, ...fields });
  return "done";
}

/** An open that created a file, or made one without a name (O_TMPFILE). */
export function created(ctx: Context, unit: OpenUnit, force: boolean): Outcome {
  const { open, head } = unit;
  const isTmp = (head.flags & KernelFlag.TMPFILE) !== 0;
  const dir = ctx.tree.lookup(open.parent.dev, open.parent.ino, open.parent.gen);
  if (!dir) {
    const isAwaited = ctx.places.announced.get(open.parent.dev, open.parent.ino) !== undefined;
    if (isAwaited && !force) return "wait";
    ctx.ignored.set(open.inode.dev, open.inode.ino, open.inode.gen);
    return "done";
  }
  const mtime = mtimeOf(open.inode);
  const attr = { ...attrOf(open.inode), size: 0 };
  const id = ctx.tree.nextId;
  if (isTmp) {
    ctx.places.announced.delete(open.inode.dev, open.inode.ino);
    ctx.ignored.delete(open.inode.dev, open.inode.ino);
    ctx.emit(Op.CREATE, id, { parent: 0, attr: { ...attr, nlink: 0 }, mtime });
    ctx.inherit(id, dir);
    return "done";
  }
  const node = ctx.tree.node(ctx.tree.child(dir.id, open.name));
  if (node && sameInode(open.inode, node)) return "done"; // the baseline has it already
  if (ctx.places.excluded(dir.id, open.name, false)) {
    ctx.ignored.set(open.inode.dev, open.inode.ino, open.inode.gen);
    setFolderTime(ctx, { node: dir.id, mtime: mtimeOf(open.parent), flags: 0 });
    return "done";
  }
  if (!makeWay(ctx, { dir, name: open.name, node, base: undefined }, force)) return "wait";
  ctx.places.announced.delete(open.inode.dev, open.inode.ino);
  ctx.ignored.delete(open.inode.dev, open.inode.ino);
  const dirMtime = mtimeOf(open.parent);
  ctx.emit(Op.CREATE, id, {
    parent: dir.id,
    name: open.name,
    attr,
    mtime,
    dirTimes: dirMtime ? [{ node: dir.id, mtime: dirMtime }] : undefined,
  });
  ctx.inherit(id, dir);
  return "done";
}
