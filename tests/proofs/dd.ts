/**
 * `dd bs=1M count=4096` of 4 GiB of known bytes while the other core is busy: exact at the end and at several events, 0 lost.
 * `npm run prove dd [COUNT]`. dd reads a pipe whose every byte is known.
 */
import { patternProgram } from "../oracle/programs.ts";
import { Checks, requireKernel } from "./_kit.ts";
import { checkRecording, complaintAt, recordBusy, writesOf } from "./_pattern.ts";

const MIB = 1024 * 1024;
const NAME = "big";
/** Where in the run the file is exported, in parts of the whole. */
const PARTS = [0.0003, 0.1, 0.5, 0.9, 0.9998];

requireKernel();
const count = Number(process.argv[2] ?? 4096);
const checks = new Checks();
const startedAt = performance.now();
const at = recordBusy("dd", (watched) => {
  const dd = `dd of='${watched}/${NAME}' bs=1M count=${count} iflag=fullblock status=none`;
  return ["sh", "-c", `'${patternProgram()}' source ${count * MIB} | ${dd}`];
});
const seconds = (performance.now() - startedAt) / 1000;
checks.note(`recorded in ${seconds.toFixed(1)}s, ${Math.round(count / seconds)} MiB/s`);
checkRecording(checks, at);

const writes = await writesOf(at, NAME, 2 * count + 1);
checks.equal("WRITE events", writes.count, count);
checks.equal("bytes of all WRITE events", writes.bytes, count * MIB);
checks.equal("writes not at the end of the one before", writes.misplaced, 0);
const complaints: string[] = [];
for (const part of PARTS) {
  const n = Math.max(1, Math.round(part * count));
  const complaint = complaintAt(at, NAME, { time: `#${writes.seqs[n - 1]}`, bytes: n * MIB });
  if (complaint !== "") complaints.push(complaint);
}
checks.equal(`exact at ${PARTS.length} events`, complaints, []);
const end = complaintAt(at, NAME, { time: "end", bytes: count * MIB });
checks.that("exact at the end", end === "", end);
checks.end(`dd: ${count} MiB`);
