/**
 * Random trace events for tests, from a seed: the same seed gives the same events on every machine. Values are spread over
 * what the format allows, with the edges (0, 2^32, 2^53 - 1, empty strings, every byte) more often than chance would.
 */
import { NO_MTIME } from "./event_layout.ts";
import { isNameOp } from "./event_layout.ts";
import type { WriteHead } from "./event_encoder.ts";
import { Op, type OpCode, type TraceEvent } from "./trace_event.ts";

const OPS = Object.values(Op);
const U32_MAX = 0xffff_ffff;
const COMMS = ["sh", "python3", "", "0123456789abcdef", "a\xffb", "make", "cc1plus", "git"];

/** A small seeded generator (mulberry32). Not for secrets. */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A u32. */
  u32(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** A whole number of 0 to `below` - 1. */
  below(below: number): number {
    return Math.floor((this.u32() / (U32_MAX + 1)) * below);
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(from: readonly [T, ...T[]] | readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) throw new Error("picked from nothing");
    return picked;
  }

  /** A number of 0 to 2^53 - 1, edges often. */
  u53(): number {
    if (this.chance(4)) return this.pick([0, 1, U32_MAX, U32_MAX + 1, Number.MAX_SAFE_INTEGER]);
    return this.below(1 << 21) * (U32_MAX + 1) + this.u32();
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  /** A binary string of 0 to `lengthMax` chars. */
  name(lengthMax = 40): string {
    return String.fromCharCode(...this.bytes(this.below(lengthMax + 1)));
  }
}

/** A random event as `EventCursor.event` gives it back: seq and time are the caller's. */
export function randomEvent(random: SeededRandom, at: { seq: number; tNs: number }): TraceEvent {
  const op = random.pick(OPS);
  const event: TraceEvent = {
    seq: at.seq,
    op,
    flags: random.u32() & 0xff_fff9,
    tNs: at.tNs,
    pid: random.u32(),
    tid: random.u32(),
    comm: random.pick(COMMS),
    node: random.u32(),
  };
  if (random.chance(2)) event.mtime = { sec: seconds(random), nsec: random.below(1e9) };
  if (isNameOp(op)) addNames(random, event);
  else addRange(random, event);
  addContent(random, event);
  addFields(random, event);
  return event;
}

function seconds(random: SeededRandom): number {
  return random.chance(3) ? -random.u53() - 1 : random.u53();
}

function addNames(random: SeededRandom, event: TraceEvent): void {
  event.parent = random.u32();
  if (event.op === Op.RENAME) {
    event.toParent = random.u32();
    event.victim = random.below(2);
    event.toName = random.name();
  }
  event.name = random.name();
}

const WITH_BOTH: readonly OpCode[] = [Op.WRITE, Op.OUTPUT, Op.FALLOCATE, Op.COLLAPSE, Op.INSERT];
const WITH_LENGTH: readonly OpCode[] = [Op.TRUNCATE, Op.RESYNC, Op.EXIT, Op.CONTENT];

function addRange(random: SeededRandom, event: TraceEvent): void {
  if (WITH_BOTH.includes(event.op)) event.offset = random.u53();
  if (WITH_BOTH.includes(event.op) || WITH_LENGTH.includes(event.op)) event.length = random.u53();
}

function addContent(random: SeededRandom, event: TraceEvent): void {
  if (event.op === Op.WRITE && random.chance(2)) {
    event.inline = random.bytes(1 + random.below(80));
    event.length = event.inline.length + random.below(2);
  } else if (random.chance(4)) {
    event.extents = Array.from({ length: random.below(5) }, () => ({
      row: random.u32(),
      offset: random.u32(),
      length: random.u32(),
      at: random.u53(),
    }));
  }
}

function addFields(random: SeededRandom, event: TraceEvent): void {
  const some = (add: () => void) => {
    if (random.chance(6)) add();
  };
  some(() => event.attr = randomAttr(random));
  some(() => event.target = random.name());
  some(() => {
    const time = () => ({ sec: seconds(random), nsec: random.below(1e9) });
    const entry = () => ({ node: random.u32(), mtime: time() });
    event.dirTimes = Array.from({ length: 1 + random.below(3) }, entry);
  });
  some(() => event.xattrName = random.name());
  some(() => event.xattrValue = random.bytes(random.below(50)));
  some(() => event.text = random.pick(["", "ring full", "h\u00e9llo \u2713 \u{1f600}"]));
  some(() => event.source = { node: random.u32(), offset: random.u53() });
  some(() => event.loss = { events: random.u53(), bytes: random.u53() });
  some(() => event.root = random.u32());
  some(() => event.path = random.name());
  some(() => {
    const word = () => random.name().replaceAll("\0", "x");
    event.argv = Array.from({ length: random.below(4) }, word);
  });
}

function randomAttr(random: SeededRandom): TraceEvent["attr"] {
  return {
    mode: random.u32(),
    uid: random.u32(),
    gid: random.u32(),
    rdev: random.u32(),
    nlink: random.u32(),
    dev: random.u32(),
    gen: random.u32(),
    ino: random.u53(),
    size: random.u53(),
  };
}

/** Fills a head with a random write out of `source`, and gives the event that must come back. */
export function randomWrite(
  random: SeededRandom,
  options: { head: WriteHead; source: Uint8Array; seq: number; tNs: number },
): TraceEvent {
  const { head, source } = options;
  head.op = random.pick([Op.WRITE, Op.OUTPUT]);
  head.flags = random.u32() & 0xff_fff9;
  head.tNs = options.tNs;
  head.pid = random.u32();
  head.tid = random.u32();
  head.node = random.u32();
  const comm = random.pick(COMMS);
  const words = commWords(comm);
  [head.comm0, head.comm1, head.comm2, head.comm3] = words;
  head.offset = random.u53();
  head.payload = random.below(random.chance(5) ? 2_000 : 70);
  head.start = random.below(source.length - head.payload);
  head.source = source;
  head.length = head.payload + random.below(3);
  head.mtimeNsec = random.chance(3) ? NO_MTIME : random.below(1e9);
  head.mtimeSec = head.mtimeNsec === NO_MTIME ? 0 : seconds(random);
  return {
    seq: options.seq,
    op: head.op,
    flags: head.flags,
    tNs: head.tNs,
    pid: head.pid,
    tid: head.tid,
    comm,
    node: head.node,
    ...(head.mtimeNsec === NO_MTIME ? {} : {
      mtime: { sec: head.mtimeSec, nsec: head.mtimeNsec },
    }),
    offset: head.offset,
    length: head.length,
    ...(head.payload === 0 ? {} : { inline: source.slice(head.start, head.start + head.payload) }),
  };
}

/** The four words of a task name, as the kernel's 16 bytes read little-endian. */
export function commWords(comm: string): [number, number, number, number] {
  const view = new DataView(new ArrayBuffer(16));
  for (let index = 0; index < comm.length; index++) view.setUint8(index, comm.charCodeAt(index));
  const word = (index: number) => view.getUint32(index * 4, true);
  return [word(0), word(1), word(2), word(3)];
}
