import { expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import { ENVELOPE_BYTES, seal, ValueKind } from "./envelope.ts";
import { SeededRandom } from "./testing_events.ts";
import { Op } from "./trace_event.ts";
import { decodeVersions, encodeVersions, type Version } from "./versions_codec.ts";

const SEED = 7;

function randomVersions(random: SeededRandom): Version[] {
  const versions = Array.from({ length: 1 + random.below(20) }, () => ({
    seq: random.u53(),
    tNs: random.u53(),
    row: random.u53(),
    offset: random.u32(),
    op: random.pick(Object.values(Op)),
    flags: random.u32() & 0xff_ffff,
    size: random.u53(),
  }));
  return versions.sort((a, b) => a.seq - b.seq);
}

test("the bytes of an entry are those of docs/FORMAT.md", () => {
  const version = { seq: 1, tNs: 2, row: 3, offset: 4, op: Op.WRITE, flags: 0x10203, size: 5 };
  const value = encodeVersions([version]);
  expect(Buffer.from(value.subarray(ENVELOPE_BYTES)).toString("hex")).toBe(
    "0100000000000000" + "0200000000000000" + "0300000000000000" + "04000000" + "02" + "030201" +
      "0500000000000000",
  );
});

test("random versions come back", () => {
  const random = new SeededRandom(SEED);
  for (let round = 0; round < 200; round++) {
    const versions = randomVersions(random);
    expect(decodeVersions(encodeVersions(versions)), `seed ${SEED}`).toEqual(versions);
  }
});

test("any bytes give versions or data_corrupt", () => {
  const random = new SeededRandom(SEED);
  for (let round = 0; round < 2_000; round++) {
    const value = random.chance(2)
      ? encodeVersions(randomVersions(random))
      : new Uint8Array(ENVELOPE_BYTES + 40 * random.below(3));
    const at = ENVELOPE_BYTES + random.below(value.length - ENVELOPE_BYTES);
    if (at < value.length) value[at] = random.below(256);
    seal(value, ValueKind.VERSIONS);
    try {
      decodeVersions(value);
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(DiffKeeperError);
      expect(thrown).toHaveProperty("code", "data_corrupt");
    }
  }
  expect(() => decodeVersions(new Uint8Array(3))).toThrow(DiffKeeperError);
});
