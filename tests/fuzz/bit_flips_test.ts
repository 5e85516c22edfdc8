/** One flipped bit of a trace is found by verify where it is in a key or value, and shows no wrong byte anywhere. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isRoot } from "../../src/history/target.ts";
import { Random } from "../property/model.ts";
import { BitFlips } from "../support/bit_flips.ts";

const TRIES = Number(process.env["DIFFKEEPER_TRIES"] ?? 200);
const seed = Number(process.env["DIFFKEEPER_SEED"] ?? Date.now() % 1_000_000);
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "diffkeeper-flips-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Only root may enter folders whose mode forbids it.
test.skipIf(!isRoot()).each([
  { name: "raw", packed: false },
  { name: "packed", packed: true },
])(`flipped bits of a $name trace are found or harmless, seed ${seed}`, ({ name, packed }) => {
  const random = new Random(seed);
  const flips = new BitFlips(join(folder, name), 1, { packed });
  const structure = flips.structure();
  for (let i = 0; i < TRIES; i++) {
    const any = random.below(flips.sizeBytes);
    const byte = i % 2 === 0 ? any : random.pick(structure) ?? 0;
    const bit = random.below(8);
    expect(flips.try(byte, bit).wrong, `bit ${bit} of byte ${byte}, seed ${seed}`).toBe("");
  }
}, 120_000);
