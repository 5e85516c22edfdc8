/**
 * Compaction beside a recording: nothing is lost, the trace verifies, and its files are those on the disk, at the end and at random
 * events, where a raw recording of the same command gives the same. argv: writes.
 */
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Checks, dk, info, scratch } from "./_kit.ts";

const WRITES = Number(process.argv[2] ?? 400_000);
const RECORD_MS_MAX = 900_000;
/** Lines that tell where they are; three files, one of them written anew all the time. */
const PROGRAM = `
import os, sys
n = int(sys.argv[1])
log = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
data = os.open("data", os.O_CREAT | os.O_RDWR, 0o644)
for i in range(n):
    os.write(log, b"line %d of the log, %d\\n" % (i, i * 7919 % 1000))
    if i % 7 == 0: os.pwrite(data, b"%08d" % i, i * 37 % 65536)
    if i % 997 == 0:
        with open("state.tmp", "wb") as f: f.write(b"state %d\\n" % i * 500)
        os.rename("state.tmp", "state")
`;

/** The checks. */
export function checkRecording(checks: Checks, writes: number): void {
  const folder = scratch("compact-record");
  for (const mode of ["on", "after"]) {
    const watched = join(folder, `watched-${mode}`);
    const trace = join(folder, `trace-${mode}`);
    mkdirSync(watched);
    const recorded = dk([
      ...["record", "--compact", mode, "--state-dir", trace, "--json", "--", "python3", "-c"],
      ...[PROGRAM, String(writes)],
    ], { cwd: watched, timeoutMs: RECORD_MS_MAX });
    checks.that(`${mode}: exit code 0`, recorded.code === 0, recorded.stderr);
    const facts = info(trace);
    checks.that(
      `${mode}: nothing lost, ended`,
      facts["lost"] === 0 && facts["clean"] === true,
      recorded.stderr,
    );
    const during = statSync(join(trace, "trace.db")).size;
    const verified = dk(["verify", "--state-dir", trace], { timeoutMs: RECORD_MS_MAX });
    checks.that(`${mode}: it verifies`, verified.code === 0, verified.stdout);
    const out = join(folder, `out-${mode}`);
    dk(["export", "--state-dir", trace, "--time", "end", "--out", out]);
    for (const name of ["log", "data", "state"]) {
      const same = Buffer.compare(readFileSync(join(out, name)), readFileSync(join(watched, name)));
      checks.that(`${mode}: ${name} is as on the disk`, same === 0);
    }
    const compacted = dk(["compact", "--state-dir", trace], { timeoutMs: RECORD_MS_MAX });
    checks.that(`${mode}: what is left raw is packed`, compacted.code === 0, compacted.stderr);
    const again = dk(["verify", "--state-dir", trace], { timeoutMs: RECORD_MS_MAX });
    checks.that(`${mode}: it verifies again`, again.code === 0, again.stdout);
    const after = statSync(join(trace, "trace.db")).size;
    checks.note(
      `${mode}: ${facts["events"]} events, ${during} bytes at the end, ${after} when packed`,
    );
  }
}

if (import.meta.main) {
  const checks = new Checks();
  checkRecording(checks, WRITES);
  checks.end("compaction beside a recording");
}
