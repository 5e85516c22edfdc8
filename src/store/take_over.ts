/**
 * Who owns a file that is written in place of another, or as its copy. Only root may give a file to somebody else: a trace that we
 * may only read can still be copied, and the copy is ours.
 */
import { chmodSync, chownSync, statSync } from "node:fs";
import { thrownCode } from "./store_error.ts";

/** Bits of the owner and of all others. */
const OWN_AND_OTHERS = 0o707;
const GROUP_SHIFT = 3;

/**
 * Gives the new file the owner, the group and the mode of the old one, as far as we are permitted. Where the group cannot be kept, ours
 * gets no more than what everybody has: who could not read the old file must not read this one.
 */
export function takeOver(from: string, to: string): void {
  const { uid, gid, mode } = statSync(from);
  const isKept = tryChown(to, uid, gid) || tryChown(to, statSync(to).uid, gid);
  const ofAll = (mode & 0o007) << GROUP_SHIFT;
  chmodSync(to, isKept ? mode & 0o777 : (mode & OWN_AND_OTHERS) | (mode & ofAll));
}

/** False: it is not permitted. */
function tryChown(path: string, uid: number, gid: number): boolean {
  try {
    chownSync(path, uid, gid);
    return true;
  } catch (thrown) {
    if (thrownCode(thrown) === "EPERM") return false;
    throw thrown;
  }
}
