/**
 * 2,000,000 writes of 32 bytes while the other core is busy: all recorded, 0 lost, the file exact at 100 random events.
 * `npm run prove small_writes [COUNT] [SEED]`. The content of write i is a function of i, so that every byte is checked.
 */
import { patternProgram } from "../oracle/programs.ts";
import { Checks, requireKernel } from "./_kit.ts";
import { checkRecording, complaintAt, recordBusy, writesOf } from "./_pattern.ts";

const WRITE_BYTES = 32;
const EXPORTS = 100;
const NAME = "small";

requireKernel();
const count = Number(process.argv[2] ?? 2_000_000);
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
const checks = new Checks();
checks.note(`seed ${seed}`);

const startedAt = performance.now();
const at = recordBusy("small-writes", (watched) => {
  return [patternProgram(), "write", `${watched}/${NAME}`, String(count), String(WRITE_BYTES)];
});
const seconds = (performance.now() - startedAt) / 1000;
checks.note(`recorded in ${seconds.toFixed(1)}s, ${Math.round(count / seconds)} writes/s overall`);
checkRecording(checks, at);

const writes = await writesOf(at, NAME, count + 1);
checks.equal("WRITE events", writes.count, count);
checks.equal("bytes of all WRITE events", writes.bytes, count * WRITE_BYTES);
checks.equal("writes not at the end of the one before", writes.misplaced, 0);

/** Random, from the seed (mulberry32). */
let state = seed;
function random(below: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
}

const exportsAt = performance.now();
const complaints: string[] = [];
for (let i = 0; i < EXPORTS; i++) {
  const n = 1 + random(writes.count);
  const time = `#${writes.seqs[n - 1]}`;
  const complaint = complaintAt(at, NAME, { time, bytes: n * WRITE_BYTES });
  if (complaint !== "") complaints.push(complaint);
}
const exportSeconds = (performance.now() - exportsAt) / EXPORTS / 1000;
checks.note(`${exportSeconds.toFixed(2)}s per export`);
checks.equal(`exact at ${EXPORTS} random events`, complaints, []);
checks.that(
  "exact at the end",
  complaintAt(at, NAME, { time: "end", bytes: count * WRITE_BYTES }) === "",
);
checks.end(
  `small_writes: ${writes.count} of ${count} writes, ${
    EXPORTS - complaints.length
  } of ${EXPORTS} events exact`,
);
