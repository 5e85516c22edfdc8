/** What commands that pack a trace show while they work. */
import { formatBytes } from "../base/units.ts";
import type { CompactProgress } from "../compact/compact_trace.ts";

/** How far a compaction is, in a line. */
export function progressText({ lastSeq, bytesBefore, bytesAfter }: CompactProgress): string {
  return `packing, up to #${lastSeq}: ${formatBytes(bytesBefore)} are now ${
    formatBytes(bytesAfter)
  }`;
}
