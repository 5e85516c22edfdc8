/**
 * A 32-bit program: its calls have numbers of their own, and 64-bit arguments in two halves. All must be recorded as those of any
 * program are, without help from the audit.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { dk, events, info, obstacle, removeScratch, run, scratch } from "../proofs/_kit.ts";

const FAR = 0x1_4000_0000;

const EXPECTED = [
  "CREATE file",
  "WRITE file 10",
  "WRITE file 10 6",
  `WRITE file ${FAR} 3`,
  `WRITE file ${FAR + 100} 6`,
  "WRITE file 16 6",
  "WRITE file 200 4",
  "CREATE copy",
  "WRITE copy 5",
  "WRITE copy 5 5",
  "WRITE copy 10 4",
  "WRITE copy 14 6",
  "TRUNCATE copy 12",
  `TRUNCATE file ${FAR + 50}`,
  "TRUNCATE copy 100",
  `FALLOCATE file ${FAR} 2`,
  "TRUNCATE copy 90",
  "TRUNCATE copy 80",
  "MMAP copy 4096",
  "MMAP copy 1",
  "MKDIR folder",
  "MKDIR folder/sub",
  "RENAME copy folder/moved",
  "LINK hard",
  "LINK hard2",
  "SYMLINK soft",
  "SYMLINK soft2",
  "RENAME hard2 soft2",
  "RENAME soft soft3",
  "MKNOD pipe",
  "CHMOD folder/moved",
  "CHMOD file",
  "CHOWN folder/moved",
  "CHOWN file",
  "UTIMES folder",
  "UTIMES file",
  "XATTR file",
  "XATTR file",
  "XATTR file",
  "UNLINK soft3",
  "RMDIR folder/sub",
];

afterAll(removeScratch);

/** Compiles the program. Returns its path, undefined where that cannot be done or run. */
function compiled(): string | undefined {
  if (process.arch !== "x64") return undefined;
  const program = join(scratch("calls32"), "calls32");
  const flags = ["-m32", "-O1", "-Wall", "-Werror", "-ffreestanding", "-nostdlib", "-static"];
  const argv = ["cc", ...flags, "-fno-pic", "-no-pie", "-fno-stack-protector", "-o", program];
  if (run([...argv, join(import.meta.dir, "_calls32.c")]).code !== 0) return undefined;
  const folder = scratch("calls32-bare");
  return run([program], { cwd: folder }).code === 0 ? program : undefined;
}

const program = obstacle() === "" ? compiled() : undefined;
const reason = obstacle() || (program === undefined ? "needs 32-bit programs" : "");

test.skipIf(reason !== "")(
  `all calls of a 32-bit program${reason === "" ? "" : ` (skipped: ${reason})`}`,
  () => {
    const folder = scratch("calls32-run");
    const watched = join(folder, "w");
    mkdirSync(watched);
    const state = join(folder, "trace");
    const argv = ["record", "--quiet", "--state-dir", state, "--watch", watched, "--"];
    const ran = dk([...argv, program ?? ""], { cwd: watched });
    expect(ran.stderr).toBe("");
    expect(ran.code).toBe(0);

    const all = events(state, "--all");
    const lines = all.filter(({ op }) => !["EXEC", "EXIT", "OUTPUT", "NOTE"].includes(op))
      .map(({ op, path, to, offset, length }) =>
        [op, path, to, offset, length].filter(Boolean).join(" ")
      );
    expect(lines).toEqual(EXPECTED);
    const audit = info(state)["verified"] as { differences: number };
    expect(audit.differences).toBe(0);
    const out = join(folder, "export");
    expect(dk(["export", "--state-dir", state, "--time", "end", "--out", out]).code).toBe(0);
    const same = (path: string, ...part: string[]) =>
      expect(run(["cmp", ...part, join(watched, path), join(out, path)])).toMatchObject({
        code: 0,
        stdout: "",
      });
    same("folder/moved");
    same("file", "-n", "4096");
    same("file", "-i", String(FAR)); // not all of the 5 GiB between
  },
);
