/**
 * The trace that a new one replaces. It is set aside (renamed in its folder) while the new recording gets ready, forgotten as soon as
 * the command has started, and put back when it has not: `--overwrite` must not cost a trace for a command that does not exist.
 * Set-aside files that a recorder finds belong to one that was killed before its command started: they are put back first.
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { LOCK_FILE, REPLACED_SUFFIX, STATE_DIR_FILES, TRACE_FILE, WAL_SUFFIX } from "./schema.ts";

/** What a trace needs to be whole again; the rest of its files are of no value. */
const KEPT_FILES = [TRACE_FILE, TRACE_FILE + WAL_SUFFIX] as const;

/** Whether a file of a state-dir is one that was set aside. */
export function isReplacedFile(name: string): boolean {
  return KEPT_FILES.some((file) => name === file + REPLACED_SUFFIX);
}

/**
 * Renames the trace of a folder; without one nothing happens. The caller holds the folder's lock and has called `putBack`. The
 * database goes first: a log without a database beside it belongs to the database that was set aside.
 */
export function setAside(dir: string): void {
  forget(dir);
  for (const file of KEPT_FILES) {
    if (existsSync(join(dir, file))) {
      renameSync(join(dir, file), join(dir, file + REPLACED_SUFFIX));
    }
  }
  removeFiles(dir);
}

/** Puts back what was set aside, in place of what is there now. Returns whether there was something. */
export function putBack(dir: string): boolean {
  if (!existsSync(join(dir, TRACE_FILE + REPLACED_SUFFIX))) return false;
  if (existsSync(join(dir, TRACE_FILE))) removeFiles(dir);
  for (const file of [...KEPT_FILES].reverse()) {
    const aside = join(dir, file + REPLACED_SUFFIX);
    if (existsSync(aside)) renameSync(aside, join(dir, file));
  }
  return true;
}

/** The new trace stays: what was set aside goes, the database first. */
export function forget(dir: string): void {
  for (const file of KEPT_FILES) rmSync(join(dir, file + REPLACED_SUFFIX), { force: true });
}

/** Removes the files of the trace that is there, the database last; the lock stays. */
export function removeFiles(dir: string): void {
  for (const file of [...STATE_DIR_FILES].reverse()) {
    if (file !== LOCK_FILE) rmSync(join(dir, file), { force: true });
  }
}
