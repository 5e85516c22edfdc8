/**
 * The file stressors of stress-ng, one after the other in one recording. They clean up and say nothing of a moment in between,
 * so the frozen moments judge them; the export of a random event must succeed.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Place, Program } from "./_program.ts";

/** Longest run of one of them. */
const SECONDS = 1;

/** With the number of operations, so that slow machines do the same. */
const STRESSORS: Readonly<Record<string, string>> = {
  hdd: "--hdd-ops 400 --hdd-bytes 4M --hdd-write-size 32K",
  iomix: "--iomix-ops 400 --iomix-bytes 4M",
  seek: "--seek-ops 400 --seek-size 2M",
  "sync-file": "--sync-file-ops 10 --sync-file-bytes 2M",
  fallocate: "--fallocate-ops 40 --fallocate-bytes 2M",
  fpunch: "--fpunch-ops 40",
  "copy-file": "--copy-file-ops 10 --copy-file-bytes 128M",
  sendfile: "--sendfile-ops 40 --sendfile-size 64K",
  revio: "--revio-ops 200 --revio-bytes 2M",
  aio: "--aio-ops 100",
  aiol: "--aiol-ops 100",
  dentry: "--dentry-ops 400 --dentries 200",
  dir: "--dir-ops 200 --dir-dirs 200",
  dirdeep: "--dirdeep-ops 100 --dirdeep-inodes 300",
  dirmany: "--dirmany-ops 200",
  filename: "--filename-ops 60",
  link: "--link-ops 30",
  symlink: "--symlink-ops 30",
  mknod: "--mknod-ops 30",
  rename: "--rename-ops 400",
  chmod: "--chmod-ops 200",
  chown: "--chown-ops 200",
  utime: "--utime-ops 200",
  xattr: "--xattr-ops 40",
  touch: "--touch-ops 200",
  "file-ioctl": "--file-ioctl-ops 40",
  flock: "--flock-ops 40",
  lockf: "--lockf-ops 40",
  open: "--open-ops 200",
  fsize: "--fsize-ops 20",
  chattr: "--chattr-ops 40",
  "inode-flags": "--inode-flags-ops 40",
  locka: "--locka-ops 40",
  lease: "--lease-ops 40",
  inotify: "--inotify-ops 20",
  fiemap: "--fiemap-ops 40 --fiemap-bytes 2M",
  msync: "--msync-ops 40 --msync-bytes 1M",
  mmap: "--mmap-ops 8 --mmap-file --mmap-bytes 1M",
};

function atEnd(at: Place): string[] {
  const failed = join(at.base, "failed");
  if (!existsSync(failed)) return [];
  const names = readFileSync(failed, "utf8").trim().replaceAll("\n", ", ");
  return [`stress-ng fails by itself in ${names}: ${readFileSync(join(at.base, "stress.err"))}`];
}

/** stress-ng. */
export const STRESS: Program = {
  name: "stress-ng",
  needs: [["stress-ng", "stress-ng"]],
  gapMs: 400,
  moments: 60,
  prepare: () => undefined,
  script: () =>
    Object.entries(STRESSORS).map(([name, options]) => {
      return `stress-ng --quiet --temp-path . --timeout ${SECONDS} --${name} 1 ${options} ` +
        `2>>../stress.err || echo "${name} $?" >>../failed\n`;
    }).join(""),
  use: () => [],
  atEnd,
};
