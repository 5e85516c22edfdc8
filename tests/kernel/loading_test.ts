/**
 * Loading with what stands in for functions of libbpf (native/): the programs that come of shortened types are the same to the
 * instruction, those that threads load are programs, and nothing that is damaged does more than be refused.
 */
import { dlopen, type Pointer, toArrayBuffer } from "bun:ffi";
import { expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { libbpf, loadObject, openObject, pointerOf, prepareTypes } from "../../ffi/libbpf.ts";
import { cString, pinned } from "../../ffi/libc.ts";
import { chooseHooks, hookNames } from "../../src/capture/ebpf/hooks.ts";
import { kernelNames } from "../../src/capture/ebpf/kernel_types.ts";
import { random } from "../support/fake_calls.ts";

const BUILD = join(import.meta.dir, "../../build");
const EXT4 = 0xef53;
const INSTRUCTION_BYTES = 8;
/** linux/bpf.h: BPF_LD | BPF_IMM | BPF_DW; its source register says that the number is a descriptor. */
const LOAD_WIDE = 0x18;
const PSEUDO_MAPS = [1, 2];

libbpf(); // it is there by its soname from here on
const more = dlopen("libbpf.so.1", {
  bpf_program__fd: { args: ["ptr"], returns: "i32" },
  bpf_program__insns: { args: ["ptr"], returns: "ptr" },
  bpf_program__insn_cnt: { args: ["ptr"], returns: "u64" },
  btf__new: { args: ["ptr", "u32"], returns: "ptr" },
  btf__type_cnt: { args: ["ptr"], returns: "u32" },
  btf__free: { args: ["ptr"], returns: "void" },
}).symbols;
const shortener = dlopen(join(BUILD, "loading.so"), {
  btf__load_vmlinux_btf: { args: [], returns: "ptr" },
  dk_shorten_types: { args: ["ptr", "u64", "ptr"], returns: "ptr" },
}).symbols;
const { free } = dlopen("libc.so.6", { free: { args: ["ptr"], returns: "void" } }).symbols;

/** Objects write into it as long as they are open. */
const log = pinned(64 * 1024);

/** Copies what C code points to. */
function copyOf(at: Pointer, bytes: number): Buffer {
  return Buffer.from(new Uint8Array(toArrayBuffer(at, 0, bytes)));
}

interface Opened {
  object: Pointer;
  /** By name, those that this kernel can load. */
  programs: Map<string, Pointer>;
}

/** An object, of which what this kernel cannot load is left out. */
function opened(bytes: Uint8Array): Opened {
  const object = openObject(bytes, log);
  if (object === undefined) throw new Error("cannot open the object");
  const names = kernelNames(hookNames()) ?? [];
  const { used, left } = chooseHooks({ names, filesystems: [EXT4], allowsFentry: false });
  const program = (name: string) => {
    const found = pointerOf(libbpf().bpf_object__find_program_by_name(object, cString(name)));
    if (found === undefined) throw new Error(`no program ${name}`);
    return found;
  };
  for (const hook of left) libbpf().bpf_program__set_autoload(program(hook.program), false);
  return { object, programs: new Map(used.map((hook) => [hook.program, program(hook.program)])) };
}

/** The instructions of each program as they were loaded, numbers of descriptors left out. */
function instructionsOf(path: string, isPrepared: boolean): Map<string, string> {
  const bytes = readFileSync(path);
  if (isPrepared) expect(prepareTypes(bytes)).toBe(true);
  const { object, programs } = opened(bytes);
  expect(loadObject(object, false)).toBe(0);
  const all = new Map<string, string>();
  for (const [name, program] of programs) {
    const at = pointerOf(more.bpf_program__insns(program));
    const count = Number(more.bpf_program__insn_cnt(program));
    if (at === undefined) throw new Error(`no instructions of ${name}`);
    const code = copyOf(at, count * INSTRUCTION_BYTES);
    for (let i = 0; i < code.length; i += INSTRUCTION_BYTES) {
      const isMap = code[i] === LOAD_WIDE && PSEUDO_MAPS.includes((code[i + 1] ?? 0) >> 4);
      if (isMap) code.fill(0, i + 4, i + 8);
    }
    all.set(name, code.toString("hex"));
  }
  libbpf().bpf_object__close(object);
  return all;
}

for (const name of ["recorder.bpf.o", "recorder_newest.bpf.o"]) {
  test(`${name}: with types shortened the programs are the same`, () => {
    const path = join(BUILD, name);
    const whole = instructionsOf(path, false);
    expect(whole.size).toBeGreaterThan(5);
    expect(instructionsOf(path, true)).toEqual(whole);
    // what was prepared is used up
    expect(instructionsOf(path, false)).toEqual(whole);
  });
}

test("programs that threads load have the descriptors that libbpf was given", () => {
  const { object, programs } = opened(readFileSync(join(BUILD, "recorder_newest.bpf.o")));
  expect(loadObject(object, true)).toBe(0);
  const fds = [...programs.values()].map((program) => more.bpf_program__fd(program));
  for (const fd of fds) expect(readlinkSync(`/proc/self/fd/${fd}`)).toBe("anon_inode:bpf-prog");
  expect(new Set(fds).size).toBe(programs.size);
  libbpf().bpf_object__close(object);
});

/** Where a section of an ELF file stands (elf(5): Elf64_Ehdr, Elf64_Shdr). */
function sectionOf(file: Buffer, name: string): number {
  const headers = Number(file.readBigUInt64LE(40));
  const header = (i: number) => file.subarray(headers + i * 64, headers + (i + 1) * 64);
  const names = Number(header(file.readUInt16LE(62)).readBigUInt64LE(24));
  for (let i = 0; i < file.readUInt16LE(60); i++) {
    const at = names + header(i).readUInt32LE(0);
    if (file.toString("latin1", at, file.indexOf(0, at)) !== name) continue;
    return Number(header(i).readBigUInt64LE(24));
  }
  throw new Error(`no section ${name}`);
}

test("a large program that the kernel refuses is refused from a thread too", () => {
  const bytes = readFileSync(join(BUILD, "recorder_newest.bpf.o"));
  // its first instruction becomes "r0 = r5": no program may read what it has not set
  const from = sectionOf(bytes, "tp_btf/sys_exit");
  bytes.set(Buffer.from("bf50000000000000", "hex"), from);
  for (const isDeferred of [true, false]) {
    const { object } = opened(bytes);
    expect(loadObject(object, isDeferred)).toBeGreaterThan(0);
    libbpf().bpf_object__close(object);
  }
  const { object } = opened(readFileSync(join(BUILD, "recorder_newest.bpf.o")));
  expect(loadObject(object, true)).toBe(0);
  libbpf().bpf_object__close(object);
});

function typeCount(file: Uint8Array): number {
  const btf = pointerOf(more.btf__new(file, file.length));
  if (btf === undefined) return -1;
  const count = more.btf__type_cnt(btf);
  more.btf__free(btf);
  return count;
}

function shortened(file: Uint8Array): Buffer | undefined {
  const bytes = pinned(4);
  const at = pointerOf(shortener.dk_shorten_types(file, file.length, bytes.address));
  if (at === undefined) return undefined;
  const copy = copyOf(at, new DataView(bytes.bytes.buffer).getUint32(0, true));
  free(at);
  return copy;
}

test("every type of this kernel keeps its number", () => {
  const file = readFileSync("/sys/kernel/btf/vmlinux");
  const made = shortened(file);
  expect(made).toBeDefined();
  expect(made?.length).toBeLessThan(file.length);
  expect(typeCount(made ?? Buffer.alloc(0))).toBe(typeCount(file));
});

test("damaged type information is refused, or comes out as something that libbpf takes or refuses", () => {
  // a small one that is whole: the object's own (its magic, version, flags, 24 bytes of header)
  const object = readFileSync(join(BUILD, "recorder.bpf.o"));
  const at = object.indexOf(Buffer.from([0x9f, 0xeb, 1, 0, 24, 0, 0, 0]));
  const strings = object.readUInt32LE(at + 16) + object.readUInt32LE(at + 20);
  const small = object.subarray(at, at + 24 + strings);
  expect(typeCount(shortened(small) ?? Buffer.alloc(0))).toBe(typeCount(small));
  const below = random(20);
  let refused = 0;
  for (let i = 0; i < 3000; i++) {
    const bad = Buffer.from(small);
    for (let n = below(8); n >= 0; n--) {
      bad[below(i % 2 === 0 ? 24 : bad.length)] = below(256);
    }
    const made = shortened(bad.subarray(0, below(4) === 0 ? below(bad.length) : bad.length));
    if (made === undefined) refused++;
    else expect(made.readUInt16LE(0)).toBe(0xeb9f);
  }
  expect(refused).toBeGreaterThan(1000);
});

test("a damaged object is refused, or its types can be taken", () => {
  const object = readFileSync(join(BUILD, "recorder.bpf.o"));
  const sections = Number(object.readBigUInt64LE(40));
  const below = random(21);
  expect(prepareTypes(object.subarray(0, 10))).toBe(false);
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    const bad = Buffer.from(object);
    const [from, room] = i % 2 === 0 ? [0, 64] : [sections, object.length - sections];
    for (let n = 0; n < 8; n++) bad[from + below(room)] = below(256);
    if (!prepareTypes(bad)) refused++;
    else more.btf__free(shortener.btf__load_vmlinux_btf());
    if (i - refused > 100) break;
  }
  expect(refused).toBeGreaterThan(5);
}, 60_000);
