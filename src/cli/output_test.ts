import { expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import {
  ERROR_CAUSES_MAX,
  PROGRESS_DELAY_MS,
  RESULT_BLOCK_CHARS,
  RESULT_PACE_MS,
} from "../base/limits.ts";
import { join } from "node:path";
import { causesOf, errorReport, formatError, hasColor, oneLine } from "./output.ts";
import { ProgressLine, ResultWriter } from "./output.ts";

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

test("a cause that only repeats the message is left out", () => {
  const told = new Error("EACCES: permission denied, mkdir '/x'");
  const error = new DiffKeeperError("not_writable", 'cannot make "/x": permission denied', {
    cause: told,
  });
  expect(causesOf(error)).toEqual([]);
  expect(causesOf(new DiffKeeperError("io", "cannot read", { cause: told }))).toHaveLength(1);
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

function failing(code: string): () => never {
  return () => {
    throw Object.assign(new Error(code), { code });
  };
}

test("results are collected to blocks, in order, and short writes go on", () => {
  let written = "";
  let calls = 0;
  const writer = new ResultWriter({
    write: (_fd, bytes) => {
      calls++;
      const part = bytes.subarray(0, RESULT_BLOCK_CHARS / 2);
      written += Buffer.from(part).toString();
      return part.length;
    },
  });
  writer.line("a");
  expect(calls).toBe(0);
  writer.line("b".repeat(RESULT_BLOCK_CHARS));
  writer.line("c");
  writer.flush();
  writer.flush();
  expect(written).toBe(`a\n${"b".repeat(RESULT_BLOCK_CHARS)}\nc\n`);
  expect(calls).toBe(4);
});

test("few lines do not wait for many, nor are they written one by one", () => {
  const written: string[] = [];
  let ms = 1000;
  const write = (_fd: number, bytes: Uint8Array) => {
    written.push(Buffer.from(bytes).toString());
    return bytes.length;
  };
  const writer = new ResultWriter({ write, nowMs: () => ms });
  writer.pace();
  expect(written).toEqual([]);
  writer.line("a");
  writer.pace();
  writer.line("b");
  writer.line("c");
  writer.pace();
  expect(written).toEqual(["a\n"]);
  ms += RESULT_PACE_MS;
  writer.pace();
  expect(written).toEqual(["a\n", "b\nc\n"]);
});

test("a full pipe is tried again", () => {
  let calls = 0;
  const writer = new ResultWriter({
    write: (_fd, bytes) => ++calls === 1 ? failing("EAGAIN")() : bytes.length,
  });
  writer.line("a");
  writer.flush();
  expect(calls).toBe(2);
});

test("a full disk under stdout is an error with its code", () => {
  const writer = new ResultWriter({ write: failing("ENOSPC") });
  writer.line("a");
  expect(() => writer.flush()).toThrow(expect.objectContaining({ code: "disk_full" }));
});

test("a reader that goes away ends the process quietly with 0", () => {
  const module = join(import.meta.dir, "output.ts");
  const source = `import { ResultWriter } from ${JSON.stringify(module)};
    const writer = new ResultWriter();
    for (let i = 0; i < 1e6; i++) writer.line("line " + i);
    process.exitCode = 5;`;
  const script = '"$0" -e "$1" | head -n 1; echo "${PIPESTATUS[0]}"';
  const done = Bun.spawnSync(["bash", "-c", script, process.execPath, source]);
  expect(done.stdout.toString()).toBe("line 0\n0\n");
  expect(done.stderr.toString()).toBe("");
});
