/**
 * `record --compact`: off leaves the trace raw; on packs it beside the recording, and for a short while after it; after packs it when
 * the command has ended. Whatever happens here, the trace is whole: at worst a part of it stays raw, and that is said.
 */
import { statSync } from "node:fs";
import { asDiffKeeperError, DiffKeeperError } from "../base/error.ts";
import {
  COMPACT_END_MS,
  COMPACT_PENDING_PART,
  COMPACT_START_MS,
  COMPACT_TRACE_BYTES_MIN,
  LIVE_BUSY_MS,
} from "../base/limits.ts";
import { formatBytes } from "../base/units.ts";
import { BackgroundCompactor } from "../compact/background.ts";
import { EFFORT_FAST, EFFORT_SMALL } from "../compact/blob_maker.ts";
import { compactTrace } from "../compact/compact_trace.ts";
import { settingsOf } from "../compact/compactor.ts";
import { type Budget, gcTrace } from "../compact/gc_trace.ts";
import { formatTime } from "../format/time_expr.ts";
import type { Companion } from "../record/session.ts";
import { findTraceFile } from "../store/trace_open.ts";
import { progressText } from "./compact_progress.ts";

const MODES = ["off", "on", "after"] as const;
/** When the trace of a recording is packed. */
export type CompactMode = (typeof MODES)[number];

/** The value of `--compact`. @throws {DiffKeeperError} `usage` */
export function compactMode(value: string): CompactMode {
  const mode = MODES.find((name) => name === value);
  if (mode !== undefined) return mode;
  throw new DiffKeeperError(
    "usage",
    `cannot use --compact "${value}": there is no such value`,
    { hint: `one of ${MODES.join(", ")}` },
  );
}

/** The compaction of one recording. */
export class RecordCompaction implements Companion {
  readonly mode: CompactMode;
  readonly #dir: string;
  readonly #budget: Budget;
  readonly #background: BackgroundCompactor;
  #timer: Timer | undefined;
  #isStarted = false;
  #failure: string | undefined;

  constructor(mode: CompactMode, dir: string, how: { ringBytes: number; budget: Budget }) {
    this.mode = mode;
    this.#dir = dir;
    this.#budget = how.budget;
    const pendingMax = how.ringBytes * COMPACT_PENDING_PART;
    // history that goes is packed before: what stays of it lies together then
    const pack = mode === "on" || this.hasBudget;
    const budget = this.hasBudget ? { budget: how.budget } : {};
    this.#background = new BackgroundCompactor({ dir, pendingMax, pack, ...budget });
  }

  /** Whether old history goes while the recording goes on. */
  get hasBudget(): boolean {
    return Object.keys(this.#budget).length > 0;
  }

  /** What the recorder must know of it: an index would have to be made again, and it waits for the trace while history is folded. */
  get wishes(): { index: boolean; pressure: SharedArrayBuffer; busyMs?: number } {
    const index = this.mode === "off" && !this.hasBudget;
    const wait = this.hasBudget ? { busyMs: LIVE_BUSY_MS } : {};
    return { index, pressure: this.#background.shared, ...wait };
  }

  start(): void {
    if (this.mode !== "on" && !this.hasBudget) return;
    // a short command is not worth a second thread
    this.#timer = setTimeout(() => {
      this.#isStarted = true;
      this.#background.start();
    }, COMPACT_START_MS);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#isStarted) this.#failure = await this.#background.stop();
  }

  /** The trace is closed: packs what is left. Gives what the user should know. */
  finish(onProgress: (text: string) => void): string[] {
    const notes = this.#failure === undefined
      ? []
      : [`packing beside the command ended early: ${this.#failure}`];
    if (this.mode !== "off") this.#pack(notes, onProgress);
    if (this.hasBudget) this.#collect(notes);
    return notes;
  }

  /** What is left of the recording fits the budget exactly. */
  #collect(notes: string[]): void {
    try {
      const { seq, tNs, bytesAfter } = gcTrace(this.#dir, this.#budget);
      if (seq > 0) notes.push(`history before #${seq} at ${formatTime(tNs)} was dropped`);
      const { maxBytes = Number.POSITIVE_INFINITY } = this.#budget;
      if (bytesAfter > maxBytes) {
        notes.push(
          `the trace takes ${
            formatBytes(bytesAfter)
          }, more than --max-size: the state of the files alone does`,
        );
      }
    } catch (thrown) {
      notes.push(`the trace keeps more than was asked for: ${asDiffKeeperError(thrown).message}`);
    }
  }

  #pack(notes: string[], onProgress: (text: string) => void): void {
    try {
      const path = findTraceFile(this.#dir);
      const isSmall = statSync(path).size < COMPACT_TRACE_BYTES_MIN;
      if (isSmall && this.mode === "on") return;
      const effort = this.mode === "on" ? EFFORT_FAST : EFFORT_SMALL;
      const { complete } = compactTrace(this.#dir, {
        settings: settingsOf(effort, this.#budget.maxBytes),
        ...(this.mode === "on" ? { timeMs: COMPACT_END_MS } : {}),
        onProgress: (progress) => onProgress(progressText(progress)),
      });
      if (!complete) {
        notes.push(
          `a part of the trace (${formatBytes(statSync(path).size)}) is left raw: ` +
            "diffkeeper compact makes it small",
        );
      }
    } catch (thrown) {
      notes.push(`the trace is left raw: ${asDiffKeeperError(thrown).message}`);
    }
  }
}
