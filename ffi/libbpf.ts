/**
 * libbpf through bun:ffi. The three shared libraries are embedded in the binary and loaded from memfds, in the order libz,
 * libelf, libbpf, so that each finds the earlier one by its soname and no file appears in a folder of the machine.
 * One symbol table, the C type of each argument in a comment (libbpf.h, bpf.h of libbpf 1.1).
 */
import { dlopen, type Pointer } from "bun:ffi";
import { readFileSync } from "node:fs";
import loadingPath from "../build/loading.so" with { type: "file" };
import libbpfPath from "../build/lib/libbpf.so.1" with { type: "file" };
import libelfPath from "../build/lib/libelf.so.1" with { type: "file" };
import libzPath from "../build/lib/libz.so.1" with { type: "file" };
import { DiffKeeperError } from "../src/base/error.ts";
import { cString, errno, errnoText, libc, type Pinned, pinned } from "./libc.ts";

const MFD_CLOEXEC = 1;
/** bits/dlfcn.h: at once, and for all libraries that are loaded later. */
const RTLD_NOW = 2;
const RTLD_GLOBAL = 0x100;

/** Not libc.so.6: dlopen(3) is in it only from glibc 2.34 on. The runtime itself needs both. */
const loader = dlopen("libdl.so.2", {
  memfd_create: {
    args: [
      "ptr", // const char *name
      "u32", // unsigned int flags
    ],
    returns: "i32", // int
  },
  write: {
    args: [
      "i32", // int fd
      "ptr", // const void *buf
      "u64", // size_t count
    ],
    returns: "i64", // ssize_t
  },
  dlopen: {
    args: [
      "ptr", // const char *filename
      "i32", // int flags
    ],
    returns: "ptr", // void *
  },
});

/** native/kernel_types.c, native/program_loads.c */
const LOADING_SYMBOLS = {
  dk_prepare_types: {
    args: [
      "ptr", // const u8 *object
      "u64", // u64 bytes
    ],
    returns: "i32", // int: errno
  },
  dk_defer_programs: { args: [], returns: "void" },
  dk_finish_programs: {
    args: [
      "i32", // int is_loaded
    ],
    returns: "i32", // int: errno
  },
} as const;

const SYMBOLS = {
  /** With NULL: no message of libbpf reaches stderr. */
  libbpf_set_print: { args: ["ptr"], returns: "ptr" },
  bpf_object__open_mem: {
    args: [
      "ptr", // const void *obj_buf
      "u64", // size_t obj_buf_sz
      "ptr", // const struct bpf_object_open_opts *opts
    ],
    returns: "ptr", // struct bpf_object *
  },
  /** 1 there, 0 not, negative: errno. Knows what a map of the type needs. */
  libbpf_probe_bpf_map_type: {
    args: [
      "i32", // enum bpf_map_type map_type
      "ptr", // const void *opts
    ],
    returns: "i32", // int
  },
  bpf_object__load: { args: ["ptr"], returns: "i32" },
  bpf_object__close: { args: ["ptr"], returns: "void" },
  bpf_object__find_map_by_name: {
    args: [
      "ptr", // const struct bpf_object *obj
      "ptr", // const char *name
    ],
    returns: "ptr", // struct bpf_map *
  },
  bpf_object__find_program_by_name: {
    args: [
      "ptr", // const struct bpf_object *obj
      "ptr", // const char *name
    ],
    returns: "ptr", // struct bpf_program *
  },
  bpf_map__set_max_entries: {
    args: [
      "ptr", // struct bpf_map *map
      "u32", // __u32 max_entries
    ],
    returns: "i32", // int
  },
  bpf_map_create: {
    args: [
      "i32", // enum bpf_map_type map_type
      "ptr", // const char *map_name
      "u32", // __u32 key_size
      "u32", // __u32 value_size
      "u32", // __u32 max_entries
      "ptr", // const struct bpf_map_create_opts *opts
    ],
    returns: "i32", // int
  },
  bpf_map__reuse_fd: {
    args: [
      "ptr", // struct bpf_map *map
      "i32", // int fd
    ],
    returns: "i32", // int
  },
  bpf_map__type: { args: ["ptr"], returns: "i32" },
  bpf_map__key_size: { args: ["ptr"], returns: "u32" },
  bpf_map__value_size: { args: ["ptr"], returns: "u32" },
  bpf_map__max_entries: { args: ["ptr"], returns: "u32" },
  bpf_map__map_flags: { args: ["ptr"], returns: "u32" },
  bpf_map_update_elem: {
    args: [
      "i32", // int fd
      "ptr", // const void *key
      "ptr", // const void *value
      "u64", // __u64 flags
    ],
    returns: "i32", // int
  },
  bpf_map__fd: { args: ["ptr"], returns: "i32" },
  bpf_map__initial_value: {
    args: [
      "ptr", // struct bpf_map *map
      "ptr", // size_t *psize
    ],
    returns: "ptr", // void *: after load, the map's memory, mapped
  },
  bpf_program__set_autoload: {
    args: [
      "ptr", // struct bpf_program *prog
      "bool", // bool autoload
    ],
    returns: "i32", // int
  },
  bpf_program__attach: { args: ["ptr"], returns: "ptr" },
} as const;

function loadFromMemory(path: string, name: string): string {
  const bytes = readFileSync(path);
  const fd = loader.symbols.memfd_create(cString(name), MFD_CLOEXEC);
  if (fd < 0) {
    throw new DiffKeeperError("io", `cannot load "${name}": ${errnoText(errno())}`);
  }
  const written = Number(loader.symbols.write(fd, bytes, bytes.length));
  if (written !== bytes.length) {
    throw new DiffKeeperError("io", `cannot load "${name}": ${errnoText(errno())}`);
  }
  return `/proc/self/fd/${fd}`;
}

/**
 * What stands in for functions of libbpf (decision 0020) must be there for all before libbpf is. Undefined where the C library is older
 * than 2.34: loading takes longer then, and nothing else.
 */
function openLoading() {
  const path = loadFromMemory(loadingPath, "loading.so");
  const isThere = loader.symbols.dlopen(cString(path), RTLD_NOW | RTLD_GLOBAL);
  return pointerOf(isThere) && dlopen(path, LOADING_SYMBOLS).symbols;
}

function open() {
  dlopen(loadFromMemory(libzPath, "libz.so.1"), { zlibVersion: { args: [], returns: "ptr" } });
  dlopen(loadFromMemory(libelfPath, "libelf.so.1"), {
    elf_version: { args: ["u32"], returns: "u32" },
  });
  const loading = openLoading();
  const { symbols } = dlopen(loadFromMemory(libbpfPath, "libbpf.so.1"), SYMBOLS);
  symbols.libbpf_set_print(null);
  return { symbols, loading };
}

let loaded: ReturnType<typeof open> | undefined;

/**
 * The functions of libbpf; loads the libraries at the first call.
 * @throws {DiffKeeperError} `io` when memory for the libraries cannot be had.
 */
export function libbpf(): ReturnType<typeof open>["symbols"] {
  loaded ??= open();
  return loaded.symbols;
}

/** struct bpf_object_open_opts (libbpf.h), up to kernel_log_level. */
const OPEN_OPTS_BYTES = 80;
const OPEN_OPTS_LOG_BUF_AT = 56;
/** BPF_LOG_STATS (include/linux/bpf_verifier.h): errors and a line of numbers, not each instruction. */
const LOG_ERRORS = 4;

/**
 * Begins to read the kernel's types for a load of this object, which is opened next. Without it, loading takes longer.
 * @returns whether it has begun.
 */
export function prepareTypes(object: Uint8Array): boolean {
  loaded ??= open();
  return loaded.loading?.dk_prepare_types(object, object.length) === 0;
}

/**
 * Loads an object that is open; its large programs by threads if `isDeferred`, whose refusal leaves nothing in the log.
 * @returns 0, or an errno; the object can only be closed then.
 */
export function loadObject(object: Pointer, isDeferred: boolean): number {
  loaded ??= open();
  const { symbols, loading } = loaded;
  if (isDeferred) loading?.dk_defer_programs();
  const code = -symbols.bpf_object__load(object);
  const late = loading?.dk_finish_programs(code === 0 ? 1 : 0) ?? 0;
  return code === 0 ? late : code;
}

/**
 * Opens a BPF object; what the kernel says while it loads its last program will stand in `log` as C string.
 * @param log must stay alive as long as the object.
 */
export function openObject(bytes: Uint8Array, log: Pinned): Pointer | undefined {
  const opts = pinned(OPEN_OPTS_BYTES);
  const view = new DataView(opts.bytes.buffer);
  view.setBigUint64(0, BigInt(OPEN_OPTS_BYTES), true);
  view.setBigUint64(OPEN_OPTS_LOG_BUF_AT, BigInt(log.address), true);
  view.setBigUint64(OPEN_OPTS_LOG_BUF_AT + 8, BigInt(log.bytes.length), true);
  view.setUint32(OPEN_OPTS_LOG_BUF_AT + 16, LOG_ERRORS, true);
  return pointerOf(libbpf().bpf_object__open_mem(bytes, bytes.length, opts.address));
}

/** struct bpf_map_create_opts (bpf/bpf.h). */
const CREATE_OPTS_BYTES = 48;
const CREATE_OPTS_FLAGS_AT = 28;

/**
 * Makes a map of an open object before the object is loaded. What fails is left to the load, which fails too and says why.
 * @param name for the kernel's lists.
 */
export function createMap(map: Pointer, name: string): void {
  const bpf = libbpf();
  const opts = pinned(CREATE_OPTS_BYTES);
  const view = new DataView(opts.bytes.buffer);
  view.setBigUint64(0, BigInt(CREATE_OPTS_BYTES), true);
  view.setUint32(CREATE_OPTS_FLAGS_AT, bpf.bpf_map__map_flags(map), true);
  const fd = bpf.bpf_map_create(
    bpf.bpf_map__type(map),
    cString(name),
    bpf.bpf_map__key_size(map),
    bpf.bpf_map__value_size(map),
    bpf.bpf_map__max_entries(map),
    opts.address,
  );
  if (fd < 0) return;
  bpf.bpf_map__reuse_fd(map, fd);
  libc.close(fd);
}

/** A pointer that libbpf returned: NULL becomes undefined. */
export function pointerOf(value: Pointer | bigint | null): Pointer | undefined {
  return value === null || Number(value) === 0 ? undefined : Number(value) as Pointer;
}
