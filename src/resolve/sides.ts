/**
 * Which two names a rename meant. Threads share descriptors and the working folder, and a path is looked up before the locks are taken,
 * so a string may start elsewhere than was noted: what the kernel touched decides where the two contradict each other. With two folders
 * the way back touches the same inodes; then the order in which they were touched, or their link counts, tell which way it was.
 */
import { RENAME_EXCHANGE, RENAME_WHITEOUT } from "../format/kernel_syscall.ts";
import { type Context, sameInode } from "./context.ts";
import { type Node, S_IFCHR, S_IFMT } from "./node.ts";
import { lastName } from "./places.ts";
import {
  type Entry,
  hasUnknownFolder,
  isDirMode,
  isSymlinkMode,
  locate,
  type Located,
  movesAreWhole,
  touchedFolders,
  touchOf,
} from "./touched.ts";
import type { CallUnit } from "./unit.ts";

/** Two names of the tree, as a rename may have meant them. */
interface Way {
  from: Entry;
  to: Entry;
}

/** How well a way must explain what was touched: what a search for another one than the strings say is content with. */
type Least = "certain" | "exact" | "likely";

/** Both names of the call; folders that the strings get wrong are taken from the touched ones. */
export function bothSides(ctx: Context, unit: CallUnit): [Located, Located] {
  const { call } = unit;
  const find = (which: 0 | 1, not: Node[]) => locate(ctx, call, which, { not, isOnly: false });
  let from = find(0, []);
  let to = find(1, []);
  const not: Node[] = [];
  for (const side of [from, to]) if (side.entry?.node?.isDir) not.push(side.entry.node);
  if (not.length > 0) {
    from = find(0, not);
    to = find(1, not);
  }
  if (call.touched.length === 0) return [from, to];
  const way = from.entry && to.entry ? { from: from.entry, to: to.entry } : undefined;
  if (isExplained(ctx, unit, { from, to })) {
    const isDoubted = way !== undefined && isDoubtful(ctx, unit, way);
    return (isDoubted ? byTouched(ctx, unit, "certain") : undefined) ?? [from, to];
  }
  // where not all that is moved is told of, the strings are better than a guess
  const isPossible = way !== undefined && agrees(ctx, unit, way);
  return byTouched(ctx, unit, isPossible ? "exact" : "likely") ?? [from, to];
}

/** Do both names fit what the kernel touched? One outside the tree fits where no folder is left that it could be in. */
function isExplained(ctx: Context, unit: CallUnit, at: { from: Located; to: Located }): boolean {
  const { call } = unit;
  const [from, to] = [at.from.entry, at.to.entry];
  if (from && to) {
    if (from.node && from.node === to.node) return true;
    return agrees(ctx, unit, { from, to }) && isExact(unit, { from, to });
  }
  const isLost = (side: Located) => side.status !== "outside" && !side.entry;
  if (isLost(at.from) || isLost(at.to)) return false;
  const inside = from ?? to;
  if (inside && !touchOf(call, inside.dir)) return false;
  const known = [inside?.dir, inside?.node].filter((node) => node !== undefined);
  return touchedFolders(ctx, call, known).length === 0;
}

/** Is what the strings say, and what was touched allows, all the same not what happened, as far as that can be told? */
function isDoubtful(ctx: Context, unit: CallUnit, way: Way): boolean {
  // a rename between two names of one file touches nothing
  if (way.from.node === way.to.node) return ctx.ordered;
  return isRefuted(ctx, unit, way);
}

/**
 * Both names by the touched inodes alone: the two folders in which they, and nothing else, explain what was touched; "certain" only
 * where nothing speaks against that, "likely" also two that do not contradict it, where not all was told of.
 */
function byTouched(ctx: Context, unit: CallUnit, least: Least): [Located, Located] | undefined {
  const { call } = unit;
  const gone = call.touched.filter((t) => t.nlink === 0);
  const folders = touchedFolders(ctx, call, []).filter((f) => !gone.some((g) => sameInode(g, f)));
  if (hasUnknownFolder(ctx, call)) return undefined;
  const entryOf = (dir: Node, path: string): Entry => {
    const name = lastName(path);
    return { dir, name, node: ctx.tree.node(ctx.tree.child(dir.id, name)), base: undefined };
  };
  const ways: Way[] = [];
  for (const oldDir of folders) {
    const from = entryOf(oldDir, call.str[0]);
    if (!from.node || !touchOf(call, from.node)) continue;
    for (const newDir of folders) {
      const to = entryOf(newDir, call.str[1]);
      if (from.node !== to.node && agrees(ctx, unit, { from, to })) ways.push({ from, to });
    }
  }
  const way = best(ctx, unit, { ways, least });
  return way && [{ status: "found", entry: way.from }, { status: "found", entry: way.to }];
}

/** The best of all ways that the touched inodes allow. */
function best(
  ctx: Context,
  unit: CallUnit,
  { ways, least }: { ways: Way[]; least: Least },
): Way | undefined {
  const isSound = (way: Way) => !isRefuted(ctx, unit, way);
  const exact = ways.filter((way) => isExact(unit, way));
  const certain = exact.find(isSound);
  if (certain || least === "certain") return certain;
  if (exact.length > 0 || least === "exact") return exact[0];
  // some filesystems do not tell of what is moved or overwritten, but none of a folder without a role
  const likely = ways.filter((way) => !hasStranger(unit, way));
  return likely.find(isSound) ?? likely[0];
}

/** Does what is known of the names, and of the inodes that the call touched, allow this rename? */
export function agrees(ctx: Context, unit: CallUnit, way: Way): boolean {
  const { call } = unit;
  const moved = way.from.node;
  if (!moved) return false;
  const victim = way.to.node;
  if (moved.isDir && ctx.tree.isWithin(way.to.dir.id, moved.id)) return false;
  const isExchange = (call.arg[0] & RENAME_EXCHANGE) !== 0;
  if (isExchange && !victim) return false;
  if (!isExchange && victim && victim !== moved) {
    if (victim.isDir !== moved.isDir || victim.children?.size) return false;
    // what was overwritten may have lost its last name; what was moved, only by another call
    const left = touchOf(call, victim);
    if (left && left.nlink > 0 && touchOf(call, moved)?.nlink === 0) return false;
  }
  return !movesAreWhole(ctx, call, moved.dev) || isExact(unit, way);
}

/** Does every inode the kernel touched have its role in this rename, and every role its inode? */
function isExact(unit: CallUnit, { from, to }: Way): boolean {
  const { call } = unit;
  const moved = from.node;
  const victim = to.node;
  if (!moved || !touchOf(call, moved)) return false;
  if (victim && !touchOf(call, victim)) return false;
  return !hasStranger(unit, { from, to });
}

/** Was something touched that has no role in this rename? */
function hasStranger({ call }: CallUnit, { from, to }: Way): boolean {
  const roles = [from.node, to.node, from.dir, to.dir];
  return call.touched.some((t) => {
    if ((t.mode & S_IFMT) === S_IFCHR && (call.arg[0] & RENAME_WHITEOUT) !== 0) return false;
    if (isSymlinkMode(t.mode)) return false; // followed on the way: see meant
    return !roles.some((n) => n !== undefined && sameInode(t, n));
  });
}

/** Does the order of what was touched, or a link count, tell that the rename went another way? */
function isRefuted(ctx: Context, unit: CallUnit, { from, to }: Way): boolean {
  const { call } = unit;
  const { dev } = to.dir;
  // a whiteout is put under the old name at another time
  const tellsOrder = ctx.options.newFirst?.has(dev) === true &&
    (call.arg[0] & RENAME_WHITEOUT) === 0;
  if (!tellsOrder) return isMiscounted(ctx, unit, { from, to });
  const first = call.touched.find((t) => t.dev === dev && isDirMode(t.mode));
  return first !== undefined && !sameInode(first, to.dir);
}

/**
 * Has what would have been moved fewer names left than are known? Only what is overwritten loses one. The count may be that of a moment
 * after the call, when another task has taken a name: it says something only where another way has no such fault.
 */
function isMiscounted(ctx: Context, { call }: CallUnit, { from }: Way): boolean {
  const { node } = from;
  if (!ctx.ordered || !node || node.isDir || (call.arg[0] & RENAME_EXCHANGE) !== 0) return false;
  const state = touchOf(call, node);
  return state !== undefined && state.nlink < node.links().length;
}
