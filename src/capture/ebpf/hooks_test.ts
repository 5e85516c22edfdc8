/** Which hooks are used on which machine. */
import { expect, test } from "bun:test";
import { chooseHooks, hookNames } from "./hooks.ts";

const EXT4 = 0xef53;
const TMPFS = 0x01021994;
const OVERLAYFS = 0x794c7630;
const CTIME = ["inode_set_ctime_to_ts", "ctime_ns_xchg", "ctime_xchg_skip"];
const OLD = hookNames().filter((name) => !CTIME.some((ctime) => name.endsWith(ctime)));

function sections(names: readonly string[], filesystems: number[], allowsFentry: boolean) {
  return chooseHooks({ names, filesystems, allowsFentry }).used.map((hook) => hook.section);
}

test("ext4 needs no functions, on no kernel", () => {
  for (const names of [OLD, hookNames()]) {
    const used = sections(names, [EXT4], true);
    expect(used).toContain("tp_btf/ext4_da_write_end");
    expect(used.filter((section) => section.startsWith("fentry"))).toEqual([]);
    expect(used).not.toContain("tp_btf/xfs_file_buffered_write");
  }
});

test("an old kernel's tmpfs: names and writes through functions", () => {
  const used = sections(OLD, [EXT4, TMPFS], true);
  expect(used).toContain("fentry/security_inode_rename");
  expect(used).toContain("fentry/generic_perform_write");
  expect(used).not.toContain("fentry/ovl_copyattr");
});

test("a new kernel's tmpfs: names by tracepoints, writes through a function", () => {
  const used = sections(hookNames(), [TMPFS], true);
  expect(used.filter((section) => section.startsWith("fentry"))).toEqual([
    "fentry/generic_perform_write",
  ]);
  expect(used).toContain("tp_btf/ctime_ns_xchg");
});

test("a kernel that is locked down has tracepoints only", () => {
  const used = sections(OLD, [TMPFS, OVERLAYFS], false);
  expect(used.every((section) => section.startsWith("tp_btf/"))).toBe(true);
});

test("what the kernel lacks is left out; a required one is told apart", () => {
  const names = hookNames().filter((name) =>
    name !== "btf_trace_sys_exit" && name !== "ovl_copyattr"
  );
  const { used, left } = chooseHooks({ names, filesystems: [OVERLAYFS], allowsFentry: true });
  expect(left.map((hook) => hook.section)).toContain("fentry/ovl_copyattr");
  expect(used.filter((hook) => left.includes(hook)).map((hook) => hook.section)).toEqual([
    "tp_btf/sys_exit",
  ]);
});
