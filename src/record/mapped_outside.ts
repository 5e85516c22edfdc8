/**
 * Finds what programs outside the command had mapped shared and writable before the recording began, and have still: what they store
 * there makes no call, and on a page that is written already not even a new time, so nothing else shows it. Read from /proc/PID/maps
 * (proc_pid_maps(5)) when the recording ends.
 */
import { readdirSync, readFileSync } from "node:fs";
import { MAPPED_OUTSIDE_SHOWN_MAX } from "../base/limits.ts";
import type { Node } from "../resolve/node.ts";

/** A file that a process has mapped. */
export interface MappedOutside {
  node: Node;
  pid: number;
  comm: string;
}

/** Address, `rw-s`, offset, device as the kernel has it, inode number. */
const SHARED_LINE = /^\S+ .w.s \S+ ([0-9a-f]+):([0-9a-f]+) (\d+)/gm;

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // it has ended, or is none of ours to look at
  }
}

/**
 * Files of the tree that some process has mapped so, each once.
 * @param find the node of an inode; `dev`: major << 20 | minor.
 * @param isFollowed whether stores to it are followed, because the mapping was made during the recording.
 */
export function mappedOutside(
  find: (dev: number, ino: number) => Node | undefined,
  isFollowed: (node: number) => boolean,
): MappedOutside[] {
  const found = new Map<number, MappedOutside>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!(pid > 0)) continue;
    const maps = textOf(`/proc/${pid}/maps`);
    if (!maps.includes("s ")) continue;
    for (const [, major = "", minor = "", ino = ""] of maps.matchAll(SHARED_LINE)) {
      const dev = Number.parseInt(major, 16) * 2 ** 20 + Number.parseInt(minor, 16);
      const node = find(dev, Number(ino));
      if (node === undefined || isFollowed(node.id) || found.has(node.id)) continue;
      found.set(node.id, { node, pid, comm: textOf(`/proc/${pid}/comm`).trim() });
      if (found.size === MAPPED_OUTSIDE_SHOWN_MAX) return [...found.values()];
    }
  }
  return [...found.values()];
}
