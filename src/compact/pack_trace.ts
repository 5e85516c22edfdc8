/**
 * Makes one small file of a trace that needs nothing beside it. It is made in a folder next to where it will stand and renamed
 * when it is whole, so that a kill leaves no half of it under its name.
 */
import { existsSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { DiffKeeperError } from "../base/error.ts";
import { Trace } from "../history/trace.ts";
import { CompactStore } from "../store/compact_store.ts";
import { TRACE_FILE } from "../store/schema.ts";
import { storeError } from "../store/store_error.ts";
import { copyTrace } from "../store/trace_copy.ts";
import { syncPath } from "../store/trace_create.ts";
import { EFFORT_SMALL } from "./blob_maker.ts";
import { type CompactProgress, compactTrace } from "./compact_trace.ts";
import { embedContents, type EmbedReport } from "./embed.ts";

/** Told how far it is. */
export interface PackWatcher {
  onFile?: (done: number, total: number) => void;
  onProgress?: (progress: CompactProgress) => void;
}

/**
 * See the head of the file.
 * @param out a file that is not there.
 * @throws {DiffKeeperError} `exists`; as `copyTrace`, `embedContents` and `compactTrace`.
 */
export function packTrace(from: string, out: string, watcher: PackWatcher = {}): EmbedReport {
  const target = resolve(out);
  if (existsSync(target)) throw isThere(out);
  const folder = makeFolder(target, out);
  try {
    const made = join(folder, TRACE_FILE);
    copyTrace(from, made);
    const report = embed(made, from, watcher);
    compactTrace(made, watcher.onProgress === undefined ? {} : { onProgress: watcher.onProgress });
    syncPath(made);
    if (existsSync(target)) throw isThere(out);
    renameSync(made, target);
    syncPath(dirname(target));
    return report;
  } catch (thrown) {
    throw isFull(thrown) ? noSpace(out, thrown) : thrown;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function embed(made: string, from: string, { onFile }: PackWatcher): EmbedReport {
  const store = CompactStore.openAlone(made);
  try {
    const source = Trace.open(from);
    try {
      const options = { effort: EFFORT_SMALL, ...(onFile === undefined ? {} : { onFile }) };
      return embedContents(store, source, options);
    } finally {
      source.close();
    }
  } finally {
    store.close();
  }
}

function makeFolder(target: string, out: string): string {
  try {
    return mkdtempSync(join(dirname(target), `.${basename(target)}.`));
  } catch (thrown) {
    throw storeError(thrown, `cannot pack into "${out}"`, { path: target, place: "out" });
  }
}

function isFull(thrown: unknown): thrown is DiffKeeperError {
  return thrown instanceof DiffKeeperError && thrown.code === "disk_full";
}

/** Says where, by the name that was asked for: what is in the making has another. */
function noSpace(out: string, { cause }: DiffKeeperError): DiffKeeperError {
  return new DiffKeeperError("disk_full", `cannot pack into "${out}": no space left on the disk`, {
    hint: "free some space, or choose another --out",
    cause,
  });
}

function isThere(out: string): DiffKeeperError {
  return new DiffKeeperError("exists", `cannot pack into "${out}": it is there`, {
    hint: "choose another --out",
  });
}
