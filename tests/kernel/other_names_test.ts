/**
 * Files reached by names that do not lie in the watched folder: bind mounts of a part of it, hard links outside, absolute paths in a
 * chroot. All must be recorded where they are, in their order, without help from the audit.
 */
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dk, events, info, named, obstacle, removeScratch, run, scratch } from "../proofs/_kit.ts";

const reason = obstacle();
const BUSYBOX = "/bin/busybox";
const isStatic = existsSync(BUSYBOX) &&
  !run(["ldd", BUSYBOX]).stdout.includes("=>");

afterAll(removeScratch);

/** Records a shell script in a fresh folder with `w` (watched) and `out`; gives the events as "OP path [to]". */
function recorded(
  script: string,
  prepare: (folder: string) => void,
): { lines: string[]; folder: string } {
  const folder = scratch("other-names");
  mkdirSync(join(folder, "w"));
  mkdirSync(join(folder, "out"));
  prepare(folder);
  const state = join(folder, "trace");
  const argv = ["record", "--quiet", "--state-dir", state, "--watch", "w", "--"];
  const ran = dk([...argv, "unshare", "--mount", "sh", "-ec", script], { cwd: folder });
  expect(ran.stderr).toBe("");
  expect(ran.code).toBe(0);
  const shown = new Set(["EXEC", "EXIT", "OUTPUT"]);
  const lines = events(state, "--all").filter((event) => !shown.has(event.op))
    .map((event) => [event.op, event.path, event.to].filter((text) => text).join(" "));
  const audit = info(state)["verified"] as { differences: number };
  expect(audit.differences).toBe(0);
  const out = join(folder, "export");
  expect(dk(["export", "--state-dir", state, "--time", "end", "--out", out]).code).toBe(0);
  expect(run(["diff", "-r", "--no-dereference", join(folder, "w"), out]).stdout).toBe("");
  return { lines, folder };
}

test.skipIf(reason !== "")(named("through a bind mount"), () => {
  const { lines } = recorded(
    "mkdir b; mount --bind w/sub b; echo 1 > b/made; echo 2 >> b/old; mv b/made b/moved; chmod 600 b/moved; rm b/old",
    (folder) => {
      mkdirSync(join(folder, "w/sub"));
      writeFileSync(join(folder, "w/sub/old"), "old\n");
    },
  );
  expect(lines).toEqual([
    "CREATE sub/made",
    "WRITE sub/made",
    "WRITE sub/old",
    "RENAME sub/made sub/moved",
    "CHMOD sub/moved",
    "UNLINK sub/old",
  ]);
});

test.skipIf(reason !== "")(named("by a hard link outside"), () => {
  const { lines } = recorded("echo more >> out/other; chmod 600 out/other", (folder) => {
    writeFileSync(join(folder, "w/file"), "text\n");
    expect(run(["ln", join(folder, "w/file"), join(folder, "out/other")]).code).toBe(0);
  });
  expect(lines).toEqual(["WRITE file", "CHMOD file"]);
});

const noBusybox = reason !== "" || !isStatic;
test.skipIf(noBusybox)(
  noBusybox && reason === ""
    ? "in a chroot (skipped: needs a static busybox)"
    : named("in a chroot"),
  () => {
    const { lines } = recorded(
      "chroot w /busybox sh -c '/busybox mkdir /d; echo 1 > /a; /busybox mv /a /d/b; /busybox ln -s /d /l; /busybox chmod 600 /d/b'",
      (folder) => expect(run(["cp", BUSYBOX, join(folder, "w/busybox")]).code).toBe(0),
    );
    expect(lines).toEqual([
      "MKDIR d",
      "CREATE a",
      "WRITE a",
      "RENAME a d/b",
      "SYMLINK l",
      "CHMOD d/b",
    ]);
  },
);

test.skipIf(reason !== "")(named("others' work on the same filesystem is not recorded"), () => {
  const { lines } = recorded(
    "mkdir out/d; echo 1 > out/d/f; mv out/d out/e; rm -r out/e",
    () => {},
  );
  expect(lines).toEqual([]);
});
