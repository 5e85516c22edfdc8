import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { workerUrl } from "./worker_url.ts";

test("every thread that is started has its source file", async () => {
  const src = join(import.meta.dir, "..");
  const found: string[] = [];
  for (const path of new Bun.Glob("**/*.ts").scanSync(src)) {
    if (path.endsWith("_test.ts")) continue;
    const text = readFileSync(join(src, path), "utf8");
    for (const [, name = ""] of text.matchAll(/new Worker\(workerUrl\("([^"]+)"\)\)/g)) {
      found.push(name);
    }
  }
  expect(found.length).toBeGreaterThanOrEqual(4);
  for (const name of found) {
    const url = workerUrl(name as `src/${string}_worker.ts`);
    expect([name, await Bun.file(url as URL).exists()]).toEqual([name, true]);
  }
});
