/**
 * The kernel's own type information (BTF), asked for names. Each tracepoint has a typedef btf_trace_NAME, so its name stands in the
 * string section, of the kernel itself or of the module that brings it (libbpf parses all of it anew for each question: 10 ms).
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { MAP_PRIVATE, mapFile, PROT_READ } from "../../../ffi/memory_map.ts";
import { BTF_STRINGS_BYTES_MAX } from "../../base/limits.ts";

const FOLDER = "/sys/kernel/btf";
const TRACEPOINT = "btf_trace_";

/** Modules that bring hooks. */
const MODULES = ["ext4", "xfs", "btrfs", "overlay"];

/** struct btf_header (include/uapi/linux/btf.h): where its fields stand. */
const BTF_HEADER = { BYTES: 24, HDR_LEN: 4, STR_OFF: 16, STR_LEN: 20 } as const;

/** The whole file in memory, which kernels from 6.16 on allow: it is there anyway, and a read gives a page of it at a time (3 ms). */
function mapped(fd: number): Buffer | undefined {
  const map = mapFile(fd, fstatSync(fd).size, { prot: PROT_READ, flags: MAP_PRIVATE });
  return map === undefined ? undefined : Buffer.from(map.memory);
}

function bytesOf(fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let done = 0;
  for (let got = 1; got > 0 && done < length; done += got) {
    got = readSync(fd, bytes, done, length - done, at + done);
  }
  return bytes.subarray(0, done);
}

/** The string section of a BTF file; empty for what is none. */
function stringsOf(path: string): Buffer {
  const fd = openSync(path, "r");
  try {
    const header = bytesOf(fd, 0, BTF_HEADER.BYTES);
    if (header.length < BTF_HEADER.BYTES) return header.subarray(0, 0);
    const at = header.readUInt32LE(BTF_HEADER.HDR_LEN) + header.readUInt32LE(BTF_HEADER.STR_OFF);
    const length = Math.min(header.readUInt32LE(BTF_HEADER.STR_LEN), BTF_STRINGS_BYTES_MAX);
    return mapped(fd)?.subarray(at, at + length) ?? bytesOf(fd, at, length);
  } finally {
    closeSync(fd);
  }
}

/** Typedefs of tracepoints: there are two thousand, which is less to go through than two megabytes for each name. */
function tracepointsIn(strings: Buffer, wanted: ReadonlySet<string>): string[] {
  const found: string[] = [];
  let at = strings.indexOf(TRACEPOINT);
  for (; at >= 0; at = strings.indexOf(TRACEPOINT, at + TRACEPOINT.length)) {
    if (strings[at - 1] !== 0) continue;
    const name = strings.toString("latin1", at, strings.indexOf(0, at));
    if (wanted.has(name)) found.push(name);
  }
  return found;
}

/**
 * Which of these names this kernel's type information has; undefined: it has none. A filesystem's hooks may stand in its module's own,
 * only while that is loaded.
 */
export function kernelNames(names: readonly string[]): string[] | undefined {
  if (!existsSync(`${FOLDER}/vmlinux`)) return undefined;
  const wanted = new Set(names);
  const all: string[] = [];
  for (const path of ["vmlinux", ...MODULES].map((name) => `${FOLDER}/${name}`)) {
    if (wanted.size === 0 || !existsSync(path)) continue;
    const strings = stringsOf(path);
    const others = [...wanted].filter((name) =>
      !name.startsWith(TRACEPOINT) && strings.includes(`\0${name}\0`, 0, "latin1")
    );
    for (const name of [...tracepointsIn(strings, wanted), ...others]) {
      all.push(name);
      wanted.delete(name);
    }
  }
  return all;
}
