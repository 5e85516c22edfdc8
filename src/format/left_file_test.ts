import { expect, test } from "bun:test";
import { EventBatchEncoder } from "./event_codec.ts";
import { LeftFile, leftFile, leftState, LeftStateWord, LeftWord, StatxWord } from "./left_file.ts";
import { EventFlag, Op, type TraceEvent } from "./trace_event.ts";

const TWO_32 = 2 ** 32;

function put(state: Uint32Array, at: number, value: number): void {
  state[at] = value;
  state[at + 1] = Math.floor(value / TWO_32);
}

/** One file, as the struct and as the event that `append` takes. */
function example(i: number): { file: LeftFile; event: TraceEvent } {
  const name = "n".repeat(1 + i % 255) + "\xff";
  const source = Buffer.from(`before${name}\0after`, "latin1");
  const state = new Uint32Array(64).fill(0xffff_ffff);
  const file = new LeftFile(state, source);
  const [ino, size] = [i * 5_000_000_001, 1 + i * 70_000_000_003];
  const mtime = { sec: i % 2 === 0 ? 0 - i : i * TWO_32, nsec: i };
  const ctime = { sec: 1_700_000_000 + i, nsec: 999_999_999 - i };
  state[StatxWord.MODE] = 0xffff_0000 | 0o100640;
  state[StatxWord.NLINK] = 1;
  state[StatxWord.UID] = i;
  state[StatxWord.GID] = i + 1;
  put(state, StatxWord.INO, ino);
  put(state, StatxWord.SIZE, size);
  put(state, StatxWord.MTIME, mtime.sec);
  put(state, StatxWord.CTIME, ctime.sec);
  state[StatxWord.MTIME_NSEC] = mtime.nsec;
  state[StatxWord.CTIME_NSEC] = ctime.nsec;
  Object.assign(file, { node: i + 2, parent: 1, dev: 0x10_0002, gen: 0xffff_ff00 + i % 256 });
  Object.assign(file, { nameAt: 6, nameLength: name.length });
  const { node, parent, dev, gen } = file;
  const attr = { mode: 0o100640, uid: i, gid: i + 1, rdev: 0, nlink: 1, dev, gen, ino, size };
  const blank = { seq: 0, tNs: 0, pid: 0, tid: 0, comm: "" };
  const event: TraceEvent = {
    ...blank,
    op: Op.BASELINE,
    flags: EventFlag.LAZY,
    node,
    parent,
    name,
    attr,
    mtime,
    ctime,
  };
  return { file, event };
}

const FILES = 1_000;

test("what is put from the words of statx is the event that an object gives, to the byte", () => {
  const [fast, slow] = [new EventBatchEncoder(), new EventBatchEncoder()];
  // what the buffer held before must not show through
  for (const encoder of [fast, slow]) {
    for (let i = 0; i < 20; i++) {
      encoder.append({ ...example(i).event, name: "\xee".repeat(100 + 7 * i) });
    }
    encoder.finish(0);
    encoder.reset();
  }
  for (let i = 0; i < FILES; i++) {
    const { file, event } = example(i);
    fast.appendLeft(file);
    slow.append(event);
  }
  expect(Buffer.compare(fast.finish(0), slow.finish(0))).toBe(0);
});

test("events are read in place as they were put, others are told apart", () => {
  const encoder = new EventBatchEncoder();
  const events: TraceEvent[] = [];
  for (let i = 0; i < FILES; i++) {
    const { event } = example(i);
    const others: TraceEvent[] = [
      event,
      { ...event, attr: { ...event.attr as NonNullable<typeof event.attr>, nlink: 2 } },
      { ...event, flags: 0 },
      { ...event, target: "x" },
      { ...event, op: Op.NOTE, text: "y" },
    ];
    const taken = others[i % others.length] as TraceEvent;
    events.push(taken);
    encoder.append(taken);
  }
  encoder.finish(0);
  const words = encoder.copyEvents();
  let at = 0;
  for (const [i, event] of events.entries()) {
    const state = leftState(words, at);
    expect(state > at).toBe(i % 5 === 0);
    if (i % 5 === 0) {
      const word = (index: number) => words[index] ?? 0;
      expect(leftFile.name(words, at)).toBe(event.name ?? "");
      expect(word(at + LeftWord.NODE)).toBe(event.node);
      expect(word(at + LeftWord.PARENT)).toBe(1);
      expect<unknown>(leftFile.attr(words, at)).toEqual(event.attr);
      expect<unknown>(leftFile.mtime(words, at)).toEqual(event.mtime);
      expect(leftFile.size(words, at)).toBe(event.attr?.size ?? -1);
      const [low, high] = [word(state + LeftStateWord.INO), word(state + LeftStateWord.INO + 1)];
      expect(low + high * TWO_32).toBe(event.attr?.ino ?? -1);
      expect(word(state + LeftStateWord.DEV)).toBe(0x10_0002);
    } else expect(state).toBe(0);
    at += (words[at] ?? 0) / 4;
  }
  expect(at).toBe(words.length);
});
