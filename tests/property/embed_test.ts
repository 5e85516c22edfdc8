/** A packed trace needs nothing beside it: what it only referred to is in it, and what had changed is named and unknown. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packTrace } from "../../src/compact/pack_trace.ts";
import { sha256Hex } from "../../src/format/keys.ts";
import { EventFlag, Op } from "../../src/format/trace_event.ts";
import { Materializer, unknownRanges } from "../../src/history/content.ts";
import { Trace } from "../../src/history/trace.ts";
import { verifyTrace } from "../../src/history/verify.ts";
import { attr, rootEvent, TraceBuilder } from "../trace_builder.ts";
import { timelineOf } from "../support/trace_states.ts";
import { Random } from "./model.ts";

const FILES = 60;
const NS = 1_000_000_000n;
let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-embed-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function split(ns: bigint): { sec: number; nsec: number } {
  return { sec: Number(ns / NS), nsec: Number(ns % NS) };
}

/** Files of all sizes, one with a hole of 3 MB, and a trace that refers to them. Returns their contents by node. */
function makeLazy(tree: string, state: string): Map<number, string> {
  const random = new Random(11);
  mkdirSync(tree);
  const builder = new TraceBuilder(state, { rootPaths: [tree] });
  builder.baseline(rootEvent());
  const digests = new Map<number, string>();
  for (let i = 0; i < FILES; i++) {
    const path = join(tree, `f${i}`);
    const bytes = random.bytes(i % 10 === 0 ? 1_500_000 : random.below(3000));
    writeFileSync(path, bytes);
    if (i === 20) truncateSync(path, 4_500_000);
    const whole = new Uint8Array(i === 20 ? 4_500_000 : bytes.length);
    whole.set(bytes);
    digests.set(10 + i, sha256Hex(whole));
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    builder.baseline({
      op: Op.BASELINE,
      flags: EventFlag.LAZY,
      node: 10 + i,
      parent: 1,
      name: `f${i}`,
      attr: attr(0o100644, { ino: Number(ino), size: Number(size) }),
      mtime: split(mtimeNs),
      ctime: split(ctimeNs),
    });
  }
  builder.event({ op: Op.WRITE, node: 11, offset: 1, length: 3, inline: Buffer.from("abc") });
  builder.finish();
  return digests;
}

/** Digest of each file at the start, as the trace alone has it. */
function digestsOf(file: string): Map<number, string> {
  const trace = Trace.open(file);
  const start = trace.start();
  expect(start.left.size).toBe(0);
  const contents = new Materializer(start.content, trace);
  const found = new Map<number, string>();
  for (const node of start.tree.nodes()) {
    const isKnown = unknownRanges(start.content, node.id).length === 0;
    if (node.isFile) found.set(node.id, isKnown ? sha256Hex(contents.read(node.id)) : "unknown");
  }
  trace.close();
  return found;
}

test("what a trace refers to is in its packed file, what has changed is named", () => {
  const [tree, state, out] = [join(dir, "tree"), join(dir, "state"), join(dir, "one.dktrace")];
  const digests = makeLazy(tree, state);
  appendFileSync(join(tree, "f7"), "!");
  const report = packTrace(state, out);
  expect(report.files).toBe(FILES - 1);
  expect(report.missing.map(({ path }) => path)).toEqual([join(tree, "f7")]);
  rmSync(tree, { recursive: true });
  expect(digestsOf(out)).toEqual(digests.set(17, "unknown"));
  const { problems, left } = verifyTrace(out);
  expect({ problems, left }).toEqual({ problems: [], left: undefined });
  expect(timelineOf(out)).toEqual(timelineOf(state));
  expect(readdirSync(dir).sort()).toEqual(["one.dktrace", "state"]);
});

test("a pack that fails leaves nothing", () => {
  const out = join(dir, "none.dktrace");
  expect(() => packTrace(join(dir, "nowhere"), out)).toThrow("there is no trace");
  expect(() => packTrace(join(dir, "state"), join(dir, "no/such/x.dktrace"))).toThrow(
    "cannot pack into",
  );
  expect(existsSync(out)).toBe(false);
  expect(readdirSync(dir).sort()).toEqual(["one.dktrace", "state"]);
});

test("a recorder beside a packed file does not make it one that is being recorded", () => {
  const lock = join(dir, "recorder.lock");
  writeFileSync(lock, "1 0 x y\n");
  const trace = Trace.open(join(dir, "one.dktrace"));
  expect(trace.state()).toBe("ended");
  trace.close();
  rmSync(lock);
});
