/**
 * Extended attributes that the kernel changes by itself, without a call that names them: a new inode takes over the default ACL of its
 * folder (on btrfs also the kind of compression), a new mode goes into the ACL, and a change of what a file holds, or of its owner, takes its capabilities away
 * (posix_acl(9): posix_acl_create, posix_acl_chmod; fs/inode.c: file_remove_privs, setattr_prepare). Nothing is emitted here.
 */
import { EventFlag, Op, type TraceEvent } from "../format/trace_event.ts";
import type { Node } from "./node.ts";

export const ACL_ACCESS = "system.posix_acl_access";
export const ACL_DEFAULT = "system.posix_acl_default";
export const CAPABILITY = "security.capability";
const COMPRESSION = "btrfs.compression";

/** struct posix_acl_xattr_header and posix_acl_xattr_entry (linux/posix_acl_xattr.h): u32 version; u16 tag, u16 perm, u32 id. */
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const NO_ID = 0xffffffff;
const Tag = { OWNER: 1, USER: 2, GROUP_OF_FILE: 4, GROUP: 8, MASK: 16, OTHERS: 32 } as const;

/** An attribute that changes; without a value it goes. */
export interface ImpliedXattr {
  xattrName: string;
  xattrValue: Uint8Array | undefined;
}

/** Calls `visit` with the tag of each entry and where it begins; nothing where the value is no ACL. */
function eachEntry(acl: Uint8Array, visit: (tag: number, at: number) => void): void {
  if (acl.length < HEADER_BYTES || (acl.length - HEADER_BYTES) % ENTRY_BYTES !== 0) return;
  const view = new DataView(acl.buffer, acl.byteOffset, acl.length);
  for (let at = HEADER_BYTES; at < acl.length; at += ENTRY_BYTES) {
    visit(view.getUint16(at, true), at);
  }
}

/** An ACL as the kernel gives it back: only entries of a certain user or group have an id. */
export function storedAcl(acl: Uint8Array): Uint8Array {
  const stored = new Uint8Array(acl);
  const view = new DataView(stored.buffer);
  eachEntry(stored, (tag, at) => {
    if (tag !== Tag.USER && tag !== Tag.GROUP) view.setUint32(at + 4, NO_ID, true);
  });
  return stored;
}

/** An ACL with the permissions of a mode: those of the group stand in the mask where there is one. */
function withMode(acl: Uint8Array, mode: number): Uint8Array {
  const changed = new Uint8Array(acl);
  const view = new DataView(changed.buffer);
  let hasMask = false;
  eachEntry(changed, (tag) => hasMask ||= tag === Tag.MASK);
  eachEntry(changed, (tag, at) => {
    if (tag === Tag.OWNER) view.setUint16(at + 2, (mode >> 6) & 7, true);
    if (tag === Tag.OTHERS) view.setUint16(at + 2, mode & 7, true);
    const isGroup = tag === (hasMask ? Tag.MASK : Tag.GROUP_OF_FILE);
    if (isGroup) view.setUint16(at + 2, (mode >> 3) & 7, true);
  });
  return changed;
}

/** Says more than a mode can. */
function isExtended(acl: Uint8Array): boolean {
  let found = false;
  eachEntry(acl, (tag) => {
    found ||= tag === Tag.USER || tag === Tag.GROUP || tag === Tag.MASK;
  });
  return found;
}

/** What an inode just made in `folder` has from the start; not for one that came from elsewhere. */
export function inheritedXattrs(node: Node, folder: Node): ImpliedXattr[] {
  if (node.isSymlink || folder.xattrs === undefined) return [];
  return [...inheritedAcls(node, folder), ...inheritedCompression(node, folder)];
}

function inheritedAcls(node: Node, folder: Node): ImpliedXattr[] {
  const acl = folder.xattrs?.get(ACL_DEFAULT);
  if (acl === undefined) return [];
  const found: ImpliedXattr[] = [];
  const own = withMode(acl, node.mode);
  if (isExtended(own)) found.push({ xattrName: ACL_ACCESS, xattrValue: own });
  if (node.isDir) found.push({ xattrName: ACL_DEFAULT, xattrValue: acl });
  return found;
}

/** btrfs hands the kind of compression on, without its level, to files and folders (btrfs_inode_inherit_props of fs/btrfs/props.c). */
function inheritedCompression(node: Node, folder: Node): ImpliedXattr[] {
  const value = folder.xattrs?.get(COMPRESSION);
  if (value === undefined || !(node.isFile || node.isDir)) return [];
  const kind = /^(?:zlib|lzo|zstd)/.exec(Buffer.from(value).toString("latin1"))?.[0];
  if (kind === undefined) return [];
  return [{ xattrName: COMPRESSION, xattrValue: value.slice(0, kind.length) }];
}

/** Ops that take the capabilities of a file away, before they change anything. */
const TAKES_CAPABILITIES: ReadonlySet<number> = new Set([
  ...[Op.WRITE, Op.TRUNCATE, Op.FALLOCATE, Op.COLLAPSE, Op.INSERT, Op.RESYNC],
  Op.CHOWN,
]);

/** Whether a change of the node's content takes capabilities away. */
export function hasCapabilities(node: Node): boolean {
  return node.xattrs?.has(CAPABILITY) === true;
}

/** What goes before an event changes the node; a store through a mapping takes nothing. */
export function lostXattrs(node: Node, event: TraceEvent): ImpliedXattr[] {
  const isMapped = (event.flags & EventFlag.MAPPED) !== 0;
  if (isMapped || !hasCapabilities(node) || !TAKES_CAPABILITIES.has(event.op)) return [];
  // a folder keeps them when its owner changes (chown_common of fs/open.c)
  if (node.isDir) return [];
  return [{ xattrName: CAPABILITY, xattrValue: undefined }];
}

/** The ACL after an event that may have changed the mode of the node. */
export function changedAcl(node: Node): ImpliedXattr[] {
  const acl = node.xattrs?.get(ACL_ACCESS);
  if (acl === undefined) return [];
  const xattrValue = withMode(acl, node.mode);
  const isSame = acl.every((byte, i) => byte === xattrValue[i]);
  return isSame ? [] : [{ xattrName: ACL_ACCESS, xattrValue }];
}
