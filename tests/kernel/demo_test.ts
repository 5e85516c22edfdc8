/** The demo is a promise: it ends with 0, and what it restored says what the flaky test saw. */
import { expect, test } from "bun:test";
import { named, obstacle, ROOT, run } from "../proofs/_kit.ts";

test.skipIf(obstacle() !== "")(named("npm run demo finds the culprit"), () => {
  const { code, stdout, stderr } = run(["sh", "demo/run.sh"], { cwd: ROOT, timeoutMs: 110_000 });
  expect(stderr).toBe("");
  expect(stdout).toMatch(/#\d+ WRITE status\.(tmp|log) \(23B\) standby\[/);
  expect(stdout).toMatch(/\$ cat after\/status\.log\nERROR: Connection Lost\n/);
  expect(stdout).not.toContain("FAIL  ");
  expect(code).toBe(0);
});
