/**
 * The one error type of DiffKeeper, the closed list of its codes, and the one table from code to exit code.
 * A message says the failed action first, quotes values, and names the limit and the current value:
 * `cannot open trace "x": it is version 3, this build reads up to 2`. How an error is shown is src/cli/output.ts.
 */

/**
 * The exit code of every error code. 1 is "it did not work", 2 is "you asked for something that cannot be", 70 is a
 * defect of ours (EX_SOFTWARE, sysexits.h). `record` has codes of its own: every failure that is not the command's is 125, 126 or 127.
 */
const EXIT_CODES = {
  /** argv makes no sense: unknown flag, missing value, a time that does not parse. */
  usage: 2,
  /** A file, trace, path or event that was named is not there. */
  not_found: 1,
  /** The target is there already and would be overwritten. */
  exists: 1,
  /** Another recorder holds the state-dir. */
  in_use: 1,
  /** Root or a capability is missing. */
  no_privilege: 1,
  /** The kernel lacks a feature: the message names it and the minimum version. */
  unsupported_kernel: 1,
  /** The target is read-only or its permissions forbid writing. */
  not_writable: 1,
  /** The trace was written by a newer build. */
  version_too_new: 1,
  /** Bytes from outside break a "must" of docs/FORMAT.md. */
  data_corrupt: 1,
  /** Bytes from outside end before they should. */
  truncated: 1,
  /** ENOSPC or EDQUOT. */
  disk_full: 1,
  /** A named limit of src/base/limits.ts is reached. */
  limit_exceeded: 1,
  /** A time or event number lies outside the recording. */
  out_of_range: 1,
  /** Any other failure of a system call; the cause has it. */
  io: 1,
  /** Our own mistake. */
  defect: 70,
} as const satisfies Record<string, number>;

/** Every kind of failure; callers match on this, never on the message. */
export type ErrorCode = keyof typeof EXIT_CODES;

/** What an error may carry beside code and message. */
export interface ErrorDetails {
  /** What the user can do about it; one imperative sentence. */
  readonly hint?: string;
  /** What led to it: another error, or a value. */
  readonly cause?: unknown;
}

/** A failure with a code that programs read, a message and a hint that people read, and its cause. */
export class DiffKeeperError extends Error {
  override readonly name = "DiffKeeperError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
  }
}

/** Exit code of `record` when the recorder failed or the call made no sense, as env(1), timeout(1) and docker run have it. */
export const EXIT_RECORDER_FAILED = 125;

/** The process exit code for an error code. */
export function exitCodeOf(code: ErrorCode): number {
  return EXIT_CODES[code];
}

/** Every error code, for tests and documentation. */
export function errorCodes(): ErrorCode[] {
  return Object.keys(EXIT_CODES) as ErrorCode[];
}

/** Wraps anything thrown that is not ours as a `defect`, and returns ours unchanged. */
export function asDiffKeeperError(thrown: unknown): DiffKeeperError {
  if (thrown instanceof DiffKeeperError) return thrown;
  return new DiffKeeperError("defect", "unexpected failure in diffkeeper itself", {
    hint: "run it again with DIFFKEEPER_DEBUG=1 in the environment and report what it prints",
    cause: thrown,
  });
}
