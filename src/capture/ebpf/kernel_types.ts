/**
 * The kernel's own type information (BTF), asked for names. Each tracepoint has a typedef btf_trace_NAME, so its name stands in the
 * string section, of the kernel itself or of the module that brings it (libbpf parses all of it anew for each question: 10 ms).
 */
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { BTF_STRINGS_BYTES_MAX } from "../../base/limits.ts";

const FOLDER = "/sys/kernel/btf";

/** Tracepoints that must be there. */
export const REQUIRED_TRACEPOINTS = [
  "sys_enter",
  "sys_exit",
  "sched_process_fork",
  "sched_process_exec",
  "sched_process_exit",
] as const;

/**
 * Tracepoints that make the record exact where they are: the filesystems' own (they may be modules), and from Linux 6.13 on those
 * of every filesystem (include/trace/events/timestamp.h).
 */
export const OPTIONAL_TRACEPOINTS = [
  "ext4_mark_inode_dirty",
  "ext4_da_write_end",
  "ext4_write_end",
  "ext4_journalled_write_end",
  "inode_set_ctime_to_ts",
  "ctime_ns_xchg",
  "ctime_xchg_skip",
  "xfs_file_buffered_write",
  "update_bytes_may_use",
] as const;

/** What a build with DK_NEWEST relies on: functions of Linux 6.2 and 6.16, a field of 6.11. */
export const NEWEST_NAMES = ["bpf_rdonly_cast", "bpf_probe_read_user_dynptr", "i_mtime_nsec"];

/** Modules that bring such tracepoints. */
const MODULES = ["ext4", "xfs", "btrfs"];

const typedefOf = (tracepoint: string) => `btf_trace_${tracepoint}`;

/** True if a list of `kernelNames` has the tracepoint. */
export function hasTracepoint(names: readonly string[], tracepoint: string): boolean {
  return names.includes(typedefOf(tracepoint));
}

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
 * Which of the names above this kernel's type information has; undefined: it has none. A filesystem's tracepoints may stand in its
 * module's own, only while that is loaded.
 */
export function kernelNames(): string[] | undefined {
  if (!existsSync(`${FOLDER}/vmlinux`)) return undefined;
  const wanted = new Set([
    ...[...REQUIRED_TRACEPOINTS, ...OPTIONAL_TRACEPOINTS].map(typedefOf),
    ...NEWEST_NAMES,
  ]);
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
