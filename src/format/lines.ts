/**
 * Lines of text with numbers in them, as logs have them, in columns (docs/FORMAT.md, "Lines"): what stands between the numbers is
 * a *template*, stored once; of each line there is the number of its template, and each number of a template is a column over all
 * of its lines, as it is or as differences. A compressor then sees that one counts up and the other is always 200. This file has
 * what both sides share; lines_encoder.ts makes columns of bytes, lines_decoder.ts bytes of columns.
 */

/** Stands for a number in a template: no byte of text. */
export const NUMBER_MARK = 0;
export const NEWLINE = 10;
export const DIGIT_0 = 48;
export const DIGIT_9 = 57;

/** Digits of one number; more are several numbers beside each other. Nine fit in a word. */
export const DIGITS_MAX = 9;

/** The n-th is the smallest number with more than n digits; the first is 0 because 0 has a digit. */
export const POWERS: readonly number[] = [0, 10, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/** How a column of numbers is stored: bit 0 says that it has differences. */
export const DIFFERENCES = 1;

/** Digits that a number takes without zeros before it. */
export function digitsOf(value: number): number {
  let digits = 1;
  while (value >= (POWERS[digits] ?? Number.POSITIVE_INFINITY)) digits++;
  return digits;
}
