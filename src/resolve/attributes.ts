/**
 * Calls that change an inode and no name: truncate, chmod, chown, utimes, extended attributes,
 * fallocate; and opens that truncate. The state after the call comes from the inode the kernel
 * touched, else from the live file, else from the arguments.
 */
import type { KernelInode } from "../format/kernel_decode.ts";
import { KernelFlag } from "../format/kernel_record.ts";
import {
  AT_SYMLINK_NOFOLLOW,
  CallKind,
  FALLOC_COLLAPSE_RANGE,
  FALLOC_INSERT_RANGE,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
} from "../format/kernel_syscall.ts";
import { type Attr, EventFlag, type Mtime, Op, type TraceEvent } from "../format/trace_event.ts";
import { resyncLive } from "./content.ts";
import { type Context, mtimeOf } from "./context.ts";
import { unresolved } from "./names.ts";
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  CAPABILITY,
  hasCapabilities,
  storedAcl,
} from "./implied_xattrs.ts";
import { type Node, S_IFMT } from "./node.ts";
import {
  isDirMode,
  isSymlinkMode,
  live,
  liveXattrs,
  meant,
  touchesAreWhole,
  touchOf,
} from "./touched.ts";
import type { CallUnit, OpenUnit, Outcome } from "./unit.ts";

/** The inode a call is about: its node, or what to do without one. */
type Target =
  | { node: Node; state: KernelInode | undefined; isUnchanged?: boolean }
  | { node: undefined; do: Outcome };

const ACL_MINIMAL_BYTES = 28;
/** Results after which a call may have done a part of its work: -EINTR (it was killed), -EIO, -ENOSPC (errno(3)). */
const CUT_SHORT = new Set([-4, -5, -28]);

function targetOf(ctx: Context, unit: CallUnit): Target {
  const { call, head, syscall } = unit;
  const isByFd = (head.flags & KernelFlag.BY_FD) !== 0;
  if (isByFd) return byTouch(ctx, call.touched[0]);
  const atFlags = syscall.atFlags >= 0 ? (call.arg[syscall.atFlags] ?? 0) % 4294967296 : 0;
  const follow = syscall.follow && (atFlags & AT_SYMLINK_NOFOLLOW) === 0;
  const place = ctx.places.resolve(call.base[0], call.str[0], { follow });
  const named = place.status === "found" ? ctx.tree.node(place.node) : undefined;
  for (const t of call.touched) ctx.touching.add(t.dev);
  if (named && (touchOf(call, named) || !touchesAreWhole(call, named.dev))) {
    // Nothing touched where the file system says what it touches: nothing changed (two UTIME_OMIT).
    // The live file would tell of a later moment.
    const isUnchanged = call.touched.length === 0 && ctx.touching.has(named.dev);
    const state = touchOf(call, named) ?? (isUnchanged ? undefined : live(ctx, named));
    return { node: named, state, isUnchanged };
  }
  const state = meant(call, (t) => ctx.tree.lookup(t.dev, t.ino, t.gen) !== undefined);
  const node = state && ctx.tree.lookup(state.dev, state.ino, state.gen);
  if (node) return { node, state };
  if (place.status === "outside") return byLivePath(ctx, unit, place.abs);
  const isLeftOut = place.status === "found" && place.dir !== 0 &&
    ctx.places.excluded(place.dir, place.name, false);
  return isLeftOut ? byLivePath(ctx, unit, place.abs) : { node: undefined, do: "wait" };
}

/** A path outside may be another name of a file that is watched. */
function byLivePath(ctx: Context, unit: CallUnit, abs: string | undefined): Target {
  const isTold = unit.call.touched.length > 0 || abs === undefined;
  const seen = isTold ? undefined : ctx.options.assist?.lstat?.(abs);
  const node = seen && seen.nlink > 1 && ctx.tree.lookup(seen.dev, seen.ino, seen.gen);
  return node ? { node, state: seen } : { node: undefined, do: "done" };
}

function byTouch(ctx: Context, touched: KernelInode | undefined): Target {
  if (!touched) return { node: undefined, do: "done" };
  const node = ctx.tree.lookup(touched.dev, touched.ino, touched.gen);
  if (node) return { node, state: touched };
  const isAwaited = ctx.places.announced.get(touched.dev, touched.ino) !== undefined;
  return { node: undefined, do: isAwaited ? "wait" : "done" };
}

/** The node's attributes with what the kernel said about mode and owner. */
function after(node: Node, state: KernelInode | undefined): Attr {
  const attr = node.attr();
  if (!state || (state.mode & S_IFMT) !== (node.mode & S_IFMT)) return attr;
  attr.mode = state.mode;
  attr.uid = state.uid;
  attr.gid = state.gid;
  return attr;
}

/** Side effects on mode and owner (set-id bits cleared, ACL) as an event of their own. */
function syncMode(ctx: Context, node: Node, state: KernelInode | undefined): void {
  const attr = after(node, state);
  if (attr.uid !== node.uid || attr.gid !== node.gid) ctx.emit(Op.CHOWN, node.id, { attr });
  else if (attr.mode !== node.mode) ctx.emit(Op.CHMOD, node.id, { attr });
}

/** All calls of this file. */
export function attribute(ctx: Context, unit: CallUnit, force: boolean): Outcome {
  const target = targetOf(ctx, unit);
  if (!target.node) {
    if (target.do === "wait" && force) return unresolved(ctx);
    return target.do;
  }
  const { node, state, isUnchanged } = target;
  const { call, syscall } = unit;
  const mtime = state && mtimeOf(state);
  const isTouched = touchOf(call, node) !== undefined;
  const flags = state !== undefined && !isTouched ? EventFlag.SETTLED : 0;
  switch (syscall.kind) {
    case CallKind.TRUNCATE:
      if (isUnchanged === true && !ctx.ordered) keptSize(ctx, node, call.arg[0]);
      else cut(ctx, node, { length: call.arg[0], mtime, flags });
      break;
    case CallKind.CHMOD:
      ctx.emit(Op.CHMOD, node.id, { attr: changedMode(unit, node, state), mtime, flags });
      break;
    case CallKind.CHOWN:
      ctx.emit(Op.CHOWN, node.id, { attr: changedOwner(unit, node, state), mtime, flags });
      break;
    case CallKind.UTIMES:
      ctx.emit(Op.UTIMES, node.id, { attr: after(node, state), mtime, flags });
      break;
    case CallKind.SETXATTR:
    case CallKind.REMOVEXATTR:
      // an ACL that was not there was removed, or set to what it was: by now the name may be another's
      if (isUnchanged !== true || ctx.options.ctimeTells !== true) xattr(ctx, unit, node);
      break;
    case CallKind.FALLOCATE:
      fallocate(ctx, unit, { node, mtime, flags });
      break;
    default:
      return unresolved(ctx);
  }
  syncMode(ctx, node, state);
  if (!ctx.ordered && ctx.recent.isAttributeClash(node.id, ctx.head)) settle(ctx, node);
  return "done";
}

/** Two tasks changed attributes at once: what the inode has now is the truth, if it can be had. */
function settle(ctx: Context, node: Node): void {
  const seen = live(ctx, node);
  if (!seen) return;
  const flags = EventFlag.SETTLED | EventFlag.CONCURRENT;
  const attr = after(node, seen);
  if (attr.uid !== node.uid || attr.gid !== node.gid || attr.mode !== node.mode) {
    ctx.emit(Op.CHOWN, node.id, { attr, flags });
  }
  const xattrs = liveXattrs(ctx, node);
  if (!xattrs) return;
  for (const [xattrName, xattrValue] of xattrs) {
    const known = node.xattrs?.get(xattrName);
    if (known && known.length === xattrValue.length && known.every((b, i) => b === xattrValue[i])) {
      continue;
    }
    ctx.emit(Op.XATTR, node.id, { xattrName, xattrValue, flags });
  }
  for (const xattrName of [...node.xattrs?.keys() ?? []]) {
    if (!xattrs.has(xattrName)) ctx.emit(Op.XATTR, node.id, { xattrName, flags });
  }
}

/** A change of content that is no write: copies of the file by another task that it overlapped are read again. */
function changed(ctx: Context, node: Node): void {
  const { t, enter, tid } = ctx.head;
  const seq = ctx.ordered ? 1 : 0;
  const span = { t, enter, tid, offset: 0, length: Number.MAX_SAFE_INTEGER, seq };
  const copy = ctx.recent.isCopied(node.id, span) ? ctx.recent.copiedTo(node.id) : 0;
  const target = ctx.tree.node(copy);
  if (target) resyncLive(ctx, target);
}

/** TRUNCATE; where another task's write overlapped it, the file itself says what came last. */
function cut(ctx: Context, node: Node, fields: Partial<TraceEvent>): void {
  const isClash = ctx.recent.cut(node.id, ctx.head, ctx.ordered);
  const flags = (fields.flags ?? 0) | (isClash ? EventFlag.CONCURRENT : 0);
  ctx.emit(Op.TRUNCATE, node.id, { ...fields, flags });
  changed(ctx, node);
  if (isClash) resyncLive(ctx, node);
}

/**
 * A truncate to the size that the file had then: it changed nothing, took no place in the order, and may not cut what other tasks wrote
 * before or after it. Shown where the size is still that.
 */
function keptSize(ctx: Context, node: Node, length: number): void {
  if (length === node.size) ctx.emit(Op.TRUNCATE, node.id, { length });
}

function changedMode(unit: CallUnit, node: Node, state: KernelInode | undefined): Attr {
  const attr = after(node, state);
  if (!state) attr.mode = (node.mode & S_IFMT) | (unit.call.arg[0] & 0o7777);
  return attr;
}

function changedOwner(unit: CallUnit, node: Node, state: KernelInode | undefined): Attr {
  const attr = after(node, state);
  if (state) return attr;
  const uid = unit.call.arg[0] % 4294967296;
  const gid = unit.call.arg[1] % 4294967296;
  if (uid !== 0xffffffff) attr.uid = uid;
  if (gid !== 0xffffffff) attr.gid = gid;
  return attr;
}

function latin1Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/**
 * setxattr and removexattr. A POSIX ACL with no more than owner, group and others is not stored by
 * the kernel: it becomes the mode, and an ACL that was there goes.
 */
function xattr(ctx: Context, unit: CallUnit, node: Node): void {
  const [, name, value] = unit.call.str;
  const isSet = unit.syscall.kind === CallKind.SETXATTR;
  const isAcl = name === ACL_ACCESS;
  const isAnyAcl = isAcl || name === ACL_DEFAULT;
  const isEmptyAcl = isAnyAcl && value.length <= 4;
  const isStored = isSet && !isEmptyAcl && !(isAcl && value.length <= ACL_MINIMAL_BYTES);
  if (!isStored && !node.xattrs?.has(name) && isSet) return;
  const holdsIds = isAnyAcl || name === CAPABILITY;
  const isForeign = holdsIds && (unit.head.flags & KernelFlag.USER_NS) !== 0;
  if (isStored && isForeign) return foreignXattr(ctx, node, { name, value });
  const bytes = latin1Bytes(value);
  const xattrValue = !isStored ? undefined : isAnyAcl ? storedAcl(bytes) : bytes;
  ctx.emit(Op.XATTR, node.id, { xattrName: name, xattrValue });
}

/** A value with ids of another user namespace: the kernel has stored the ids that they stand for here, and the live file has them. */
function foreignXattr(ctx: Context, node: Node, given: { name: string; value: string }): void {
  const { name } = given;
  const xattrValue = liveXattrs(ctx, node)?.get(name) ?? latin1Bytes(given.value);
  ctx.emit(Op.XATTR, node.id, { xattrName: name, xattrValue, flags: EventFlag.SETTLED });
}

function fallocate(
  ctx: Context,
  unit: CallUnit,
  at: { node: Node; mtime: TraceEvent["mtime"]; flags: number },
): void {
  const { node, mtime, flags } = at;
  const [mode, offset, length] = unit.call.arg;
  const keeps = (mode & FALLOC_KEEP_SIZE) !== 0;
  if ((mode & (FALLOC_COLLAPSE_RANGE | FALLOC_INSERT_RANGE)) !== 0) {
    const op = (mode & FALLOC_COLLAPSE_RANGE) !== 0 ? Op.COLLAPSE : Op.INSERT;
    const isClash = ctx.recent.cut(node.id, ctx.head, ctx.ordered);
    ctx.emit(op, node.id, { offset, length, mtime, flags });
    changed(ctx, node);
    if (isClash) resyncLive(ctx, node);
    return;
  }
  if ((mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0) {
    const keep = keeps ? EventFlag.KEEP_SIZE : 0;
    const isClash = ctx.recent.cut(node.id, ctx.head, ctx.ordered);
    ctx.emit(Op.FALLOCATE, node.id, { offset, length, mtime, flags: flags | keep });
    changed(ctx, node);
    if (isClash) resyncLive(ctx, node);
    return;
  }
  // Plain allocation: bytes that are there stay, only the size can grow; less where another task cut the file meanwhile.
  const end = Math.min(offset + length, unit.call.touched[0]?.size ?? Number.MAX_SAFE_INTEGER);
  if (!keeps && end > node.size) {
    ctx.emit(Op.TRUNCATE, node.id, { length: end, mtime, flags });
    return;
  }
  // it is a change of the file for the kernel all the same (file_modified)
  if (hasCapabilities(node)) ctx.emit(Op.XATTR, node.id, { xattrName: CAPABILITY, flags });
  if (mtime) ctx.emit(Op.UTIMES, node.id, { mtime, flags });
}

/** What a call that failed may clear on its way. */
const S_ISID = 0o6000;

/**
 * The mode and owner that are left after a call that failed. Read when the call ended, without the inode's lock (`isLoose`), they may be
 * those before another task's change: then only set-id bits that are gone count, which is all that such a call clears.
 */
function afterFailure(node: Node, state: KernelInode, isLoose: boolean): Attr {
  const attr = after(node, state);
  if (!isLoose) return attr;
  const { mode, uid, gid } = node.attr();
  const isCleared = attr.mode !== mode && (attr.mode | S_ISID) === (mode | S_ISID) &&
    (attr.mode & mode) === attr.mode;
  return { ...attr, mode: isCleared ? attr.mode : mode, uid, gid };
}

/** A time that a call sets is that of the last tick of the kernel's clock, at most this much before it, in seconds. */
const TICK_S = 0.012;

/**
 * Whether times that were read when a call had failed, without the inode's lock, are its own doing: they are of its time, and no other
 * change is known that set later ones since. What lies in the future was set by utimes before.
 */
function isOwnTime({ head, options }: Context, seen: Mtime, known: Mtime | undefined): boolean {
  if (options.wallClock === undefined) return false;
  const { start, now } = options.wallClock();
  const since = (time: Mtime) => time.sec + time.nsec / 1e9 - start;
  const at = since(seen);
  if (at < head.enter / 1e9 - TICK_S || at > head.t / 1e9 + TICK_S) return false;
  return known === undefined || since(known) <= at || since(known) > now - start + TICK_S;
}

/** A call that failed may have taken capabilities away on its way (file_remove_privs comes first): the live file says whether. */
function lookForCapabilities(ctx: Context, node: Node): void {
  const found = liveXattrs(ctx, node);
  if (found === undefined || found.has(CAPABILITY)) return;
  ctx.emit(Op.XATTR, node.id, { xattrName: CAPABILITY, flags: EventFlag.SETTLED });
}

/**
 * A call that failed and changed inodes all the same: a write that met a bad address, a fallocate that was refused after it had
 * renewed the mtime. One that was cut short has done a part of its work: what the file holds is read. A file of another size than
 * known is read again at the end. Without a number of the order, the state may be that before another task's change which is
 * known already.
 */
export function touchedOnly(ctx: Context, touched: KernelInode[]): Outcome {
  for (const state of touched) {
    const node = ctx.tree.lookup(state.dev, state.ino, state.gen);
    const isLoose = !ctx.ordered;
    // a symlink on the way is touched for its atime alone
    if (!node || (isLoose && isSymlinkMode(state.mode))) continue;
    const attr = afterFailure(node, state, isLoose);
    const known = node.mtime();
    const seen = mtimeOf(state);
    const mtime = seen && isLoose && !isOwnTime(ctx, seen, known) ? undefined : seen;
    const isSame = attr.mode === node.mode && attr.uid === node.uid && attr.gid === node.gid &&
      (mtime === undefined || (mtime.sec === known?.sec && mtime.nsec === known.nsec));
    if (hasCapabilities(node)) lookForCapabilities(ctx, node);
    if (!isSame) ctx.emit(Op.UTIMES, node.id, { attr, mtime });
    if (node.isFile && CUT_SHORT.has(ctx.head.ret)) {
      ctx.recent.suspects.add(node.id);
      resyncLive(ctx, node);
    }
    if (node.isFile && ctx.ordered && state.size !== node.size) ctx.recent.suspects.add(node.id);
  }
  return "done";
}

/** An open with O_TRUNC of a file that was there. */
export function truncated(ctx: Context, unit: OpenUnit, force: boolean): Outcome {
  const { inode } = unit.open;
  if (isDirMode(inode.mode)) return "done";
  const node = ctx.tree.lookup(inode.dev, inode.ino, inode.gen);
  if (!node) {
    const isAwaited = ctx.places.announced.get(inode.dev, inode.ino) !== undefined;
    return isAwaited && !force ? "wait" : "done";
  }
  cut(ctx, node, { length: 0, mtime: mtimeOf(inode) });
  syncMode(ctx, node, inode);
  return "done";
}
