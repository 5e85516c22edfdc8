/** `--exclude` and `--include`: what is left out makes nothing inexact, and no event says what nobody did. */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { dk, events, info, named, obstacle, removeScratch, scratch } from "../proofs/_kit.ts";

afterAll(removeScratch);

/** Makes, renames and removes names that are left out in two folders, with a pause before the last. */
const SCRIPT = "echo q >q.tmp; touch src/b.tmp; mkdir src/c.tmp; ln -s x src/s.tmp; " +
  "ln q.tmp src/l.tmp; mv q.tmp src/q.tmp; echo 1 >kept.log; echo 2 >a.log; mv a.log src/a.tmp; " +
  "mv src/q.tmp r.tmp; rmdir src/c.tmp; rm src/s.tmp; sleep 0.05; rm src/l.tmp";

for (const filter of [["--exclude", "*.tmp"], ["--include", "*.log"]]) {
  test.skipIf(obstacle() !== "")(named(`record ${filter.join(" ")} is exact`), () => {
    const folder = scratch("left-out");
    const work = join(folder, "w");
    mkdirSync(join(work, "src"), { recursive: true });
    const state = join(folder, "trace");
    const argv = ["record", "--state-dir", state, "--watch", "w", ...filter, "--"];
    const ran = dk([...argv, "sh", "-c", `cd w; ${SCRIPT}`], { cwd: folder });
    expect(ran.code).toBe(0);
    expect(info(state)).toMatchObject({ verified: { differences: 0 }, fidelity: { exact: true } });
    const [option, pattern] = filter;
    const patterns = { include: [] as string[], exclude: [] as string[] };
    patterns[option === "--include" ? "include" : "exclude"].push(pattern ?? "");
    expect(info(state)).toMatchObject(patterns);
    const shown = dk(["info", state]).stdout;
    expect(shown).toContain(`${option === "--include" ? "only      " : "left out  "} ${pattern}`);
    const all = events(state, "--all");
    expect(all.filter((event) => event.op === "CHMOD")).toEqual([]);
    // a folder is in the recording whatever --include says: files of that name may be in it
    const wrong = all.filter(({ op, path }) => path?.endsWith(".tmp") && !op.endsWith("DIR"));
    expect(wrong).toEqual([]);
    const out = join(folder, "export");
    expect(dk(["export", "--state-dir", state, "--time", "end", "--out", out]).code).toBe(0);
    for (const path of [".", "src", "kept.log"]) {
      const mtimeNs = (top: string) => statSync(join(top, path), { bigint: true }).mtimeNs;
      expect([path, mtimeNs(out)]).toEqual([path, mtimeNs(work)]);
    }
  });
}
