/**
 * What is recorded: the watched folders, and what is left out of them. Folders are real paths (no symlink in them), each
 * once, none inside another. The state-dir is never recorded, wherever it lies: it is known by path and by inode. A folder
 * that --exclude matches takes everything below it along; --include limits files and leaves folders, so that every
 * recorded file has its path. Paths are binary strings (one char per byte).
 */
import { realpathSync, statSync } from "node:fs";
import { cString, errnoText } from "../../ffi/libc.ts";
import { assert } from "../base/assert.ts";
import { DiffKeeperError, type ErrorCode } from "../base/error.ts";
import { Glob } from "../format/glob.ts";
import { AT_FDCWD, InodeStat } from "./inode_stat.ts";
import { pseudoFsOfPath } from "./pseudo_fs.ts";
import { showPath } from "./scan_item.ts";

/** What the user asked for. Relative folders count from `cwd`. */
export interface WatchRequest {
  folders: readonly string[];
  cwd: string;
  /** Must be there already. */
  stateDir: string;
  include?: readonly string[];
  exclude?: readonly string[];
}

/** One watched folder. */
export interface WatchRoot {
  /** Its index: the ROOT tag of the trace. */
  readonly index: number;
  /** Absolute real path, a binary string. */
  readonly path: string;
}

/** How many verdicts on folders are kept; then all are forgotten, because they can be found again. */
const VERDICTS_MAX = 65_536;

/** The answer to "is this recorded?". */
export class WatchSet {
  readonly roots: readonly WatchRoot[];
  /** What the user should know about the folders, each one sentence. */
  readonly notes: readonly string[];
  readonly #stateDir: { path: string; dev: number; ino: number };
  /** By root index: the state-dir's path from there; undefined: it lies elsewhere. */
  readonly #stateBelow: readonly (string | undefined)[];
  readonly #include: readonly Glob[];
  readonly #exclude: readonly Glob[];
  /** By root index: verdicts on folders, by relative path. */
  readonly #excludedFolders: Map<string, boolean>[];
  readonly #includedFolders: Map<string, boolean>[];

  /** @throws {DiffKeeperError} `not_found`, `usage` or `no_privilege` for a folder that cannot be watched. */
  constructor(request: WatchRequest) {
    const state = resolve(request.stateDir, request.cwd, "use the state-dir");
    this.#stateDir = state;
    this.#include = (request.include ?? []).map((pattern) => new Glob(pattern, request.cwd));
    this.#exclude = (request.exclude ?? []).map((pattern) => new Glob(pattern, request.cwd));
    const notes: string[] = [];
    this.roots = fold(request, notes).map((path, index) => ({ index, path }));
    this.notes = notes;
    this.#stateBelow = this.roots.map((root) => {
      const prefix = root.path === "/" ? "/" : `${root.path}/`;
      return state.path.startsWith(prefix) ? state.path.slice(prefix.length) : undefined;
    });
    this.#excludedFolders = this.roots.map(() => new Map());
    this.#includedFolders = this.roots.map(() => new Map());
    for (const { path } of this.roots) {
      if (path !== state.path && !isBelow(path, state.path)) continue;
      const message = `cannot watch "${showPath(path)}": it lies in the state-dir`;
      throw new DiffKeeperError("usage", message, {
        hint: "give --state-dir a folder of its own",
      });
    }
    assert(this.roots.length > 0, "something is watched");
  }

  /**
   * Whether a path is left out.
   * @param path relative to the root, "" is the root itself and never left out.
   * @param isFolder folders are not limited by --include.
   */
  excluded(path: string, isFolder: boolean, root = 0): boolean {
    if (path === "") return false;
    const state = this.#stateBelow[root];
    if (state !== undefined && (path === state || isBelow(path, state))) return true;
    if (this.#exclude.length > 0 && this.#isExcluded(path, root)) return true;
    return !isFolder && this.#include.length > 0 && !this.#isIncluded(path, root);
  }

  /** Whether files may be left out by their names. */
  get choosesFiles(): boolean {
    return this.#include.length > 0 || this.#exclude.length > 0;
  }

  /** Whether an inode is the state-dir, whatever path leads to it; `dev` as the kernel has it. */
  isStateDir(dev: number, ino: number): boolean {
    return ino === this.#stateDir.ino && dev === this.#stateDir.dev;
  }

  #isExcluded(path: string, root: number): boolean {
    const verdicts = this.#excludedFolders[root];
    const folder = parentOf(path);
    const base = this.roots[root]?.path ?? "";
    if (folder !== "" && cached(verdicts, folder, () => covers(this.#exclude, folder, base))) {
      return true;
    }
    return matches(this.#exclude, path, base);
  }

  #isIncluded(path: string, root: number): boolean {
    const verdicts = this.#includedFolders[root];
    const folder = parentOf(path);
    const base = this.roots[root]?.path ?? "";
    if (cached(verdicts, folder, () => covers(this.#include, folder, base))) return true;
    return matches(this.#include, path, base);
  }
}

function covers(globs: readonly Glob[], path: string, root: string): boolean {
  return globs.some((glob) => glob.covers(path, root));
}

function matches(globs: readonly Glob[], path: string, root: string): boolean {
  return globs.some((glob) => glob.matches(path, root));
}

function cached(
  verdicts: Map<string, boolean> | undefined,
  folder: string,
  decide: () => boolean,
): boolean {
  const known = verdicts?.get(folder);
  if (known !== undefined) return known;
  const verdict = decide();
  if (verdicts !== undefined && verdicts.size >= VERDICTS_MAX) verdicts.clear();
  verdicts?.set(folder, verdict);
  return verdict;
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

function isBelow(path: string, folder: string): boolean {
  return folder === "/" ? path !== "/" : path.startsWith(folder) && path[folder.length] === "/";
}

/** The real, distinct, outermost folders, in the order they were given. */
function fold(request: WatchRequest, notes: string[]): string[] {
  const wanted: string[] = [];
  for (const folder of request.folders) {
    const { path } = resolve(folder, request.cwd, "watch");
    const pseudo = pseudoFsOfPath(Buffer.from(path, "latin1"));
    if (pseudo !== undefined) {
      const message = `cannot watch "${folder}": it is a ${pseudo} file system, it holds no files`;
      throw new DiffKeeperError("usage", message, { hint: "watch a folder with files of yours" });
    }
    if (!wanted.includes(path)) wanted.push(path);
  }
  return wanted.filter((path) => {
    const outer = wanted.find((other) => isBelow(path, other));
    if (outer === undefined) return true;
    notes.push(
      `folder "${showPath(path)}" lies in "${showPath(outer)}", which is watched as a whole`,
    );
    return false;
  });
}

function resolve(folder: string, cwd: string, action: string) {
  // realpath of an empty name is the cwd, which nobody asked for.
  if (folder === "") throw new DiffKeeperError("usage", `cannot ${action} "": no folder is named`);
  // with a slash behind it a file would be said not to be there
  const named = folder.replace(/(?<=.)\/+$/, "");
  const given = named.startsWith("/") ? named : `${cwd}/${named}`;
  try {
    const real = realpathSync.native(Buffer.from(given), { encoding: "buffer" });
    const path = real.toString("latin1");
    if (statSync(real).isDirectory()) return { path, ...identityOf(path) };
  } catch (error) {
    if (error instanceof DiffKeeperError) throw error;
    throw unusable(folder, action, error);
  }
  throw noFolder(folder, action);
}

function noFolder(folder: string, action: string): DiffKeeperError {
  return new DiffKeeperError("usage", `cannot ${action} "${folder}": it is a file, not a folder`, {
    hint: action === "watch"
      ? "watch the folder it lies in, and narrow it: --include NAME"
      : "choose another --state-dir",
  });
}

function identityOf(path: string): { dev: number; ino: number } {
  const stat = new InodeStat();
  const code = stat.readAt(AT_FDCWD, cString(path));
  if (code === 0) return { dev: stat.dev, ino: stat.ino };
  throw new DiffKeeperError("io", `cannot look at "${showPath(path)}": ${errnoText(code)}`);
}

function unusable(folder: string, action: string, error: unknown): DiffKeeperError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const missing = "check the spelling; a relative name counts from the folder you are in";
  const kinds: Record<string, [ErrorCode, string, string]> = {
    ENOENT: ["not_found", "no such folder", missing],
    ENOTDIR: ["not_found", "no such folder", missing],
    EACCES: [
      "no_privilege",
      "permission denied",
      "run it with sudo; the command still runs as you",
    ],
  };
  const known = kinds[code];
  const message = `cannot ${action} "${folder}": ${known?.[1] ?? code}`;
  if (known === undefined) return new DiffKeeperError("io", message, { cause: error });
  return new DiffKeeperError(known[0], message, { hint: known[2] });
}
