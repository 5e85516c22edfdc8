/** A lazy baseline restores whatever is destroyed (tests/proofs/baseline.ts has the checks, and the large tree). */
import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { Checks, named, obstacle, removeScratch, scratch } from "../proofs/_kit.ts";
import {
  checkFates,
  checkIoUring,
  checkKill,
  checkOutsider,
  checkRemoval,
  makeTree,
} from "../proofs/baseline.ts";

afterAll(removeScratch);

const FILES = 3_000;
const isSkipped = obstacle() !== "";

test.skipIf(isSkipped)(
  named("a removed tree is restored, also when the recorder is killed"),
  async () => {
    const checks = new Checks({ quiet: true });
    const top = scratch("baseline");
    makeTree(join(top, "tree"), FILES);
    checkRemoval(checks, top, join(top, "tree"));
    await checkKill(checks, top, join(top, "tree"));
    expect(checks.failures).toEqual([]);
  },
);

test.skipIf(isSkipped)(named("every way to destroy what a file held is undone"), () => {
  const checks = new Checks({ quiet: true });
  checkFates(checks, scratch("fates"));
  expect(checks.failures).toEqual([]);
});

test.skipIf(isSkipped)(named("what an outsider destroys is named as lost"), async () => {
  const checks = new Checks({ quiet: true });
  await checkOutsider(checks, scratch("outsider"));
  expect(checks.failures).toEqual([]);
});

test.skipIf(isSkipped)(named("io_uring is refused, and that is said"), () => {
  const checks = new Checks({ quiet: true });
  checkIoUring(checks, scratch("uring"));
  expect(checks.failures).toEqual([]);
});
