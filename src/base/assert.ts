/**
 * Assertions for defects of ours. They stay on in the release build. Data from outside (disk, kernel, argv, network)
 * is never asserted: it is validated and answered with a `DiffKeeperError`. Messages are constant text, because a
 * template literal is built on every call and costs more than the check.
 */
import { DiffKeeperError } from "./error.ts";

/**
 * Checks what must be true if our own code is right.
 * @throws {DiffKeeperError} code `defect`, the text as message.
 */
export function assert(condition: boolean, text: string): asserts condition {
  if (!condition) throw new DiffKeeperError("defect", text);
}

/**
 * Marks a place that the types say is never reached: the end of an exhaustive switch.
 * @throws {DiffKeeperError} code `defect`, always.
 */
export function never(value: never, text = "an exhaustive switch met an unknown value"): never {
  throw new DiffKeeperError("defect", text, { cause: value });
}
