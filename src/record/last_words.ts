/**
 * Room for the last words of a recording that cannot be written on: why it ended. When the disk is full nothing more fits, so some blocks
 * are held from the start, behind the end of `recorder.lock` (they go with the lock), and given back for the one row that says why. Best
 * effort, as are all last words: without them the trace counts as cut, and nobody says why.
 */
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import { libc } from "../../ffi/libc.ts";
import { asDiffKeeperError, type DiffKeeperError } from "../base/error.ts";
import { LAST_WORDS_BYTES } from "../base/limits.ts";
import { encodeCut } from "../format/recording_info.ts";
import { INFO_CUT, LOCK_FILE } from "../store/schema.ts";
import type { TraceWriter } from "../store/trace_writer.ts";

/** fallocate(2), linux/falloc.h. */
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
/** What the lock says stands before it. */
const FROM = 4096;

/** Holds the room. Where the file system cannot, there is none. */
export function holdRoom(dir: string): void {
  allocate(dir, KEEP_SIZE);
}

/** Stores why the recording ended. Must be called between transactions. */
export function sayWhy(writer: TraceWriter, why: DiffKeeperError): void {
  allocate(writer.dir, KEEP_SIZE | PUNCH_HOLE);
  try {
    writer.begin();
  } catch (thrown) {
    return expected(thrown);
  }
  try {
    writer.putInfo(INFO_CUT, encodeCut(why));
    writer.commit();
  } catch (thrown) {
    writer.rollback();
    expected(thrown);
  }
}

/** The disk is as full as it was. */
function expected(thrown: unknown): void {
  const error = asDiffKeeperError(thrown);
  if (error.code === "defect") throw error;
}

function allocate(dir: string, mode: number): void {
  let fd: number;
  try {
    fd = openSync(join(dir, LOCK_FILE), constants.O_WRONLY | constants.O_NOFOLLOW);
  } catch {
    return;
  }
  libc.fallocate(fd, mode, FROM, LAST_WORDS_BYTES);
  closeSync(fd);
}
