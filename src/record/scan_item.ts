/**
 * What a scan of a real tree finds, one item per inode, further name, gap or note. Names, paths and targets are binary
 * strings; paths are relative to where the scan began. Parents come before what they hold.
 */
import type { Attr, Extent, Mtime } from "../format/trace_event.ts";
import type { Xattr } from "./xattrs.ts";

/** An inode that was met for the first time. */
export interface ScannedInode {
  kind: "inode";
  node: number;
  /** 0 for the top of the scan. */
  parent: number;
  name: string;
  /** The listing of the folder cannot have the name twice. */
  isOnly?: boolean;
  attr: Attr;
  mtime: Mtime;
  /** Only where the content was left in the file. */
  ctime?: Mtime;
  target?: string;
  xattrs: readonly Xattr[];
  extents: Extent[];
  /** Bytes the file system has allocated: less than the size where there are holes. */
  allocatedBytes: number;
  /** EventFlag.SETTLED, EventFlag.UNREAD or EventFlag.LAZY, where they apply. */
  flags: number;
}

/** A further name of an inode that was met before. */
export interface ScannedLink {
  kind: "link";
  node: number;
  parent: number;
  name: string;
  /** As for an inode. */
  isOnly?: boolean;
}

/** Something that could not be read (`gap`) or was left out on purpose (`note`), with a text for people. */
export interface ScannedRemark {
  kind: "gap" | "note";
  /** The inode concerned; 0 when it could not even be looked at. */
  node: number;
  path: string;
  text: string;
  /** A folder that was met before under another path: nothing else is told of it. */
  isSkipped?: boolean;
}

export type ScanItem = ScannedInode | ScannedLink | ScannedRemark;

/** A binary string as text for people: UTF-8, with U+FFFD for other bytes. */
export function showPath(path: string): string {
  return Buffer.from(path, "latin1").toString("utf8");
}
