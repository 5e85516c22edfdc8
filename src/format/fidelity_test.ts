import { expect, test } from "bun:test";
import {
  addFidelity,
  countInexact,
  fidelityText,
  inexactWords,
  isInexact,
  newFidelity,
} from "./fidelity.ts";
import { EventFlag, Op } from "./trace_event.ts";

test("an event is exact unless its op or a flag says otherwise", () => {
  expect(isInexact(Op.WRITE, EventFlag.OUTSIDE | EventFlag.TLVS | EventFlag.EXTENTS)).toBe(false);
  for (const op of [Op.GAP, Op.MMAP, Op.RESYNC, Op.NOTE]) expect(isInexact(op, 0)).toBe(true);
  expect(inexactWords(Op.WRITE, 0)).toEqual([]);
  expect(inexactWords(Op.RESYNC, EventFlag.SETTLED | EventFlag.UNREAD)).toEqual([
    "resync",
    "unread",
    "settled",
  ]);
});

test("counts become words", () => {
  const some = newFidelity();
  expect(fidelityText(some)).toBe("exact");
  countInexact(some, Op.NOTE, 0);
  expect(fidelityText(some)).toBe("exact");
  countInexact(some, Op.WRITE, EventFlag.SETTLED);
  countInexact(some, Op.WRITE, EventFlag.CONCURRENT | EventFlag.SETTLED);
  countInexact(some, Op.GAP, 0);
  expect(fidelityText(some)).toBe("2 settled, 1 concurrent, 1 gap");
  const sum = newFidelity();
  addFidelity(sum, some);
  addFidelity(sum, some);
  expect(fidelityText(sum)).toBe("4 settled, 2 concurrent, 2 gaps");
});
