/** Gives a trace that root recorded for a user to that user. */
import { chownSync, readdirSync } from "node:fs";

/** Changes the owner of the state-dir and of the files in it; without `owner` nothing. */
export function ownTrace(dir: string, owner: { uid: number; gid: number } | undefined): void {
  if (owner === undefined) return;
  for (const name of readdirSync(dir)) chownSync(`${dir}/${name}`, owner.uid, owner.gid);
  chownSync(dir, owner.uid, owner.gid);
}
