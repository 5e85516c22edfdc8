/**
 * Makes lines of text of columns (docs/FORMAT.md, "Lines"). The columns are outside data: counts are bounded by the bytes that must
 * come out before anything is made for them, every write is within these, and they must be filled exactly.
 */
import { LINE_TEMPLATES_MAX } from "../base/limits.ts";
import { ColumnReader, corruptColumn, unzigzag } from "./columns.ts";
import { DIFFERENCES, DIGIT_0, DIGITS_MAX, digitsOf, NUMBER_MARK } from "./lines.ts";

/** The numbers that stand at one place of a template's lines. */
interface Field {
  values: Uint32Array;
  /** Digits of each; 0: as many as it needs, and `zeros`. */
  digits: number;
  zeros: Uint32Array | undefined;
  isDifference: boolean;
  /** The number before. */
  value: number;
}

interface Template {
  text: Uint8Array;
  fields: Field[];
  /** The next of its lines. */
  next: number;
}

/**
 * @param length of what must come out.
 * @throws {DiffKeeperError} `data_corrupt`
 */
export function decodeLines(columns: Uint8Array, length: number): Uint8Array {
  const reader = new ColumnReader(columns);
  const count = reader.count(LINE_TEMPLATES_MAX);
  const lineCount = reader.count(length);
  const lengths = reader.words(count);
  const templates = Array.from(
    lengths,
    (bytes): Template => ({ text: reader.raw(bytes), fields: [], next: 0 }),
  );
  const lines = reader.words(lineCount);
  readFields(reader, { templates, lines, length });
  reader.end();
  const out = new Uint8Array(length);
  let at = 0;
  for (const line of lines) {
    const template = templates[line];
    if (template === undefined) throw corruptColumn("a line has no template");
    at = putLine(out, at, template);
  }
  if (at !== length) throw corruptColumn("its lines do not fill it");
  return out;
}

function readFields(
  reader: ColumnReader,
  of: { templates: readonly Template[]; lines: Uint32Array; length: number },
): void {
  const counts = new Uint32Array(of.templates.length);
  for (const line of of.lines) if (line < counts.length) counts[line] = (counts[line] ?? 0) + 1;
  let numbers = 0;
  for (const [index, { text, fields }] of of.templates.entries()) {
    const count = counts[index] ?? 0;
    // each makes a digit at least
    for (const byte of text) if (byte === NUMBER_MARK) numbers += Math.max(1, count);
    if (numbers > of.length) throw corruptColumn("it has too many numbers");
    for (const byte of text) if (byte === NUMBER_MARK) fields.push(readField(reader, count));
  }
}

function readField(reader: ColumnReader, count: number): Field {
  const how = reader.count(2 * DIGITS_MAX + DIFFERENCES);
  const digits = how >>> 1;
  const zeros = digits === 0 ? reader.words(count) : undefined;
  const isDifference = (how & DIFFERENCES) !== 0;
  return { values: reader.words(count), digits, zeros, isDifference, value: 0 };
}

/** Writes the next line of a template; gives where it ends. */
function putLine(out: Uint8Array, start: number, template: Template): number {
  const { text, fields } = template;
  const index = template.next++;
  let at = start;
  let next = 0;
  for (let place = 0; place < text.length; place++) {
    const byte = text[place] ?? 0;
    const field = byte === NUMBER_MARK ? fields[next++] : undefined;
    if (field !== undefined) {
      at = putNumber(out, at, field, index);
      continue;
    }
    if (at === out.length) throw corruptColumn("its lines are too long");
    out[at++] = byte;
  }
  return at;
}

function putNumber(out: Uint8Array, start: number, field: Field, index: number): number {
  const word = field.values[index] ?? 0;
  const value = field.isDifference ? (field.value + unzigzag(word)) >>> 0 : word;
  field.value = value;
  const needed = digitsOf(value);
  const digits = field.digits === 0 ? needed + (field.zeros?.[index] ?? 0) : field.digits;
  if (digits < needed || digits > DIGITS_MAX) throw corruptColumn("a number has other digits");
  const end = start + digits;
  if (end > out.length) throw corruptColumn("its lines are too long");
  let rest = value;
  for (let at = end - 1; at >= start; at--) {
    // below 10^9, so it is a whole number of the CPU
    const tens = (rest / 10) | 0;
    out[at] = DIGIT_0 + rest - tens * 10;
    rest = tens;
  }
  return end;
}
