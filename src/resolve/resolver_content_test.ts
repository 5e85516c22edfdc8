import { expect, test } from "bun:test";
import {
  callRecord,
  execRecord,
  exitRecord,
  forkRecord,
  mmapRecord,
  noteRecord,
  touchedRecord,
  writeRecord,
} from "../../tests/support/kernel_records.ts";
import { bytes, create, dir, file } from "../../tests/support/resolve_records.ts";
import { ROOT_INODE, World } from "../../tests/support/resolve_world.ts";
import { KernelFlag, Kind } from "../format/kernel_record.ts";
import { EventFlag } from "../format/trace_event.ts";

test("a write in several records is one event; a lost end is said", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(1, f, "a"));
  const whole = new Uint8Array(300_000).map((_, i) => i % 251);
  const part = (from: number, to: number, kind: number, more: boolean) =>
    writeRecord({ t: 2, ret: whole.length }, {
      ...{ inode: f, offset: 7, payload: whole.slice(from, to), payloadOff: from, kind, more },
    });
  w.feed(part(0, 262_144, Kind.WRITE, true));
  w.feed(part(262_144, 300_000, Kind.CHUNK, false));
  expect(w.sink.bytes(w.last())).toEqual(whole);
  expect(w.tree.node(2)?.size).toBe(300_007);
  w.feed(part(0, 100, Kind.WRITE, true));
  w.resolver.flush();
  expect(w.last().flags & EventFlag.UNREAD).toBe(EventFlag.UNREAD);
  expect(w.last().length).toBe(300_000);
});

test("a small vector of pieces is one inline event", () => {
  const w = new World();
  const f = file(10);
  w.feed(create(1, f, "a"));
  const who = { t: 2, ret: 6 };
  const at = { inode: f, offset: 0 };
  w.feed(
    writeRecord(who, { ...at, payload: bytes("ab"), more: true }),
    writeRecord(who, { ...at, payload: bytes("c"), payloadOff: 2, kind: Kind.CHUNK, more: true }),
    writeRecord(who, { ...at, payload: bytes("def"), payloadOff: 3, kind: Kind.CHUNK }),
  );
  expect(w.last().inline).toEqual(bytes("abcdef"));
});

test("payload that was not captured is read back", () => {
  const w = new World({
    assist: { read: (_t, r) => bytes("0123456789").slice(r.offset, r.offset + r.length) },
  });
  const f = file(10, { size: 10 });
  w.baseline(f, { parent: 1, name: "a" });
  const who = { t: 2, ret: 4, flags: KernelFlag.NO_PAYLOAD };
  w.feed(writeRecord(who, { inode: f, offset: 3, payload: new Uint8Array(0) }));
  expect(w.sink.bytes(w.last())).toEqual(bytes("3456"));
  expect(w.last().flags).toBe(EventFlag.SETTLED | EventFlag.EXTENTS);
});

test("a path whose page was away is read from the stopped task; without that it is a gap", () => {
  const touched = [ROOT_INODE, dir(12)];
  const mkdir = callRecord({ t: 1, pid: 9 }, "mkdir", {
    base: [ROOT_INODE],
    touched,
    away: [4096],
  });
  const asked: unknown[] = [];
  const w = new World({
    assist: {
      memory: (...args) => {
        asked.push(args);
        return "d";
      },
    },
  });
  w.feed(mkdir);
  expect(w.paths()).toEqual(["d/"]);
  expect(asked).toEqual([[9, 4096, undefined]]);
  const blind = new World();
  blind.feed(mkdir);
  expect(blind.ops()).toEqual(["GAP"]);
  expect(blind.resolver.stats.lostEvents).toBe(1);
});

test("output, processes, notes, mappings", () => {
  const w = new World();
  const f = file(10);
  w.baseline(f, { parent: 1, name: "a" });
  w.feed(
    execRecord({ t: 1, pid: 7 }, { exe: "/usr/bin/make", argv: ["make", "-j"], cwd: ROOT_INODE }),
    forkRecord({ t: 2, pid: 7 }, 8),
    forkRecord({ t: 2, pid: 8, flags: KernelFlag.THREAD }, 8),
    writeRecord({ t: 3, pid: 8, fd: 1 }, {
      ...{ inode: file(99), offset: 0, payload: bytes("hi\n"), kind: Kind.OUTPUT },
    }),
    mmapRecord({ t: 4, pid: 8 }, { inode: f, offset: 0, length: 4096 }),
    mmapRecord({ t: 5, pid: 8 }, { inode: f, offset: 0, length: 4096 }),
    noteRecord({ t: 6, pid: 8 }, 1),
    exitRecord({ t: 7, pid: 8 }, 0, false),
    exitRecord({ t: 8, pid: 8 }, 3 << 8),
  );
  expect(w.ops()).toEqual(["EXEC", "OUTPUT", "MMAP", "NOTE", "EXIT"]);
  expect(w.sink.events[1]).toMatchObject({ offset: 1, length: 3, inline: bytes("hi\n") });
  expect(w.last().length).toBe(768);
  expect(w.sink.processes.map((p) => [p.pid, p.exe, p.cwd, p.exit])).toEqual([
    [7, "/usr/bin/make", "/w", undefined],
    [8, "/usr/bin/make", "/w", undefined],
    [8, "/usr/bin/make", "/w", 768],
  ]);
});

test("a call that was killed has done a part of its work: what the file holds is read", () => {
  const w = new World({ assist: { read: (_t, r) => bytes("0000456789").slice(r.offset) } });
  const f = file(10, { size: 10 });
  w.baseline(f, { parent: 1, name: "a" });
  w.feed(touchedRecord({ t: 2, ret: -95 }, { touched: [f], lockSeq: 1 })); // EOPNOTSUPP
  expect(w.ops()).toEqual([]);
  w.feed(touchedRecord({ t: 3, ret: -4 }, { touched: [f], lockSeq: 2 })); // EINTR
  expect(w.ops()).toEqual(["RESYNC"]);
  expect(w.resolver.suspects.has(2)).toBe(true);
});

test("what a failed call saw without the lock counts only as its own doing", () => {
  const WALL = 1_000;
  const w = new World({ wallClock: () => ({ start: WALL, now: WALL + 8 }) });
  const at = (second: number, mode = 0o104644) =>
    file(10, { mtimeSec: WALL + Math.floor(second), mtimeNsec: (second % 1) * 1e9, mode });
  w.baseline(at(20), { parent: 1, name: "a" });
  const mtime = () => (w.tree.node(2)?.mtime()?.sec ?? 0) - WALL;
  const failed = (state: ReturnType<typeof file>, lockSeq = 0) => {
    const who = { t: 5e9, enter: 4e9, ret: -22 }; // EINVAL
    w.feed(touchedRecord(who, { touched: [state], lockSeq }));
  };
  failed(at(3)); // before the call began
  failed(at(3, 0o104600)); // another task's chmod
  failed(at(6)); // after it
  expect(w.ops()).toEqual([]);
  failed(at(4)); // the known time was set into the future by utimes
  expect(mtime()).toBe(4);
  failed(at(5));
  failed(at(4)); // another call's time is known, which is later
  expect(mtime()).toBe(5);
  w.feed(touchedRecord({ t: 8e9, enter: 6e9, ret: -22 }, { touched: [at(7)], lockSeq: 0 }));
  failed(at(5)); // and one that is later than this call
  expect(mtime()).toBe(7);
  failed(at(3, 0o100644));
  expect(w.tree.node(2)?.mode).toBe(0o100644);
  failed(at(1), 1);
  expect(mtime()).toBe(1);
  expect(w.ops()).toEqual(["UTIMES", "UTIMES", "UTIMES", "UTIMES", "UTIMES"]);
});
