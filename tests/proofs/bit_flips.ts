/**
 * One flipped bit anywhere in a trace, 10,000 tries: `verify` finds each that is in a key or a value, no other command crashes
 * or shows a wrong byte. All of the file is tried alike; then SQLite's own bytes, and every bit of the file's header. A
 * hundred tries run the binary itself, for exit codes and stack traces. argv: tries, seed, `packed`.
 */
import { join } from "node:path";
import { Random } from "../property/model.ts";
import { BitFlips } from "../support/bit_flips.ts";
import { ByteKind } from "../support/sqlite_layout.ts";
import { Checks, dk, scratch } from "./_kit.ts";

const TRIES = Number(process.argv[2] ?? 10_000);
const STRUCTURE_TRIES = TRIES / 5;
const BINARY_TRIES = 100;
const HEADER_BITS = 800;
const FAILURES_SHOWN_MAX = 10;
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);

const checks = new Checks();
const random = new Random(seed);
/** `packed`: the trace is compacted first, with keyframes. */
const packed = process.argv[4] === "packed";
const flips = new BitFlips(join(scratch("flips"), "trace"), seed, { packed });

interface Sum {
  tries: number;
  inRows: number;
  found: number;
  errors: number;
  wrong: string[];
}

function tryAll(
  name: string,
  count: number,
  place: (i: number) => [byte: number, bit: number],
): void {
  const sum: Sum = { tries: 0, inRows: 0, found: 0, errors: 0, wrong: [] };
  for (let i = 0; i < count; i++) {
    const [byte, bit] = place(i);
    const { kind, found, read, wrong } = flips.try(byte, bit);
    sum.tries++;
    if (kind !== ByteKind.OTHER) sum.inRows++;
    if (found) sum.found++;
    if (read === "error") sum.errors++;
    if (wrong !== "") sum.wrong.push(`bit ${bit} of byte ${byte}: ${wrong}`);
  }
  const { tries, inRows, found, errors, wrong } = sum;
  checks.note(
    `${name}: ${tries} tries, ${inRows} in keys and values, ${found} found by verify, ` +
      `${errors} refused by the other commands`,
  );
  checks.that(
    `${name}: none wrong`,
    wrong.length === 0,
    wrong.slice(0, FAILURES_SHOWN_MAX).join("\n"),
  );
}

function onlyErrors(name: string, args: string[]): void {
  const { code, stderr } = dk(args);
  const isClean = (code === 0 || code === 1) && !/\n\s+at |unexpected failure/.test(stderr);
  if (!isClean) checks.that(name, false, `exit ${code}: ${stderr}`);
}

function tryBinary(): void {
  const dir = join(flips.path, "..");
  for (let i = 0; i < BINARY_TRIES; i++) {
    const [byte, bit] = [random.below(flips.sizeBytes), random.below(8)];
    flips.flip(byte, bit);
    const name = `bit ${bit} of byte ${byte}`;
    const out = join(scratch("flips"), "out");
    for (const command of ["verify", "info", "timeline"]) {
      onlyErrors(`${name}: ${command}`, [command, "--state-dir", dir]);
    }
    onlyErrors(`${name}: export`, ["export", "--state-dir", dir, "--time", "end", "--out", out]);
    flips.flip(byte, bit);
  }
  checks.that(`the binary: ${BINARY_TRIES} tries, exit codes 0 and 1, no stack trace`, true);
}

checks.note(`seed ${seed}, a trace of ${flips.sizeBytes} bytes`);
const structure = flips.structure();
tryAll("anywhere", TRIES, () => [random.below(flips.sizeBytes), random.below(8)]);
tryAll("SQLite's own bytes", STRUCTURE_TRIES, () => [random.pick(structure) ?? 0, random.below(8)]);
tryAll("the file's header", HEADER_BITS, (i) => [i >> 3, i & 7]);
tryBinary();
checks.end(`${TRIES + STRUCTURE_TRIES + HEADER_BITS} flipped bits`);
