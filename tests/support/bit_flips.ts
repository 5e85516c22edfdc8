/**
 * A small trace with every sort of row, one bit of its file flipped, and what the commands that read traces then say. The
 * flip is made in place and taken back. Reading goes through the same functions as the commands, in this process.
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { DiffKeeperError } from "../../src/base/error.ts";
import { EFFORT_SMALL } from "../../src/compact/blob_maker.ts";
import { compactTrace } from "../../src/compact/compact_trace.ts";
import { factsOf } from "../../src/cli/info.ts";
import { TimelineJson } from "../../src/cli/timeline_json.ts";
import { TimelineText } from "../../src/cli/timeline_text.ts";
import { parseTime, resolveTime } from "../../src/format/time_expr.ts";
import { Op } from "../../src/format/trace_event.ts";
import { foldBursts, single } from "../../src/history/bursts.ts";
import { exportTree } from "../../src/history/export.ts";
import { closeFd, isRoot } from "../../src/history/target.ts";
import { openTarget } from "../../src/history/target_folder.ts";
import { Timeline } from "../../src/history/timeline.ts";
import { Trace } from "../../src/history/trace.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { Model, Random } from "../property/model.ts";
import { attr, TraceBuilder } from "../trace_builder.ts";
import { ProgramVersions } from "./program_versions.ts";
import { TextVersions } from "./text_versions.ts";
import { ByteKind, byteKinds } from "./sqlite_layout.ts";

/** Events of the model's life; the trace then has 0.6 MB and b-trees of two levels. */
const STEPS = 250;
/** Of the program in a packed trace: as few as its differences need to be made. */
const FUNCTIONS = 2_800;
const LARGE_BYTES = 40_000;
const LOG_LINES = 1_200;
const LOG_PIECE_BYTES = 3_600;

/** Makes the trace and packs it, with keyframes. */
export function makePackedTrace(dir: string, seed: number, options: TraceOptions = {}): void {
  makeTrace(dir, seed, options);
  const spacing = { keyframeEvents: 60, keyframeEventsPerNode: 0.1 };
  compactTrace(dir, {
    settings: { effort: EFFORT_SMALL, segmentBytes: 6_000, solidPrefixBytes: 512, ...spacing },
  });
}

/** What a trace has beside what all have. */
export interface TraceOptions {
  /** Versions of a program of so many functions; 0: none. */
  functions?: number;
}

/** Makes the trace; the same seed gives the same. */
export function makeTrace(dir: string, seed: number, options: TraceOptions = {}): void {
  const random = new Random(seed);
  const builder = new TraceBuilder(dir, { batchEvents: 7, index: true });
  const model = new Model(random, (event) => builder.event(event));
  builder.baseline(model.rootEvent());
  for (let i = 0; i < 30; i++) {
    const bytes = random.bytes(1 + random.below(i < 25 ? 300 : LARGE_BYTES));
    builder.baseline({
      op: Op.BASELINE,
      node: 1000 + i,
      parent: 1,
      name: `before-${i}`,
      mtime: { sec: 1_600_000_000, nsec: i },
      attr: attr(0o100644, { size: bytes.length }),
      extents: [{ row: builder.content(bytes), offset: 0, length: bytes.length, at: 0 }],
    });
  }
  for (let pid = 1; pid <= 30; pid++) builder.process(pid * 1000, pid);
  const text = new TextVersions(builder, random);
  const program = new ProgramVersions(new Random(seed), options.functions ?? 0);
  for (let step = 0; step < STEPS; step++) {
    model.step();
    if (step % 12 === 0) text.step();
    if (options.functions !== undefined && step % 50 === 10) program.write(builder);
  }
  builder.write(1000, 0, { op: Op.WRITE, bytes: random.bytes(LARGE_BYTES) });
  appendLog(builder, random);
  builder.finish({ audit: { entries: 40, contents: 0, written: 0, differences: 0, left: 0 } });
}

/** A log in so many pieces that one batch has enough of it to be packed as lines. */
function appendLog(builder: TraceBuilder, random: Random): void {
  let offset = 0;
  for (let line = 0; line < LOG_LINES;) {
    let text = "";
    while (text.length < LOG_PIECE_BYTES) {
      const [level, took] = [random.below(20) === 0 ? "warn" : "info", random.below(3_000)];
      text += `13:00:${
        String(line % 60).padStart(2, "0")
      } ${level}: request ${line++} took ${took} ms\n`;
    }
    builder.write(1001, offset, { op: Op.WRITE, bytes: text });
    offset += text.length;
  }
}

/** What all the commands say of a trace: one text, the same for the same trace. */
function say(dir: string, out: string): string {
  const trace = Trace.open(dir);
  try {
    const lines = [JSON.stringify(factsOf(trace)), trace.cutText() ?? ""];
    const json = new TimelineJson(trace);
    for (const entry of new Timeline(trace, {}).entries()) {
      lines.push(json.line(single(entry).last));
    }
    const text = new TimelineText(trace, { color: false, aligned: true, why: true });
    const { lastSeq } = trace.range();
    const middle = resolveTime(parseTime(`#${Math.ceil(lastSeq / 2)}`), trace.range(), {});
    for (const burst of foldBursts(new Timeline(trace, { from: middle }).entries())) {
      lines.push(text.line(burst));
    }
    for (const time of ["start", `#${Math.ceil(lastSeq / 2)}`, "end"]) {
      lines.push(...exported(trace, time, out));
    }
    return lines.join("\n");
  } finally {
    trace.close();
  }
}

/** The exported tree, entry by entry. */
function exported(trace: Trace, time: string, out: string): string[] {
  const history = trace.foldTo(resolveTime(parseTime(time), trace.range(), {}));
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out);
  const target = openTarget(out, { force: false, stateDir: trace.reader.dir });
  try {
    const { rootPaths } = trace.recording;
    const report = exportTree(history, trace, { target, rootPaths, owner: isRoot() });
    return [JSON.stringify(report), ...entriesOf(out)];
  } finally {
    closeFd(target);
  }
}

function entriesOf(root: string): string[] {
  const lines: string[] = [];
  const open = [""];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const bytes = Buffer.from(`${root}${path}`, "latin1");
    const { mode, uid, gid, size, mtimeNs, nlink } = lstatSync(bytes, { bigint: true });
    let content = "";
    const type = Number(mode) & 0o170000;
    if (type === 0o100000) {
      content = new Bun.CryptoHasher("sha1").update(readFileSync(bytes)).digest("hex");
    }
    if (type === 0o120000) content = readlinkSync(bytes, { encoding: "buffer" }).toString("hex");
    const isFolder = type === 0o040000;
    // The size of a folder is the file system's business.
    const shown = isFolder ? 0 : size;
    lines.push([path, mode, uid, gid, shown, mtimeNs, isFolder ? 0 : nlink, content].join(" "));
    if (!isFolder) continue;
    for (const name of readdirSync(bytes, { encoding: "buffer" })) {
      open.push(`${path}/${name.toString("latin1")}`);
    }
  }
  return lines.sort();
}

/** What came of one flipped bit. */
export interface FlipResult {
  /** Of the byte: key or value in the table, key in the index, or neither. */
  kind: number;
  /** verify found it. */
  found: boolean;
  /** The other commands: an error, or the same as without the flip. */
  read: "error" | "same";
  /** What must not be; empty: all is well. */
  wrong: string;
}

/** Flips bits of one trace. */
export class BitFlips {
  readonly sizeBytes: number;
  readonly path: string;
  readonly #dir: string;
  readonly #out: string;
  readonly #kinds: Uint8Array;
  readonly #expected: string;

  /** @param folder that may be written to. */
  constructor(folder: string, seed: number, options: { packed: boolean } = { packed: false }) {
    this.#dir = join(folder, "trace");
    this.#out = join(folder, "out");
    if (options.packed) makePackedTrace(this.#dir, seed, { functions: FUNCTIONS });
    else makeTrace(this.#dir, seed);
    this.path = join(this.#dir, "trace.db");
    this.#kinds = byteKinds(this.path);
    this.sizeBytes = this.#kinds.length;
    this.#expected = say(this.#dir, this.#out);
    const { problems } = verifyTrace(this.#dir);
    if (problems.length > 0) throw new Error(`the trace is damaged: ${JSON.stringify(problems)}`);
  }

  /** Bytes that belong to no key or value and are not zero: SQLite's own, nearly all of them in use. */
  structure(): number[] {
    const bytes = readFileSync(this.path);
    const places: number[] = [];
    for (let at = 0; at < bytes.length; at++) {
      if (this.#kinds[at] === ByteKind.OTHER && bytes[at] !== 0) places.push(at);
    }
    return places;
  }

  /** Flips, looks, and flips back. */
  try(byte: number, bit: number): FlipResult {
    this.flip(byte, bit);
    try {
      return this.#look(byte);
    } finally {
      this.flip(byte, bit);
    }
  }

  /** Flips a bit of the file. */
  flip(byte: number, bit: number): void {
    const fd = openSync(this.path, "r+");
    try {
      const one = new Uint8Array(1);
      readSync(fd, one, 0, 1, byte);
      one[0] = (one[0] ?? 0) ^ (1 << bit);
      writeSync(fd, one, 0, 1, byte);
    } finally {
      closeSync(fd);
    }
  }

  #look(byte: number): FlipResult {
    const kind = this.#kinds[byte] ?? 0;
    const result: FlipResult = { kind, found: false, read: "error", wrong: "" };
    result.wrong = refused(() => {
      result.found = verifyTrace(this.#dir).problemCount > 0;
    }, () => result.found = true);
    if (result.wrong !== "") return { ...result, wrong: `verify: ${result.wrong}` };
    result.wrong = refused(() => {
      const said = say(this.#dir, this.#out);
      result.read = "same";
      if (said !== this.#expected) {
        throw new Error(`wrong output: ${firstDifference(said, this.#expected)}`);
      }
    }, () => result.read = "error");
    if (result.wrong === "" && kind !== ByteKind.OTHER && !result.found) {
      result.wrong = "verify does not find it";
    }
    return result;
  }
}

/** Runs; a refusal calls `onError`. Gives what else was thrown, which is a defect. */
function refused(run: () => void, onError: () => void): string {
  try {
    run();
    return "";
  } catch (thrown) {
    const isRefusal = thrown instanceof DiffKeeperError && thrown.code !== "defect";
    onError();
    return isRefusal
      ? ""
      : thrown instanceof Error
      ? thrown.stack ?? thrown.message
      : String(thrown);
  }
}

function firstDifference(found: string, expected: string): string {
  const [a, b] = [found.split("\n"), expected.split("\n")];
  const at = a.findIndex((line, i) => line !== b[i]);
  return `line ${at}: ${JSON.stringify(a[at])}, not ${JSON.stringify(b[at])}`;
}
