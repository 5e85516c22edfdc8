/**
 * Which programs of the BPF object are loaded: those whose hook this kernel has, and that a watched filesystem needs. Tracepoints are
 * known from the names in the kernel's type information, and so are functions; these can be hooked only where the kernel is not
 * locked down. A filesystem is its magic number (statfs(2), linux/magic.h).
 */
import { readFileSync } from "node:fs";

const EXT4 = 0xef53;
const XFS = 0x58465342;
const BTRFS = 0x9123683e;
const OVERLAYFS = 0x794c7630;

/** What decides. */
export interface Machine {
  /** Of `hookNames`, those that the kernel's type information has. */
  names: readonly string[];
  /** Magic numbers of the watched filesystems. */
  filesystems: readonly number[];
  /** Functions may be hooked. */
  allowsFentry: boolean;
}

/** A program of the object and where it hangs. */
export interface Hook {
  /** As libbpf writes it: `tp_btf/NAME`, `fentry/NAME`. */
  readonly section: string;
  readonly program: string;
  /** The name in the kernel's type information. */
  readonly typeName: string;
  readonly isRequired: boolean;
  /** Is it of use there? */
  readonly helps: (machine: Machine) => boolean;
}

const always = () => true;
const on = (filesystem: number) => (machine: Machine) => machine.filesystems.includes(filesystem);

function tracepoint(name: string, helps: Hook["helps"] = always, isRequired = false): Hook {
  const section = `tp_btf/${name}`;
  const program = `on_${name.replace(/^sched_process_/, "")}`;
  return { section, program, typeName: `btf_trace_${name}`, isRequired, helps };
}

function required(name: string): Hook {
  return tracepoint(name, always, true);
}

function entry(name: string, helps: Hook["helps"]): Hook {
  const isAllowed = (machine: Machine) => machine.allowsFentry && helps(machine);
  const names = { section: `fentry/${name}`, program: `fn_${name}`, typeName: name };
  return { ...names, isRequired: false, helps: isAllowed };
}

const CTIME_SET = tracepoint("inode_set_ctime_to_ts");

/** Names and attributes: where no tracepoint tells of a new ctime, and ext4's own does not help. */
function lacksOrder({ names, filesystems }: Machine): boolean {
  return !names.includes(CTIME_SET.typeName) && filesystems.some((magic) => magic !== EXT4);
}

/** Filesystems whose writes no other hook tells of. */
function writesGenerically({ filesystems }: Machine): boolean {
  return filesystems.some((magic) => ![EXT4, XFS, BTRFS, OVERLAYFS].includes(magic));
}

const HOOKS: readonly Hook[] = [
  required("sys_enter"),
  required("sys_exit"),
  required("sched_process_fork"),
  required("sched_process_exec"),
  required("sched_process_exit"),
  // also where no ext4 is watched: it tells that a call is about something else
  tracepoint("ext4_mark_inode_dirty"),
  tracepoint("ext4_da_write_end", on(EXT4)),
  tracepoint("ext4_write_end", on(EXT4)),
  tracepoint("ext4_journalled_write_end", on(EXT4)),
  // Linux 6.13, include/trace/events/timestamp.h
  CTIME_SET,
  tracepoint("ctime_ns_xchg"),
  tracepoint("ctime_xchg_skip"),
  tracepoint("xfs_file_buffered_write", on(XFS)),
  ...["alloc", "free", "zero", "collapse", "insert"].map((what) =>
    tracepoint(`xfs_${what}_file_space`, on(XFS))
  ),
  tracepoint("update_bytes_may_use", on(BTRFS)),
  entry("security_inode_unlink", lacksOrder),
  entry("security_inode_rmdir", lacksOrder),
  entry("security_inode_rename", lacksOrder),
  entry("d_instantiate", lacksOrder),
  entry("d_instantiate_new", lacksOrder),
  entry("notify_change", lacksOrder),
  entry("__vfs_setxattr_noperm", lacksOrder),
  entry("__vfs_removexattr_locked", lacksOrder),
  entry("generic_perform_write", writesGenerically),
  entry("ovl_copyattr", on(OVERLAYFS)),
];

/** What a build with DK_NEWEST relies on: functions of Linux 6.2 and 6.16, a field of 6.11. */
const NEWEST_NAMES = ["bpf_rdonly_cast", "bpf_probe_read_user_dynptr", "i_mtime_nsec"];

/** All names to ask the kernel's type information for. */
export function hookNames(): string[] {
  return [...HOOKS.map((hook) => hook.typeName), ...NEWEST_NAMES];
}

/** Those that can matter where these filesystems are watched. */
export function usefulNames(where: Pick<Machine, "filesystems" | "allowsFentry">): string[] {
  const helpful = HOOKS.filter((hook) => hook.helps({ ...where, names: [] }));
  return [...helpful.map((hook) => hook.typeName), ...NEWEST_NAMES];
}

/** Whether the build for the newest kernels runs. */
export function isNewest(names: readonly string[]): boolean {
  return NEWEST_NAMES.every((name) => names.includes(name));
}

/** The programs to load, and those to leave out. A required one that the kernel lacks is in both. */
export function chooseHooks(machine: Machine): { used: Hook[]; left: Hook[] } {
  const isThere = (hook: Hook) => machine.names.includes(hook.typeName);
  const used = HOOKS.filter((hook) => hook.isRequired || (isThere(hook) && hook.helps(machine)));
  return { used, left: HOOKS.filter((hook) => !used.includes(hook) || !isThere(hook)) };
}

/** The kernel's lockdown (kernel_lockdown(7)): "none", "integrity" or "confidentiality". */
export function lockdown(): string {
  try {
    return /\[(\w+)\]/.exec(readFileSync("/sys/kernel/security/lockdown", "utf8"))?.[1] ?? "none";
  } catch {
    return "none";
  }
}
