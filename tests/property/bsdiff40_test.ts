/** Classic patches: Debian's bspatch applies ours, and we apply those of Debian's bsdiff. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bsdiff40Apply, bsdiff40Encode } from "../../wasm/bsdiff40.ts";
import { bsdiff, bspatch, bunzip2, bzip2 } from "../support/bzip2.ts";
import { randomPair } from "../support/codec_pairs.ts";
import { Random } from "./model.ts";

const TRIES = Number(process.env["DIFFKEEPER_TRIES"] ?? 68);
const seed = Number(process.env["DIFFKEEPER_SEED"] ?? Date.now() % 1_000_000);
const folder = mkdtempSync(join(tmpdir(), "diffkeeper-bsdiff-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test(`patches of ${TRIES} pairs, both ways, seed ${seed}`, () => {
  const random = new Random(seed);
  for (let n = 0; n < TRIES; n++) {
    const { shape, base, target } = randomPair(random, { n, bytesMax: 20_000 });
    const name = `pair ${n}, ${shape}`;
    const patch = bsdiff40Encode(base, target, { compress: bzip2 });
    expect(Buffer.compare(bspatch(folder, { base, patch }), target), name).toBe(0);
    const patches = [patch];
    if (base.length > 0 && target.length > 0) patches.push(bsdiff(folder, { base, target }));
    for (const each of patches) {
      const options = { decompress: bunzip2, maxBytes: target.length };
      expect(Buffer.compare(bsdiff40Apply(base, each, options), target), name).toBe(0);
    }
  }
});
