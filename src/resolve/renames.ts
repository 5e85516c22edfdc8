/**
 * rename, renameat, renameat2. Both names may lie in the watched folders, or one of them outside
 * (or left out): then the file leaves, or comes in with its content. As in names.ts, what
 * contradicts the tree waits first and is forced last.
 */
import type { CallRecord, KernelInode } from "../format/kernel_decode.ts";
import { DK_TOUCH_MAX } from "../format/kernel_record.ts";
import { RENAME_EXCHANGE, RENAME_WHITEOUT } from "../format/kernel_syscall.ts";
import { EventFlag, Op } from "../format/trace_event.ts";
import { bringIn, fill } from "./content.ts";
import { attrOf, type Context, mtimeOf, sameInode } from "./context.ts";
import { removeName, unresolved } from "./names.ts";
import { type Link, type Node, S_IFCHR, S_IFMT } from "./node.ts";
import { agrees, bothSides } from "./sides.ts";
import {
  dirTimes,
  type Entry,
  isDirMode,
  isSymlinkMode,
  leftOutIn,
  type Located,
  meant,
  movesAreWhole,
  touchedFolders,
  touchOf,
} from "./touched.ts";
import type { CallUnit, Outcome } from "./unit.ts";

/** Path of a folder that left to where no path is known: no real path has a NUL. */
const NOWHERE = "/\0";

/** One side of a rename: an entry of the tree, or outside of it. */
interface Side {
  entry: Entry | undefined;
  abs: string | undefined;
  /** The name that is left out: its folder is in the tree, and its time changes. */
  leftOut?: Entry;
}

/** Outside, or a name that is left out and that the tree does not have. */
function sideOf(ctx: Context, at: Located, isDir: boolean): Side {
  if (!at.entry) return { entry: undefined, abs: at.abs };
  const { dir, name, node } = at.entry;
  const abs = ctx.places.absOf(dir.id, name);
  if (!node && ctx.places.excluded(dir.id, name, isDir)) {
    return { entry: undefined, abs, leftOut: at.entry };
  }
  return { entry: at.entry, abs };
}

/** All renames. */
export function rename(ctx: Context, unit: CallUnit, force: boolean): Outcome {
  const { touched } = unit.call;
  for (const t of touched) ctx.touching.add(t.dev);
  const [fromAt, toAt] = bothSides(ctx, unit);
  // On a file system that says what it touches, nothing touched means: two names of one file.
  const dev = fromAt.entry?.dir.dev ?? toAt.entry?.dir.dev;
  if (touched.length === 0 && dev !== undefined && ctx.touching.has(dev)) return "done";
  const isLost = (at: Located) => !at.entry && at.status !== "outside";
  if (isLost(fromAt) || isLost(toAt)) {
    if (isElsewhere(ctx, unit.call)) return "done";
    return force ? unresolved(ctx) : "wait";
  }
  const isDir = fromAt.entry?.node?.isDir ?? movedInode(ctx, unit, [])?.isDir ?? false;
  const from = sideOf(ctx, fromAt, isDir);
  const to = sideOf(ctx, toAt, isDir);
  if (from.entry && to.entry) return within(ctx, unit, { from: from.entry, to: to.entry, force });
  const isExchange = (unit.call.arg[0] & RENAME_EXCHANGE) !== 0;
  if (from.entry) return leaves(ctx, unit, { entry: from.entry, force, isExchange, other: to });
  if (to.entry) return comesIn(ctx, unit, { entry: to.entry, force, isExchange, other: from });
  leftOutIn(ctx, unit.call, foldersOf([from.leftOut, to.leftOut]));
  return "done";
}

/** Those that are in the tree. */
function foldersOf(entries: (Entry | undefined)[]): Entry[] {
  return entries.filter((entry) => entry !== undefined);
}

/** Was all this in folders that are not watched? With a place in the order, all that came before is in the tree, or waits. */
function isElsewhere(ctx: Context, call: CallRecord): boolean {
  if (!ctx.ordered || call.touched.length === 0 || call.touched.length >= DK_TOUCH_MAX) {
    return false;
  }
  const isKnown = ({ dev, ino, gen }: KernelInode) =>
    ino !== 0 && (ctx.tree.lookup(dev, ino, gen) !== undefined || ctx.isAwaited(ino, 0) ||
      ctx.places.announced.get(dev, ino) !== undefined);
  return ![...call.touched, ...call.base].some(isKnown);
}

/** The touched inode that is neither a parent folder nor known as one. */
function movedInode(
  ctx: Context,
  unit: CallUnit,
  not: (Node | undefined)[],
): { isDir: boolean; state: KernelInode } | undefined {
  const state = meant(unit.call, (t) => {
    const node = ctx.tree.lookup(t.dev, t.ino, t.gen);
    if (t.nlink === 0 || (node && not.includes(node))) return false;
    return !node || !node.isDir || not.length > 0;
  });
  return state && { isDir: isDirMode(state.mode), state };
}

/** Both names in the tree. */
function within(
  ctx: Context,
  unit: CallUnit,
  how: { from: Entry; to: Entry; force: boolean },
): Outcome {
  const { from, to, force } = how;
  const moved = from.node;
  const victim = to.node;
  if (moved && moved === victim) {
    // POSIX: two names of one file both stay. But then nothing is touched, a link on the way apart: else one name is gone.
    if (unit.call.touched.every((t) => isSymlinkMode(t.mode))) return "done";
    return force ? unresolved(ctx) : "wait";
  }
  if (!agrees(ctx, unit, { from, to })) {
    if (!force) return "wait";
    return forced(ctx, unit, how);
  }
  if (!moved) return unresolved(ctx);
  move(ctx, unit, { from, to, node: moved });
  return "done";
}

function move(ctx: Context, unit: CallUnit, how: { from: Entry; to: Entry; node: Node }): void {
  const { from, to, node } = how;
  const { call } = unit;
  const times = dirTimes(ctx, call, [from, to]);
  const isExchange = (call.arg[0] & RENAME_EXCHANGE) !== 0;
  const state = touchOf(call, node);
  // a folder that changes its parent is changed itself on some filesystems (xfs: its `..` is written)
  const other = isExchange && to.node?.isDir === true ? to.node : undefined;
  const otherState = other && touchOf(call, other);
  const otherTime = otherState && mtimeOf(otherState);
  if (other && otherTime) times.dirTimes.push({ node: other.id, mtime: otherTime });
  ctx.emit(Op.RENAME, node.id, {
    parent: from.dir.id,
    name: from.name,
    toParent: to.dir.id,
    toName: to.name,
    victim: to.node?.id ?? 0,
    mtime: state && mtimeOf(state),
    dirTimes: times.dirTimes,
    flags: times.flags | (isExchange ? EventFlag.EXCHANGE : 0),
  });
  if ((call.arg[0] & RENAME_WHITEOUT) !== 0) whiteout(ctx, unit, { entry: from, victim: to.node });
}

/** RENAME_WHITEOUT leaves a character device 0:0 under the old name (overlayfs: "gone"). What was moved or overwritten may be such a device itself. */
function whiteout(ctx: Context, unit: CallUnit, how: { entry: Entry; victim?: Node }): void {
  const { entry: from, victim } = how;
  const isOld = (t: KernelInode) => [from.node, victim].some((n) => n && sameInode(t, n));
  const state = unit.call.touched.find((t) =>
    (t.mode & S_IFMT) === S_IFCHR && t.nlink > 0 && !isOld(t)
  );
  const attr = state ? attrOf(state) : {
    ...{ mode: S_IFCHR, uid: from.dir.uid, gid: from.dir.gid, rdev: 0, nlink: 1 },
    ...{ dev: from.dir.dev, gen: 0, ino: 0, size: 0 },
  };
  const mtime = state && mtimeOf(state);
  const id = ctx.tree.nextId;
  ctx.emit(Op.MKNOD, id, { parent: from.dir.id, name: from.name, attr, mtime });
  if (ctx.options.bareWhiteouts?.has(from.dir.dev) !== true) ctx.inherit(id, from.dir);
}

/** Nothing explained the contradiction: the touched inode now has the new name. */
function forced(
  ctx: Context,
  unit: CallUnit,
  how: { from: Entry; to: Entry },
): Outcome {
  const { from, to } = how;
  ctx.stats.unresolved++;
  const found = movedInode(ctx, unit, [from.dir, to.dir, to.node]);
  const known = found && ctx.tree.lookup(found.state.dev, found.state.ino, found.state.gen);
  const moved = known ?? (found ? undefined : from.node);
  if (moved && (ctx.tree.isWithin(to.dir.id, moved.id) || moved.root >= 0)) return "done";
  if (to.node && to.node !== moved) removeName(ctx, { ...to, node: to.node });
  if (!moved) {
    const abs = ctx.places.absOf(to.dir.id, to.name);
    const state = found?.state ??
      (abs === undefined ? undefined : ctx.options.assist?.lstat?.(abs));
    if (!state || ctx.tree.lookup(state.dev, state.ino, state.gen)) return "done";
    const fields = { parent: 0, toParent: to.dir.id, toName: to.name, flags: EventFlag.SETTLED };
    bringIn(ctx, state, { op: Op.RENAME, abs, ...fields });
    return "done";
  }
  const link = lostLink(ctx, unit, { moved, from, to });
  const dir = ctx.tree.node(link?.parent ?? 0);
  const dirs = (dir ? [to, { ...from, dir }] : [to]).filter((e) => touchOf(unit.call, e.dir));
  const { dirTimes: times } = dirTimes(ctx, unit.call, dirs);
  const flags = EventFlag.SETTLED;
  const fields = { toParent: to.dir.id, toName: to.name, flags, dirTimes: times };
  if (!link) ctx.emit(Op.RENAME, moved.id, { parent: 0, ...fields });
  else if (link.parent !== to.dir.id || link.name !== to.name) {
    ctx.emit(Op.RENAME, moved.id, { parent: link.parent, name: link.name, ...fields });
  }
  return "done";
}

/** The name that a file most likely lost when it got a new one: it may have several. */
function lostLink(
  ctx: Context,
  { call }: CallUnit,
  { moved, from, to }: { moved: Node; from: Entry; to: Entry },
): Link | undefined {
  const touched = touchedFolders(ctx, call, []).map((dir) => dir.id);
  const likeness = (link: Link) =>
    (link.name === from.name ? 8 : 0) + (link.parent === from.dir.id ? 4 : 0) +
    (touched.includes(link.parent) ? 2 : 0) + (link.parent === to.dir.id ? 0 : 1);
  // the first of those that are alike
  return moved.links().sort((one, other) => likeness(other) - likeness(one))[0];
}

/** The old name lies in the tree, the new one does not. */
function leaves(
  ctx: Context,
  unit: CallUnit,
  how: { entry: Entry; force: boolean; isExchange: boolean; other: Side },
): Outcome {
  const { entry, force } = how;
  const { node } = entry;
  const { call } = unit;
  if (!node || (movesAreWhole(ctx, call, node.dev) && !touchOf(call, node))) {
    if (!force) return "wait";
    if (!node) return unresolved(ctx);
  }
  if (call.touched.length === 0) {
    // Nothing says whether the other name is one of the same file, which a rename leaves alone.
    const abs = ctx.places.absOf(entry.dir.id, entry.name);
    const seen = abs === undefined ? undefined : ctx.options.assist?.lstat?.(abs);
    if (seen && seen.nlink > 1 && sameInode(seen, node)) return "done";
  }
  const times = dirTimes(ctx, call, foldersOf([entry, how.other.leftOut]));
  ctx.emit(Op.RENAME, node.id, { parent: entry.dir.id, name: entry.name, toParent: 0, ...times });
  goneOutside(ctx, node, how.other.abs);
  if (how.isExchange) {
    takeIn(ctx, unit, { entry: { ...entry, node: undefined }, other: how.other, left: node });
  } else if ((call.arg[0] & RENAME_WHITEOUT) !== 0) whiteout(ctx, unit, { entry });
  return "done";
}

/** Remembers what left, so that its later records are dropped and paths from it are understood. */
function goneOutside(ctx: Context, top: Node, abs: string | undefined): void {
  const to = abs ?? NOWHERE;
  for (const { node, path } of ctx.tree.walk(top.id)) {
    const { dev, ino, gen } = node;
    if (node.isDir) ctx.places.learnOutside(node, path === "" ? to : `${to}/${path}`);
    else if (ctx.tree.lookup(dev, ino, gen) !== node) ctx.ignored.set(dev, ino, gen);
  }
}

/** The new name lies in the tree, the old one does not. */
function comesIn(
  ctx: Context,
  unit: CallUnit,
  how: { entry: Entry; force: boolean; isExchange: boolean; other: Side },
): Outcome {
  const { entry, force } = how;
  const victim = entry.node;
  if (how.isExchange && victim) {
    return leaves(ctx, unit, how);
  }
  if (victim?.children?.size) {
    if (!force) return "wait";
    removeName(ctx, { ...entry, node: victim });
    return takeIn(ctx, unit, { entry: { ...entry, node: undefined }, other: how.other });
  }
  return takeIn(ctx, unit, { entry, other: how.other });
}

/**
 * State of what came in: the touched inode that is no folder on the way. With two unknown folders
 * (the moved one and its old parent) the live system says which.
 */
function stateIn(ctx: Context, unit: CallUnit, not: Node[], abs: string | undefined) {
  const { call } = unit;
  const seen = abs === undefined ? undefined : ctx.options.assist?.lstat?.(abs);
  const isSame = (a: KernelInode, b: KernelInode) => a.dev === b.dev && a.ino === b.ino;
  const left = call.touched.filter((t) =>
    t.nlink > 0 && !call.base.some((b) => isSame(t, b)) && !not.some((n) => sameInode(t, n))
  );
  const file = meant(call, (t) => left.includes(t) && !isDirMode(t.mode));
  if (file) return file;
  const match = seen && left.find((t) => isSame(t, seen));
  return match ?? (left.length === 1 ? left[0] : seen);
}

/** Something from outside now has the name: its state, its content, and everything below it. */
function takeIn(
  ctx: Context,
  unit: CallUnit,
  { entry, other, left }: { entry: Entry; other: Side; left?: Node },
): Outcome {
  const { dir, name, node: victim } = entry;
  const abs = ctx.places.absOf(dir.id, name);
  const state = stateIn(ctx, unit, [dir, victim ?? dir, left ?? dir], abs);
  const times = dirTimes(ctx, unit.call, foldersOf([entry, other.leftOut]));
  const fields = { parent: 0, toParent: dir.id, toName: name, victim: victim?.id ?? 0, ...times };
  if (!state) {
    const text = `${JSON.stringify(name)} came in from outside and could not be read`;
    ctx.gap(text, { events: 1, bytes: 0 }, dir.id);
    return unresolved(ctx);
  }
  const known = ctx.tree.lookup(state.dev, state.ino, state.gen);
  if (known && known === victim) return "done"; // two names of one file both stay
  if (!known || known.isDir) {
    bringIn(ctx, state, { op: Op.RENAME, abs, ...fields });
    return "done";
  }
  // It had only names outside for a while: it may have changed unseen.
  const wasGone = known.parent === 0;
  ctx.emit(Op.RENAME, known.id, wasGone ? { ...fields, attr: attrOf(state) } : fields);
  if (wasGone) fill(ctx, known, { size: state.size, abs });
  return "done";
}
