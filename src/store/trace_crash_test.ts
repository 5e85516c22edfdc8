/** What kill -9, a full disk, copies taken at any moment and flipped bits leave behind: a prefix or an error, never lies. */
import { expect, test } from "bun:test";
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DiffKeeperError } from "../base/error.ts";
import { SeededRandom } from "../format/testing_events.ts";
import { cleanUpAfterEach, newFolder, TestRecorder } from "./testing_folder.ts";
import { checkTrace, FLUSH_EVENTS, putFlush, putStart } from "./testing_trace.ts";
import { TraceReader } from "./trace_reader.ts";
import { TraceWriter } from "./trace_writer.ts";

cleanUpAfterEach();

const SEED = Number(process.env["DIFFKEEPER_SEED"] ?? 31);
const CODES = ["data_corrupt", "truncated", "version_too_new"];

/** Reads all of it; undefined if the damage was noticed. */
function lastSeqOf(dir: string): number | undefined {
  let reader: TraceReader | undefined;
  try {
    reader = TraceReader.open(dir);
    return checkTrace(reader);
  } catch (thrown) {
    if (thrown instanceof DiffKeeperError && CODES.includes(thrown.code)) return undefined;
    throw thrown;
  } finally {
    reader?.close();
  }
}

test("kill -9 in the middle of a transaction keeps every flush before it", async () => {
  const dir = join(newFolder(), "trace");
  const recorder = new TestRecorder(dir, { what: "stop" });
  await recorder.until((line) => line === "stopped");
  await recorder.kill();
  const reader = TraceReader.open(dir);
  expect([reader.mode, reader.info().state]).toEqual(["log", "cut"]);
  expect(checkTrace(reader)).toBe(10 * FLUSH_EVENTS);
  reader.close();
  expect(existsSync(join(dir, "trace.db-shm"))).toBe(true);
  expect(lastSeqOf(dir)).toBe(10 * FLUSH_EVENTS);
});

test("kill -9 at a random moment keeps every flush that was reported", async () => {
  const random = new SeededRandom(SEED);
  for (let round = 0; round < 8; round++) {
    const dir = join(newFolder(), "trace");
    const recorder = new TestRecorder(dir, { what: "forever" });
    const stopAt = 1 + random.below(30) * FLUSH_EVENTS;
    await recorder.until((line) => Number(line) >= stopAt);
    const reported = await recorder.kill();
    const found = lastSeqOf(dir);
    expect(found, `seed ${SEED}`).toBeGreaterThanOrEqual(reported);
    expect((found ?? 1) % FLUSH_EVENTS).toBe(0);
  }
});

test("copies taken at random moments while recording open to a prefix", async () => {
  const random = new SeededRandom(SEED);
  const dir = join(newFolder(), "trace");
  const recorder = new TestRecorder(dir, { what: "forever" });
  await recorder.until((line) => line === "0");
  let previous = 0;
  for (let round = 0; round < 15; round++) {
    await Bun.sleep(random.below(20));
    const copy = newFolder();
    const reported = recorder.lastSeq();
    for (const file of ["trace.db", "trace.db-wal"]) {
      copyFileSync(join(dir, file), join(copy, file));
    }
    const found = lastSeqOf(copy) ?? -1;
    expect(found, `round ${round}`).toBeGreaterThanOrEqual(Math.max(reported, previous));
    previous = found;
  }
  expect(previous).toBeGreaterThan(0);
}, 30_000);

test("a log cut at any length gives a prefix", () => {
  const dir = newFolder();
  const writer = TraceWriter.create(dir);
  putStart(writer);
  for (let flush = 0; flush < 8; flush++) putFlush(writer);
  const files = ["trace.db", "trace.db-wal"].map((file) => readFileSync(join(dir, file)));
  writer.abort();
  const [database, log] = files;
  if (database === undefined || log === undefined) throw new Error("no files");
  const copy = newFolder();
  writeFileSync(join(copy, "trace.db"), database);
  let previous = -1;
  for (let length = 0; length <= log.length; length += 9_973) {
    writeFileSync(join(copy, "trace.db-wal"), log.subarray(0, length));
    const found = lastSeqOf(copy) ?? -1;
    expect(found).toBeGreaterThanOrEqual(previous);
    previous = found;
  }
  writeFileSync(join(copy, "trace.db-wal"), log);
  expect(lastSeqOf(copy)).toBe(8 * FLUSH_EVENTS);
});

/** Flips random bits, many in the first pages, where SQLite keeps its own structure. */
function flipBits(options: { dir: string; file: string; rounds: number }): number {
  const random = new SeededRandom(SEED);
  const path = join(options.dir, options.file);
  const sound = readFileSync(path);
  let noticed = 0;
  for (let round = 0; round < options.rounds; round++) {
    const bad = Buffer.from(sound);
    const at = random.below(random.chance(3) ? 2_000 : bad.length);
    bad[at] = (bad[at] ?? 0) ^ (1 << random.below(8));
    writeFileSync(path, bad);
    // checkTrace throws a defect where the content is wrong and nobody noticed.
    const found = lastSeqOf(options.dir);
    if (found === undefined) noticed++;
  }
  writeFileSync(path, sound);
  return noticed;
}

test("flipped bits of an ended trace are noticed or harmless", () => {
  const dir = join(newFolder(), "trace");
  const writer = TraceWriter.create(dir);
  putStart(writer);
  for (let flush = 0; flush < 4; flush++) putFlush(writer);
  writer.finish({ code: 0 });
  const noticed = flipBits({ dir, file: "trace.db", rounds: 400 });
  expect(noticed, `seed ${SEED}`).toBeGreaterThan(100);
  expect(lastSeqOf(dir)).toBe(4 * FLUSH_EVENTS);
});

test("flipped bits of a log give a prefix or an error", () => {
  const dir = newFolder();
  const writer = TraceWriter.create(dir);
  putStart(writer);
  for (let flush = 0; flush < 4; flush++) putFlush(writer);
  const copy = newFolder();
  for (const file of ["trace.db", "trace.db-wal"]) copyFileSync(join(dir, file), join(copy, file));
  writer.abort();
  flipBits({ dir: copy, file: "trace.db-wal", rounds: 150 });
  expect(lastSeqOf(copy)).toBe(4 * FLUSH_EVENTS);
});

/** A command that runs what follows it with a tmpfs of 3 MiB at `mount`, seen by nobody else, then copies what is there. */
function withSmallDisk(mount: string, copy: string): string[] {
  const script = `mount -t tmpfs -o size=3m none "$0" || exit 99; copy=$1; shift; "$@"; code=$?; ` +
    `cp -a "$0"/. "$copy"; exit $code`;
  return ["unshare", "-m", "sh", "-c", script, mount, copy];
}

function canMount(): boolean {
  const argv = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=3m none /mnt"];
  try {
    return Bun.spawnSync(argv, { stdio: ["ignore", "ignore", "ignore"] }).exitCode === 0;
  } catch {
    return false;
  }
}

test.skipIf(!canMount())(
  "a full disk gives disk_full, and what was there before stays",
  async () => {
    const mount = newFolder();
    const copy = newFolder();
    const wrapper = withSmallDisk(mount, copy);
    const recorder = new TestRecorder(join(mount, "trace"), { what: "full", wrapper });
    await recorder.end();
    expect(recorder.lines).toContain("error disk_full");
    expect(recorder.lastSeq()).toBeGreaterThan(0);
    expect(lastSeqOf(join(copy, "trace"))).toBe(recorder.lastSeq());
  },
);
