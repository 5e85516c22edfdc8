import { expect, test } from "bun:test";
import { EVENT_FIXED_BYTES } from "../format/event_layout.ts";
import { OpChains } from "./op_chains.ts";
import { ContentKind, type ContentOp, hasPlace } from "./op_tokens.ts";

const SEEDS = Number(process.env["DIFFKEEPER_SEEDS"] ?? 60);
const KINDS = Object.values(ContentKind);

/** A seeded generator (mulberry32), so that a failure can be repeated. */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  };
}

/** A number of any size up to 2^52. */
function anyNumber(next: (limit: number) => number): number {
  const bits = next(53);
  return Math.floor((next(2 ** 26) * 2 ** 26 + next(2 ** 26)) / 2 ** (52 - bits));
}

/** What the chain must say of an operation: the place of one without payload means nothing. */
function shown(op: Readonly<ContentOp>): ContentOp {
  const { kind, at, length, row, rowOffset } = op;
  return hasPlace(kind)
    ? { kind, row, rowOffset, at, length }
    : { kind, row: 0, rowOffset: 0, at, length };
}

function all(chains: OpChains, chain: number): ContentOp[] {
  const ops = [];
  for (const cursor = chains.ops(chain); cursor.next();) ops.push(shown(cursor));
  return ops;
}

/** One that the chain may know how to tell in short, or any. */
function someOp(next: (limit: number) => number, last: ContentOp | undefined): ContentOp {
  const length = next(4) === 0 ? 1 + anyNumber(next) : 1 + next(300);
  const row = next(4) === 0 ? next(2 ** 32) : next(5);
  const rowOffset = next(2) === 0 ? next(2 ** 32) : next(5000);
  const kind = KINDS[next(KINDS.length)] ?? 0;
  const any = { kind, row, rowOffset, at: anyNumber(next), length };
  if (last === undefined || next(3) === 0) return any;
  const at = next(5) === 0 ? Math.max(0, last.at - next(100)) : last.at + last.length;
  const near = last.rowOffset + EVENT_FIXED_BYTES + Math.ceil(last.length / 8) * 8 +
    (next(4) === 0 ? next(200) - 100 : 0);
  const isIn = near >= 0 && near < 2 ** 32 && at + length < 2 ** 53;
  return isIn ? { kind: ContentKind.DATA, row: last.row, rowOffset: near, at, length } : any;
}

function sumUp(ops: readonly ContentOp[]): { isAscending: boolean; isData: boolean } {
  const ends = ops.map((op) => op.at + op.length);
  return {
    isAscending: ops.every((op, index) => index === 0 || op.at >= (ends[index - 1] ?? 0)),
    isData: ops.every((op) => op.kind === ContentKind.DATA),
  };
}

/** Random calls on a few chains, and on plain lists of what they must hold. */
function compare(seed: number): void {
  const next = random(seed);
  const chains = new OpChains();
  const lists: ContentOp[][] = [[], [], [], []];
  const names = [1, 2, 1023, 5000];
  for (let step = 0; step < 3000; step++) {
    const index = next(next(10) === 0 ? 4 : 2);
    const [list, chain] = [lists[index] ?? [], names[index] ?? 0];
    const choice = next(1000);
    const last = list.at(-1);
    if (choice < 2) {
      chains.clear(chain);
      list.length = 0;
    } else if (choice < 6) {
      chains.lose(chain, 3);
      for (const op of list) {
        if (op.kind === ContentKind.BASE && op.row === 3) op.kind = ContentKind.UNKNOWN;
      }
    } else if (choice < 100 && last !== undefined && last.at + last.length < 2 ** 51) {
      const { at, length, row, rowOffset } = last;
      const more = { ...last, at: at + length, rowOffset: rowOffset + length, length: 5 };
      const mayGoOn = last.kind === ContentKind.DATA;
      expect(chains.extend(chain, { ...more, row: row + 1 })).toBe(false);
      expect(chains.extend(chain, more)).toBe(mayGoOn);
      if (mayGoOn) last.length += 5;
    } else {
      const op = someOp(next, last);
      chains.append(chain, op);
      list.push({ ...op });
    }
  }
  for (const [index, list] of lists.entries()) {
    const chain = names[index] ?? 0;
    expect(all(chains, chain)).toEqual(list.map(shown));
    const { isAscending, isData, count } = chains.shape(chain);
    expect(count).toBe(list.length);
    if (list.length > 0) expect({ isAscending, isData }).toEqual(sumUp(list));
    expect(chains.single(chain)).toEqual(list.length === 1 ? list[0] : undefined);
  }
}

test("chains hold what plain lists hold", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      compare(seed);
    } catch (thrown) {
      throw new Error(`seed ${seed} differs`, { cause: thrown });
    }
  }
});

test("a chain goes on rightly behind a first operation that was lost", () => {
  const chains = new OpChains();
  chains.append(1, { kind: ContentKind.BASE, row: 3, rowOffset: 0, at: 0, length: 100 });
  chains.lose(1, 3);
  const next = { kind: ContentKind.DATA, row: 9, rowOffset: 64, at: 50, length: 10 };
  chains.append(1, next);
  const lost = { kind: ContentKind.UNKNOWN, row: 0, rowOffset: 0, at: 0, length: 100 };
  chains.append(1, { ...next, row: 8 });
  expect(all(chains, 1)).toEqual([lost, next, { ...next, row: 8 }]);
});

test("an append takes two bytes, whatever lies between blocks and slabs", () => {
  const chains = new OpChains();
  const count = 2_000_000;
  for (let i = 0; i < count; i++) {
    const rowOffset = 64 + i * 96;
    chains.append(7, { kind: ContentKind.DATA, row: 9, rowOffset, at: i * 32, length: 32 });
  }
  const ops = chains.ops(7);
  let wrong = 0;
  for (let i = 0; ops.next(); i++) {
    const isRight = ops.at === i * 32 && ops.rowOffset === 64 + i * 96 && ops.length === 32 &&
      ops.row === 9 && ops.kind === ContentKind.DATA;
    if (!isRight) wrong++;
  }
  expect(wrong).toBe(0);
  expect(chains.shape(7).count).toBe(count);
  expect(chains.bytes).toBeLessThanOrEqual(5 << 20);
});

test("writes at random places take few bytes", () => {
  const chains = new OpChains();
  const next = random(5);
  for (let i = 0; i < 1_000_000; i++) {
    const op = { kind: ContentKind.DATA, row: 3 + Math.floor(i / 10_000), length: 32 };
    chains.append(1, { ...op, rowOffset: 96 + i % 10_000 * 96, at: next(2 ** 30) });
  }
  expect(chains.bytes).toBeLessThanOrEqual(8 << 20);
});

test("the room of what is cleared is used again", () => {
  const chains = new OpChains();
  for (let round = 0; round < 200; round++) {
    for (let i = 0; i < 20_000; i++) {
      chains.append(round % 3, {
        kind: ContentKind.DATA,
        row: i,
        rowOffset: 0,
        at: i * 9,
        length: 8,
      });
    }
    chains.clear(round % 3);
  }
  expect(chains.isEmpty(1)).toBe(true);
  expect(chains.bytes).toBe(1 << 20);
});
