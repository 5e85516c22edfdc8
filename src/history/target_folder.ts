/**
 * Opens the folder that an export goes to: makes it when it is missing, refuses one that is not empty, or empties it when
 * that was asked for (target_entries.ts). What the export itself still has to read is never emptied: not the trace, and not the
 * files on disk that it refers to.
 */
import { constants, mkdirSync, realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { asDiffKeeperError, DiffKeeperError, type ErrorCode } from "../base/error.ts";
import { cString, errno, errnoText, libc } from "../../ffi/libc.ts";
import { At } from "../../ffi/libc_tree.ts";
import { closeFd } from "./target.ts";
import {
  emptyFolder,
  type FileTest,
  findFile,
  isEmptyFolder,
  ownRights,
} from "./target_entries.ts";
import { binaryOf, quoted } from "./path_text.ts";

const O_CLOEXEC = 0o2000000;

/** How to open a target. */
export interface TargetOptions {
  /** Whether entries that are there are removed first. */
  force: boolean;
  /** The trace that is read: neither it nor a folder that holds it may be written to. */
  stateDir: string;
  /** Knows the files on disk that the trace refers to; asked before anything is removed. Undefined: there are none. */
  referred?: () => FileTest | undefined;
}

/**
 * Opens the target folder, empty, and returns its descriptor.
 * @throws {DiffKeeperError} `exists` when it is not empty and `force` is not set; `usage` when it is or holds the trace,
 *   or holds a file that the trace refers to; `not_writable` or `io` when it cannot be made.
 */
export function openTarget(out: string, options: TargetOptions): number {
  checkPlace(out, options.stateDir);
  try {
    mkdirSync(out, { recursive: true });
  } catch (thrown) {
    const { code = "", errno = 0 } = thrown as NodeJS.ErrnoException;
    const isFile = code === "EEXIST" || code === "ENOTDIR";
    const isFull = code === "ENOSPC" || code === "EDQUOT";
    const kind: ErrorCode = isFile
      ? "exists"
      : isFull
      ? "disk_full"
      : ["EACCES", "EPERM", "EROFS"].includes(code)
      ? "not_writable"
      : "io";
    throw new DiffKeeperError(
      kind,
      `cannot export to "${out}": ${
        isFile ? "it is not a folder" : `it cannot be made: ${errnoText(Math.abs(errno))}`
      }`,
      { hint: isFull ? "free some space, or choose another --out" : "choose another --out" },
    );
  }
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC;
  const fd = libc.openat(At.FDCWD, cString(binaryOf(out)), flags, 0);
  if (fd < 0) {
    throw new DiffKeeperError("not_writable", `cannot export to "${out}": ${errnoText(errno())}`);
  }
  try {
    makeEmpty(fd, out, options);
  } catch (thrown) {
    closeFd(fd);
    throw thrown;
  }
  return fd;
}

/**
 * An export failed: takes back what it made, so that nobody takes a part for the whole, and says so.
 * @returns the error to throw.
 */
export function abandonTarget(fd: number, out: string, thrown: unknown): DiffKeeperError {
  const error = asDiffKeeperError(thrown);
  let rest = "what was made until then is removed";
  try {
    emptyFolder(fd);
  } catch {
    rest = `a part of it is left in "${out}": remove it`;
  }
  closeFd(fd);
  if (error.code === "defect") return error;
  const way = error.code === "disk_full" ? "free some space, or choose another --out" : error.hint;
  const message = error.message.startsWith("cannot export")
    ? error.message
    : `cannot export to "${out}": ${error.message}`;
  return new DiffKeeperError(error.code, message, {
    hint: way === undefined ? rest : `${way}; ${rest}`,
    cause: error.cause,
  });
}

function makeEmpty(fd: number, out: string, { force, referred }: TargetOptions): void {
  const isEmpty = isEmptyFolder(fd);
  if (!isEmpty && !force) {
    throw new DiffKeeperError("exists", `cannot export to "${out}": it is not empty`, {
      hint: "choose a new folder, or add --force to remove what is in it",
    });
  }
  const isReferred = isEmpty ? undefined : referred?.();
  const kept = isReferred === undefined ? undefined : findFile(fd, isReferred);
  if (kept !== undefined) {
    const why = `it holds ${quoted(kept)}, and the trace has that content only there`;
    throw new DiffKeeperError("usage", `cannot export to "${out}": ${why}`, {
      hint:
        "choose another folder, or take the content into one file first (diffkeeper pack) and " +
        "export from that",
    });
  }
  ownRights(fd);
  if (!isEmpty) emptyFolder(fd);
}

/** Refuses `/`, the state-dir, what lies in it, and what holds it. */
function checkPlace(out: string, stateDir: string): void {
  const target = realPathOf(out);
  const trace = realPathOf(stateDir);
  const holds = trace === target || trace.startsWith(target === "/" ? "/" : `${target}/`);
  if (!holds && !target.startsWith(`${trace}/`)) return;
  const why = holds ? "it holds the trace that is read" : "it lies in the trace's own folder";
  throw new DiffKeeperError("usage", `cannot export to "${out}": ${why}`, {
    hint: "choose a folder beside the trace",
  });
}

/** The path without symlinks, of the part of it that exists, and the rest as it is. */
function realPathOf(path: string): string {
  const absolute = resolve(path);
  let existing = absolute;
  while (existing !== "/") {
    try {
      return realpathSync(existing) + absolute.slice(existing.length);
    } catch {
      existing = dirname(existing);
    }
  }
  return absolute;
}
