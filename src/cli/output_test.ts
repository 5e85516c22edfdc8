import { expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import { ERROR_CAUSES_MAX, PROGRESS_DELAY_MS } from "../base/limits.ts";
import { causesOf, errorReport, formatError, hasColor, oneLine, ProgressLine } from "./output.ts";

const error = new DiffKeeperError("io", 'cannot open trace "x"', {
  hint: "run it with sudo",
  cause: new Error("open failed", { cause: new Error("EACCES") }),
});

test("an error is its message, its causes and its hint, a line each", () => {
  expect(formatError(error, { color: false })).toBe(
    'diffkeeper: error: cannot open trace "x"\n' +
      "caused by: open failed\ncaused by: EACCES\nhint: run it with sudo\n",
  );
});

test("color touches the labels only", () => {
  expect(formatError(error, { color: true })).toContain(
    'diffkeeper: \x1b[1;31merror:\x1b[0m cannot open trace "x"\n',
  );
});

test("the JSON report has code, message, causes and hint", () => {
  expect(errorReport(error)).toEqual({
    error: {
      code: "io",
      message: 'cannot open trace "x"',
      causes: ["open failed", "EACCES"],
      hint: "run it with sudo",
    },
  });
});

test("a chain of causes is cut at the limit", () => {
  const loop: { cause?: unknown } & Error = new Error("again");
  loop.cause = loop;
  expect(causesOf(new DiffKeeperError("io", "x", { cause: loop }))).toHaveLength(ERROR_CAUSES_MAX);
});

test("color needs a terminal, no NO_COLOR and a terminal that knows it", () => {
  expect(hasColor({ isTTY: true }, {})).toBe(true);
  expect(hasColor({ isTTY: true }, { NO_COLOR: "" })).toBe(true);
  expect(hasColor({ isTTY: true }, { NO_COLOR: "1" })).toBe(false);
  expect(hasColor({ isTTY: true }, { TERM: "dumb" })).toBe(false);
  expect(hasColor({ isTTY: false }, {})).toBe(false);
  expect(hasColor({}, {})).toBe(false);
});

test("control characters never reach the terminal", () => {
  expect(oneLine("a\nb\x1b[2Jc\x9b")).toBe("a\\x0ab\\x1b[2Jc\\x9b");
});

test("the progress line waits, appears, redraws at its pace and is erased", () => {
  const written: string[] = [];
  let nowMs = 0;
  const stream = { isTTY: true, columns: 6, write: (text: string) => written.push(text) };
  const line = new ProgressLine(stream, { nowMs: () => nowMs });
  line.update(() => "too early");
  nowMs = PROGRESS_DELAY_MS;
  line.update(() => "12345678");
  nowMs += 1;
  line.update(() => "too soon");
  line.end();
  expect(written).toEqual(["\r\x1b[K12345", "\r\x1b[K"]);
});

test("there is no progress line where there is no terminal", () => {
  const written: string[] = [];
  let nowMs = 0;
  const line = new ProgressLine({ write: (text) => written.push(text) }, { nowMs: () => nowMs });
  nowMs = PROGRESS_DELAY_MS * 2;
  line.update(() => "text");
  line.end();
  expect(written).toEqual([]);
});
