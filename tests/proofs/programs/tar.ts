/**
 * `tar x` of some 900 files with links, a sparse file and a program of 3 MB. tar makes one name after the other, so at every
 * event all names of the archive up to the last that is there must be complete, and only that one may be in the making.
 */
import { join } from "node:path";
import { type Entry, readManifest, writeManifest } from "../../oracle/manifest.ts";
import { must, type Place, type Program, shell } from "./_program.ts";

const ARCHIVE = `
mkdir tree
cp -r /usr/include/linux tree/linux
cp "$(command -v git)" tree/program
ln tree/program tree/again
ln -s linux/types.h tree/link
ln -s /nonexistent tree/dangling
mkfifo tree/fifo
mkdir -p tree/empty tree/read-only
truncate -s 5M tree/sparse
echo end >>tree/sparse
echo kept >tree/read-only/file
chmod 555 tree/read-only
chown 1234:5678 tree/linux/types.h
tar cSf tree.tar tree
mkdir truth
tar xf tree.tar -C truth
tar tf tree.tar >names
`;

/** What depends on other names. */
const LATE: readonly (keyof Entry)[] = ["group"];

/**
 * A folder gets its time and mode after what is in it; an absolute symlink is an empty file until all else is there (GNU tar does
 * so lest the archive writes through it).
 */
function isLate(wanted: Entry, entry: Entry | undefined): boolean {
  if (wanted.type === "d") return entry?.type === "d";
  return wanted.type === "l" && wanted.content.startsWith("/") && entry?.size === "0";
}

function use(out: string, at: Place): string[] {
  const [truthFile, foundFile] = [join(at.base, "truth.list"), join(at.base, "found")];
  writeManifest(join(at.base, "truth"), { out: truthFile });
  writeManifest(out, { out: foundFile });
  const [truth, found] = [readManifest(truthFile), readManifest(foundFile)];
  const names = must("cat names", at.base).split("\n").filter((name) => name !== "")
    .map((name) => name.replace(/\/$/, ""));
  const last = names.findLastIndex((name) => found.has(name));
  const complaints: string[] = [];
  for (const [i, name] of names.entries()) {
    const [wanted, entry] = [truth.get(name), found.get(name)];
    if (wanted === undefined) throw new Error(`tar made no ${name}`);
    if (i >= last || isLate(wanted, entry)) continue;
    const unlike = (Object.keys(wanted) as (keyof Entry)[])
      .filter((field) => !LATE.includes(field) && wanted[field] !== entry?.[field]);
    if (unlike.length > 0) complaints.push(`${name}: ${unlike.join(", ")} differ`);
  }
  return complaints;
}

function atEnd(at: Place): string[] {
  const differs = shell("tar df ../tree.tar", at.out);
  return differs.code === 0 ? [] : [`tar d: ${differs.stdout}${differs.stderr}`];
}

/** tar. */
export const TAR: Program = {
  name: "tar",
  needs: [["tar", "tar"]],
  gapMs: 25,
  prepare: (at) => void must(ARCHIVE, at.base),
  script: () => "exec tar xf ../tree.tar",
  use,
  atEnd,
};
