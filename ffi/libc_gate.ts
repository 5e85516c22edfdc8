/**
 * The calls of the C library that hold a call of another process and look into it: seccomp user notification, process memory,
 * descriptors of other processes, and copying without reading. libc.ts has the error helpers; its rules for memory apply.
 */
import { dlopen, FFIType } from "bun:ffi";

const library = dlopen("libc.so.6", {
  /** man 2 syscall: for what glibc 2.31 has no function for. */
  syscall: {
    args: [
      FFIType.i64_fast, // long number
      FFIType.i64_fast,
      FFIType.i64_fast,
      FFIType.i64_fast,
      FFIType.i64_fast,
      FFIType.i64_fast,
      FFIType.i64_fast,
    ],
    returns: FFIType.i64_fast, // long
  },
  /** man 2 process_vm_readv. */
  process_vm_readv: {
    args: [
      "i32", // pid_t pid
      "ptr", // const struct iovec *local_iov
      "u64", // unsigned long liovcnt
      "ptr", // const struct iovec *remote_iov
      "u64", // unsigned long riovcnt
      "u64", // unsigned long flags
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  /** man 2 poll. */
  poll: {
    args: [
      "ptr", // struct pollfd *fds
      "u64", // nfds_t nfds
      "i32", // int timeout
    ],
    returns: "i32", // int
  },
  /** man 2 copy_file_range. */
  copy_file_range: {
    args: [
      "i32", // int fd_in
      "ptr", // off64_t *off_in
      "i32", // int fd_out
      "ptr", // off64_t *off_out
      "u64", // size_t len
      "u32", // unsigned int flags
    ],
    returns: FFIType.i64_fast, // ssize_t
  },
  /** man 2 eventfd. */
  eventfd: {
    args: [
      "u32", // unsigned int initval
      "i32", // int flags
    ],
    returns: "i32", // int
  },
  /** man 2 memfd_create. */
  memfd_create: {
    args: [
      "ptr", // const char *name
      "u32", // unsigned int flags
    ],
    returns: "i32", // int
  },
  /** man 2 setfsuid: of this thread only. Returns the one before. */
  setfsuid: {
    args: ["u32"], // uid_t fsuid
    returns: "i32", // int
  },
  /** man 2 setfsgid. */
  setfsgid: {
    args: ["u32"], // gid_t fsgid
    returns: "i32", // int
  },
});

/** The functions themselves. A negative result means failure: read `errno()` before anything else is called. */
export const libcGate = library.symbols;
