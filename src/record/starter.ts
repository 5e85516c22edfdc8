/**
 * The small native program (native/starter.c) that launcher and guard begin as: it is in our binary, and is started from a memory
 * file, so that nothing is written to a disk. It starts in 1 ms, where this runtime takes 30 ms of both processors
 * (docs/decisions/0018).
 */
import { readFileSync, writeFileSync } from "node:fs";
import programPath from "../../build/starter.elf" with { type: "file" };
import { cString, Errno, errno, errnoText } from "../../ffi/libc.ts";
import { libcGate } from "../../ffi/libc_gate.ts";
import { DiffKeeperError } from "../base/error.ts";

const MFD_CLOEXEC = 1;
/** Linux 6.3; kernels before take any memory file for executable. */
const MFD_EXEC = 16;

let made: string | undefined;

function memoryFile(): number {
  const name = cString("diffkeeper starter");
  const fd = libcGate.memfd_create(name, MFD_CLOEXEC | MFD_EXEC);
  return fd < 0 && errno() === Errno.EINVAL ? libcGate.memfd_create(name, MFD_CLOEXEC) : fd;
}

/**
 * A path to start the program by, as long as this process lives.
 * @throws {DiffKeeperError} `io`, `no_privilege` (memory files may not be executed here).
 */
export function starterPath(): string {
  if (made !== undefined) return made;
  const fd = memoryFile();
  if (fd < 0) {
    const code = errno();
    throw new DiffKeeperError(
      code === Errno.EACCES ? "no_privilege" : "io",
      `cannot start: no memory file for a program: ${errnoText(code)}`,
      code === Errno.EACCES ? { hint: "allow it: sysctl vm.memfd_noexec=1" } : {},
    );
  }
  writeFileSync(fd, readFileSync(programPath));
  // not /proc/self: the child opens it when it is somebody else already
  made = `/proc/${process.pid}/fd/${fd}`;
  return made;
}
