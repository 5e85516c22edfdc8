/* Kernel records: what the BPF programs put into the ring buffer, byte by byte.
 * Shared by bpf/recorder.bpf.c and (as constants) src/format/kernel_record.ts; tests/kernel/layout_test.ts compiles this header
 * with the host compiler and compares every size and offset with the TypeScript side.
 * All integers little-endian as the CPU has them; records are multiples of 8 bytes. */
#ifndef DK_RECORD_H
#define DK_RECORD_H

#define DK_ABI 2
#define DK_TOUCH_MAX 8          /* inodes one call can touch that we remember */
#define DK_CHUNK_BYTES 262144   /* payload of one WRITE/CHUNK/OUTPUT record */
#define DK_NAMES_BYTES 8192     /* names of one NODE walk */
#define DK_PATH_BYTES 4096
#define DK_XATTR_BYTES 65536
#define DK_ARGV_BYTES 16384

enum dk_kind {
  DK_NODE = 1, DK_WRITE = 2, DK_CHUNK = 3, DK_OPEN = 4, DK_CALL = 5, DK_FORK = 6,
  DK_EXEC = 7, DK_EXIT = 8, DK_OUTPUT = 9, DK_STOP = 10, DK_LOSS = 11, DK_MMAP = 12, DK_NOTE = 13,
  DK_SKIP = 14, /* header only: h.ret is a lock_seq that no other record carries */
  DK_COPY = 15, /* a write whose bytes are those of another watched file */
  DK_TOUCHED = 16, /* a call that failed, and changed inodes all the same */
  DK_SYNC = 17, /* dk_mmap: the end of a call after which a mapped file (ino 0: each of the process) must be exact */
};

/* dk_header.flags */
#define DK_F_OUTSIDE 0x0001      /* by a task outside the command's process tree */
#define DK_F_LAST 0x0002         /* WRITE/CHUNK/OUTPUT: last record of this call */
#define DK_F_NO_PAYLOAD 0x0004   /* WRITE: bytes not captured; read them back (all of [payload_off, length)) */
#define DK_F_CREATED 0x0008      /* OPEN: FMODE_CREATED */
#define DK_F_TRUNCATED 0x0010    /* OPEN: O_TRUNC on an existing file */
#define DK_F_TMPFILE 0x0020      /* OPEN: O_TMPFILE, no name */
#define DK_F_BY_FD 0x0040        /* CALL: target given by descriptor; touched[0] is the target */
#define DK_F_STOPPED 0x0080      /* the task was sent SIGSTOP in this program run */
#define DK_F_DELETED 0x0100      /* NODE: dentry unhashed (unlinked or never linked) */
#define DK_F_CUT 0x0200          /* names, strings or argv did not fit, or a string's page was away */
#define DK_F_SHARED 0x0400       /* WRITE: the open file description is shared: offset is f_pos based, may be late */
#define DK_F_THREAD 0x0800       /* FORK/EXIT: a thread, not a process */
#define DK_F_APPEND 0x1000       /* WRITE: O_APPEND */
#define DK_F_CACHED 0x2000       /* WRITE: the payload is what the file held at the end of the call; nothing of it beyond `size` */
#define DK_F_USER_NS 0x4000      /* CALL with a value: by a task of another user namespace, whose ids the value holds */

struct dk_header {               /* 64 bytes */
  unsigned int size;             /* of the whole record */
  unsigned short kind, flags;
  unsigned long long t_ns;       /* CLOCK_BOOTTIME at sys_exit (or at the event) */
  unsigned long long enter_ns;   /* CLOCK_BOOTTIME at sys_enter, 0 if unknown */
  unsigned int pid, tid;         /* tgid and tid in the initial pid namespace */
  unsigned int nr;               /* x86-64/arm64 syscall number */
  unsigned int fd;               /* descriptor argument, ~0 if none; OUTPUT: 1 stdout, 2 stderr */
  long long ret;                 /* result of the call */
  char comm[16];
};

struct dk_inode {                /* 56 bytes: identity and state */
  unsigned int dev;              /* kernel s_dev: major << 20 | minor */
  unsigned int gen;
  unsigned long long ino;
  unsigned long long size;
  long long mtime_sec;
  unsigned int mtime_nsec;
  unsigned int mode;             /* type and permission bits */
  unsigned int uid, gid;         /* in the initial user namespace */
  unsigned int nlink;
  unsigned int rdev;             /* kernel dev_t of a device node */
};

struct dk_node {                 /* NODE */
  struct dk_header h;
  struct dk_inode inode;         /* +64 */
  unsigned int anchor_dev;       /* +120 */
  int root;                      /* index of the watched folder it is in, -1 outside */
  unsigned long long anchor_ino; /* 0: the root of the mount namespace */
  unsigned int names_len;        /* bytes of names, each NUL-terminated, leaf first */
  unsigned int depth;            /* number of names */
  /* +144 names */
};

struct dk_write {                /* WRITE, OUTPUT; compact on purpose */
  struct dk_header h;
  unsigned int dev, gen;         /* +64 */
  unsigned long long ino;
  unsigned long long size;       /* after the call */
  long long mtime_sec;
  unsigned int mtime_nsec;
  unsigned int mode;
  unsigned long long offset;     /* +104 file offset of the first byte written by the call */
  unsigned long long lock_seq;   /* place in the one order of changes, taken inside the inode lock; 0 unknown */
  unsigned int payload_off;      /* offset of this payload inside the call's bytes */
  unsigned int payload_len;      /* bytes of payload that follow */
  /* +128 payload; h.ret = bytes the call wrote */
};

struct dk_copy {                 /* COPY: copy_file_range, sendfile, splice, FICLONE, FICLONERANGE; no payload */
  struct dk_write w;
  unsigned int src_dev, src_gen; /* +128 */
  unsigned long long src_ino;
  unsigned long long src_offset; /* +144 of the first byte copied */
  unsigned long long src_size;   /* of the source, after the call */
};

struct dk_touched {              /* TOUCHED: h.ret is the negative errno */
  struct dk_header h;
  unsigned long long lock_seq;   /* +64 */
  unsigned int count, pad;       /* +72 number of dk_inode that follow */
  /* +80 */
};

struct dk_open {                 /* OPEN */
  struct dk_header h;
  struct dk_inode inode;         /* +64 */
  struct dk_inode parent;        /* +120 */
  unsigned int open_flags;       /* +176 */
  unsigned short name_len;       /* +180 bytes of the name, not NUL-terminated */
  unsigned short path_len;       /* +182 bytes of the path as given, where the file was renamed before the call returned */
  unsigned long long lock_seq;   /* +184 */
  /* +192 name, path, padded */
};

struct dk_call {                 /* CALL */
  struct dk_header h;
  unsigned long long arg[4];     /* +64 numeric arguments; meaning by nr, see kernel_record.ts */
  struct dk_inode base[2];       /* +96 directories that the strings start from (an absolute path too, in a chroot); ino 0: the root */
  unsigned int touched;          /* +208 number of dk_inode that follow */
  unsigned int str_len[3];       /* +212 path 1 (or xattr name by fd), path 2 (or xattr name), xattr value */
  unsigned long long lock_seq;   /* +224 */
  unsigned long long str_addr[3]; /* +232 where a string lies that could not be read (flag CUT), else 0; arg[3]: bytes of the value */
  /* +256 touched * dk_inode, then the strings back to back, then padding */
};

struct dk_fork {                 /* FORK: h.pid is the parent */
  struct dk_header h;
  unsigned int child_pid, child_tid;
};

struct dk_exec {                 /* EXEC */
  struct dk_header h;
  unsigned int ppid, uid, gid;   /* +64 */
  unsigned int cwd_dev;          /* cwd directory, announced by a NODE before */
  unsigned long long cwd_ino;
  unsigned int exe_len;          /* +88 names of the executable, leaf first, NUL-terminated each, up to the mount root */
  unsigned int argv_len;         /* +92 NUL-separated */
  /* +96 exe names, argv, padding */
};

struct dk_exit {                 /* EXIT */
  struct dk_header h;
  int code;                      /* wait status as in task->exit_code: (status << 8) | signal */
  unsigned int group_dead;       /* 1: the whole process ended */
};

struct dk_mmap {                 /* MMAP: shared writable mapping of a file in a watched folder; SYNC. STOPPED: the task waits */
  struct dk_header h;            /* SYNC: ret 0: the process has no writable mapping of the file any more */
  struct dk_inode inode;         /* identity only */
  unsigned long long offset, length;
};

enum dk_note { DK_NOTE_IO_URING = 1, DK_NOTE_IA32 = 2, DK_NOTE_AIO = 3, DK_NOTE_NO_IO_URING = 4 };
struct dk_note_rec {             /* NOTE: something the recorder cannot follow exactly */
  struct dk_header h;
  unsigned int note, pad;
};

/* Loss counters: index into the .bss array dk_lost[]. */
enum dk_lost_class {
  DK_LOST_RING = 0,       /* ring full: event dropped */
  DK_LOST_PAYLOAD = 1,    /* payload unreadable (EFAULT) */
  DK_LOST_TASK = 2,       /* task storage could not be made */
  DK_LOST_INODE = 3,      /* inode map full: announced again each time */
  DK_LOST_TOUCH = 4,      /* more touched inodes than DK_TOUCH_MAX */
  DK_LOST_WALK = 5,       /* dentry walk longer than the bound */
  DK_LOST_SCRATCH = 6,    /* scratch buffer busy */
  DK_LOST_BYTES = 7,      /* payload bytes of DK_LOST_RING events */
  DK_LOST_CLASSES = 8,
};
#endif
