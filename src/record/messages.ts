/**
 * What the main thread (argv, terminal, signals, the command) and the drain worker (kernel, trace) say to each other.
 * Order: open, attached -> connected; baseline -> [progress]* -> ready; arm -> armed; ended -> [progress, compare -> compared]* -> done. `failed` may come
 * instead of any answer and ends the worker. Between armed and ended: wait -> waiting -> [stop_waiting] -> alone. Instead of `attached`
 * or `baseline`: abort -> aborted.
 */
import { asDiffKeeperError, type ErrorCode } from "../base/error.ts";
import type { Fidelity } from "../format/fidelity.ts";
import type { AuditVerdict } from "./audit.ts";
import type { BaseSummary } from "./base_content.ts";
import type { BaselineMode } from "./baseline.ts";
import type { KernelHandles } from "../capture/ebpf/kernel_side.ts";
import type { LossCounters } from "../capture/ebpf/shared.ts";

/** What came out of comparing contents (history/compare.ts): files compared, of those written; nodes that hold other bytes. */
export interface ContentVerdict {
  contents: number;
  written: number;
  wrong: number[];
}

/** How thorough the audit is. */
export type AuditMode = "full" | "quick" | "none";

/** Settings that only tests make: see src/cli/test_settings.ts. */
export interface TestSettings {
  /** Pause after each look into the ring: a slow reader. */
  drainDelayMs?: number;
  /** Entries of the kernel side's map of inodes. */
  inodes?: number;
  /** Scratch buffers of the kernel side. */
  scratchSlots?: number;
}

/** All that the worker needs to open a recording. Paths are ordinary strings as given by the user. */
export interface OpenRequest {
  kind: "open";
  stateDir: string;
  overwrite: boolean;
  cwd: string;
  folders: string[];
  include: string[];
  exclude: string[];
  name: string;
  argv: string[];
  envNames: string[];
  ringBytes: number;
  testing: TestSettings;
  /** Waits to become the command. */
  launcherPid: number;
  baselineBytesMax?: number;
  /** What is taken of the watched folders before the start. */
  baseline: BaselineMode;
  /** Folder for what is kept between recordings, and whose it is; absent: nothing is kept. */
  cache?: { home: string; owner?: { uid: number; gid: number } };
  /** Whether the folders are compared with the trace at the end: names and states, and of contents all, or what there is time for. */
  audit: AuditMode;
  /** How often files that are mapped shared and writable are compared. */
  mappedIntervalMs: number;
  /** The `m:` rows are left to the compactor, which would have to make them again. */
  index: boolean;
  /** How long to wait for the lock of the trace; absent: as for readers. */
  busyMs?: number;
  /** Memory of the Bell: the worker sleeps without its event loop. */
  bell: SharedArrayBuffer;
  /** Into its first word goes how many bytes wait in the ring. */
  pressure?: SharedArrayBuffer;
  /** Owner of the trace, when it is not the recorder's own user. */
  owner?: { uid: number; gid: number };
  version: string;
}

/** To the worker. */
export type ToWorker =
  /** Make all that needs no kernel side. */
  | OpenRequest
  /** The kernel side is attached. */
  | { kind: "attached"; handles: KernelHandles }
  /**
   * Take the baseline. `tableFd`: where the gate looks for the table, -1: there is no gate. `note`: what the user should know of it.
   * `armPid`: then be armed for this process at once, as `arm` asks for; the answer `ready` says both.
   */
  | { kind: "baseline"; tableFd: number; note?: string; armPid?: number }
  /** `pid` becomes the command with its next exec. */
  | { kind: "arm"; pid: number }
  /** The command ended: go on until all processes that came from it have ended, too; answered by `waiting`, then `alone`. */
  | { kind: "wait" }
  /** Wait no longer. */
  | { kind: "stop_waiting" }
  /** The command ended, and with it the recording. `endedNs`: CLOCK_BOOTTIME when there was nothing left to wait for. */
  | { kind: "ended"; exitCode: number; endedNs: bigint }
  /** The answer to `compare`; an error: the trace cannot be read back. */
  | { kind: "compared"; verdict: ContentVerdict | PlainError }
  /** Give up: the command was never started. */
  | { kind: "abort" };

/** How a recording went. */
export interface RecordingSummary {
  durationNs: number;
  events: number;
  bytes: number;
  files: number;
  lostEvents: number;
  lostBytes: number;
  losses: LossCounters;
  stateDir: string;
  /** How often a task of the command was stopped: the ring was nearly full, or bytes had to be read back. */
  stops: number;
  /** Events that are not exact, by why. */
  fidelity: Fidelity;
  /** Processes of the command that are still alive: what they do now is not recorded. */
  running: number;
  /** What the user should know, a sentence each. */
  notes: string[];
  /** Why content stopped being recorded before the command ended. */
  failed?: PlainError;
  audit?: AuditVerdict;
  /** What a lazy baseline came to. */
  base?: BaseSummary;
  /** False: the launcher never became the command. */
  started: boolean;
}

/** An error on its way between threads. */
export interface PlainError {
  code: ErrorCode;
  message: string;
  hint?: string;
  cause?: string;
}

/** Anything thrown, as it travels. */
export function plainError(thrown: unknown): PlainError {
  const error = asDiffKeeperError(thrown);
  const cause = error.cause instanceof Error ? error.cause.message : error.cause;
  return {
    code: error.code,
    message: error.message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(cause === undefined ? {} : { cause: String(cause) }),
  };
}

/** From the worker. */
export type FromWorker =
  | { kind: "progress"; text: string }
  /** What changes is noticed now. `wantsGate`: the folders hold too much to copy. `cgroup`: folder of the one the launcher is in. */
  | { kind: "connected"; wantsGate: boolean; cgroup?: string }
  | { kind: "aborted" }
  /** `dir`: the state-dir. */
  | { kind: "ready"; notes: string[]; dir: string }
  | { kind: "armed" }
  /** How many processes of the command are alive. */
  | { kind: "waiting"; running: number }
  | { kind: "alone" }
  /** Compare the contents of these nodes of the trace in the state-dir, as long as this may take. */
  | { kind: "compare"; touched: Uint32Array; timeMs: number }
  | { kind: "done"; summary: RecordingSummary }
  | { kind: "failed"; error: PlainError };
