/** What tests of the Resolver say again and again: inodes, records, and that the reader's tree is the recorder's. */
import { expect } from "bun:test";
import type { KernelInode } from "../../src/format/kernel_decode.ts";
import { KernelFlag } from "../../src/format/kernel_record.ts";
import { inode, openRecord } from "./kernel_records.ts";
import { dump, ROOT_INODE, type World } from "./resolve_world.ts";

/** Modes of a folder and of a symlink. */
export const DIR = 0o40755;
export const LINK = 0o120777;

/** Text as UTF-8. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** A regular file. */
export function file(ino: number, more: Partial<KernelInode> = {}): KernelInode {
  return inode({ ino, ...more });
}

/** A folder. */
export function dir(ino: number, more: Partial<KernelInode> = {}): KernelInode {
  return inode({ ino, mode: DIR, nlink: 2, ...more });
}

/** The record of an open that created. */
export function create(t: number, i: KernelInode, name: string, parent = ROOT_INODE) {
  return openRecord({ t, flags: KernelFlag.CREATED }, { inode: i, parent, name });
}

/** Fails unless a reader of the events gets the tree that the Resolver has. */
export function same(world: World): void {
  expect(dump(world.readerTree())).toEqual(dump(world.tree));
}
