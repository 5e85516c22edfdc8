/**
 * Nanoseconds per WRITE record through `Resolver.accept`, to a sink that does nothing: 32-byte
 * writes on four files in turn, without and with numbers of the inode lock. Run it with bun.
 */
import { Resolver } from "../src/resolve/resolver.ts";
import type { EventSink } from "../src/resolve/sink.ts";
import { WriteAt } from "../src/format/kernel_record.ts";
import { inode, START_NS, writeRecord } from "../tests/support/kernel_records.ts";
import { World } from "../tests/support/resolve_world.ts";

const RECORDS = 20_000;
const ROUNDS = 30;

const world = new World();
const files = [10, 11, 12, 13].map((ino) => inode({ ino }));
files.forEach((file, i) => world.baseline(file, { parent: 1, name: `f${i}` }));
const sink: EventSink = {
  event: () => {},
  write: () => {},
  store: () => ({ row: 1, offset: 0, length: 0, at: 0 }),
  process: () => {},
};
const options = { roots: [{ path: "/w", node: 1 }], excluded: () => false, startNs: START_NS };
const resolver = new Resolver(world.tree, options, sink);

const records = Array.from({ length: RECORDS }, (_, i) => {
  const file = files[i % files.length] ?? inode({});
  const at = { inode: file, offset: i * 32, payload: new Uint8Array(32) };
  return writeRecord({ t: i + 1 }, at);
});
const bytes = records[0]?.length ?? 0;
const u8 = new Uint8Array(bytes * RECORDS);
records.forEach((record, i) => u8.set(record, i * bytes));
const u32 = new Uint32Array(u8.buffer);

/** Best round of many, ns per record. */
function measure(before: () => void): number {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    before();
    const start = Bun.nanoseconds();
    for (let i = 0; i < RECORDS; i++) resolver.accept(u8, u32, i * bytes);
    best = Math.min(best, (Bun.nanoseconds() - start) / RECORDS);
  }
  return best;
}

let seq = 1;
const unordered = measure(() => {});
const ordered = measure(() => {
  for (let i = 0; i < RECORDS; i++) u32[(i * bytes + WriteAt.lock_seq) / 4] = seq++;
});
console.log(`WRITE accept: ${unordered.toFixed(0)} ns, with lock numbers ${ordered.toFixed(0)} ns`);
