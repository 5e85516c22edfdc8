/**
 * Reads the JUnit report of `bun test`. Only what Bun 1.4 writes is understood: one `<testcase ...>` per test, closed
 * at once when it passed, with a `<failure>`, `<error>` or `<skipped>` child otherwise.
 */

/** The outcome of a group; each skip is the name of the test, which carries its reason. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skips: readonly string[];
}

const TEST_CASE = /<testcase\b((?:[^>"]|"[^"]*")*?)(\/>|>([\s\S]*?)<\/testcase>)/g;
const ENTITIES: Readonly<Record<string, string>> = {
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&apos;": "'",
  "&amp;": "&",
};

/** Counts the test cases of a report; an empty text has none. */
export function parseReport(xml: string): Counts {
  let passed = 0;
  let failed = 0;
  const skips: string[] = [];
  for (const [, attributes = "", , body = ""] of xml.matchAll(TEST_CASE)) {
    if (/<skipped\b/.test(body)) skips.push(decode(/\bname="([^"]*)"/.exec(attributes)?.[1] ?? ""));
    else if (/<(failure|error)\b/.test(body)) failed++;
    else passed++;
  }
  return { passed, failed, skips };
}

function decode(text: string): string {
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (entity) => ENTITIES[entity] ?? entity);
}
