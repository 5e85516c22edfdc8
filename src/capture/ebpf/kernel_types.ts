/**
 * The kernel's own type information (BTF), asked for names. Each tracepoint has a typedef btf_trace_NAME, so its name stands in the
 * string section, of the kernel itself or of the module that brings it (libbpf parses all of it anew for each question: 10 ms).
 */
import { existsSync, readFileSync } from "node:fs";

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

/**
 * Which of the names above this kernel's type information has (8 ms); undefined: it has none. A filesystem's tracepoints may stand in its
 * module's own, only while that is loaded.
 */
export function kernelNames(): string[] | undefined {
  if (!existsSync(`${FOLDER}/vmlinux`)) return undefined;
  const vmlinux = readFileSync(`${FOLDER}/vmlinux`);
  const modules = MODULES.map((name) => `${FOLDER}/${name}`).filter(existsSync)
    .map((path) => readFileSync(path));
  const wanted = [
    ...[...REQUIRED_TRACEPOINTS, ...OPTIONAL_TRACEPOINTS].map(typedefOf),
    ...NEWEST_NAMES,
  ];
  return wanted.filter((name) => {
    const text = `\0${name}\0`;
    return [vmlinux, ...modules].some((bytes) => bytes.includes(text, 0, "latin1"));
  });
}
