/** Compacts a whole trace that nobody records any more, from where an earlier run left it. */
import { CompactStore } from "../store/compact_store.ts";
import { EFFORT_SMALL } from "./blob_maker.ts";
import { Compactor, type CompactProgress, type CompactSettings, settingsOf } from "./compactor.ts";

/** How to compact. */
export interface CompactOptions {
  settings?: CompactSettings;
  onProgress?: (progress: CompactProgress) => void;
}

/**
 * See the head of the file.
 * @throws {DiffKeeperError} `in_use`, `not_found`, `not_writable`, `disk_full`, `data_corrupt`, `io`.
 */
export function compactTrace(dir: string, options: CompactOptions = {}): CompactProgress {
  const store = CompactStore.openAlone(dir);
  try {
    const compactor = new Compactor(store, options.settings ?? settingsOf(EFFORT_SMALL));
    while (compactor.step(true)) options.onProgress?.(compactor.progress);
    store.close({ shrink: true });
    return compactor.progress;
  } finally {
    store.close();
  }
}
