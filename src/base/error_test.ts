import { expect, test } from "bun:test";
import { asDiffKeeperError, DiffKeeperError, errorCodes, exitCodeOf } from "./error.ts";

test("usage is 2, a defect is 70, everything else is 1", () => {
  for (const code of errorCodes()) {
    expect(exitCodeOf(code)).toBe(code === "usage" ? 2 : code === "defect" ? 70 : 1);
  }
});

test("an error keeps code, message, hint and cause", () => {
  const cause = new Error("EACCES");
  const error = new DiffKeeperError("io", 'cannot open "x"', { hint: "try sudo", cause });
  expect(error).toMatchObject({ code: "io", message: 'cannot open "x"', hint: "try sudo", cause });
  expect(error).toBeInstanceOf(Error);
});

test("ours is returned unchanged, anything else becomes a defect with its cause", () => {
  const ours = new DiffKeeperError("exists", "x");
  expect(asDiffKeeperError(ours)).toBe(ours);
  const theirs = new TypeError("y is not a function");
  expect(asDiffKeeperError(theirs)).toMatchObject({ code: "defect", cause: theirs });
  expect(asDiffKeeperError("text")).toMatchObject({ code: "defect", cause: "text" });
});
