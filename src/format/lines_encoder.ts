/**
 * Makes columns of lines of text (docs/FORMAT.md, "Lines"), or says that the bytes are not such text. The work is bounded: it ends
 * as soon as there are more templates than `LINE_TEMPLATES_MAX` or than a part of the lines, which a few thousand lines show.
 */
import { assert } from "../base/assert.ts";
import { LINE_BYTES_MAX, LINE_TEMPLATES_MAX } from "../base/limits.ts";
import { ColumnWriter, zigzag } from "./columns.ts";
import {
  DIFFERENCES,
  DIGIT_0,
  DIGIT_9,
  DIGITS_MAX,
  digitsOf,
  NEWLINE,
  NUMBER_MARK,
} from "./lines.ts";

/** Lines per template that make columns worth while, beyond the first templates. */
const LINES_PER_TEMPLATE_MIN = 16;
const TEMPLATES_FREE = 64;
const SLOTS = LINE_TEMPLATES_MAX * 4;
const FNV_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** One template, and what its lines have. */
interface Template {
  text: Uint8Array;
  hash: number;
  /** Whether it ends with its newline. */
  isEnded: boolean;
  fields: number;
  lines: number;
}

/** @returns the columns; undefined: the bytes are not text of this sort, or columns would be no smaller than they. */
export function encodeLines(bytes: Uint8Array): Uint8Array | undefined {
  const scan = new Scan(bytes);
  return scan.run() ? scan.columns() : undefined;
}

class Scan {
  readonly #bytes: Uint8Array;
  readonly #templates: Template[] = [];
  readonly #slots = new Int32Array(SLOTS).fill(-1);
  /** The template of each line; every number in order, and how many digits it has. */
  #lines = new Uint32Array(1 << 12);
  #lineCount = 0;
  #values = new Uint32Array(1 << 14);
  #digits = new Uint8Array(1 << 14);
  #count = 0;
  readonly #text = new Uint8Array(LINE_BYTES_MAX);

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Splits all lines; false: it is not worth while. */
  run(): boolean {
    for (let at = 0; at < this.#bytes.length;) {
      this.#ensure();
      const again = this.#again(at);
      const next = again > 0 ? again : this.#line(at);
      if (next < 0) return false;
      at = next;
    }
    return true;
  }

  /**
   * Takes a line with the template of the line before, which most have; gives where it ends, 0: it has another. This is where the
   * time goes: everything is a local.
   */
  #again(start: number): number {
    const bytes = this.#bytes;
    const index = this.#lines[this.#lineCount - 1] ?? 0;
    const template = this.#templates[index];
    // the last line of all may have no end
    if (template === undefined || !template.isEnded) return 0;
    const { text } = template;
    const values = this.#values;
    const digits = this.#digits;
    const { length } = bytes;
    let count = this.#count;
    let at = start;
    for (let place = 0; place < text.length; place++) {
      if (at >= length) return 0;
      const wanted = text[place] ?? 0;
      let byte = bytes[at] ?? 0;
      if (wanted !== NUMBER_MARK) {
        if (byte !== wanted) return 0;
        at++;
        continue;
      }
      if (byte < DIGIT_0 || byte > DIGIT_9) return 0;
      const limit = Math.min(length, at + DIGITS_MAX);
      const from = at;
      let value = 0;
      while (byte >= DIGIT_0 && byte <= DIGIT_9) {
        value = (value * 10 + byte - DIGIT_0) | 0;
        if (++at === limit) break;
        byte = bytes[at] ?? 0;
      }
      values[count] = value;
      digits[count++] = at - from;
    }
    this.#count = count;
    template.lines++;
    this.#lines[this.#lineCount++] = index;
    return at;
  }

  /** Takes the line that begins at `start`; gives where the next one begins, -1: it cannot be, or is one too many. */
  #line(start: number): number {
    const bytes = this.#bytes;
    const text = this.#text;
    const first = this.#count;
    let [at, length, hash] = [start, 0, FNV_BASIS];
    for (let isEnd = false; !isEnd && at < bytes.length;) {
      let byte = bytes[at] ?? 0;
      if (byte === NUMBER_MARK || length === LINE_BYTES_MAX) return -1;
      if (byte >= DIGIT_0 && byte <= DIGIT_9) {
        at = this.#number(at);
        byte = NUMBER_MARK;
      } else {
        at++;
        isEnd = byte === NEWLINE;
      }
      text[length++] = byte;
      hash = Math.imul(hash ^ byte, FNV_PRIME);
    }
    const index = this.#find(text.subarray(0, length), hash >>> 0);
    const template = this.#templates[index];
    if (template === undefined) return -1;
    template.fields = this.#count - first;
    template.lines++;
    this.#lines[this.#lineCount++] = index;
    return at;
  }

  /** Takes up to DIGITS_MAX digits from `at` on; gives where they end. */
  #number(at: number): number {
    const bytes = this.#bytes;
    const limit = Math.min(bytes.length, at + DIGITS_MAX);
    let [end, value] = [at, 0];
    for (; end < limit; end++) {
      const byte = bytes[end] ?? 0;
      if (byte < DIGIT_0 || byte > DIGIT_9) break;
      value = value * 10 + byte - DIGIT_0;
    }
    this.#values[this.#count] = value;
    this.#digits[this.#count++] = end - at;
    return end;
  }

  #ensure(): void {
    // a line has at most as many numbers as its text has bytes
    if (this.#count + LINE_BYTES_MAX > this.#values.length) {
      this.#values = grown(this.#values);
      const digits = new Uint8Array(this.#values.length);
      digits.set(this.#digits);
      this.#digits = digits;
    }
    if (this.#lineCount === this.#lines.length) this.#lines = grown(this.#lines);
  }

  /** The number of a template, which is new perhaps; -1: there are too many. */
  #find(text: Uint8Array, hash: number): number {
    let slot = hash % SLOTS;
    for (let steps = 0; steps < SLOTS; steps++) {
      const index = this.#slots[slot] ?? -1;
      if (index < 0) break;
      const known = this.#templates[index];
      if (known?.hash === hash && isSame(known.text, text)) return index;
      slot = slot + 1 === SLOTS ? 0 : slot + 1;
    }
    const index = this.#templates.length;
    const room = TEMPLATES_FREE + this.#lineCount / LINES_PER_TEMPLATE_MIN;
    if (index >= Math.min(LINE_TEMPLATES_MAX, room)) return -1;
    const isEnded = text[text.length - 1] === NEWLINE;
    this.#templates.push({ text: text.slice(), hash, isEnded, fields: 0, lines: 0 });
    this.#slots[slot] = index;
    return index;
  }

  columns(): Uint8Array | undefined {
    const templates = this.#templates;
    const out = new ColumnWriter(this.#bytes.length * 2 + (1 << 20));
    out.number(templates.length);
    out.number(this.#lineCount);
    out.words(Uint32Array.from(templates, ({ text }) => text.length), templates.length);
    for (const { text } of templates) out.raw(text);
    out.words(this.#lines, this.#lineCount);
    for (const [template, fields] of this.#fieldColumns().entries()) {
      const { lines } = templates[template] ?? { lines: 0 };
      for (const { values, digits } of fields) putField(out, values, digits, lines);
    }
    return out.bytes.length < this.#bytes.length ? out.bytes.slice() : undefined;
  }

  /** The numbers, by template and their place in it. */
  #fieldColumns(): { values: Uint32Array; digits: Uint8Array }[][] {
    const columns = this.#templates.map(({ fields, lines }) =>
      Array.from(
        { length: fields },
        () => ({ values: new Uint32Array(lines), digits: new Uint8Array(lines) }),
      )
    );
    const next = new Uint32Array(columns.length);
    let at = 0;
    for (let line = 0; line < this.#lineCount; line++) {
      const template = this.#lines[line] ?? 0;
      const index = next[template] ?? 0;
      next[template] = index + 1;
      for (const { values, digits } of columns[template] ?? []) {
        values[index] = this.#values[at] ?? 0;
        digits[index] = this.#digits[at++] ?? 0;
      }
    }
    assert(at === this.#count, "every number must be in a column");
    return columns;
  }
}

/** One column: how it is stored, its digits if all have as many, else the zeros before each number, then the numbers. */
function putField(
  out: ColumnWriter,
  values: Uint32Array,
  digits: Uint8Array,
  count: number,
): void {
  const differences = new Uint32Array(count);
  let [before, plainBits, differenceBits] = [0, 0, 0];
  for (let index = 0; index < count; index++) {
    const value = values[index] ?? 0;
    const difference = zigzag(value - before);
    differences[index] = difference;
    plainBits += 32 - Math.clz32(value);
    differenceBits += 32 - Math.clz32(difference);
    before = value;
  }
  const isDifference = differenceBits < plainBits;
  const first = digits[0] ?? 0;
  let isFixed = true;
  for (let index = 0; index < count && isFixed; index++) isFixed = digits[index] === first;
  out.number((isFixed ? first << 1 : 0) | (isDifference ? DIFFERENCES : 0));
  if (!isFixed) {
    const zeros = new Uint32Array(count);
    for (let index = 0; index < count; index++) {
      zeros[index] = (digits[index] ?? 0) - digitsOf(values[index] ?? 0);
    }
    out.words(zeros, count);
  }
  out.words(isDifference ? differences : values, count);
}

function grown(words: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(words.length * 2);
  larger.set(words);
  return larger;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}
