/**
 * `rsync --inplace` of new versions over old ones: files whose blocks changed in place, that grew, shrank, came and went. It writes
 * each file from its start, one after the other, so in every export each file of unchanged size is the new bytes up to a point and
 * the old ones after it, and only one file is between the two. Then rsync itself finishes the export, which must equal the source.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { must, type Place, type Program, shell } from "./_program.ts";

const FILES = 30;
const OPTIONS = "-a --inplace --no-whole-file --delete-before --block-size=4096";

const PREPARE = `
import os, random
random.seed(1)
for i in range(${FILES}):
    size = random.choice((1000, 100_000, 900_000, 3_000_000))
    old = random.randbytes(size)
    new = bytearray(old)
    for k in range(size // 50_000 + 1):
        at = random.randrange(size)
        new[at:at + 5000] = random.randbytes(len(new[at:at + 5000]))
    if i % 10 == 7: new += random.randbytes(70_000)
    if i % 10 == 8: new = new[:size // 3]
    for name, data in (("watched/old", old), ("new", new)):
        os.makedirs(name, exist_ok=True)
        if i % 10 == 9 and name == "new": continue
        with open("%s/file%02d" % (name, i), "wb") as f: f.write(data)
        os.utime("%s/file%02d" % (name, i), (1000, 1000 + (name == "new")))
for i in range(200):
    os.makedirs("new/many", exist_ok=True)
    with open("new/many/%d" % i, "wb") as f: f.write(b"new %d" % i)
`;

/** How much of a file is new: 0 to 1; undefined: it is a mixture that cannot be. */
function partNew(found: Buffer, old: Buffer, fresh: Buffer): number | undefined {
  let to = 0;
  while (to < fresh.length && found[to] === fresh[to]) to++;
  if (found.equals(old)) return 0;
  return found.subarray(to).equals(old.subarray(to)) ? to / fresh.length : undefined;
}

function use(out: string, at: Place): string[] {
  const complaints: string[] = [];
  let between = 0;
  for (const name of readdirSync(join(at.base, "new"))) {
    const paths = [join(out, "old", name), join(at.base, "old", name), join(at.base, "new", name)];
    if (name === "many" || !paths.every(existsSync)) continue;
    const [found, old, fresh] = paths.map((path) => readFileSync(path));
    if (found === undefined || old?.length !== fresh?.length || !old || !fresh) continue;
    const part = partNew(found, old, fresh);
    if (part === undefined) complaints.push(`${name} is neither old nor new`);
    else if (part > 0 && part < 1) between++;
  }
  if (between > 1) complaints.push(`${between} files are between old and new`);
  const rest = shell(`rsync ${OPTIONS} ${at.base}/new/ old/ && diff -r ${at.base}/new old`, out);
  if (rest.code !== 0) {
    complaints.push(`rsync and diff: ${(rest.stdout + rest.stderr).trim().slice(0, 200)}`);
  }
  return complaints;
}

function atEnd(at: Place): string[] {
  const state = shell(`diff -r ${at.base}/new ${at.watched}/old`, at.base);
  return state.code === 0 ? [] : [`rsync did not finish: ${state.stdout}${state.stderr}`];
}

/** rsync. */
export const RSYNC: Program = {
  name: "rsync",
  needs: [["rsync", "rsync"], ["python3", "python3"]],
  gapMs: 40,
  prepare(at) {
    must(`python3 -c '${PREPARE}' && cp -a watched/old old`, at.base);
  },
  script: () => `exec rsync ${OPTIONS} --bwlimit=30m ../new/ old/`,
  use,
  atEnd,
};
