/** Everything that a trace says, as values that can be compared: each line of its timeline, and its tree after each event. */
import { TimelineJson } from "../../src/cli/timeline_json.ts";
import { sha256Hex } from "../../src/format/keys.ts";
import { Materializer, unknownRanges } from "../../src/history/content.ts";
import type { History } from "../../src/history/fold.ts";
import { Timeline } from "../../src/history/timeline.ts";
import { Trace } from "../../src/history/trace.ts";

/** Every line of `timeline --json` from an event on, with what each OUTPUT printed. */
export function timelineOf(dir: string, from = 0): string[] {
  const trace = Trace.open(dir);
  try {
    const json = new TimelineJson(trace);
    const filter = from === 0 ? {} : { from: { unit: "seq", from, to: from } as const };
    return [...new Timeline(trace, filter).entries()].map((entry) => json.line(entry));
  } finally {
    trace.close();
  }
}

/** The tree of a state: names in byte order, attributes, content. */
export function treeOf(history: History, trace: Trace): string[] {
  const materializer = new Materializer(history.content, trace);
  const lines: string[] = [];
  for (const { node, path, root } of history.tree.walk()) {
    const { mode, uid, gid, rdev, nlink, target, xattrs } = node;
    const content = node.isFile ? sha256Hex(materializer.read(node.id)) : "";
    const unknown = unknownRanges(history.content, node.id);
    const state = [history.unread.has(node.id), history.readBack.has(node.id)];
    const gap = history.doubted.get(node.id)?.text;
    lines.push(JSON.stringify([
      root,
      path,
      node.id,
      { mode, uid, gid, rdev, nlink, target, size: history.content.size(node.id) },
      node.mtime(),
      [...xattrs ?? []].map(([name, value]) => [name, [...value]]).sort(),
      content,
      unknown,
      state,
      gap,
    ]));
  }
  lines.push(
    JSON.stringify([
      history.gapCount,
      history.gaps,
      history.lastSeq,
      history.lastNs,
      ...(history.unseenSince === 0 ? [] : [history.unseenSince]),
    ]),
  );
  return lines;
}

/** The tree after an event. */
export function treeAt(trace: Trace, seq: number): string[] {
  return treeOf(trace.foldTo({ unit: "seq", from: seq, to: seq }), trace);
}
