/**
 * The one place of output rules: what an error looks like for people and for programs, when there is color, what
 * happens when the reader of stdout goes away, and the progress line. Results go to stdout; everything else goes to
 * stderr. Nothing here decides what to say, only how.
 */
import { writeSync } from "node:fs";
import { isatty, WriteStream } from "node:tty";
import { DiffKeeperError } from "../base/error.ts";
import {
  ERROR_CAUSES_MAX,
  PROGRESS_DELAY_MS,
  PROGRESS_INTERVAL_MS,
  RESULT_BLOCK_CHARS,
  RESULT_PACE_MS,
  RESULT_RETRY_MS,
} from "../base/limits.ts";

/** The part of a stream that the rules look at; a test passes its own. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** An error as `--json` prints it on stderr: one object, one line. */
export interface ErrorReport {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly causes: readonly string[];
    readonly hint?: string;
  };
}

const SGR_RED_BOLD = "\x1b[1;31m";
const SGR_BOLD = "\x1b[1m";
const SGR_RESET = "\x1b[0m";

/** True if color is allowed: a terminal, and NO_COLOR unset or empty (no-color.org), and not a dumb terminal. */
export function hasColor(
  stream: Pick<OutputStream, "isTTY">,
  env: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  return stream.isTTY === true && !env["NO_COLOR"] && env["TERM"] !== "dumb";
}

/** The messages of the chain of causes, outermost first, at most `ERROR_CAUSES_MAX`; what was said already is left out. */
export function causesOf(error: DiffKeeperError): string[] {
  const causes: string[] = [];
  let cause = error.cause;
  for (let i = 0; i < ERROR_CAUSES_MAX && cause !== undefined && cause !== null; i++) {
    const text = oneLine(cause instanceof Error ? cause.message : String(cause));
    if (!error.message.includes(reasonIn(text))) causes.push(text);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes;
}

/** `permission denied` of node:fs's `EACCES: permission denied, mkdir '/x'`. */
function reasonIn(text: string): string {
  return /^E[A-Z0-9]+: ([^,]+), /.exec(text)?.[1] ?? text;
}

/** The error as lines for a person, with a newline at the end. */
export function formatError(error: DiffKeeperError, options: { color: boolean }): string {
  const paint = (code: string, text: string) => options.color ? `${code}${text}${SGR_RESET}` : text;
  const lines = [`diffkeeper: ${paint(SGR_RED_BOLD, "error:")} ${oneLine(error.message)}`];
  for (const cause of causesOf(error)) lines.push(`caused by: ${cause}`);
  if (error.hint !== undefined) lines.push(`${paint(SGR_BOLD, "hint:")} ${error.hint}`);
  return `${lines.join("\n")}\n`;
}

/** The error as the one JSON object of `--json`. */
export function errorReport(error: DiffKeeperError): ErrorReport {
  const { code, message, hint } = error;
  return {
    error: { code, message, causes: causesOf(error), ...(hint === undefined ? {} : { hint }) },
  };
}

/** Writes the error to stderr, as text or as JSON. A stack is added for defects, and only when DIFFKEEPER_DEBUG is set. */
export function reportError(
  error: DiffKeeperError,
  options: { json: boolean; stream?: OutputStream },
): void {
  const stream = options.stream ?? stderr;
  if (options.json) stream.write(`${JSON.stringify(errorReport(error))}\n`);
  else stream.write(formatError(error, { color: hasColor(stream) }));
  if (error.code !== "defect" || !process.env["DIFFKEEPER_DEBUG"]) return;
  const origin = error.cause instanceof Error ? error.cause : error;
  stream.write(`${origin.stack ?? "no stack"}\n`);
}

/**
 * stdout and stderr without `process.stdout` and `process.stderr`: those make a pipe non-blocking at their first use, for
 * everybody who shares it, so that programs after us (or the recorded command) fail with EAGAIN.
 */
class Descriptor implements OutputStream {
  readonly #fd: number;
  constructor(fd: number) {
    this.#fd = fd;
  }
  get isTTY(): boolean {
    return isatty(this.#fd);
  }
  get columns(): number | undefined {
    return this.isTTY ? new WriteStream(this.#fd).columns : undefined;
  }
  /** A reader that has gone away ends the process quietly, as in `diffkeeper help | head`; for stderr it is ignored. */
  write(text: string): void {
    let rest: Uint8Array = Buffer.from(text);
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(this.#fd, rest));
      } catch (thrown) {
        const code = (thrown as NodeJS.ErrnoException).code;
        if (code === "EAGAIN") Bun.sleepSync(RESULT_RETRY_MS);
        else if (code === "EPIPE" && this.#fd === 1) process.exit(0);
        else return;
      }
    }
  }
}

export const stdout: OutputStream = new Descriptor(1);
export const stderr: OutputStream = new Descriptor(2);

/** Writes bytes to a file descriptor and returns how many it took; `fs.writeSync`, or a test's own. */
export type WriteSync = (fd: number, bytes: Uint8Array) => number;

/**
 * Results on their way to stdout: collects text and writes it in large blocks, synchronously, so nothing piles up in
 * memory however slow the reader is. When the reader has gone away it ends the process with exit code 0: `console.log`
 * would go on to the end in silence. Call `flush` at the end, and after each line that somebody waits for (`--follow`).
 * `record` has no use for it: the exit code there belongs to the command.
 */
export class ResultWriter {
  readonly #fd: number;
  readonly #write: WriteSync;
  readonly #onClosed: () => never;
  readonly #now: () => number;
  #lines: string[] = [];
  #length = 0;
  #flushedAtMs = Number.NEGATIVE_INFINITY;

  /** @param options.nowMs a monotonic clock in milliseconds, for tests. */
  constructor(
    options: {
      fd?: number;
      write?: WriteSync;
      onClosed?: () => never;
      nowMs?: () => number;
    } = {},
  ) {
    this.#now = options.nowMs ?? (() => performance.now());
    this.#fd = options.fd ?? 1;
    this.#write = options.write ?? writeSync;
    this.#onClosed = options.onClosed ?? (() => process.exit(0));
  }

  /** Adds one line; the newline is added here. */
  line(text: string): void {
    this.#lines.push(text, "\n");
    this.#length += text.length + 1;
    if (this.#length >= RESULT_BLOCK_CHARS) this.flush();
  }

  /** Called now and then by who may take long to the next line: what is there is written, not too often. */
  pace(): void {
    if (this.#now() - this.#flushedAtMs >= RESULT_PACE_MS) this.flush();
  }

  /**
   * Writes everything collected so far.
   * @throws {DiffKeeperError} code `disk_full` or `io` if stdout is a file that cannot take it.
   */
  flush(): void {
    if (this.#length === 0) return;
    this.#flushedAtMs = this.#now();
    let rest: Uint8Array = Buffer.from(this.#lines.join(""));
    this.#lines = [];
    this.#length = 0;
    // Each round takes at least one byte or waits for the reader, which decides how long this may take.
    while (rest.length > 0) rest = rest.subarray(this.#writeSome(rest));
  }

  #writeSome(bytes: Uint8Array): number {
    try {
      return this.#write(this.#fd, bytes);
    } catch (thrown) {
      const code = (thrown as NodeJS.ErrnoException).code;
      if (code === "EPIPE") return this.#onClosed();
      if (code === "EAGAIN") {
        // The pipe is full, and somebody who shares it made it non-blocking.
        Bun.sleepSync(RESULT_RETRY_MS);
        return 0;
      }
      const full = code === "ENOSPC" || code === "EDQUOT";
      throw new DiffKeeperError(full ? "disk_full" : "io", "cannot write the result to stdout", {
        cause: thrown,
      });
    }
  }
}

/** One line on a terminal that shows how far a long task is: appears after `PROGRESS_DELAY_MS`, erased by `end`. */
export class ProgressLine {
  readonly #stream: OutputStream;
  readonly #now: () => number;
  readonly #startedAtMs: number;
  #drawnAtMs: number | undefined;

  /** @param options.nowMs a monotonic clock in milliseconds, for tests. */
  constructor(stream: OutputStream = stderr, options: { nowMs?: () => number } = {}) {
    this.#stream = stream;
    this.#now = options.nowMs ?? (() => performance.now());
    this.#startedAtMs = this.#now();
  }

  /** Shows the text if it is time to; the text is only made then. */
  update(text: () => string): void {
    if (this.#stream.isTTY !== true) return;
    const nowMs = this.#now();
    if (nowMs - this.#startedAtMs < PROGRESS_DELAY_MS) return;
    if (this.#drawnAtMs !== undefined && nowMs - this.#drawnAtMs < PROGRESS_INTERVAL_MS) return;
    this.#drawnAtMs = nowMs;
    const columns = this.#stream.columns ?? 80;
    this.#stream.write(`\r\x1b[K${text().slice(0, columns - 1)}`);
  }

  /** Erases the line, if it was ever drawn. */
  end(): void {
    if (this.#drawnAtMs !== undefined) this.#stream.write("\r\x1b[K");
    this.#drawnAtMs = undefined;
  }
}

/** Control characters as escapes: a file name must not write to the terminal, and a report is one line per message. */
export function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (char) => {
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}
