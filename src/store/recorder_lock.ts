/**
 * `recorder.lock`: at most one recorder per state-dir. The file is made with O_EXCL and says who holds it: process id, the
 * process's start time (an id is used again, the pair is not), boot id and pid namespace. A lock of a process that is gone is
 * a leftover and is taken over; one from another pid namespace cannot be judged and counts as held.
 *
 * States of a lock: free -> held (acquire) -> free (release, or the process ends).
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DiffKeeperError } from "../base/error.ts";
import { LOCK_EMPTY_GRACE_MS } from "../base/limits.ts";
import { LOCK_FILE } from "./schema.ts";
import { storeError, thrownCode } from "./store_error.ts";

const TAKEOVERS_MAX = 3;
/** How often a lock that says nothing yet is looked at. */
const POLL_MS = 20;
const FILE_MODE = 0o600;
/** Fields after the name in /proc/PID/stat: state is the first, start time the 20th (proc(5)). */
const STAT_STATE = 0;
const STAT_START_TIME = 19;

/** What a lock file says of the recorder: it runs, it is gone, that cannot be told, or there is no lock. */
export type LockState = "held" | "stale" | "unknown" | "free";

/** What a lock is taken for: to record into the folder, or to change the trace that is there. */
export type LockPurpose = "record" | "change";

/** A lock that this process holds. */
export class RecorderLock {
  readonly #path: string;
  readonly #text: string;

  private constructor(path: string, text: string) {
    this.#path = path;
    this.#text = text;
  }

  /**
   * Takes the lock of a state-dir that exists.
   * @throws {DiffKeeperError} `in_use`; `not_writable`, `disk_full`, `io` if the file cannot be made.
   */
  static acquire(dir: string, purpose: LockPurpose = "record"): RecorderLock {
    const path = join(dir, LOCK_FILE);
    const text = identityOf(process.pid);
    for (let attempt = 0; attempt < TAKEOVERS_MAX; attempt++) {
      if (createLock(path, text, purpose)) return new RecorderLock(path, text);
      const found = finishedLock(path);
      if (found === undefined) continue;
      if (judge(found) !== "stale") throw inUse(dir, found.text, purpose);
      removeStale(path, found.text);
    }
    throw inUse(dir, readLock(path)?.text ?? "", purpose);
  }

  /** Gives the lock back; a lock that somebody else has taken since stays. */
  release(): void {
    if (readLock(this.#path)?.text === this.#text) rmSync(this.#path, { force: true });
  }
}

/** What the lock file of a state-dir says. */
export function lockState(dir: string): LockState {
  const found = readLock(join(dir, LOCK_FILE));
  return found === undefined ? "free" : judge(found);
}

/** @throws {DiffKeeperError} `in_use`: a recorder holds the state-dir, or one that cannot be judged may. */
export function refuseHeld(dir: string): void {
  const found = finishedLock(join(dir, LOCK_FILE));
  if (found !== undefined && judge(found) !== "stale") throw inUse(dir, found.text, "record");
}

interface FoundLock {
  text: string;
  ageMs: number;
  /** False: we may not read it. */
  isReadable: boolean;
}

/**
 * The lock once it says something: its recorder is just starting, or was killed between making and writing it. Then nothing more comes, and
 * who waits for LOCK_EMPTY_GRACE_MS may take it over.
 */
function finishedLock(path: string): FoundLock | undefined {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  let found = readLock(path);
  for (let waitedMs = 0; waitedMs <= LOCK_EMPTY_GRACE_MS; waitedMs += POLL_MS) {
    const isComing = found?.isReadable === true && !isWhole(found) &&
      found.ageMs < LOCK_EMPTY_GRACE_MS;
    if (!isComing) break;
    Atomics.wait(clock, 0, 0, POLL_MS);
    found = readLock(path);
  }
  return found;
}

/** Makes and writes it, or leaves nothing: a lock without its text would keep others waiting. */
function createLock(path: string, text: string, purpose: LockPurpose): boolean {
  let isMade = false;
  try {
    const fd = openSync(path, "wx", FILE_MODE);
    isMade = true;
    try {
      // all of it, where writeSync may write a part on a full disk
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    return true;
  } catch (thrown) {
    if (!isMade && thrownCode(thrown) === "EEXIST") return false;
    if (isMade) rmSync(path, { force: true });
    const place = purpose === "record" ? "state-dir" : "trace";
    throw storeError(thrown, `cannot lock "${path}"`, { path, place });
  }
}

/** Whether its recorder has written all of it. */
function isWhole({ text }: FoundLock): boolean {
  return text.endsWith("\n");
}

function readLock(path: string): FoundLock | undefined {
  try {
    const ageMs = Date.now() - statSync(path).mtimeMs;
    return { text: readFileSync(path, "latin1"), ageMs, isReadable: true };
  } catch (thrown) {
    if (["ENOENT", "ENOTDIR"].includes(thrownCode(thrown))) return undefined;
    // A lock that we may not read is held by somebody with more rights.
    if (["EACCES", "EPERM"].includes(thrownCode(thrown))) {
      return { text: "", ageMs: 0, isReadable: false };
    }
    throw storeError(thrown, `cannot read lock "${path}"`, path);
  }
}

function judge(found: FoundLock): LockState {
  const [pid, startTime, bootId, pidNamespace] = found.text.trim().split(" ");
  if (pid === undefined || pidNamespace === undefined || !isWhole(found)) {
    return found.ageMs < LOCK_EMPTY_GRACE_MS ? "unknown" : "stale";
  }
  if (bootId !== readOr("/proc/sys/kernel/random/boot_id", "unknown")) return "stale";
  if (pidNamespace !== ownPidNamespace()) return "unknown";
  return startTimeOf(Number(pid)) === startTime ? "held" : "stale";
}

/** Moves the stale lock aside, then deletes it if it is still the one that was judged; else puts it back. */
function removeStale(path: string, text: string): void {
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
    if (readLock(aside)?.text === text) rmSync(aside, { force: true });
    else renameSync(aside, path);
  } catch (thrown) {
    if (thrownCode(thrown) === "ENOENT") return;
    throw storeError(thrown, `cannot remove the leftover lock "${path}"`, path);
  }
}

function identityOf(pid: number): string {
  const boot = readOr("/proc/sys/kernel/random/boot_id", "unknown");
  return `${pid} ${startTimeOf(pid) ?? "0"} ${boot} ${ownPidNamespace()}\n`;
}

/** Start time of a process in clock ticks since boot; undefined: it is gone, or a zombie. */
function startTimeOf(pid: number): string | undefined {
  const stat = readOr(`/proc/${pid}/stat`, "");
  // The name stands in parentheses and may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[STAT_STATE];
  if (stat === "" || state === "Z" || state === "X") return undefined;
  return fields[STAT_START_TIME];
}

function ownPidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "unknown";
  }
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return fallback;
  }
}

function inUse(dir: string, text: string, purpose: LockPurpose): DiffKeeperError {
  const pid = /^\d+/.exec(text)?.[0];
  const who = pid === undefined ? "another recorder" : `the recorder with process id ${pid}`;
  const isRecord = purpose === "record";
  const action = isRecord ? `cannot record into "${dir}"` : `cannot change the trace in "${dir}"`;
  const wait = isRecord ? "wait for it, choose another --state-dir," : "wait for it,";
  return new DiffKeeperError("in_use", `${action}: ${who} is using it`, {
    hint: `${wait} or remove "${join(dir, LOCK_FILE)}" if no recorder runs there`,
  });
}
