import { expect, test } from "bun:test";
import { abisOf, FILTER_INSTRUCTION_BYTES, seccompProgram } from "./seccomp_filter.ts";

/** struct seccomp_data of a call. */
function data(arch: number, nr: number, args: readonly number[]): DataView {
  const view = new DataView(new ArrayBuffer(64));
  view.setUint32(0, nr, true);
  view.setUint32(4, arch, true);
  args.forEach((arg, i) => view.setBigInt64(16 + 8 * i, BigInt(arg), true));
  return view;
}

/** Runs a classic BPF program as the kernel does; only what the filter uses is known. */
function run(program: Uint8Array, call: DataView): number {
  const view = new DataView(program.buffer, program.byteOffset);
  let a = 0;
  for (let at = 0; at < program.length / FILTER_INSTRUCTION_BYTES; at++) {
    const start = at * FILTER_INSTRUCTION_BYTES;
    const [op, yes, no] = [view.getUint16(start, true), program[start + 2], program[start + 3]];
    const k = view.getUint32(start + 4, true);
    if (op === 0x20) a = call.getUint32(k, true);
    else if (op === 0x54) a = (a & k) >>> 0;
    else if (op === 0x05) at += k;
    else if (op === 0x15) at += (a === k ? yes : no) ?? 0;
    else if (op === 0x45) at += ((a & k) !== 0 ? yes : no) ?? 0;
    else if (op === 0x06) return k;
    else throw new Error(`unknown instruction ${op}`);
  }
  throw new Error("the program has no end");
}

const ALLOW = 0x7fff_0000;
const HOLD = 0x7fc0_0000;
const REFUSE = 0x0005_0026;
const O = { WRONLY: 1, RDWR: 2, CREAT: 0o100, EXCL: 0o200, TRUNC: 0o1000, PATH: 0o10000000 };
const O_TMPFILE = 0o20200000;

for (const machine of ["x64", "arm64"] as const) {
  for (const abi of abisOf(machine)) {
    test(`${machine}, ${abi.name}: what can destroy content is held, nothing else`, () => {
      const program = seccompProgram({ machine, gate: true, denyIoUring: true });
      const ask = (nr: number, ...args: number[]) => run(program, data(abi.arch, nr, args));
      const open = (flags: number) => ask(abi.openat, -100, 0, flags);
      for (const flags of [O.WRONLY, O.RDWR, O.TRUNC, O.WRONLY | O.CREAT, O.RDWR | O.EXCL]) {
        expect(open(flags)).toBe(HOLD);
      }
      for (
        const flags of [
          0,
          O.CREAT,
          O.PATH | O.RDWR,
          O_TMPFILE | O.RDWR,
          O.WRONLY | O.CREAT | O.EXCL,
        ]
      ) {
        expect(open(flags)).toBe(ALLOW);
      }
      if (abi.open !== undefined) {
        expect(ask(abi.open, 0, O.WRONLY)).toBe(HOLD);
        expect(ask(abi.open, 0, 0)).toBe(ALLOW);
      }
      for (
        const nr of [abi.creat, abi.openat2, abi.unlink, abi.rename, abi.renameat, ...abi.truncate]
      ) {
        if (nr !== undefined) expect(ask(nr)).toBe(HOLD);
      }
      expect(ask(abi.unlinkat, -100, 0, 0)).toBe(HOLD);
      expect(ask(abi.unlinkat, -100, 0, 0x200)).toBe(ALLOW);
      expect(ask(abi.renameat2, 0, 0, 0, 0, 0)).toBe(HOLD);
      for (const flags of [1, 2]) expect(ask(abi.renameat2, 0, 0, 0, 0, flags)).toBe(ALLOW);
      expect(ask(abi.io_uring_setup)).toBe(REFUSE);
      expect(ask(1000)).toBe(ALLOW);
    });
  }
}

test("an ABI that is not known passes; without the gate only io_uring is looked at", () => {
  const program = seccompProgram({ machine: "x64", gate: false, denyIoUring: true });
  const [abi] = abisOf("x64");
  expect(run(program, data(0x1234, 425, []))).toBe(ALLOW);
  expect(run(program, data(abi?.arch ?? 0, 257, [-100, 0, 1]))).toBe(ALLOW);
  expect(run(program, data(abi?.arch ?? 0, 425, []))).toBe(REFUSE);
  expect(run(program, data(abi?.arch ?? 0, 425 | 0x4000_0000, []))).toBe(REFUSE);
});
