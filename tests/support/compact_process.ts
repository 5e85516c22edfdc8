/**
 * A compaction as a process of its own, to be killed: `bun compact_process.ts DIR SEGMENT_BYTES KEYFRAME_EVENTS`. Prints `begin`
 * when it has opened the trace and `done` at its end.
 */
import { EFFORT_FAST, EFFORT_SMALL } from "../../src/compact/blob_maker.ts";
import { compactTrace } from "../../src/compact/compact_trace.ts";

const [dir = "", segmentBytes = "0", keyframeEvents = "0"] = process.argv.slice(2);
let begun = false;
// fast, and once more what was packed so
for (const effort of [EFFORT_FAST, EFFORT_SMALL]) {
  compactTrace(dir, {
    settings: {
      effort,
      segmentBytes: Number(segmentBytes),
      solidPrefixBytes: Number(segmentBytes) / 16,
      keyframeEvents: Number(keyframeEvents),
      keyframeEventsPerNode: 0.1,
    },
    onProgress: () => {
      if (!begun) process.stdout.write("begin\n");
      begun = true;
    },
  });
}
process.stdout.write("done\n");
