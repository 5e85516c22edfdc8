/** Any bytes give a value or an error with code data_corrupt: deltas, classic patches and zstd frames. */
import { expect, test } from "bun:test";
import { DiffKeeperError } from "../../src/base/error.ts";
import { bsdiff40Apply, bsdiff40Encode } from "../../wasm/bsdiff40.ts";
import { deltaApply, deltaEncode, zstdDecode, zstdEncode } from "../../wasm/codecs.ts";
import { Random } from "../property/model.ts";
import { randomPair } from "../support/codec_pairs.ts";

const TRIES = Number(process.env["DIFFKEEPER_TRIES"] ?? 6_000);
const seed = Number(process.env["DIFFKEEPER_SEED"] ?? Date.now() % 1_000_000);
const BYTES_MAX = 1 << 20;
const BASE_BYTES_MAX = 3_000;

/** What a decoder made of the bytes: a length within the bound, or nothing. Any other outcome throws. */
function outcome(decode: () => Uint8Array): number | undefined {
  try {
    const { length } = decode();
    if (length > BYTES_MAX) throw new Error(`${length} bytes came out`);
    return length;
  } catch (error) {
    if (error instanceof DiffKeeperError && error.code === "data_corrupt") return undefined;
    throw error;
  }
}

/** Flips, cuts, repeats or replaces some bytes. */
function damaged(random: Random, bytes: Uint8Array): Uint8Array {
  const result = bytes.slice();
  const way = random.below(5);
  if (way === 0) return random.bytes(random.below(200));
  if (way === 1) return result.subarray(0, random.below(result.length + 1));
  if (way === 2) return Buffer.concat([result, random.bytes(1 + random.below(9))]);
  for (let changes = 1 + random.below(way === 3 ? 1 : 20); changes > 0; changes--) {
    const at = random.below(result.length);
    result[at] = way === 3 ? (result[at] ?? 0) ^ (1 << random.below(8)) : random.below(256);
  }
  return result;
}

const same = (bytes: Uint8Array) => bytes.slice();

/** Runs all decoders on damaged bytes; counts how often they refused. */
function damageAll(random: Random, pairs: number): { tries: number; refused: number } {
  let tries = 0;
  let refused = 0;
  for (let n = 0; n < pairs; n++) {
    const { base, target } = randomPair(random, { n, bytesMax: BASE_BYTES_MAX });
    const options = { maxBytes: BYTES_MAX };
    const delta = deltaEncode(base, target, { level: 1 });
    const patch = bsdiff40Encode(base, target, { compress: same });
    const frame = zstdEncode(target, { level: 1, prefix: base });
    const decoders = [
      () => deltaApply(base, damaged(random, delta), options),
      () => bsdiff40Apply(base, damaged(random, patch), { ...options, decompress: same }),
      () => zstdDecode(damaged(random, frame), { ...options, prefix: base }),
      () => zstdDecode(damaged(random, frame), options),
    ];
    for (const decode of decoders) {
      for (let i = 0; i < 5; i++) {
        tries++;
        if (outcome(decode) === undefined) refused++;
      }
    }
  }
  return { tries, refused };
}

test(`damaged deltas, patches and frames, seed ${seed}`, () => {
  const { tries, refused } = damageAll(new Random(seed), Math.ceil(TRIES / 20));
  expect(tries).toBeGreaterThanOrEqual(TRIES);
  // Damage that no decoder can see is in literal bytes; most of it is seen.
  expect(refused).toBeGreaterThan(tries / 2);
});

test(`a delta applied to another base, seed ${seed}`, () => {
  const random = new Random(seed);
  for (let n = 0; n < 500; n++) {
    const { base, target } = randomPair(random, { n, bytesMax: BASE_BYTES_MAX });
    const other = randomPair(random, { n: n + 1, bytesMax: BASE_BYTES_MAX }).base;
    const delta = deltaEncode(base, target, { level: 1 });
    const length = outcome(() => deltaApply(other, delta, { maxBytes: BYTES_MAX }));
    expect([undefined, target.length]).toContain(length);
  }
});
