/** Names that are left out: nothing of them is recorded, but the folders they are in have the right time at each moment. */
import { expect, test } from "bun:test";
import { callRecord, openRecord } from "../../tests/support/kernel_records.ts";
import { bytes, dir, file, same } from "../../tests/support/resolve_records.ts";
import { ROOT_INODE, World } from "../../tests/support/resolve_world.ts";
import { KernelFlag } from "../format/kernel_record.ts";
import { EventFlag, Op } from "../format/trace_event.ts";

const D = dir(11);
/** Both folders as they are after the call of this moment. */
const root = (t: number) => ({ ...ROOT_INODE, mtimeNsec: t });
const sub = (t: number) => ({ ...D, mtimeNsec: t });

function world(lstat?: () => typeof ROOT_INODE): World {
  const assist = { read: () => bytes("new"), lstat };
  const w = new World({ excluded: (path) => path.endsWith(".o"), assist });
  w.baseline(D, { parent: 1, name: "d" });
  return w;
}

/** The UTIMES events as "node at moment by process". */
function times(w: World): string[] {
  return w.sink.events.filter((event) => event.op === Op.UTIMES)
    .map(({ node, mtime, tNs, pid }) => `${node} ${mtime?.nsec} ${tNs} ${pid}`);
}

test("every call that makes or removes a name left out tells the time of its folder", () => {
  const w = world();
  const made = file(20, { nlink: 2 });
  const base = [ROOT_INODE, ROOT_INODE];
  const call = (t: number, name: string, ...str: string[]) =>
    callRecord({ t, pid: 7 }, name, { base, str, touched: [root(t), made] });
  w.feed(
    openRecord({ t: 2, flags: KernelFlag.CREATED, pid: 8 }, {
      ...{ inode: file(30), parent: sub(2), name: "a.o" },
    }),
    call(3, "mkdir", "m.o"),
    call(4, "symlink", "x", "s.o"),
    call(5, "mknod", "n.o"),
    call(6, "link", "n.o", "l.o"),
    call(7, "rename", "l.o", "r.o"),
    call(8, "unlink", "r.o"),
    call(9, "rmdir", "m.o"),
  );
  expect(times(w)).toEqual(["2 2 2 8", ...[3, 4, 5, 6, 7, 8, 9].map((t) => `1 ${t} ${t} 7`)]);
  expect(w.sink.events.every((event) => event.op === Op.UTIMES && event.flags === 0)).toBe(true);
  expect(w.resolver.stats).toMatchObject({ held: 0, unresolved: 0 });
  same(w);
});

test("a rename to or from a name left out tells the times of both folders", () => {
  const w = world();
  const f = file(40, { size: 3 });
  const base = [ROOT_INODE, ROOT_INODE];
  const call = (t: number, ...str: string[]) =>
    callRecord({ t }, "rename", { base, str, touched: [root(t), sub(t), f] });
  w.feed(call(2, "d/f.o", "f"));
  expect([w.tree.node(1)?.mtimeNsec, w.tree.node(2)?.mtimeNsec]).toEqual([2, 2]);
  w.feed(call(3, "f", "d/f.o"));
  expect([w.tree.node(1)?.mtimeNsec, w.tree.node(2)?.mtimeNsec]).toEqual([3, 3]);
  expect(w.ops()).toEqual(["RENAME", "RESYNC", "RENAME"]);
  w.feed(call(4, "d/f.o", "g.o"));
  expect(times(w)).toEqual(["2 4 4 100", "1 4 4 100"]);
  same(w);
});

test("a folder that has the time already needs no event; one that was not told of is looked at", () => {
  const w = world(() => root(9));
  const str = ["/w/m.o"];
  w.feed(callRecord({ t: 2 }, "mkdir", { str, touched: [ROOT_INODE] }));
  expect(w.ops()).toEqual([]);
  w.feed(callRecord({ t: 3 }, "mkdir", { str }), callRecord({ t: 4 }, "rmdir", { str }));
  expect(times(w)).toEqual(["1 9 3 100"]);
  expect(w.sink.events[0]?.flags).toBe(EventFlag.SETTLED);
  same(w);
});
