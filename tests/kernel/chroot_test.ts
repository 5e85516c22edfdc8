/** dist/diffkeeper needs nothing but glibc, /proc and /sys (tests/proofs/chroot.ts has the checks). */
import { afterAll, expect, test } from "bun:test";
import { Checks, named, obstacle, removeScratch } from "../proofs/_kit.ts";
import { checkChroot } from "../proofs/chroot.ts";

const reason = obstacle() !== "" || Bun.which("cc") === null;

afterAll(removeScratch);

test.skipIf(reason)(named("diffkeeper alone in a bare chroot"), () => {
  const checks = new Checks({ quiet: true });
  checkChroot(checks);
  expect(checks.failures).toEqual([]);
});
