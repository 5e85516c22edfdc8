import { expect, test } from "bun:test";
import { LOSS_CLASSES, type LossCounters } from "../capture/ebpf/shared.ts";
import { LossWatch } from "./loss_watch.ts";

function counters(some: Partial<LossCounters> = {}): LossCounters {
  const none = Object.fromEntries(LOSS_CLASSES.map((name) => [name, 0])) as LossCounters;
  return { ...none, ...some };
}

/** A watch on counters that the test sets, and what it reports. */
function watched() {
  let now = counters();
  const told: { text: string; events: number; bytes: number }[] = [];
  const watch = new LossWatch({ lost: () => now });
  return {
    watch,
    told,
    set: (some: Partial<LossCounters>) => now = counters(some),
    report: (at: number) => watch.report({ gap: (text, loss) => told.push({ text, ...loss }) }, at),
  };
}

test("a loss is told where the stream ended when it was seen, and once", () => {
  const { watch, told, set, report } = watched();
  set({ ring_full: 3, ring_full_bytes: 30 });
  watch.look(100);
  set({ ring_full: 8, ring_full_bytes: 90 });
  watch.look(250);
  watch.look(300);
  expect(watch.nextAt).toBe(100);
  report(99);
  expect(told).toEqual([]);
  report(100);
  expect(told).toEqual([{ text: "the ring buffer was full", events: 3, bytes: 30 }]);
  expect(watch.nextAt).toBe(250);
  report(Infinity);
  expect(told[1]).toEqual({ text: "the ring buffer was full", events: 5, bytes: 60 });
  report(Infinity);
  expect(told).toHaveLength(2);
  expect(watch.nextAt).toBe(Infinity);
});

test("what is settled otherwise is counted and no loss", () => {
  const { watch, told, set, report } = watched();
  set({ payload_unreadable: 4, inode_map_full: 9 });
  watch.look(8);
  report(Infinity);
  expect(told).toEqual([]);
  expect([watch.hasLost, watch.counters().inode_map_full]).toEqual([false, 9]);
  set({ payload_unreadable: 4, inode_map_full: 9, scratch_busy: 1 });
  watch.look(16);
  expect(watch.hasLost).toBe(true);
});
