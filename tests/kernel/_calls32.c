/* A 32-bit program without a C library, so that no 32-bit one is needed: each way to change a file or a name, by the call that only
 * 32-bit programs have where there is one. Numbers: arch/x86/entry/syscalls/syscall_32.tbl. It ends with the number of the step that
 * failed, 0 if none did. */
typedef unsigned int u32;
typedef unsigned long long u64;

__attribute__((used)) long sixth; /* goes into ebp, which the compiler needs itself; no operand may lie on the stack after the push */

static int call(int nr, long a, long b, long c, long d, long e, long f) {
  int ret;
  sixth = f;
  __asm__ volatile("push %%ebp\n\tmov sixth, %%ebp\n\tint $0x80\n\tpop %%ebp"
                   : "=a"(ret)
                   : "0"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                   : "memory");
  return ret;
}

struct vector {
  const char *base;
  u32 len;
};

static int step, failed;
static char text[] = "0123456789abcdef";

static int did(int ret) {
  step++;
  if (ret < 0 && ret > -4096 && !failed) failed = step;
  return ret;
}

#define P(x) ((long)(x))
#define LOW(x) ((long)(u32)(x))
#define HIGH(x) ((long)(u32)((u64)(x) >> 32))
#define AT_FDCWD (-100)
#define FAR 0x140000000ull /* 5 GiB */

static void bytes(void) {
  struct vector v[2] = {{text, 4}, {text + 8, 2}};
  u32 short_position = 2;
  u64 position = 1;
  int pipe[2];
  int fd = did(call(5, P("file"), 0102 | 0100000, 0644, 0, 0, 0));     /* open O_RDWR|O_CREAT|O_LARGEFILE */
  did(call(4, fd, P(text), 10, 0, 0, 0));                              /* write */
  did(call(146, fd, P(v), 2, 0, 0, 0));                                /* writev */
  did(call(181, fd, P(text), 3, LOW(FAR), HIGH(FAR), 0));              /* pwrite64 */
  did(call(334, fd, P(v), 2, LOW(FAR + 100), HIGH(FAR + 100), 0));     /* pwritev */
  did(call(379, fd, P(v), 2, -1, -1, 0));                              /* pwritev2, where the position is */
  did(call(379, fd, P(v), 1, LOW(200), HIGH(200), 0));                 /* pwritev2 */
  did(call(6, did(call(8, P("copy"), 0600, 0, 0, 0, 0)), 0, 0, 0, 0, 0)); /* creat, close */
  int to = did(call(5, P("copy"), 2, 0, 0, 0, 0));                     /* open O_RDWR */
  did(call(187, to, fd, P(&short_position), 5, 0, 0));                 /* sendfile, 32-bit position */
  did(call(239, to, fd, P(&position), 5, 0, 0));                       /* sendfile64 */
  position = 0;
  did(call(377, fd, P(&position), to, 0, 4, 0));                       /* copy_file_range */
  did(call(42, P(pipe), 0, 0, 0, 0, 0));
  did(call(4, pipe[1], P(text), 6, 0, 0, 0));
  did(call(313, pipe[0], 0, to, 0, 6, 0));                             /* splice */
  did(call(194, to, LOW(12), HIGH(12), 0, 0, 0));                      /* ftruncate64 */
  did(call(193, P("file"), LOW(FAR + 50), HIGH(FAR + 50), 0, 0, 0));   /* truncate64 */
  did(call(324, to, 0, LOW(0), HIGH(0), LOW(100), HIGH(100)));         /* fallocate */
  did(call(324, fd, 3, LOW(FAR), HIGH(FAR), LOW(2), HIGH(2)));         /* punch a hole */
  did(call(93, to, 90, 0, 0, 0, 0));                                   /* ftruncate */
  did(call(92, P("copy"), 80, 0, 0, 0, 0));                            /* truncate */
  int map = did(call(192, 0, 4096, 3, 1, to, 0));                      /* mmap2, shared */
  *(volatile char *)map = 'M';
  did(call(144, map, 4096, 4, 0, 0, 0));                               /* msync */
  did(call(91, map, 4096, 0, 0, 0, 0));                                /* munmap */
  did(call(6, to, 0, 0, 0, 0, 0));
  did(call(6, fd, 0, 0, 0, 0, 0));
}

static void names(void) {
  u32 times[2] = {1000000000, 1100000000};
  u64 times64[4] = {1000000000, 5, 1200000000, 7};
  did(call(39, P("folder"), 0755, 0, 0, 0, 0));                        /* mkdir */
  did(call(296, AT_FDCWD, P("folder/sub"), 0700, 0, 0, 0));            /* mkdirat */
  did(call(38, P("copy"), P("folder/moved"), 0, 0, 0, 0));             /* rename */
  did(call(9, P("folder/moved"), P("hard"), 0, 0, 0, 0));              /* link */
  did(call(303, AT_FDCWD, P("hard"), AT_FDCWD, P("hard2"), 0, 0));     /* linkat */
  did(call(83, P("target"), P("soft"), 0, 0, 0, 0));                   /* symlink */
  did(call(304, P("target2"), AT_FDCWD, P("soft2"), 0, 0, 0));         /* symlinkat */
  did(call(353, AT_FDCWD, P("hard2"), AT_FDCWD, P("soft2"), 2, 0));    /* renameat2 exchange */
  did(call(302, AT_FDCWD, P("soft"), AT_FDCWD, P("soft3"), 0, 0));     /* renameat */
  did(call(14, P("pipe"), 010600, 0, 0, 0, 0));                        /* mknod, FIFO */
  did(call(15, P("hard"), 0640, 0, 0, 0, 0));                          /* chmod */
  did(call(306, AT_FDCWD, P("file"), 0604, 0, 0, 0));                  /* fchmodat */
  did(call(182, P("hard"), 11, 12, 0, 0, 0));                          /* chown, 16 bits */
  did(call(212, P("file"), 70001, 70002, 0, 0, 0));                    /* chown32 */
  did(call(30, P("folder"), P(times), 0, 0, 0, 0));                    /* utime */
  did(call(412, AT_FDCWD, P("file"), P(times64), 0, 0, 0));            /* utimensat_time64 */
  did(call(226, P("file"), P("user.note"), P(text), 7, 0, 0));         /* setxattr */
  did(call(235, P("file"), P("user.note"), 0, 0, 0, 0));               /* removexattr */
  did(call(226, P("file"), P("user.kept"), P(text), 9, 0, 0));
  did(call(10, P("soft3"), 0, 0, 0, 0, 0));                            /* unlink */
  did(call(301, AT_FDCWD, P("folder/sub"), 0x200, 0, 0, 0));           /* unlinkat, folder */
}

__attribute__((noreturn, used)) void begin(void) {
  bytes();
  names();
  for (;;) call(1, failed, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\tand $-16, %esp\n\tcall begin\n");
