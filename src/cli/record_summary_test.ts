import { expect, test } from "bun:test";
import { newFidelity } from "../format/fidelity.ts";
import { LOSS_CLASSES, type LossCounters } from "../capture/ebpf/shared.ts";
import type { RecordingSummary } from "../record/messages.ts";
import { summaryLines } from "./record_summary.ts";

const NO_LOSS = Object.fromEntries(LOSS_CLASSES.map((name) => [name, 0])) as LossCounters;

function summaryWith(more: Partial<RecordingSummary>): RecordingSummary {
  return {
    durationNs: 1_500_000_000,
    events: 1200,
    bytes: 3,
    files: 1,
    lostEvents: 0,
    lostBytes: 0,
    losses: NO_LOSS,
    stateDir: "/somewhere/t",
    fidelity: newFidelity(),
    running: 0,
    stops: 0,
    notes: [],
    started: true,
    ...more,
  };
}

test("an exact recording is said in three lines", () => {
  const audit = {
    entries: 2,
    contents: 1,
    written: 1,
    differences: 0,
    left: 0,
    paths: [],
    gone: [],
  };
  expect(summaryLines(summaryWith({ audit }), "diffkeeper-trace")).toEqual([
    "recorded 1.50s, 1,200 events, 3B, 1 file touched, 0 lost in diffkeeper-trace",
    "verified: 2 names, 1 content, 0 differences",
    "next: diffkeeper timeline",
  ]);
});

test("what is not exact is said, with the command that shows it", () => {
  const fidelity = { ...newFidelity(), settled: 3, unread: 1, note: 2, resync: 4 };
  expect(summaryLines(summaryWith({ fidelity }), "my trace")).toEqual([
    "recorded 1.50s, 1,200 events, 3B, 1 file touched, 0 lost in my trace",
    "not exact: 1 content could not be read, 3 changes were read back later: " +
    "diffkeeper timeline --gaps --state-dir 'my trace'",
    "next: diffkeeper timeline --state-dir 'my trace'",
  ]);
  const all = { ...newFidelity(), concurrent: 1, mapped: 2, gap: 1 };
  expect(summaryLines(summaryWith({ fidelity: all }), "t")[1]).toStartWith(
    "not exact: 1 change overlapped another, 2 changes through memory maps, 1 gap: ",
  );
});

test("processes that still run are said", () => {
  const line = (running: number) => summaryLines(summaryWith({ running }), "t")[1];
  expect(line(1)).toStartWith("1 process of the command still runs; what it does now is not rec");
  expect(line(2)).toStartWith("2 processes of the command still run; what they do now is not rec");
});

test("a recording that failed does not say that nothing was lost", () => {
  const failed = { code: "disk_full", message: "no space left" } as const;
  expect(summaryLines(summaryWith({ failed }), "t")[0]).toEndWith("the rest is lost in t");
});
