import { expect, test } from "bun:test";
import { assert, never } from "./assert.ts";
import { DiffKeeperError } from "./error.ts";

test("assert passes on true", () => {
  expect(assert(1 + 1 === 2, "sums add up")).toBeUndefined();
});

test("assert throws a defect with its text", () => {
  expect(() => assert(false, "sums add up")).toThrow(new DiffKeeperError("defect", "sums add up"));
});

test("never throws a defect that keeps the value", () => {
  try {
    never("x" as never);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(DiffKeeperError);
    expect(thrown).toMatchObject({ code: "defect", cause: "x" });
    return;
  }
  throw new Error("never returned");
});
