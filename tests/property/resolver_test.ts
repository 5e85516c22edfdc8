/**
 * Random system calls on a naive file system: the tree that the Resolver builds from their kernel
 * records, and the content a reader folds from its events, must be the truth. In the second part
 * the records of overlapping calls come in another order than the calls took effect.
 */
import { expect, test } from "bun:test";
import { Chooser, contents, random, told, truth, worldOf } from "../support/fake_calls.ts";
import { FakeFs } from "../support/fake_fs.ts";
import { dump } from "../support/resolve_world.ts";

for (const touch of [true, false]) {
  test(`random calls in order, ${touch ? "with" : "without"} touched inodes`, () => {
    for (let seed = 1; seed <= 150; seed++) {
      const fs = new FakeFs({ touch });
      const world = worldOf(fs);
      const chooser = new Chooser(fs, random(seed), true);
      for (let i = 1; i <= 120; i++) {
        const records = chooser.next()?.({ t: i * 1000, enter: i * 1000 - 500 }) ?? [];
        world.feed(...records);
      }
      world.resolver.flush();
      const label = `seed ${seed}`;
      const found = told(world.tree, contents(world), false);
      expect([label, ...found]).toEqual([label, ...truth(fs, false)]);
      expect([label, ...dump(world.readerTree())]).toEqual([label, ...dump(world.tree)]);
    }
  });
}

/** Of 100 storms (four tasks, four names, calls three times as long as their distance). */
const AMBIGUOUS_PERCENT_MAX = 3;

test("random calls of several tasks, records in the order of their returns", () => {
  let ambiguous = 0;
  for (let seed = 1; seed <= 300; seed++) {
    const pick = random(seed);
    const fs = new FakeFs({ touch: true });
    const world = worldOf(fs);
    const chooser = new Chooser(fs, pick, false);
    const busy = [0, 0, 0, 0];
    const calls: { t: number; order: number; records: Uint8Array[] }[] = [];
    for (let i = 1; i <= 150; i++) {
      const effect = i * 1000;
      const free = busy.map((until, tid) => ({ until, tid })).filter((b) => b.until < effect);
      const task = free[pick(free.length)];
      if (!task) continue;
      const call = chooser.next();
      if (!call) continue;
      const t = effect + 1 + pick(4) * pick(1200);
      const enter = task.until + 1 + pick(effect - task.until);
      busy[task.tid] = t;
      const who = { t, enter, pid: 100 + task.tid };
      calls.push({ t, order: i, records: call(who) });
    }
    calls.sort((a, b) => a.t - b.t || a.order - b.order);
    for (const call of calls) world.feed(...call.records);
    world.resolver.flush();
    const label = `seed ${seed}`;
    expect([label, ...dump(world.readerTree())]).toEqual([label, ...dump(world.tree)]);
    const found = told(world.tree, contents(world), false);
    // Where two orders are possible and the wrong one was taken, the recording must say so.
    const isSaid = world.resolver.stats.unresolved > 0;
    if (isSaid && found.join("\n") !== truth(fs, false).join("\n")) ambiguous++;
    else expect([label, ...found]).toEqual([label, ...truth(fs, false)]);
  }
  expect(ambiguous).toBeLessThanOrEqual(3 * AMBIGUOUS_PERCENT_MAX);
});
