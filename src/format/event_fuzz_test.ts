/** Any bytes give events or an error with code data_corrupt: never a crash, a hang or another error. */
import { expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import { ENVELOPE_BYTES, seal, ValueKind } from "./envelope.ts";
import { EventBatchEncoder, EventCursor } from "./event_codec.ts";
import { randomEvent, SeededRandom } from "./testing_events.ts";

const SEED = Number(process.env["DIFFKEEPER_SEED"] ?? 4711);
const EVENTS_MAX = 100_000;

/** Reads everything there is to read; true if it was sound. */
function isReadable(value: Uint8Array): boolean {
  try {
    const cursor = new EventCursor(value);
    let count = 0;
    while (cursor.next()) {
      if (++count > EVENTS_MAX) throw new Error("a cursor must end");
      cursor.event();
      for (let index = 0; index < cursor.extentCount; index++) cursor.extent(index);
    }
    return true;
  } catch (thrown) {
    if (thrown instanceof DiffKeeperError && thrown.code === "data_corrupt") return false;
    throw thrown;
  }
}

function sample(random: SeededRandom): Uint8Array {
  const encoder = new EventBatchEncoder();
  for (let index = 0; index < 12; index++) {
    encoder.append(randomEvent(random, { seq: index, tNs: index }));
  }
  return encoder.finish(1).slice();
}

test("every flipped bit of a value is detected", () => {
  const random = new SeededRandom(SEED);
  const value = sample(random);
  expect(isReadable(value)).toBe(true);
  for (let bit = 0; bit < value.length * 8; bit++) {
    const at = bit >>> 3;
    value[at] = (value[at] ?? 0) ^ (1 << (bit & 7));
    expect(isReadable(value), `bit ${bit}, seed ${SEED}`).toBe(false);
    value[at] = (value[at] ?? 0) ^ (1 << (bit & 7));
  }
});

test("a value cut anywhere is detected", () => {
  const value = sample(new SeededRandom(SEED));
  for (let length = 0; length < value.length; length++) {
    expect(isReadable(value.subarray(0, length)), `length ${length}`).toBe(false);
  }
});

test("damage under a right checksum gives a value or data_corrupt", () => {
  const random = new SeededRandom(SEED);
  let detected = 0;
  for (let round = 0; round < 1_500; round++) {
    const value = sample(random);
    const hits = 1 + random.below(4);
    for (let hit = 0; hit < hits; hit++) {
      const at = ENVELOPE_BYTES + random.below(value.length - ENVELOPE_BYTES);
      value[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
    }
    seal(value, ValueKind.EVENTS);
    if (!isReadable(value)) detected++;
  }
  expect(detected, `seed ${SEED}`).toBeGreaterThan(300);
});

test("random bytes under a right checksum give data_corrupt", () => {
  const random = new SeededRandom(SEED);
  for (let round = 0; round < 3_000; round++) {
    const value = random.bytes(ENVELOPE_BYTES + random.below(300));
    seal(value, ValueKind.EVENTS);
    expect(isReadable(value), `round ${round}, seed ${SEED}`).toBe(false);
  }
});

test("a pointer that names no event gives data_corrupt", () => {
  const random = new SeededRandom(SEED);
  const value = sample(random);
  for (let round = 0; round < 3_000; round++) {
    const cursor = new EventCursor(value);
    try {
      cursor.seek(random.below(value.length + 100), 1 + random.below(20));
      cursor.event();
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(DiffKeeperError);
      expect(thrown).toHaveProperty("code", "data_corrupt");
    }
  }
});
