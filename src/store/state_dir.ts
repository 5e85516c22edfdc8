/**
 * Makes a state-dir ready for a new trace: creates the folder (0700), takes its lock, refuses what must not be overwritten,
 * and creates the empty database file (0600). A folder is reused when it is empty, or holds a trace and `overwrite` is given;
 * then the files of the trace are set aside (replaced_trace.ts) and nothing else.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { isSavedName } from "../format/saved_record.ts";
import { RecorderLock, refuseHeld } from "./recorder_lock.ts";
import { isReplacedFile, putBack, setAside } from "./replaced_trace.ts";
import { LOCK_FILE, STATE_DIR_FILES, TRACE_FILE } from "./schema.ts";
import { storeError } from "./store_error.ts";

const DIR_MODE = 0o700;
const FILE_MODE = 0o600;
const PARENTS_MAX = 1_000;

/** Who a new state-dir belongs to. */
export interface Owner {
  uid: number;
  gid: number;
}

/** How to make a state-dir. */
export interface StateDirOptions {
  /** Replaces a trace that is there. */
  overwrite?: boolean;
  /** Whose the trace is; default: who runs this. */
  owner?: Owner;
}

/** A state-dir that is locked and has an empty database file. */
export interface StateDir {
  path: string;
  databasePath: string;
  lock: RecorderLock;
}

/**
 * See the head of the file.
 * @throws {DiffKeeperError} `exists`, `in_use`, `not_writable`, `disk_full`, `io`.
 */
export function makeStateDir(dir: string, options: StateDirOptions): StateDir {
  const path = resolve(dir);
  makeFolder(path, options.owner);
  refuseHeld(path);
  // no lock in a folder that is not ours; whether a trace is there is asked when it is locked
  refuseForeign(path, { overwrite: true });
  const lock = RecorderLock.acquire(path);
  try {
    putBack(path);
    refuseForeign(path, options);
    setAside(path);
    const databasePath = join(path, TRACE_FILE);
    createDatabaseFile(databasePath, options.owner);
    return { path, databasePath, lock };
  } catch (thrown) {
    lock.release();
    throw storeError(thrown, `cannot record into "${path}"`, path);
  }
}

function makeFolder(path: string, owner: Owner | undefined): void {
  try {
    const first = mkdirSync(path, { recursive: true, mode: DIR_MODE });
    if (first === undefined) return;
    chmodSync(path, DIR_MODE);
    if (owner !== undefined) chownDown(path, first, owner);
  } catch (thrown) {
    const error = storeError(thrown, `cannot make the state-dir "${path}"`, path);
    if (error.code !== "exists") throw error;
    throw new DiffKeeperError(
      "exists",
      `cannot make the state-dir "${path}": a file is in the way`,
      {
        hint: "choose another --state-dir, or remove the file",
        cause: thrown,
      },
    );
  }
}

/** Gives every folder that was made, from `path` up to `first`, to the owner. */
function chownDown(path: string, first: string, owner: Owner): void {
  let at = path;
  for (let depth = 0; depth < PARENTS_MAX; depth++) {
    chownSync(at, owner.uid, owner.gid);
    if (at === first || at === dirname(at)) return;
    at = dirname(at);
  }
  assert(false, "a path must have fewer folders than the kernel allows");
}

/** Refuses a folder that holds a trace (without `overwrite`) or anything that is not ours. */
function refuseForeign(path: string, options: StateDirOptions): void {
  const names = listFolder(path);
  const foreign = names.find((name) => !isOurs(path, name));
  if (foreign !== undefined) {
    throw new DiffKeeperError(
      "exists",
      `cannot record into "${path}": it is not empty and holds "${foreign}", which is no part of a trace`,
      { hint: "choose another --state-dir" },
    );
  }
  if (!names.includes(TRACE_FILE) || options.overwrite === true) return;
  throw new DiffKeeperError("exists", `cannot record into "${path}": it holds a trace`, {
    hint: "choose another --state-dir, or add --overwrite to replace the trace",
  });
}

function isOurs(path: string, name: string): boolean {
  const isKnown = STATE_DIR_FILES.includes(name) || isReplacedFile(name) || isSavedName(name) ||
    name.startsWith(`${LOCK_FILE}.`);
  if (!isKnown) return false;
  return lstatSync(join(path, name), { throwIfNoEntry: false })?.isDirectory() !== true;
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (thrown) {
    throw storeError(thrown, `cannot read the state-dir "${path}"`, path);
  }
}

/** SQLite gives -wal and -shm the mode and, as root, the owner of this file. */
function createDatabaseFile(path: string, owner: Owner | undefined): void {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR } = constants;
  const fd = openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR, FILE_MODE);
  try {
    if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
  } finally {
    closeSync(fd);
  }
}
