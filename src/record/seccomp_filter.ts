/**
 * The seccomp filter of a recorded command, as a classic BPF program (linux/filter.h): calls that can destroy what a file held
 * before are put before a supervisor, io_uring_setup is refused, everything else passes with a few instructions. Pure: bytes
 * from options. Every ABI of the machine has its own numbers (32-bit programs too); a call of an ABI that is not known passes.
 * What the filter passes on purpose, because it destroys nothing: opens for reading only, O_PATH, O_TMPFILE, O_CREAT with
 * O_EXCL, rmdir, renames with RENAME_NOREPLACE or RENAME_EXCHANGE.
 */
import { assert } from "../base/assert.ts";

/** What happens to a call: linux/seccomp.h. */
const ALLOW = 0x7fff_0000;
const USER_NOTIF = 0x7fc0_0000;
const ERRNO_ENOSYS = 0x0005_0000 | 38;

/** struct seccomp_data. */
const NR = 0;
const ARCH = 4;
const argument = (index: number) => 16 + 8 * index;

/** Instructions: class, size, mode (linux/bpf_common.h). */
const LOAD = 0x20; // ld [k]
const AND = 0x54; // and #k
const JUMP_EQUAL = 0x15;
const JUMP_ANY_BIT = 0x45; // jset #k
const JUMP = 0x05; // ja
const RETURN = 0x06;

/** Bits that tell x32 numbers from those of x86-64. */
const X32_BIT = 0x4000_0000;
const INSTRUCTION_BYTES = 8;
/** BPF_MAXINSNS. */
const INSTRUCTIONS_MAX = 4096;
const JUMP_MAX = 255;

/** Flags of open(2) that differ between ABIs; the others are the same where it matters. */
interface OpenFlags {
  /** O_WRONLY | O_RDWR | O_TRUNC. */
  destroys: number;
  O_PATH: number;
  /** __O_TMPFILE, without O_DIRECTORY. */
  O_TMPFILE: number;
}
const O_CREAT_EXCL = 0o100 | 0o200;
const OPEN_FLAGS: OpenFlags = { destroys: 0o1003, O_PATH: 0o10000000, O_TMPFILE: 0o20000000 };
const AT_REMOVEDIR = 0x200;
const RENAME_KEEPS = 1 | 2; // RENAME_NOREPLACE, RENAME_EXCHANGE

/** Calls of one ABI; those that it does not have are absent. */
export interface AbiCalls {
  name: string;
  /** AUDIT_ARCH_*. */
  arch: number;
  open?: number;
  creat?: number;
  openat: number;
  openat2: number;
  truncate: number[];
  unlink?: number;
  unlinkat: number;
  rename?: number;
  renameat: number;
  renameat2: number;
  io_uring_setup: number;
}

const X86_64: AbiCalls = {
  name: "x86-64",
  arch: 0xc000_003e,
  open: 2,
  creat: 85,
  openat: 257,
  openat2: 437,
  truncate: [76],
  unlink: 87,
  unlinkat: 263,
  rename: 82,
  renameat: 264,
  renameat2: 316,
  io_uring_setup: 425,
};

const I386: AbiCalls = {
  name: "i386",
  arch: 0x4000_0003,
  open: 5,
  creat: 8,
  openat: 295,
  openat2: 437,
  truncate: [92, 193],
  unlink: 10,
  unlinkat: 301,
  rename: 38,
  renameat: 302,
  renameat2: 353,
  io_uring_setup: 425,
};

const AARCH64: AbiCalls = {
  name: "arm64",
  arch: 0xc000_00b7,
  openat: 56,
  openat2: 437,
  truncate: [45],
  unlinkat: 35,
  renameat: 38,
  renameat2: 276,
  io_uring_setup: 425,
};

const ARM: AbiCalls = {
  name: "arm",
  arch: 0x4000_0028,
  open: 5,
  creat: 8,
  openat: 322,
  openat2: 437,
  truncate: [92, 193],
  unlink: 10,
  unlinkat: 328,
  rename: 38,
  renameat: 329,
  renameat2: 382,
  io_uring_setup: 425,
};

/** The ABIs of a machine, its own first. */
export function abisOf(machine: "x64" | "arm64"): readonly AbiCalls[] {
  return machine === "arm64" ? [AARCH64, ARM] : [X86_64, I386];
}

/** What a filter does. */
export interface FilterOptions {
  machine: "x64" | "arm64";
  /** Calls that can destroy content wait for the supervisor. */
  gate: boolean;
  /** io_uring_setup fails with ENOSYS. */
  denyIoUring: boolean;
}

/** A program under construction: labels are resolved at the end, jumps only lead forward. */
class Assembler {
  readonly #code: { op: number; yes: string; no: string; k: number }[] = [];
  readonly #labels = new Map<string, number>();

  label(name: string): void {
    this.#labels.set(name, this.#code.length);
  }

  load(offset: number): void {
    this.#add(LOAD, offset);
  }

  mask(bits: number): void {
    this.#add(AND, bits);
  }

  give(action: number): void {
    this.#add(RETURN, action);
  }

  /** Goes on with the next instruction where a side has no label. */
  equal(k: number, yes: string, no = ""): void {
    this.#add(JUMP_EQUAL, k, yes, no);
  }

  anyBit(k: number, yes: string, no = ""): void {
    this.#add(JUMP_ANY_BIT, k, yes, no);
  }

  jump(to: string): void {
    this.#add(JUMP, 0, to);
  }

  #add(op: number, k: number, yes = "", no = ""): void {
    this.#code.push({ op, k, yes, no });
  }

  /** struct sock_filter: u16 code, u8 jt, u8 jf, u32 k. */
  bytes(): Uint8Array {
    assert(this.#code.length <= INSTRUCTIONS_MAX, "a filter must fit in the kernel's limit");
    const bytes = new Uint8Array(new ArrayBuffer(this.#code.length * INSTRUCTION_BYTES));
    const view = new DataView(bytes.buffer);
    this.#code.forEach(({ op, k, yes, no }, index) => {
      const at = index * INSTRUCTION_BYTES;
      const distance = (label: string) => {
        const target = label === "" ? index + 1 : this.#labels.get(label) ?? -1;
        assert(target > index, "a jump of a filter leads forward, to a label that is there");
        return target - index - 1;
      };
      const isJump = op === JUMP;
      const [jt, jf] = isJump ? [0, 0] : [distance(yes), distance(no)];
      assert(jt <= JUMP_MAX && jf <= JUMP_MAX, "a conditional jump must be short");
      view.setUint16(at, op, true);
      view.setUint8(at + 2, op === JUMP_EQUAL || op === JUMP_ANY_BIT ? jt : 0);
      view.setUint8(at + 3, op === JUMP_EQUAL || op === JUMP_ANY_BIT ? jf : 0);
      view.setUint32(at + 4, isJump ? distance(yes) : k >>> 0, true);
    });
    return bytes;
  }
}

/** An open with its flags in an argument. */
function openRule(code: Assembler, label: string, flagsArgument: number): void {
  code.label(label);
  code.load(argument(flagsArgument));
  code.anyBit(OPEN_FLAGS.O_PATH | OPEN_FLAGS.O_TMPFILE, "allow");
  code.anyBit(OPEN_FLAGS.destroys, "", "allow");
  code.mask(O_CREAT_EXCL);
  code.equal(O_CREAT_EXCL, "allow", "notify");
}

/** A call that destroys nothing when one of these bits is set. */
function unlessRule(
  code: Assembler,
  label: string,
  rule: { argument: number; bits: number },
): void {
  code.label(label);
  code.load(argument(rule.argument));
  code.anyBit(rule.bits, "allow", "notify");
}

/** The rules of one ABI; the call's number is in the accumulator. */
function abiRules(code: Assembler, abi: AbiCalls, options: FilterOptions): void {
  const own = (name: string) => `${abi.name} ${name}`;
  const rule = (nr: number | undefined, label: string) => {
    if (nr !== undefined) code.equal(nr, label);
  };
  if (options.denyIoUring) rule(abi.io_uring_setup, "refuse");
  if (options.gate) {
    rule(abi.openat, own("openat"));
    rule(abi.open, own("open"));
    rule(abi.unlinkat, own("unlinkat"));
    rule(abi.renameat2, own("renameat2"));
    for (const nr of [abi.unlink, abi.rename, abi.renameat, abi.creat, abi.openat2]) {
      rule(nr, "notify");
    }
    for (const nr of abi.truncate) rule(nr, "notify");
  }
  code.jump("allow");
  if (!options.gate) return;
  openRule(code, own("openat"), 2);
  if (abi.open !== undefined) openRule(code, own("open"), 1);
  unlessRule(code, own("unlinkat"), { argument: 2, bits: AT_REMOVEDIR });
  unlessRule(code, own("renameat2"), { argument: 4, bits: RENAME_KEEPS });
}

/** The filter's instructions, ready for struct sock_fprog. */
export function seccompProgram(options: FilterOptions): Uint8Array {
  const code = new Assembler();
  const abis = abisOf(options.machine);
  code.load(ARCH);
  for (const abi of abis) code.equal(abi.arch, `${abi.name} calls`);
  code.jump("allow");
  for (const abi of abis) {
    code.label(`${abi.name} calls`);
    code.load(NR);
    code.mask(~X32_BIT);
    abiRules(code, abi, options);
  }
  code.label("allow");
  code.give(ALLOW);
  code.label("notify");
  code.give(USER_NOTIF);
  code.label("refuse");
  code.give(ERRNO_ENOSYS);
  return code.bytes();
}

/** Bytes of one instruction: struct sock_fprog counts instructions. */
export const FILTER_INSTRUCTION_BYTES = INSTRUCTION_BYTES;
