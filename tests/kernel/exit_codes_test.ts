/** Every way to end has its exit code and its one clear error (tests/proofs/exit_codes.ts has the cases). */
import { afterAll, expect, test } from "bun:test";
import { named, obstacle, removeScratch, scratch } from "../proofs/_kit.ts";
import {
  COMMAND_CASES,
  OVERWRITE_CASES,
  problemOf,
  READER_CASES,
  RECORDER_CASES,
} from "../proofs/exit_codes.ts";

afterAll(removeScratch);

for (const one of [...COMMAND_CASES, ...OVERWRITE_CASES, ...RECORDER_CASES, ...READER_CASES]) {
  test.skipIf(obstacle() !== "")(named(`${one.name}: exit code ${one.code}`), () => {
    expect(problemOf(one, one.ran(scratch("codes")))).toBe("");
  });
}
