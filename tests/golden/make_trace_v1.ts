/**
 * Makes tests/golden/trace_v1/trace.db, a trace of format version 1 with every op, flag, tag and sort of row, and
 * trace_v1.json, what a reader must find in it. Run once, when version 1 was fixed: `bun tests/golden/make_trace_v1.ts`.
 * The files stay as they are for ever; a later version gets files of its own.
 */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EventBatchEncoder, EventCursor, WriteHead } from "../../src/format/event_codec.ts";
import { sha256Hex } from "../../src/format/keys.ts";
import { encodeEnd, encodeRecording } from "../../src/format/recording_info.ts";
import { EventFlag, Op, type TraceEvent } from "../../src/format/trace_event.ts";
import { encodeVersions } from "../../src/format/versions_codec.ts";
import type { TraceReader } from "../../src/store/trace_reader.ts";
import { TraceWriter } from "../../src/store/trace_writer.ts";

const BEFORE = new TextEncoder().encode("before the command\n");
const LARGE = Uint8Array.from({ length: 20_000 }, (_, index) => index % 251);
const PATH = "/work/caf\xc3\xa9/\xff.log";
const SEC = 1_700_000_000;

const base = (tNs: number) => ({ seq: 0, flags: 0, tNs, pid: 4711, tid: 4712, comm: "python3" });
const mtime = { sec: SEC, nsec: 999_999_999 };
const attr = {
  mode: 0o100644,
  uid: 1000,
  gid: 100,
  rdev: 0,
  nlink: 1,
  dev: 0x800_0001,
  gen: 77,
  ino: 2 ** 40 + 5,
  size: 19,
};
const folder = { ...attr, mode: 0o40755, nlink: 2, size: 4096 };

const RECORDING = {
  argv: ["python3", "t.py"],
  cwd: "/work",
  name: "golden",
  envNames: ["HOME", "PATH"],
  rootPaths: ["/work", "/caf\xc3\xa9/\xff"],
  startEpochNs: 1_795_251_600_123_456_789n,
  kernel: "6.18.44",
  machine: "x86_64",
  host: "golden",
  tracer: "none",
  versions: { diffkeeper: "0.1.0", trace: "1" },
};
const END = {
  exitCode: 7,
  endNs: 60,
  events: 28,
  bytes: 28_322,
  files: 6,
  lostEvents: 3,
  lostBytes: 2 ** 41,
  losses: { ring_full: 3 },
};
const PROCESS = {
  pid: 4711,
  ppid: 1,
  exe: "/usr/bin/python3",
  argv: ["python3", "t.py"],
  cwd: "/work",
  uid: 1000,
  gid: 100,
  comm: "python3",
  startNs: 3,
};

/** The baseline: a root, a folder, a file with content, a symlink, a second name, a device. */
function baseline(row: number): TraceEvent[] {
  const at = { ...base(0), pid: 0, tid: 0, comm: "", op: Op.BASELINE };
  const device = { ...attr, mode: 0o20600, rdev: 0x10_0003 };
  const extents = [{ row, offset: 0, length: BEFORE.length, at: 0 }];
  return [
    { ...at, node: 1, mtime, parent: 0, name: "/work", attr: folder, root: 0 },
    { ...at, node: 2, mtime, parent: 1, name: "caf\xc3\xa9", attr: folder },
    { ...at, node: 3, mtime, parent: 2, name: "\xff.log", attr, extents },
    { ...at, op: Op.LINK, node: 3, parent: 1, name: "second" },
    { ...at, node: 4, mtime, parent: 1, name: "l", attr: { ...attr, mode: 0o120777 }, target: "x" },
    { ...at, node: 5, mtime: { sec: -1, nsec: 0 }, parent: 1, name: "null", attr: device },
  ];
}

/** Names: everything that makes, moves and removes them. */
function nameEvents(): TraceEvent[] {
  const dirTimes = [{ node: 1, mtime }, { node: 2, mtime: { sec: -5, nsec: 7 } }];
  const rename = { ...base(20), op: Op.RENAME, node: 6, parent: 1, name: "a", toName: "b" };
  return [
    { ...base(10), op: Op.CREATE, node: 6, mtime, parent: 1, name: "a", attr, dirTimes },
    { ...base(11), op: Op.MKDIR, node: 7, mtime, parent: 1, name: "d", attr: folder },
    { ...base(12), op: Op.SYMLINK, node: 8, parent: 1, name: "s", attr, target: "../\xfe" },
    { ...base(13), op: Op.MKNOD, node: 9, parent: 1, name: "p", attr: { ...attr, mode: 0o10600 } },
    { ...base(14), op: Op.LINK, node: 6, parent: 7, name: "hard", attr },
    { ...rename, toParent: 7, victim: 3 },
    { ...rename, flags: EventFlag.EXCHANGE, toParent: 1, victim: 8 },
    { ...rename, toParent: 0, victim: 0 },
    { ...base(21), op: Op.UNLINK, node: 6, parent: 7, name: "hard" },
    { ...base(22), op: Op.RMDIR, node: 7, parent: 1, name: "d", dirTimes },
  ];
}

/** Content and attributes. */
function contentEvents(row: number): TraceEvent[] {
  const write = { ...base(30), op: Op.WRITE, node: 6, mtime };
  const large = [
    { row, offset: 0, length: 8_192, at: 0 },
    { row, offset: 8_192, length: LARGE.length - 8_192, at: 2 ** 33 },
  ];
  const attrs = { ...base(34), node: 6, attr };
  const note = { ...base(40), node: 0 };
  return [
    { ...write, offset: 2 ** 32 + 1, length: LARGE.length + 8_192, extents: large },
    { ...write, flags: EventFlag.UNREAD | EventFlag.OUTSIDE, offset: 0, length: 100 },
    { ...base(31), op: Op.TRUNCATE, node: 6, mtime, length: 5_000_000_000 },
    { ...base(32), op: Op.FALLOCATE, flags: EventFlag.KEEP_SIZE, node: 6, offset: 1, length: 4096 },
    { ...base(33), op: Op.RESYNC, flags: EventFlag.SETTLED, node: 6, length: 0, extents: [], attr },
    { ...attrs, op: Op.CHMOD },
    { ...attrs, op: Op.CHOWN, flags: EventFlag.CONCURRENT },
    { ...attrs, op: Op.UTIMES, mtime: { sec: -2_000_000_000, nsec: 1 } },
    { ...base(35), op: Op.XATTR, node: 6, xattrName: "user.a", xattrValue: new Uint8Array([0, 1]) },
    { ...base(35), op: Op.XATTR, node: 6, xattrName: "user.b", xattrValue: new Uint8Array(0) },
    { ...base(35), op: Op.XATTR, node: 6, xattrName: "user.c" },
    { ...base(36), op: Op.MMAP, node: 6, offset: 4096, length: 8192 },
    { ...note, op: Op.EXEC, path: "/usr/bin/python3", argv: ["python3", "", "-c", "caf\xc3\xa9"] },
    { ...note, op: Op.EXIT, length: 7 << 8 },
    {
      ...note,
      op: Op.GAP,
      text: "ring full \u2713",
      loss: { events: 3, bytes: 2 ** 41 },
      path: "/w",
    },
    { ...note, op: Op.NOTE, comm: "0123456789abcdef", text: "" },
  ];
}

function appendWrites(encoder: EventBatchEncoder): number {
  const head = new WriteHead();
  Object.assign(head, { tNs: 50, pid: 1, tid: 2, node: 6, comm0: 0x6873, mtimeSec: SEC });
  Object.assign(head, { mtimeNsec: 5, offset: 12, length: 15, payload: 15, start: 3 });
  head.source = new TextEncoder().encode("...status: broken\n....");
  const at = encoder.appendWrite(head);
  Object.assign(head, { op: Op.OUTPUT, node: 0, offset: 2, mtimeNsec: 0xffff_ffff, mtimeSec: 0 });
  encoder.appendWrite(head);
  return at;
}

/** Writes the trace into a folder. */
export function makeTraceV1(dir: string): void {
  const writer = TraceWriter.create(dir);
  const encoder = new EventBatchEncoder();
  writer.begin();
  writer.putRecording(encodeRecording(RECORDING));
  const content = writer.putContent(sha256Hex(BEFORE), BEFORE);
  for (const event of baseline(content)) encoder.append(event);
  writer.putBaseline(0, encoder.finish(0));
  writer.commit();

  encoder.reset();
  for (const event of nameEvents()) encoder.append(event);
  writer.begin();
  const first = writer.putBatch({ tNs: 10, seq: 1, value: encoder.finish(1) });
  writer.putProcess({ startNs: 3, pid: 4711 }, PROCESS);
  writer.commit();

  encoder.reset();
  const batch = writer.reserveRow();
  const data = writer.reserveRow();
  for (const event of contentEvents(data)) encoder.append(event);
  const at = appendWrites(encoder);
  writer.begin();
  writer.putData([LARGE.subarray(0, 5), LARGE.subarray(5)], data);
  writer.putBatch({ row: batch, tNs: 30, seq: 11, value: encoder.finish(11) });
  const created = { seq: 1, tNs: 10, row: first, offset: 40, op: Op.CREATE, flags: 0, size: 0 };
  const written = { seq: 27, tNs: 50, row: batch, offset: at, op: Op.WRITE, flags: 0, size: 27 };
  writer.putVersions({ path: PATH, tNs: 10 }, encodeVersions([created]));
  writer.putVersions({ path: PATH, tNs: 30 }, encodeVersions([written]));
  writer.putProcess({ startNs: 3, pid: 4711 }, { ...PROCESS, endNs: 60, exit: 7 << 8 });
  writer.commit();
  writer.finish(encodeEnd(END));
}

/** Everything a reader finds, as text; byte arrays as hex. */
export function dumpTrace(reader: TraceReader): string {
  const events = (cursor: EventCursor) => {
    const found: TraceEvent[] = [];
    while (cursor.next()) found.push(cursor.event());
    return found;
  };
  const pointed = (event: TraceEvent) =>
    (event.extents ?? []).map((extent) => Bun.hash.xxHash3(reader.slice(extent)).toString(16));
  const baseline = [...reader.baselineBatches()].flatMap(({ cursor }) => events(cursor));
  const batches = [...reader.journalBatches()];
  const journal = batches.flatMap(({ cursor }) => events(cursor));
  const found = {
    info: reader.info(),
    baseline,
    batches: batches.map(({ row, tNs, seq, cursor }) => ({ row, tNs, seq, count: cursor.count })),
    journal,
    contentXxh3: [...baseline, ...journal].map(pointed).filter((hashes) => hashes.length > 0),
    processes: reader.processes(),
    versions: reader.versions(PATH),
    content: reader.content(sha256Hex(BEFORE)),
  };
  const text = JSON.stringify(found, (_key, value) => {
    return value instanceof Uint8Array ? `hex:${Buffer.from(value).toString("hex")}` : value;
  }, 1);
  return `${text}\n`;
}

if (import.meta.main) {
  const { TraceReader } = await import("../../src/store/trace_reader.ts");
  const dir = join(import.meta.dir, "trace_v1");
  rmSync(dir, { recursive: true, force: true });
  makeTraceV1(dir);
  const reader = TraceReader.open(dir);
  writeFileSync(join(import.meta.dir, "trace_v1.json"), dumpTrace(reader));
  reader.close();
}
