/**
 * git clone, commits, rebase, merge, gc and commits again. At every event `git fsck` must be clean as soon as there is a
 * repository, and every commit that the script noted in `done` must be there: nothing that was ever committed is pruned, because
 * the reflog holds it.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { linesDone, must, type Place, type Program, shell } from "./_program.ts";

const ORIGIN = `
git init -q -b main origin
cd origin
cp -r /usr/include/linux linux
git add -A
git commit -qm first
i=0
while [ $i -lt 30 ]; do
  i=$((i + 1))
  for name in $(ls linux/*.h | awk -v i=$i 'NR % 17 == i % 17'); do
    sed -i "$((i * 3))i /* change $i */" "$name"
  done
  echo "$i" >>NEWS
  git add -A
  git commit -qm "change $i"
done
`;

const WORK = `
note() { echo "$1 $(git -C clone rev-parse HEAD)" >>done; }
git clone -q --no-local ../origin clone
note clone
cd clone
git checkout -q -b topic HEAD~15
cd ..
i=0
while [ $i -lt 8 ]; do
  i=$((i + 1))
  echo "topic $i" >>clone/topic
  git -C clone add topic
  git -C clone commit -qm "topic $i"
  note commit
done
git -C clone rebase -q origin/main
note rebase
git -C clone checkout -q main
git -C clone merge -q --no-ff -m merge topic
note merge
git -C clone gc -q --prune=now
note gc
git -C clone checkout -q HEAD~20
git -C clone checkout -q main
i=0
while [ $i -lt 4 ]; do
  i=$((i + 1))
  echo "after $i" >>clone/NEWS
  git -C clone stash -q
  git -C clone stash pop -q
  git -C clone commit -qam "after $i"
  note commit
done
git -C clone repack -adq
git -C clone pack-refs --all
note repack
`;

function use(out: string): string[] {
  const clone = join(out, "clone");
  const done = linesDone(out);
  const isRepository = ["HEAD", "objects", "refs"].every((name) => {
    return existsSync(join(clone, ".git", name));
  });
  if (!isRepository) {
    return done.length === 0 ? [] : [`no repository, but ${done.length} lines in done`];
  }
  const complaints: string[] = [];
  const fsck = shell("git fsck --full --strict --no-dangling", clone);
  const text = (fsck.stdout + fsck.stderr).trim();
  if (fsck.code !== 0 || /error|missing|corrupt|broken|fatal/.test(text)) {
    complaints.push(`git fsck exits with ${fsck.code}: ${text.slice(0, 300)}`);
  }
  const commits = done.map((line) => `${line.split(" ")[1]}^{commit}\n`).join("");
  const found = shell(`git cat-file --batch-check <<'END'\n${commits}END`, clone);
  for (const line of found.stdout.split("\n")) {
    if (line.endsWith("missing")) complaints.push(`committed, but not there: ${line}`);
  }
  const status = shell("git status --short", clone);
  if (status.code !== 0) complaints.push(`git status: ${status.stderr.trim()}`);
  return complaints;
}

function atEnd(at: Place): string[] {
  const steps = linesDone(at.out).map((line) => line.split(" ")[0]);
  return ["clone", "rebase", "merge", "gc", "repack"].filter((step) => !steps.includes(step))
    .map((step) => `there was no ${step}`);
}

/** git. */
export const GIT: Program = {
  name: "git",
  needs: [["git", "git"]],
  gapMs: 400,
  prepare: (at: Place) => void must(ORIGIN, at.base),
  script: () => WORK,
  use,
  atEnd,
};
