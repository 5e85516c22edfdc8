/**
 * The one place of output rules: what an error looks like for people and for programs, when there is color, what
 * happens when the reader of stdout goes away, and the progress line. Results go to stdout; everything else goes to
 * stderr. Nothing here decides what to say, only how.
 */
import { DiffKeeperError } from "../base/error.ts";
import { ERROR_CAUSES_MAX, PROGRESS_DELAY_MS, PROGRESS_INTERVAL_MS } from "../base/limits.ts";

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

/** The messages of the chain of causes, outermost first, at most `ERROR_CAUSES_MAX`. */
export function causesOf(error: DiffKeeperError): string[] {
  const causes: string[] = [];
  let cause = error.cause;
  while (cause !== undefined && cause !== null && causes.length < ERROR_CAUSES_MAX) {
    causes.push(oneLine(cause instanceof Error ? cause.message : String(cause)));
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes;
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
  const stream = options.stream ?? process.stderr;
  if (options.json) stream.write(`${JSON.stringify(errorReport(error))}\n`);
  else stream.write(formatError(error, { color: hasColor(stream) }));
  if (error.code !== "defect" || !process.env["DIFFKEEPER_DEBUG"]) return;
  const origin = error.cause instanceof Error ? error.cause : error;
  stream.write(`${origin.stack ?? "no stack"}\n`);
}

/**
 * Ends the process quietly with exit code 0 when the reader of stdout has gone away, as in `diffkeeper timeline | head`.
 * Install once, before the first write. `record` must not: its command decides the exit code.
 */
export function installPipeGuard(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}

/** One line on a terminal that shows how far a long task is: appears after `PROGRESS_DELAY_MS`, erased by `end`. */
export class ProgressLine {
  readonly #stream: OutputStream;
  readonly #now: () => number;
  readonly #startedAtMs: number;
  #drawnAtMs: number | undefined;

  /** @param options.nowMs a monotonic clock in milliseconds, for tests. */
  constructor(stream: OutputStream = process.stderr, options: { nowMs?: () => number } = {}) {
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
