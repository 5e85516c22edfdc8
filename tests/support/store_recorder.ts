/**
 * A recorder for the tests of src/store, run as a process of its own: `bun store_recorder.ts DIR WHAT`. Prints the last seq of each flush
 * after its commit, as a line; a failure prints `error CODE`. WHAT:
 * - `forever`: flushes until it is killed;
 * - `stop`: ten flushes, then one that is not committed, then waits to be killed;
 * - `full`: flushes until the disk is full, rolls back, ends the trace in order if that is possible;
 * - `hold`: takes the state-dir and waits; `once`: five flushes and the end.
 */
import { asDiffKeeperError } from "../../src/base/error.ts";
import { putFlush, putStart } from "../../src/store/testing_trace.ts";
import { TraceWriter } from "../../src/store/trace_writer.ts";

const [dir = "", what = "once"] = process.argv.slice(2);
const FLUSHES_MAX = 100_000;
const PAUSE_MS = 2;

function say(line: string | number): void {
  process.stdout.write(`${line}\n`);
}

async function flushUntilKilled(writer: TraceWriter): Promise<void> {
  for (let flush = 0; flush < FLUSHES_MAX; flush++) {
    say(putFlush(writer));
    await Bun.sleep(PAUSE_MS);
  }
}

function fillDisk(writer: TraceWriter): void {
  try {
    for (let flush = 0; flush < FLUSHES_MAX; flush++) say(putFlush(writer));
  } catch (thrown) {
    say(`error ${asDiffKeeperError(thrown).code}`);
    writer.rollback();
  }
  writer.finish({ code: 0 });
}

try {
  const writer = TraceWriter.create(dir);
  putStart(writer);
  say(0);
  if (what === "forever") await flushUntilKilled(writer);
  if (what === "stop") {
    for (let flush = 0; flush < 10; flush++) say(putFlush(writer));
    putFlush(writer, { stop: true });
    say("stopped");
  }
  if (what === "stop" || what === "hold") await Bun.sleep(600_000);
  if (what === "full") fillDisk(writer);
  if (what === "once") {
    for (let flush = 0; flush < 5; flush++) say(putFlush(writer));
    writer.finish({ code: 0 });
  }
  say("done");
} catch (thrown) {
  const error = asDiffKeeperError(thrown);
  say(`error ${error.code} ${error.message} | ${error.hint}`);
  process.exitCode = 1;
}
