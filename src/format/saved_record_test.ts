import { expect, test } from "bun:test";
import { isSavedName, savedRecords, sealSaved, segmentNumber } from "./saved_record.ts";

function record(node: number, content: string): Uint8Array {
  const room = new Uint8Array(64 + content.length + 8);
  room.set(new TextEncoder().encode(content), 64);
  const { length } = content;
  const head = { id: 9, node, size: length, savedNs: 5e12, mtimeSec: -3, mtimeNsec: 7, flags: 0 };
  return sealSaved(room, { ...head, length }).slice();
}

const segment = Buffer.concat([record(1, "one"), record(2, ""), record(70_000, "x".repeat(1_001))]);

test("records come back as they were, negative times too", () => {
  const found = [...savedRecords(segment)];
  expect(found.map(({ node, length }) => [node, length])).toEqual([[1, 3], [2, 0], [
    70_000,
    1_001,
  ]]);
  const [first] = found;
  expect(first).toMatchObject({ id: 9, size: 3, savedNs: 5e12, mtimeSec: -3, mtimeNsec: 7 });
  expect(segment.subarray(first?.start, (first?.start ?? 0) + 3).toString()).toBe("one");
});

test("a segment ends at the first record that is not whole, wherever it was cut or damaged", () => {
  for (let end = 0; end < segment.length; end += 7) {
    const found = [...savedRecords(segment.subarray(0, end))];
    // the zeros after a content need not be there
    expect(found.length).toBe(end < 67 ? 0 : end < 136 ? 1 : end < 1_201 ? 2 : 3);
  }
  for (let at = 72; at < 136; at++) {
    const damaged = Buffer.from(segment);
    damaged[at] = (damaged[at] ?? 0) ^ 4;
    expect([...savedRecords(damaged)].length).toBe(1);
  }
});

test("names of the state-dir", () => {
  expect(segmentNumber("saved-12")).toBe(12);
  expect(segmentNumber("saved-file-12")).toBeUndefined();
  const names = ["saved-1", "saved-file-3", "saved-file-3-new", "trace.db", "saved-", "saved-x"];
  expect(names.map(isSavedName)).toEqual([true, true, true, false, false, false]);
});
