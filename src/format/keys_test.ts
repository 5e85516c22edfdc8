import { expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_PATH_BYTES_MAX } from "../base/limits.ts";
import {
  buildKey,
  journalRange,
  type KeyRange,
  parseKey,
  rangeOf,
  sha256Hex,
  type TraceKey,
  versionRange,
} from "./keys.ts";
import { SeededRandom } from "./testing_events.ts";

const SEED = 99;
const SHA = sha256Hex(new Uint8Array(0));
const text = (key: TraceKey) => Buffer.from(buildKey(key)).toString("latin1");
const isIn = (key: TraceKey, range: KeyRange) =>
  Buffer.compare(buildKey(key), range.from) >= 0 && Buffer.compare(buildKey(key), range.to) < 0;

test("keys are those of docs/FORMAT.md", () => {
  expect(text({ sort: "info", name: "recording" })).toBe("i:recording");
  expect(text({ sort: "baseline", n: 255 })).toBe("b:00000000000000ff");
  expect(text({ sort: "data", n: 0 })).toBe("d:0000000000000000");
  expect(text({ sort: "journal", tNs: 2 ** 40, seq: 1042 })).toBe(
    "l:0000010000000000:0000000000000412",
  );
  expect(text({ sort: "version", path: "/a/\xff:b", tNs: 16 })).toBe(
    "m:/a/\xff:b:0000000000000010",
  );
  expect(text({ sort: "process", startNs: 1, pid: 2 })).toBe("p:0000000000000001:0000000000000002");
  expect(text({ sort: "content", sha256: SHA })).toBe(`c:${SHA}`);
  expect(SHA).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
});

test("random keys come back, lie in their range, and sort as their numbers", () => {
  const random = new SeededRandom(SEED);
  const make = (): TraceKey =>
    random.pick<TraceKey>([
      { sort: "info", name: "end" },
      { sort: "baseline", n: random.u53() },
      { sort: "data", n: random.u53() },
      { sort: "journal", tNs: random.u53(), seq: random.u53() },
      { sort: "version", path: random.name(), tNs: random.u53() },
      { sort: "process", startNs: random.u53(), pid: random.u32() },
      { sort: "content", sha256: SHA },
    ]);
  for (let round = 0; round < 2_000; round++) {
    const key = make();
    expect(parseKey(buildKey(key)), `seed ${SEED}`).toEqual(key);
    expect(isIn(key, rangeOf(key.sort))).toBe(true);
    if (key.sort === "version") expect(isIn(key, versionRange(key.path))).toBe(true);
    if (key.sort !== "journal") continue;
    expect(isIn(key, journalRange(key.tNs))).toBe(true);
    if (key.tNs < Number.MAX_SAFE_INTEGER) {
      expect(isIn(key, journalRange(key.tNs + 1))).toBe(false);
    }
  }
});

test("bytes that are no key are data_corrupt", () => {
  const random = new SeededRandom(SEED);
  const bad = ["", "l", "l:", "x:1", "l:0:0", "b:000000000000000G", "b:00000000000000FF", "c:12"]
    .concat(["m:path", "m::", "p:0000000000000001:000000000000000x", "d:ffffffffffffffff"]);
  for (const key of bad) {
    expect(() => parseKey(Buffer.from(key, "latin1")), key).toThrow(DiffKeeperError);
  }
  for (let round = 0; round < 2_000; round++) {
    try {
      parseKey(random.bytes(random.below(40)));
    } catch (thrown) {
      expect(thrown).toHaveProperty("code", "data_corrupt");
    }
  }
});

test("a path above the limit is refused", () => {
  const path = "a".repeat(TRACE_PATH_BYTES_MAX + 1);
  expect(() => buildKey({ sort: "version", path, tNs: 0 })).toThrow("the limit is");
  expect(() => versionRange(path)).toThrow("the limit is");
});
