/**
 * What the kernel makes of ACLs and capabilities along with other calls; tests/kernel/attributes_test.ts compares it with the real one.
 */
import { expect, test } from "bun:test";
import { EventFlag, Op, type OpCode, type TraceEvent } from "../format/trace_event.ts";
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  changedAcl,
  inheritedXattrs,
  lostXattrs,
  storedAcl,
} from "./implied_xattrs.ts";
import { Node } from "./node.ts";

const NO_ID = 0xffffffff;

/** Entries as [tag, permissions, id]. */
function acl(...entries: [number, number, number][]): Uint8Array {
  const bytes = new Uint8Array(4 + 8 * entries.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true);
  entries.forEach(([tag, perm, id], i) => {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, perm, true);
    view.setUint32(8 + 8 * i, id, true);
  });
  return bytes;
}

const NAMED = (owner: number, mask: number, others: number) =>
  acl([1, owner, NO_ID], [2, 5, 1000], [4, 4, NO_ID], [16, mask, NO_ID], [32, others, NO_ID]);

function node(mode: number, xattrs: [string, Uint8Array][] = []): Node {
  const made = new Node(7);
  made.mode = mode;
  if (xattrs.length > 0) made.xattrs = new Map(xattrs);
  return made;
}

function event(op: OpCode, flags = 0): TraceEvent {
  return { seq: 0, op, flags, tNs: 0, pid: 1, tid: 1, comm: "x", node: 7 };
}

test("a file takes the folder's default ACL with the permissions it was made with", () => {
  const folder = node(0o040755, [[ACL_DEFAULT, NAMED(7, 7, 5)]]);
  expect(inheritedXattrs(node(0o100640), folder)).toEqual([
    { xattrName: ACL_ACCESS, xattrValue: NAMED(6, 4, 0) },
  ]);
  expect(inheritedXattrs(node(0o040751), folder)).toEqual([
    { xattrName: ACL_ACCESS, xattrValue: NAMED(7, 5, 1) },
    { xattrName: ACL_DEFAULT, xattrValue: NAMED(7, 7, 5) },
  ]);
  expect(inheritedXattrs(node(0o120777), folder)).toEqual([]);
});

test("a default ACL that says no more than a mode is passed on by folders only", () => {
  const plain = acl([1, 7, NO_ID], [4, 5, NO_ID], [32, 0, NO_ID]);
  const folder = node(0o040755, [[ACL_DEFAULT, plain]]);
  expect(inheritedXattrs(node(0o100640), folder)).toEqual([]);
  const below = inheritedXattrs(node(0o040750), folder);
  expect(below).toEqual([{ xattrName: ACL_DEFAULT, xattrValue: plain }]);
});

test("a folder of btrfs hands its kind of compression on", () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const folder = node(0o040755, [["btrfs.compression", text("zstd:3")]]);
  const compression = { xattrName: "btrfs.compression", xattrValue: text("zstd") };
  expect(inheritedXattrs(node(0o100640), folder)).toEqual([compression]);
  expect(inheritedXattrs(node(0o040755), folder)).toEqual([compression]);
  for (const mode of [0o120777, 0o010644]) expect(inheritedXattrs(node(mode), folder)).toEqual([]);
  const without = node(0o040755, [["btrfs.compression", text("none")]]);
  expect(inheritedXattrs(node(0o100640), without)).toEqual([]);
});

test("a new mode goes into the ACL, that of the group into the mask", () => {
  const file = node(0o100517, [[ACL_ACCESS, NAMED(7, 7, 0)]]);
  expect(changedAcl(file)).toEqual([{ xattrName: ACL_ACCESS, xattrValue: NAMED(5, 1, 7) }]);
  file.mode = 0o104770;
  expect(changedAcl(file)).toEqual([]);
  const unmasked = acl([1, 7, NO_ID], [4, 7, NO_ID], [32, 7, NO_ID]);
  const folder = node(0o040710, [[ACL_ACCESS, unmasked]]);
  expect(changedAcl(folder)[0]?.xattrValue).toEqual(
    acl([1, 7, NO_ID], [4, 1, NO_ID], [32, 0, NO_ID]),
  );
});

test("ids that mean nothing are stored as none", () => {
  expect(storedAcl(acl([1, 7, 0], [2, 5, 1000], [4, 4, 5], [8, 1, 9], [16, 7, 0]))).toEqual(
    acl([1, 7, NO_ID], [2, 5, 1000], [4, 4, NO_ID], [8, 1, 9], [16, 7, NO_ID]),
  );
});

test("what is no ACL is left as it is", () => {
  for (const garbage of [new Uint8Array(0), new Uint8Array([2, 0]), new Uint8Array(15).fill(1)]) {
    expect(storedAcl(garbage)).toEqual(garbage);
    expect(changedAcl(node(0o100777, [[ACL_ACCESS, garbage]]))).toEqual([]);
  }
});

test("capabilities go with the content and the owner, not with the mode", () => {
  const file = node(0o100755, [["security.capability", new Uint8Array(20)]]);
  const gone = [{ xattrName: "security.capability", xattrValue: undefined }];
  for (const op of [Op.WRITE, Op.TRUNCATE, Op.FALLOCATE, Op.CHOWN]) {
    expect(lostXattrs(file, event(op))).toEqual(gone);
  }
  for (const op of [Op.CHMOD, Op.UTIMES, Op.LINK, Op.RENAME]) {
    expect(lostXattrs(file, event(op))).toEqual([]);
  }
  expect(lostXattrs(file, event(Op.WRITE, EventFlag.MAPPED))).toEqual([]);
  const folder = node(0o040755, [["security.capability", new Uint8Array(20)]]);
  expect(lostXattrs(folder, event(Op.CHOWN))).toEqual([]);
  expect(lostXattrs(node(0o100755), event(Op.WRITE))).toEqual([]);
});
