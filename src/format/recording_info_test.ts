import { expect, test } from "bun:test";
import { DiffKeeperError } from "../base/error.ts";
import {
  decodeCut,
  decodeEnd,
  decodeRecording,
  encodeCut,
  encodeEnd,
  encodeRecording,
  type EndInfo,
  type RecordingInfo,
} from "./recording_info.ts";

const recording: RecordingInfo = {
  argv: ["make", "été"],
  cwd: "/w",
  name: "",
  envNames: ["PATH"],
  rootPaths: ["/w", "/w\xff", "/\xc3\xa9"],
  startEpochNs: 1_738_324_800_250_000_001n,
  kernel: "6.1",
  machine: "x86_64",
  host: "h",
  tracer: "ebpf",
  versions: { trace: "1" },
};
const end: EndInfo = {
  exitCode: 139,
  endNs: 5,
  events: 4,
  bytes: 3,
  files: 2,
  lostEvents: 1,
  lostBytes: 9,
  losses: { ring_full: 1 },
};

/** Through JSON text, as it is stored. */
function stored(value: unknown): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value));
}

test("what is written is read", () => {
  expect(decodeRecording(stored(encodeRecording(recording)))).toEqual(recording);
  const filtered = { ...recording, include: ["*.c"], exclude: [] };
  expect(decodeRecording(stored(encodeRecording(filtered)))).toEqual(filtered);
  expect(decodeEnd(stored(encodeEnd(end)))).toEqual(end);
});

test("why a recording was cut", () => {
  const cut = { code: "disk_full", message: "no space left" };
  expect(decodeCut(stored(encodeCut(cut)))).toEqual(cut);
  expect(() => decodeCut({ code: "io" })).toThrow("message");
});

test("keys that are not known are skipped", () => {
  expect(decodeEnd({ ...stored(encodeEnd(end)), mood: "good" })).toEqual(end);
});

test("what is not valid is corrupt data, and the key is named", () => {
  const good = stored(encodeRecording(recording));
  const bad: [string, unknown][] = [
    ["argv", "make"],
    ["argv", [1]],
    ["roots", undefined],
    ["roots", [{}]],
    ["start_epoch_ns", "-1"],
    ["versions", { trace: 1 }],
    ["kernel", 6],
  ];
  for (const [key, value] of bad) {
    let error: unknown;
    try {
      decodeRecording({ ...good, [key]: value });
    } catch (thrown) {
      error = thrown;
    }
    if (!(error instanceof DiffKeeperError)) throw new Error(`${key} was accepted`);
    expect(error.code).toBe("data_corrupt");
  }
  expect(() => decodeEnd({ exit_code: -1 })).toThrow("exit_code");
});
