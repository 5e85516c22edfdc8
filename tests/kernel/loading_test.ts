/**
 * Loading with what stands in for functions of libbpf (native/): the programs that come of shortened types are the same to the
 * instruction, those that threads load are programs, and nothing that is damaged does more than be refused.
 */
import { dlopen, type Pointer, toArrayBuffer } from "bun:ffi";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
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
  btf__find_by_name: { args: ["ptr", "ptr"], returns: "i32" },
  btf__type_cnt: { args: ["ptr"], returns: "u32" },
  btf__free: { args: ["ptr"], returns: "void" },
}).symbols;
/** Another one than the one that `prepareTypes` speaks to: its state is its own. */
const shortener = dlopen(join(BUILD, "loading.so"), {
  dk_prepare_types: { args: ["ptr", "u64"], returns: "i32" },
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

/** Descriptors of this process that are programs. */
function programCount(): number {
  let count = 0;
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:bpf-prog") count++;
    } catch {
      // that of the folder itself
    }
  }
  return count;
}

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

/** The first instruction of a program becomes "r0 = r5": none may read what it has not set. */
function withBad(section: string): Buffer {
  const bytes = readFileSync(join(BUILD, "recorder_newest.bpf.o"));
  bytes.set(Buffer.from("bf50000000000000", "hex"), sectionOf(bytes, section));
  return bytes;
}

test("a small program that is refused after large ones leaves no descriptor", () => {
  const before = programCount();
  const { object } = opened(withBad("tp_btf/sched_process_exit"));
  expect(loadObject(object, true)).toBeGreaterThan(0);
  libbpf().bpf_object__close(object);
  expect(programCount()).toBe(before);
});

test("a large program that the kernel refuses is refused from a thread too", () => {
  const bytes = withBad("tp_btf/sys_exit");
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

test("what every hook hangs on is found, functions too, although the object is gone", () => {
  const whole = pointerOf(shortener.btf__load_vmlinux_btf());
  const copy = readFileSync(join(BUILD, "recorder.bpf.o"));
  expect(shortener.dk_prepare_types(copy, copy.length)).toBe(0);
  copy.fill(0xff);
  const short = pointerOf(shortener.btf__load_vmlinux_btf());
  if (whole === undefined || short === undefined) throw new Error("no types");
  const ids = (types: Pointer) =>
    hookNames().map((name) => more.btf__find_by_name(types, cString(name)));
  expect(ids(whole).filter((id) => id > 0).length).toBeGreaterThan(20);
  expect(ids(short)).toEqual(ids(whole));
  for (const types of [whole, short]) more.btf__free(types);
});

/** The whole life of what is prepared; false: it was refused. */
function prepares(object: Uint8Array): boolean {
  if (shortener.dk_prepare_types(object, object.length) !== 0) return false;
  more.btf__free(shortener.btf__load_vmlinux_btf());
  return true;
}

test("a damaged object is refused, or its types can be taken", () => {
  const object = readFileSync(join(BUILD, "recorder.bpf.o"));
  const sections = Number(object.readBigUInt64LE(40));
  const below = random(21);
  expect(prepares(object.subarray(0, 10))).toBe(false);
  let refused = 0;
  let taken = 0;
  for (let i = 0; i < 2000 && taken < 50; i++) {
    const bad = Buffer.from(object);
    const [from, room] = i % 2 === 0 ? [0, 64] : [sections, object.length - sections];
    for (let n = 0; n < 8; n++) bad[from + below(room)] = below(256);
    if (prepares(bad)) taken++;
    else refused++;
  }
  expect(refused).toBeGreaterThan(50);
  expect(taken).toBe(50);
}, 60_000);

/** An object of nothing but the names in its type information. */
function objectOf(names: readonly string[]): Buffer {
  const strings = Buffer.from(["", ...names, ""].join("\0"));
  const types = Buffer.alloc(24);
  types.set([0x9f, 0xeb, 1, 0, types.length]);
  types.writeUInt32LE(strings.length, 20);
  const texts = Buffer.from("\0.BTF\0\0");
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46]);
  header.writeBigUInt64LE(64n, 40);
  header.set([64, 0, 2, 0, 1, 0], 58);
  const section = (name: number, [at, bytes]: [number, number]) => {
    const made = Buffer.alloc(64);
    made.writeUInt32LE(name, 0);
    made.writeBigUInt64LE(BigInt(at), 24);
    made.writeBigUInt64LE(BigInt(bytes), 32);
    return made;
  };
  const [textsAt, typesAt] = [64 * 3, 64 * 3 + texts.length];
  const btf = section(1, [typesAt, types.length + strings.length]);
  return Buffer.concat([header, btf, section(0, [textsAt, texts.length]), texts, types, strings]);
}

test("an object with more names than there is room for is left to libbpf", () => {
  const names = Array.from({ length: 4096 }, (_, i) => `name_${i}`);
  expect(prepares(objectOf(names.slice(1)))).toBe(true);
  expect(prepares(objectOf(names))).toBe(false);
  // and nothing of it is left for the next one
  expect(prepares(objectOf(names.slice(1)))).toBe(true);
});
