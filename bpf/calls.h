/* Which system calls matter and how to read them: one table from call number to class, looked up at every system call of the host.
 * Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. */
#ifndef DK_CALLS_H
#define DK_CALLS_H

enum dk_class {
  C_NONE = 0,
  C_WRITE,      /* fd, buf, len */
  C_PWRITE,     /* fd, buf, len, pos */
  C_WRITEV,     /* fd, iov, cnt */
  C_PWRITEV,    /* fd, iov, cnt, pos_l, pos_h */
  C_PWRITEV2,   /* fd, iov, cnt, pos_l, pos_h, flags */
  C_SENDFILE,   /* out, in, ... */
  C_SPLICE,     /* in, off_in, out, off_out, len, flags */
  C_COPYRANGE,  /* in, off_in, out, off_out, len, flags */
  C_CLONE,      /* ioctl FICLONE, FICLONERANGE */
  C_OPEN,       /* path, flags, mode */
  C_CREAT,      /* path, mode */
  C_OPENAT,     /* dirfd, path, flags, mode */
  C_OPENAT2,    /* dirfd, path, how, size */
  C_OPENHANDLE, /* mount fd, handle, flags */
  /* from here: CALL records */
  C_PATH,       /* path, a, b */
  C_ATPATH,     /* dirfd, path, a, b, c */
  C_PATH2,      /* old, new */
  C_ATPATH2,    /* olddir, old, newdir, new, flags */
  C_SYMLINK,    /* target, link */
  C_SYMLINKAT,  /* target, dirfd, link */
  C_UTIMENSAT,  /* dirfd, path or NULL, times, flags */
  C_FD,         /* fd, a, b, c */
  C_SETXATTR,   /* path, name, value, size, flags; the first of the calls on extended attributes */
  C_SETXATTRAT, /* dirfd, path, at flags, name, struct xattr_args, size */
  C_REMXATTRAT, /* dirfd, path, at flags, name */
  C_REMXATTR,   /* path, name */
  C_FSETXATTR,  /* fd, name, value, size, flags */
  C_FREMXATTR,  /* fd, name; the last of them */
  C_BIND,       /* fd, address, length: a Unix socket may get a name */
  C_MMAP,       /* addr, len, prot, flags, fd, off */
  C_IO_URING,
  C_AIO,        /* context, count, struct iocb ** */
  /* from here: only while a file is mapped shared and writable (mapped.h) */
  C_SYNC_FD,    /* fd: close, fsync, fdatasync */
  C_MSYNC,      /* addr, len */
  C_MUNMAP,     /* addr, len */
  C_MREMAP,     /* addr, old len, new len */
  C_MPROTECT,   /* addr, len, prot */
};

static const volatile u8 dk_class_of[512] = {
#if defined(__TARGET_ARCH_x86)
  [1] = C_WRITE, [18] = C_PWRITE, [20] = C_WRITEV, [296] = C_PWRITEV, [328] = C_PWRITEV2,
  [40] = C_SENDFILE, [275] = C_SPLICE, [326] = C_COPYRANGE, [16] = C_CLONE,
  [2] = C_OPEN, [85] = C_CREAT, [257] = C_OPENAT, [437] = C_OPENAT2, [304] = C_OPENHANDLE,
  [76] = C_PATH, [83] = C_PATH, [84] = C_PATH, [87] = C_PATH, [90] = C_PATH, [92] = C_PATH, [94] = C_PATH,
  [132] = C_PATH, [133] = C_PATH, [235] = C_PATH,
  [258] = C_ATPATH, [259] = C_ATPATH, [260] = C_ATPATH, [263] = C_ATPATH, [268] = C_ATPATH, [452] = C_ATPATH,
  [261] = C_UTIMENSAT, [280] = C_UTIMENSAT,
  [82] = C_PATH2, [86] = C_PATH2, [264] = C_ATPATH2, [265] = C_ATPATH2, [316] = C_ATPATH2,
  [88] = C_SYMLINK, [266] = C_SYMLINKAT,
  [77] = C_FD, [91] = C_FD, [93] = C_FD, [285] = C_FD,
  [188] = C_SETXATTR, [189] = C_SETXATTR, [190] = C_FSETXATTR,
  [197] = C_REMXATTR, [198] = C_REMXATTR, [199] = C_FREMXATTR,
  [463] = C_SETXATTRAT, [466] = C_REMXATTRAT,
  [49] = C_BIND,
  [9] = C_MMAP, [425] = C_IO_URING, [209] = C_AIO,
  [3] = C_SYNC_FD, [74] = C_SYNC_FD, [75] = C_SYNC_FD,
  [26] = C_MSYNC, [11] = C_MUNMAP, [25] = C_MREMAP, [10] = C_MPROTECT, [329] = C_MPROTECT,
#elif defined(__TARGET_ARCH_arm64)
  [64] = C_WRITE, [68] = C_PWRITE, [66] = C_WRITEV, [70] = C_PWRITEV, [287] = C_PWRITEV2,
  [71] = C_SENDFILE, [76] = C_SPLICE, [285] = C_COPYRANGE, [29] = C_CLONE,
  [56] = C_OPENAT, [437] = C_OPENAT2, [265] = C_OPENHANDLE,
  [45] = C_PATH,
  [34] = C_ATPATH, [33] = C_ATPATH, [54] = C_ATPATH, [35] = C_ATPATH, [53] = C_ATPATH, [452] = C_ATPATH,
  [88] = C_UTIMENSAT,
  [37] = C_ATPATH2, [38] = C_ATPATH2, [276] = C_ATPATH2,
  [36] = C_SYMLINKAT,
  [46] = C_FD, [52] = C_FD, [55] = C_FD, [47] = C_FD,
  [5] = C_SETXATTR, [6] = C_SETXATTR, [7] = C_FSETXATTR,
  [14] = C_REMXATTR, [15] = C_REMXATTR, [16] = C_FREMXATTR,
  [463] = C_SETXATTRAT, [466] = C_REMXATTRAT,
  [200] = C_BIND,
  [222] = C_MMAP, [425] = C_IO_URING, [2] = C_AIO,
  [57] = C_SYNC_FD, [82] = C_SYNC_FD, [83] = C_SYNC_FD,
  [227] = C_MSYNC, [215] = C_MUNMAP, [216] = C_MREMAP, [226] = C_MPROTECT, [288] = C_MPROTECT,
#endif
};

#if defined(__TARGET_ARCH_x86)
#define NR_FALLOCATE 285
#define NR_IO_SUBMIT 209
#define NR_LINK 86
#define NR_LINKAT 265
#elif defined(__TARGET_ARCH_arm64)
#define NR_FALLOCATE 47
#define NR_IO_SUBMIT 2
#define NR_LINK 37 /* there is only linkat */
#define NR_LINKAT 37
#endif

#define O_WRONLY 01
#define O_RDWR 02
#define O_ACCMODE 03
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_APPEND 02000
#if defined(__TARGET_ARCH_arm64)
#define O_DIRECT 0200000
#else
#define O_DIRECT 040000
#endif
#define O_TMPFILE_BIT 020000000
#define FMODE_CREATED 0x100000
#define FMODE_WRITE 2
#define S_IFMT 0170000
#define EXT4_SUPER_MAGIC 0xef53
#define XFS_SUPER_MAGIC 0x58465342
#define BTRFS_SUPER_MAGIC 0x9123683e
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define TMPFS_MAGIC 0x01021994
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define S_IFLNK 0120000
#define S_IFIFO 0010000
#define AT_FDCWD (-100)
#define FICLONE 0x40049409
#define FICLONERANGE 0x4020940d
#define PROT_WRITE 2
#define MAP_TYPE 0xf
#define MAP_SHARED 1
#define MAP_SHARED_VALIDATE 3
#define MAP_FIXED 0x10
#define MREMAP_DONTUNMAP 4
#define SIGSTOP 19
#define RENAME_EXCHANGE 2
#define RWF_APPEND 0x10
#define RWF_NOAPPEND 0x20
#endif
