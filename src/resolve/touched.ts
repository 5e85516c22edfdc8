/**
 * The inodes that the kernel saw a call change, matched with the tree. They decide where a path
 * string alone could be wrong: another task may have renamed a folder between the call and its
 * record. File systems without the hook touch nothing; then the string and the live system decide.
 */
import type { CallRecord, KernelInode } from "../format/kernel_decode.ts";
import { DK_TOUCH_MAX } from "../format/kernel_record.ts";
import { EventFlag, type Mtime, Op } from "../format/trace_event.ts";
import { type Context, mtimeOf, sameInode } from "./context.ts";
import { type Node, S_IFDIR, S_IFLNK, S_IFMT } from "./node.ts";
import { lastName, type Place } from "./places.ts";

/** A name in a folder of the tree, as a call meant it. */
export interface Entry {
  dir: Node;
  name: string;
  /** What the tree has there now. */
  node: Node | undefined;
  /** Base folder of the path, when it is the folder of the name: its state after the call. */
  base: KernelInode | undefined;
}

export function isDirMode(mode: number): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}

export function isSymlinkMode(mode: number): boolean {
  return (mode & S_IFMT) === S_IFLNK;
}

/** The touched inode that is this node. */
export function touchOf(call: CallRecord, node: Node): KernelInode | undefined {
  return call.touched.find((t) => sameInode(t, node));
}

/**
 * The touched inode that a call is about, among those that `fits` allows. Following a symlink may renew
 * its atime, which touches it too: first the links on the way, then what the call changes. So a
 * symlink is meant only where nothing else is, and then the last one.
 */
export function meant(
  call: CallRecord,
  fits: (touched: KernelInode) => boolean,
): KernelInode | undefined {
  return call.touched.find((t) => !isSymlinkMode(t.mode) && fits(t)) ?? call.touched.findLast(fits);
}

/** Touched inodes say nothing when there are none, or when not all could be noted. */
export function touchesAreWhole(call: CallRecord, dev: number): boolean {
  if (call.touched.length >= DK_TOUCH_MAX) return false;
  return call.touched.some((t) => t.dev === dev);
}

/** As touchesAreWhole, for what a call moved or removed: some filesystems tell of the folders only. */
export function movesAreWhole(ctx: Context, call: CallRecord, dev: number): boolean {
  return !ctx.options.partial?.has(dev) && touchesAreWhole(call, dev);
}

/** Folders of the tree that the call changed, except those in `not`. */
export function touchedFolders(ctx: Context, call: CallRecord, not: Node[]): Node[] {
  const found: Node[] = [];
  for (const t of call.touched) {
    if (!isDirMode(t.mode)) continue;
    const node = ctx.tree.lookup(t.dev, t.ino, t.gen);
    if (node?.isDir && !not.includes(node)) found.push(node);
  }
  return found;
}

/** Did the call change a folder that the tree does not have (yet)? */
export function hasUnknownFolder(ctx: Context, call: CallRecord): boolean {
  return call.touched.some((t) =>
    isDirMode(t.mode) && t.nlink > 0 && !ctx.tree.lookup(t.dev, t.ino, t.gen)
  );
}

/** The name a call meant by its path `which`; a status when it is not a name in the tree. */
export type Located = { entry: Entry; status: "found" } | {
  entry: undefined;
  status: "outside" | "missing" | "self";
  abs: string | undefined;
};

/**
 * Finds the entry a path of the call means. The folder must be among the touched ones; if the path
 * leads elsewhere and exactly one touched folder is left, that one is meant. `isOnly`: the call
 * names entries of one folder only, so a touched folder of the tree is that folder even where the
 * path seems to lead outside. `not`: folders that are entries themselves.
 */
export function locate(
  ctx: Context,
  call: CallRecord,
  which: 0 | 1,
  { not = [], isOnly = true }: { not?: Node[]; isOnly?: boolean } = {},
): Located {
  const base = call.base[which];
  const path = call.str[which];
  const place = ctx.places.resolve(base, path, { follow: false });
  const dir = folderOf(ctx, call, place, { not, isOnly });
  if (!dir) {
    if (place.status === "found") return { entry: undefined, status: "self", abs: place.abs };
    const status = place.status === "outside" ? "outside" : "missing";
    return { entry: undefined, status, abs: place.abs };
  }
  const name = dir.id === place.dir ? place.name : lastName(path);
  const node = ctx.tree.node(ctx.tree.child(dir.id, name));
  const isBase = sameInode(base, dir) && !path.includes("/");
  return { status: "found", entry: { dir, name, node, base: isBase ? base : undefined } };
}

function folderOf(
  ctx: Context,
  call: CallRecord,
  place: Place,
  { not, isOnly }: { not: Node[]; isOnly: boolean },
): Node | undefined {
  const named = place.status === "found" ? ctx.tree.node(place.dir) : undefined;
  if (named && (touchOf(call, named) || !touchesAreWhole(call, named.dev))) return named;
  if (!isOnly && hasUnknownFolder(ctx, call)) return named;
  const folders = touchedFolders(ctx, call, not);
  const only = folders.length === 1 ? folders[0] : undefined;
  const name = lastName(call.str[0]) || lastName(call.str[1]);
  if (only && name !== "" && name !== ".." && (isOnly || place.status !== "outside")) return only;
  return named;
}

/** mtimes of the folders of a call, for DIRTIME; `flags` says where they had to be looked up. */
export function dirTimes(
  ctx: Context,
  call: CallRecord,
  entries: Entry[],
): { dirTimes: { node: number; mtime: Mtime }[]; flags: number } {
  const times: { node: number; mtime: Mtime }[] = [];
  let flags = 0;
  for (const { dir, base } of entries) {
    if (times.some((t) => t.node === dir.id)) continue;
    let state = touchOf(call, dir) ?? base;
    if (!state) {
      state = live(ctx, dir);
      if (state) flags = EventFlag.SETTLED;
    }
    const mtime = state && mtimeOf(state);
    if (mtime) times.push({ node: dir.id, mtime });
  }
  return { dirTimes: times, flags };
}

/** The times of folders in which a name that is left out was made, removed or renamed: nothing else of such a call is recorded. */
export function leftOutIn(ctx: Context, call: CallRecord, entries: Entry[]): void {
  const { dirTimes: times, flags } = dirTimes(ctx, call, entries);
  for (const { node, mtime } of times) setFolderTime(ctx, { node, mtime, flags });
}

/** A UTIMES of a folder, unless it has that time already. */
export function setFolderTime(
  ctx: Context,
  { node, mtime, flags }: { node: number; mtime: Mtime | undefined; flags: number },
): void {
  const known = ctx.tree.need(node).mtime();
  if (!mtime || (known?.sec === mtime.sec && known.nsec === mtime.nsec)) return;
  ctx.emit(Op.UTIMES, node, { mtime, flags });
}

/** State of a node as it is now, if the live system can tell and still has it at its path. */
export function live(ctx: Context, node: Node): KernelInode | undefined {
  const path = ctx.places.abs(node.id);
  const state = path === undefined ? undefined : ctx.options.assist?.lstat?.(path);
  return state && sameInode(state, node) ? state : undefined;
}

/** The extended attributes that a node has on disk now, if it can be reached by a name. */
export function liveXattrs(ctx: Context, node: Node): Map<string, Uint8Array> | undefined {
  const abs = ctx.places.abs(node.id);
  return abs === undefined ? undefined : ctx.options.assist?.xattrs?.(abs);
}
