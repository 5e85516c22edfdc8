import { expect, test } from "bun:test";
import {
  callRecord,
  openRecord,
  skipRecord,
  writeRecord,
} from "../../tests/support/kernel_records.ts";
import { bytes, create, file, same } from "../../tests/support/resolve_records.ts";
import { ROOT_INODE, World } from "../../tests/support/resolve_world.ts";
import { KernelFlag } from "../format/kernel_record.ts";
import { EventFlag } from "../format/trace_event.ts";
import { RACE_RECORDS_MAX, RACE_WAIT_NS, REORDER_RECORDS_MAX, REORDER_WAIT_NS } from "./bounds.ts";

test("writes take the order of the inode lock", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(1, f, "a"));
  const put = (t: number, tid: number, seq: number, text: string) =>
    writeRecord({ t, tid, enter: 1 }, { inode: f, offset: 0, payload: bytes(text), lockSeq: seq });
  w.feed(put(10, 1, 2, "B"), put(11, 1, 4, "D"), put(12, 2, 1, "A"), put(13, 2, 3, "C"));
  w.feed(put(14, 1, 5, "E"));
  const texts = w.sink.events.slice(1).map((e) => new TextDecoder().decode(w.sink.bytes(e)));
  expect(texts.join("")).toBe("ABCDE");
  same(w);
});

test("a lock number that never comes is given up", () => {
  const w = new World();
  const f = file(10);
  const write = (t: number, lockSeq: number, tid = 1) =>
    writeRecord({ t, tid }, { inode: f, offset: 0, payload: bytes("x"), lockSeq });
  w.feed(create(1, f, "a"));
  for (let i = 0; i < 200; i++) w.feed(write(10 + i, i < 50 ? i + 1 : i + 2));
  expect(w.sink.events.length).toBe(51);
  w.feed(write(REORDER_WAIT_NS + 60, 202));
  expect(w.sink.events.length).toBe(202);
  w.feed(write(REORDER_WAIT_NS + 99, 51, 9));
  expect(w.last().flags & EventFlag.CONCURRENT).toBe(EventFlag.CONCURRENT);
});

test("waiting for a lock number is bounded in records too", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(1, f, "a"));
  for (let i = 0; i < REORDER_RECORDS_MAX; i++) {
    w.feed(writeRecord({ t: 2 }, { inode: f, offset: i, payload: bytes("x"), lockSeq: i + 2 }));
  }
  expect(w.sink.events.length).toBe(1 + REORDER_RECORDS_MAX);
});

test("a name is in doubt from its turn on, not from when it began to wait for it", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(1, f, "a"));
  const gone = callRecord({ t: 10, tid: 2, enter: 8 }, "unlink", {
    base: [ROOT_INODE, ROOT_INODE],
    str: ["b"],
    touched: [ROOT_INODE, { ...f, nlink: 0 }],
    lockSeq: 2,
  });
  w.feed(gone);
  const other = file(11);
  for (let i = 0; i < 2 * RACE_RECORDS_MAX; i++) {
    w.feed(
      writeRecord({ t: 11 }, { inode: other, offset: i, payload: bytes("x"), lockSeq: i + 3 }),
    );
  }
  const later = 2 * RACE_WAIT_NS;
  w.feed(skipRecord({ t: later, tid: 4 }, 1));
  // now it is the turn of the unlink, whose name another call, which has no number, brings only now
  w.feed(callRecord({ t: later + 1, tid: 3, enter: 5 }, "rename", {
    base: [ROOT_INODE, ROOT_INODE],
    str: ["a", "b"],
    touched: [ROOT_INODE, f],
  }));
  expect(w.resolver.stats.unresolved).toBe(0);
  expect(w.ops().slice(0, 3)).toEqual(["CREATE", "RENAME", "UNLINK"]);
});

test("changes of names and of bytes take effect in the order of their locks", () => {
  const w = new World();
  const f = file(10);
  const g = file(11);
  const base = [ROOT_INODE, ROOT_INODE];
  w.feed(
    // returned last, happened first
    openRecord({ t: 9, tid: 1, flags: KernelFlag.CREATED }, {
      inode: g,
      parent: ROOT_INODE,
      name: "a",
      lockSeq: 4,
    }),
    writeRecord({ t: 10, tid: 2 }, { inode: f, offset: 0, payload: bytes("xy"), lockSeq: 2 }),
    skipRecord({ t: 11, tid: 4 }, 5),
    callRecord({ t: 12, tid: 3 }, "unlink", {
      base,
      str: ["a"],
      touched: [ROOT_INODE, { ...f, nlink: 0 }],
      lockSeq: 3,
    }),
  );
  expect(w.ops()).toEqual([]);
  w.feed(
    openRecord({ t: 13, tid: 5, flags: KernelFlag.CREATED }, {
      inode: f,
      parent: ROOT_INODE,
      name: "a",
      lockSeq: 1,
    }),
    writeRecord({ t: 14, tid: 1 }, { inode: g, offset: 0, payload: bytes("z"), lockSeq: 6 }),
  );
  expect(w.ops()).toEqual(["CREATE", "WRITE", "UNLINK", "CREATE", "WRITE"]);
  expect(w.sink.events.every((event) => (event.flags & EventFlag.CONCURRENT) === 0)).toBe(true);
  expect(w.paths()).toEqual(["a"]);
  same(w);
});

test("made and removed while an older number is awaited: both happen, in their turn", () => {
  const w = new World();
  const f = file(10);
  const g = file(11);
  const base = [ROOT_INODE, ROOT_INODE];
  w.baseline(g, { parent: 1, name: "g" });
  w.feed(
    openRecord({ t: 2, tid: 1, flags: KernelFlag.CREATED }, {
      inode: f,
      parent: ROOT_INODE,
      name: "a",
      lockSeq: 2,
    }),
    callRecord({ t: 3, tid: 1 }, "rename", {
      base,
      str: ["a", "b"],
      touched: [ROOT_INODE, f],
      lockSeq: 3,
    }),
    callRecord({ t: 4, tid: 1 }, "unlink", {
      base,
      str: ["b"],
      touched: [ROOT_INODE, { ...f, nlink: 0 }],
      lockSeq: 4,
    }),
    writeRecord({ t: 5, tid: 2 }, { inode: g, offset: 0, payload: bytes("x"), lockSeq: 1 }),
  );
  expect(w.ops()).toEqual(["WRITE", "CREATE", "RENAME", "UNLINK"]);
  expect(w.paths()).toEqual(["g"]);
});

test("what the file held at the end of a call stands in the order it was taken", () => {
  const w = new World({ assist: { read: () => bytes("later") } });
  const f = file(10, { size: 4 });
  w.baseline(f, { parent: 1, name: "a" });
  const flags = KernelFlag.CACHED;
  const one = { inode: f, offset: 0, payload: bytes("aabb"), lockSeq: 1 };
  const two = { inode: f, offset: 2, payload: bytes("bb"), lockSeq: 2 };
  // both calls ran at once, and the second one's record came first
  w.feed(
    writeRecord({ t: 5, enter: 1, tid: 2, flags }, two),
    writeRecord({ t: 6, enter: 2, tid: 1, flags }, one),
  );
  expect(w.ops()).toEqual(["WRITE", "WRITE"]);
  const [first, second] = w.sink.events;
  expect([first?.offset, second?.offset]).toEqual([0, 2]);
  // nothing is read back late, and the second one says that its place within the calls is not known
  expect((second?.flags ?? 0) & EventFlag.SETTLED).toBe(0);
  expect((second?.flags ?? 0) & EventFlag.CONCURRENT).not.toBe(0);
});

test("a truncate that changed nothing cuts nothing", () => {
  const w = new World({ assist: { read: () => bytes("later") } });
  const f = file(10, { size: 4 });
  const id = w.baseline(f, { parent: 1, name: "a" });
  const base = [ROOT_INODE];
  w.feed(
    // tells that this filesystem says what a call touches
    callRecord({ t: 1 }, "chmod", { base, str: ["a"], arg: [0o600], touched: [f] }),
    // to 4, before the write made it longer; its record came later, and it took no number
    writeRecord({ t: 5, enter: 2, tid: 2 }, { inode: f, offset: 2, payload: bytes("bbbb") }),
    callRecord({ t: 6, enter: 1, tid: 1 }, "truncate", { base, str: ["a"], arg: [4] }),
  );
  expect(w.tree.node(id)?.size).toBe(6);
  expect(w.ops()).not.toContain("TRUNCATE");
  expect(w.ops()).not.toContain("RESYNC");
  w.feed(callRecord({ t: 9, enter: 8, tid: 1 }, "truncate", { base, str: ["a"], arg: [6] }));
  expect(w.ops().at(-1)).toBe("TRUNCATE");
  expect(w.tree.node(id)?.size).toBe(6);
});
