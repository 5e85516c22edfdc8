/** What a golden trace that was packed consists of. */
import { expect } from "bun:test";
import { rangeOf } from "../../src/format/keys.ts";
import { keyAfter, TraceReader } from "../../src/store/trace_reader.ts";

/** The codecs of a trace, ascending; fails unless every sort of rows has packed ones, and there is more than one keyframe. */
export function codecsOfPacked(path: string): number[] {
  const reader = TraceReader.open(path);
  const codecs = new Set<number>();
  for (const sort of ["baseline", "journal", "content", "data"] as const) {
    const range = rangeOf(sort);
    let packed = 0;
    for (let key = reader.keyFrom(range); key !== undefined;) {
      const row = reader.rowOf(key);
      const found = row === undefined ? undefined : reader.packedRow(row.id);
      for (const blob of found?.blobs ?? []) codecs.add(blob.codec);
      packed += found === undefined ? 0 : 1;
      key = reader.keyFrom({ from: keyAfter(key), to: range.to });
    }
    expect({ sort, packed: packed > 0 }).toEqual({ sort, packed: true });
  }
  expect(reader.count("keyframe")).toBeGreaterThan(1);
  reader.close();
  return [...codecs].sort();
}
