/**
 * The kernel's own type information (BTF), asked for names. Each tracepoint has a typedef btf_trace_NAME, so its name stands in the
 * string section, of the kernel itself or of the module that brings it (libbpf parses all of it anew for each question: 10 ms).
 */
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { BTF_STRINGS_BYTES_MAX } from "../../base/limits.ts";
import { hookNames } from "./hooks.ts";

const FOLDER = "/sys/kernel/btf";

/** Modules that bring hooks. */
const MODULES = ["ext4", "xfs", "btrfs", "overlay"];

/** struct btf_header (include/uapi/linux/btf.h): where its fields stand. */
const BTF_HEADER = { BYTES: 24, HDR_LEN: 4, STR_OFF: 16, STR_LEN: 20 } as const;

/** The string section of a BTF file; empty for what is none. */
function stringsOf(path: string): Buffer {
  const fd = openSync(path, "r");
  try {
    const header = Buffer.alloc(BTF_HEADER.BYTES);
    if (readSync(fd, header, 0, header.length, 0) < header.length) return Buffer.alloc(0);
    const at = header.readUInt32LE(BTF_HEADER.HDR_LEN) + header.readUInt32LE(BTF_HEADER.STR_OFF);
    const strings = Buffer.allocUnsafe(
      Math.min(header.readUInt32LE(BTF_HEADER.STR_LEN), BTF_STRINGS_BYTES_MAX),
    );
    // the kernel gives a page at a time
    let done = 0;
    for (let got = 1; got > 0 && done < strings.length; done += got) {
      got = readSync(fd, strings, done, strings.length - done, at + done);
    }
    return strings.subarray(0, done);
  } finally {
    closeSync(fd);
  }
}

/**
 * Which of `hookNames` this kernel's type information has; undefined: it has none. A filesystem's hooks may stand in its
 * module's own, only while that is loaded.
 */
export function kernelNames(): string[] | undefined {
  if (!existsSync(`${FOLDER}/vmlinux`)) return undefined;
  const wanted = new Set(hookNames());
  const found: string[] = [];
  for (const path of ["vmlinux", ...MODULES].map((name) => `${FOLDER}/${name}`)) {
    if (!existsSync(path)) continue;
    const strings = stringsOf(path);
    for (const name of wanted) {
      if (!strings.includes(`\0${name}\0`, 0, "latin1")) continue;
      found.push(name);
      wanted.delete(name);
    }
  }
  return found;
}
