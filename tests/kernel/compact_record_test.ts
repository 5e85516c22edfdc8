/** Compaction beside a recording changes nothing but its size (tests/proofs/compact_record.ts has the checks). */
import { afterAll, expect, test } from "bun:test";
import { Checks, named, obstacle, removeScratch } from "../proofs/_kit.ts";
import { checkRecording } from "../proofs/compact_record.ts";

afterAll(removeScratch);

test.skipIf(obstacle() !== "")(named("a recording that is packed meanwhile is whole"), () => {
  const checks = new Checks({ quiet: true });
  checkRecording(checks, 100_000);
  expect(checks.failures).toEqual([]);
}, 300_000);
