/**
 * Paths as characters: which bytes of a binary string (one char per byte) make a character in UTF-8, and how a path is printed so that it
 * can be typed again. What is printed is unambiguous, and every pattern (glob.ts) reads `\xHH` and `\\` as it is written here.
 */

/** Added to a byte that is part of no character. */
export const LONE_BYTE = 0x110000;

/** The smallest code that has so many further bytes: what is smaller is no UTF-8 (RFC 3629). */
const CODE_MIN = [0, 0x80, 0x800, 0x10000] as const;
const CODE_MAX = 0x10ffff;

// deno-lint-ignore no-control-regex -- the whole of ASCII but for control characters and the backslash is meant.
const PLAIN = /^[^\x00-\x1f\x7f-\uffff\\]*$/;

function furtherBytes(lead: number): number {
  if (lead < 0x80) return 0;
  if (lead < 0xc2 || lead > 0xf4) return -1;
  return lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
}

/** The characters of a binary string: UTF-8 sequences as code points, other bytes as `LONE_BYTE` + byte. */
export function codePoints(path: string): number[] {
  const codes: number[] = [];
  for (let i = 0; i < path.length; i++) {
    const lead = path.charCodeAt(i);
    const further = furtherBytes(lead);
    let code = further <= 0 ? lead : lead & (0x3f >> further);
    let valid = further >= 0;
    for (let k = 1; k <= further; k++) {
      const byte = path.charCodeAt(i + k);
      if ((byte & 0xc0) !== 0x80) valid = false;
      code = code * 64 + (byte & 0x3f);
    }
    if (further > 0 && valid) {
      const isSurrogate = code >= 0xd800 && code <= 0xdfff;
      valid = code >= (CODE_MIN[further] ?? 0) && code <= CODE_MAX && !isSurrogate;
    }
    codes.push(valid ? code : LONE_BYTE + lead);
    if (valid) i += further;
  }
  return codes;
}

function hex(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

/** A path for the eye: `\xHH` for each byte of a control character or of no character, `\\` for a backslash. */
export function printedPath(path: string): string {
  if (PLAIN.test(path)) return path;
  let text = "";
  for (const code of codePoints(path)) {
    if (code >= LONE_BYTE) text += hex(code - LONE_BYTE);
    else if (code < 0x20 || code === 0x7f) text += hex(code);
    // U+0080 to U+009F control terminals, too
    else if (code >= 0x80 && code < 0xa0) text += hex(0xc2) + hex(code);
    else text += code === 0x5c ? "\\\\" : String.fromCodePoint(code);
  }
  return text;
}
