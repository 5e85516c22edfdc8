/** Compacts a whole trace that nobody records any more, from where an earlier run left it. */
import { CompactStore } from "../store/compact_store.ts";
import { EFFORT_SMALL } from "./blob_maker.ts";
import { Repacker } from "./repacker.ts";
import { Compactor, type CompactProgress, type CompactSettings, settingsOf } from "./compactor.ts";

export type { CompactProgress } from "./compactor.ts";

/** How to compact. */
export interface CompactOptions {
  settings?: CompactSettings;
  /** Time after which no further step is begun, in milliseconds. */
  timeMs?: number;
  onProgress?: (progress: CompactProgress) => void;
}

/** What came of it. */
export interface CompactResult extends CompactProgress {
  /** False: the time was over before everything was packed. */
  complete: boolean;
}

/**
 * See the head of the file.
 * @throws {DiffKeeperError} `in_use`, `not_found`, `not_writable`, `disk_full`, `data_corrupt`, `io`.
 */
export function compactTrace(dir: string, options: CompactOptions = {}): CompactResult {
  const deadline = performance.now() + (options.timeMs ?? Number.POSITIVE_INFINITY);
  const store = CompactStore.openAlone(dir);
  try {
    const settings = options.settings ?? settingsOf(EFFORT_SMALL);
    const compactor = new Compactor(store, settings);
    let complete = false;
    let repacker: Repacker | undefined;
    while (!complete && performance.now() < deadline) {
      // what is raw first: it is what takes most
      if (repacker === undefined && !compactor.step(true)) {
        repacker = new Repacker(store, settings.effort);
      } else if (repacker !== undefined) complete = !repacker.step();
      options.onProgress?.(compactor.progress);
    }
    // a trace that is half packed would be written anew for little
    store.close({ shrink: complete });
    return { ...compactor.progress, complete };
  } finally {
    store.close();
  }
}
