import { expect, test } from "bun:test";
import { Bell } from "./bell.ts";

test("a message that was sent and not taken up keeps the other end awake", () => {
  const here = new Bell();
  const there = new Bell(here.memory);
  expect(there.sleep(0)).toBe(false);
  here.ring();
  here.ring();
  expect(there.sleep(10_000)).toBe(true);
  there.heard(1);
  expect(there.sleep(10_000)).toBe(true);
  there.heard(2);
  const before = performance.now();
  expect(there.sleep(5)).toBe(false);
  expect(performance.now() - before).toBeGreaterThan(4);
});

test("one that is sent meanwhile ends the sleep", async () => {
  const here = new Bell();
  const ringer = `const { Bell } = require(${JSON.stringify(`${import.meta.dir}/bell.ts`)});
    self.onmessage = ({ data }) => { Bun.sleepSync(20); new Bell(data).ring(); };`;
  const worker = new Worker(URL.createObjectURL(new Blob([ringer])));
  worker.postMessage(here.memory);
  expect(here.sleep(10_000)).toBe(true);
  worker.terminate();
});
