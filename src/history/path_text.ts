/**
 * Paths for people and programs: binary strings (one char per byte) to text and base64. Bytes that are not UTF-8 show as
 * U+FFFD; whoever needs them exactly takes the base64.
 */
import { Buffer, isUtf8 } from "node:buffer";

// deno-lint-ignore no-control-regex -- the whole of ASCII is meant, control characters included.
const ASCII = /^[\x00-\x7f]*$/;

/** A binary string as text. */
export function textOf(binary: string): string {
  return ASCII.test(binary) ? binary : Buffer.from(binary, "latin1").toString("utf8");
}

/** A path as people see it, and can type it again: --path reads it. */
export { printedPath as printed } from "../format/path_chars.ts";

/** Text as a binary string. */
export function binaryOf(text: string): string {
  return ASCII.test(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** Whether a binary string is valid UTF-8, so that `textOf` loses nothing. */
export function isText(binary: string): boolean {
  return ASCII.test(binary) || isUtf8(Buffer.from(binary, "latin1"));
}

/** The bytes of a binary string in base64. */
export function base64Of(binary: string): string {
  return Buffer.from(binary, "latin1").toString("base64");
}

/** A path quoted for a message: control characters escaped as in JSON. */
export function quoted(binary: string): string {
  return JSON.stringify(textOf(binary));
}
