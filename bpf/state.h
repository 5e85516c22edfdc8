/* Maps and globals of the recorder, and the small functions every program uses: scratch memory, the ring, counters. */
#ifndef DK_STATE_H
#define DK_STATE_H
#include "kernel.h"
#include "record.h"
#include "calls.h"

#define SCRATCH_BYTES (512 * 1024)
#define PART_STEPS 32 /* a long loop runs in parts, each a call of a global function, which is verified once (5.15 has no bpf_loop) */
#define DEVS_MAX 16
#define VERDICT_OUTSIDE (-1)
#define VERDICT_EXCLUDED (-2)
#define ANNOUNCE_MODE 0x7ffffff0 /* fallocate mode by which the recorder itself announces a folder */
#define PAGE_MODE 0x7ffffff1     /* and by which it shows a page of its own (cache.h) */

struct inode_key {
  u32 dev, gen;
  u64 ino;
};
struct verdict {
  s32 root;  /* index of the watched folder, VERDICT_OUTSIDE, VERDICT_EXCLUDED */
  u32 epoch; /* VERDICT_OUTSIDE holds only while no rename or link happened since */
};

/* Where a process has mapped a file (mapped.h). */
struct mapping {
  u64 start, end, offset; /* addresses; where in the file the first byte lies */
  struct inode_key inode;
  u64 writable;
};

/* struct iocb (include/uapi/linux/aio_abi.h). */
struct iocb {
  u64 data;
  u32 key, rw_flags;
  u16 op;
  u16 priority;
  u32 fd;
  u64 buf, bytes;
  s64 offset;
};

/* A CALL's arguments, taken apart. */
struct call_args {
  u64 path0, path1, value;
  u64 arg[4];
  u32 value_len;
  s32 fd;      /* target by descriptor, -1 by path */
  u8 strings;  /* 1: path0, 2: path1, 4: value */
  u8 name1;    /* path1 is no path: attribute name */
};

/* Where a call starts: the folder that a relative path is looked up from, or the file behind a descriptor. */
struct start {
  u64 dentry, mnt; /* struct dentry *, struct vfsmount *; 0: unknown */
  u64 ino;
};

/* What sys_enter leaves for sys_exit, and what sys_exit needs room for (kernels below 6.13 give all functions of a call chain 512
 * bytes of stack together). */
struct task_state {
  u64 enter_ns;
  u64 arg[6];    /* of the call that ends, as a 64-bit program would give them */
  u64 file;      /* struct file * of a data call on a file we follow, else 0 */
  u64 inode;     /* its struct inode * */
  u64 lock_seq, lock_pos;
  u64 iov_bytes; /* what the vector of an asynchronous write holds */
  u32 is32;      /* the call is a 32-bit program's */
  u32 short_position; /* sendfile with a position of 32 bits */
  u32 has_pos;   /* lock_pos is the offset of the data call; 2: unless the call names one */
  u32 in_tree;   /* task belongs to the command */
  u32 output;    /* the data call goes to the command's stdout or stderr */
  u32 pending;   /* a call that changes names or attributes is running: 1, of extended attributes: 2, fallocate: 3 */
  u32 fifo;      /* the data call is on a named pipe: only its times change */
  u32 touched;
  u32 slot;      /* where st->wanted is noted, or would be */
  u32 refresh;   /* touched inodes whose state is taken at the end of the call */
  u32 watched;   /* a touched inode lies on a watched filesystem */
  u32 foreign;   /* one lies elsewhere; it is not noted */
  u32 overfull;  /* one was not noted for want of room */
  u64 wanted;    /* struct inode * */
  struct start start[2]; /* where the call's paths, or its descriptor, led when it began */
  u32 append;    /* the data call writes at the end of the file */
  u32 twofold;   /* the data call may try to share extents first, and copies in a second go: copy_file_range */
  u32 reads_first; /* it reads a file before it takes the lock of the one it writes: sendfile */
  u32 implicit;  /* the data call names no offset */
  u64 pos_before; /* the file position at its start, or the end of the file */
  u32 has_below;
  struct dk_inode below; /* last file that the call changed on another filesystem, where a watched one keeps its files on others */
  u64 touched_ptr[DK_TOUCH_MAX];
  struct dk_inode touch[DK_TOUCH_MAX];
  struct call_args args;
  struct dk_write write; /* of the data call that ends */
  struct iocb iocb;
  struct dk_inode base[2]; /* directories that the paths of a CALL start from; the cwd of an EXEC */
  /* mapped.h */
  u64 map_start, map_end, map_to, map_to_end; /* addresses that the call is about */
  struct inode_key map_hit;
  struct mapping map_new;
  u32 map_hits;
  u32 map_nr, map_fd;
  u32 syncing; /* a call that may be a sync point is running */
};

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 64 << 20); /* set by the loader */
} ring SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 512 << 10);
  __type(key, struct inode_key);
  __type(value, struct verdict);
} inodes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct task_state);
} tasks SEC(".maps");

/* One slot for each CPU, after SCRATCH_SPARE spare ones (the number is set by the loader): from 7.0 on a program on a tracepoint may
 * be preempted by another on the same CPU. */
#define SCRATCH_SPARE 8
struct scratch {
  u32 busy, depth;
  u64 dentry, mnt; /* where a walk stands; in memory, so that the verifier need not track it */
  u32 len;         /* bytes of buf in use: the next name goes there */
  s32 root;
  u64 anchor_ino;
  u32 anchor_dev, cut;
  u32 steps;
  u32 to_root;     /* the walk stops at no directory already announced */
  u32 bound;       /* the walk left a mount whose root is not its filesystem's: a bind mount */
  u32 within;      /* the walk stays in the filesystem: where the inode lies, whatever name led to it */
  u64 iov, ptr, left, off, total; /* where a copy of payload stands */
  u64 entry;       /* where a walk to a page stands */
  u64 is32;        /* the vector is a 32-bit program's */
  u8 buf[SCRATCH_BYTES];
};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, u32);
  __type(value, struct scratch);
} scratches SEC(".maps");

/* Shared with the recorder through the mapped .bss; layout checked at load (src/capture/ebpf/shared.ts). */
struct dk_shared {
  u64 lost[8];
  u64 lock_counter;
  u64 stop_mark;       /* bytes in the ring from which the writer is stopped */
  u32 self_tgid;
  u32 launcher_tgid;
  u32 enabled;
  u32 epoch;
  u32 devs[DEVS_MAX];  /* kernel s_dev of the watched filesystems */
  u32 out_dev[2];
  u64 out_ino[2];
  u64 stops;
  u64 mapped;          /* shared mappings that are, or may become, writable */
  u32 layered;         /* a watched filesystem keeps its files on another one (overlayfs) */
  u32 layered_told;    /* it has told of a new ctime of its own: each change there does, so what changes others alone is none of its */
  u64 page_base;       /* cache.h; 0: unknown */
};
struct dk_shared dk_shared;

static __always_inline void lost(u32 class) {
  if (class < 8) __sync_fetch_and_add(&dk_shared.lost[class], 1);
}

static __always_inline struct scratch *scratch_try(void) {
  u32 slot = bpf_get_smp_processor_id() + SCRATCH_SPARE;
  for (u32 i = 0; i <= SCRATCH_SPARE; i++) {
    struct scratch *s = bpf_map_lookup_elem(&scratches, &slot);
    if (s && !__sync_lock_test_and_set(&s->busy, 1)) return s;
    slot = i;
  }
  return NULL;
}
static __always_inline struct scratch *scratch_get(void) {
  struct scratch *s = scratch_try();
  if (!s) lost(DK_LOST_SCRATCH);
  return s;
}
static __always_inline void scratch_put(struct scratch *s) { __sync_lock_test_and_set(&s->busy, 0); }

static __always_inline bool mode_is(u32 mode, u32 type) { return (mode & S_IFMT) == type; }

/* btrfs: an inode that was looked for and is not on the disk any more becomes a bad inode, and gets a ctime (make_bad_inode): as link and
 * rename find one in the log of what was synced. One that is being made has a generation already. */
static __always_inline bool is_bad(struct inode *inode) {
  return GET(inode, inode, i_mode) == S_IFREG && !GET(inode, inode, i_generation) && is_unnamed(inode);
}

static __always_inline u32 dev_of(struct inode *inode) { return GET(GET(inode, inode, i_sb), super_block, s_dev); }

/* The open file behind a descriptor. `task` is the current task, as bpf_get_current_task_btf gives it. */
static __always_inline struct file *file_of(struct task_struct *task, u32 fd) {
  /* untyped: for a typed pointer to the task newer verifiers search all type names of the kernel, at each place it is used */
  if (HAS_RDONLY_CAST) task = bpf_rdonly_cast(task, bpf_core_type_id_kernel(struct task_struct));
  struct fdtable *fdt = task->files->fdt;
  if (fd >= fdt->max_fds) return NULL;
  struct file *file = NULL;
  bpf_probe_read_kernel(&file, sizeof(file), fdt->fd + fd);
  return file;
}

static __always_inline void inode_key(struct inode_key *k, struct inode *inode) {
  k->dev = dev_of(inode);
  k->gen = GET(inode, inode, i_generation);
  k->ino = GET(inode, inode, i_ino);
}

/* Global, so that it is verified once, and its fields are looked up once. */
__noinline int inode_state_at(struct dk_inode *o, u64 inode_ptr) {
  if (!o) return 0;
  struct inode *inode = (void *)inode_ptr;
  o->dev = dev_of(inode);
  o->gen = GET(inode, inode, i_generation);
  o->ino = GET(inode, inode, i_ino);
  o->size = GET(inode, inode, i_size);
  dk_mtime(inode, &o->mtime_sec, &o->mtime_nsec);
  o->mode = GET(inode, inode, i_mode);
  o->uid = GET(inode, inode, i_uid.val);
  o->gid = GET(inode, inode, i_gid.val);
  o->nlink = GET(inode, inode, i_nlink);
  o->rdev = GET(inode, inode, i_rdev);
  return 0;
}

/* `inode` must not be a pointer that the verifier has a type for. */
static __always_inline void inode_state(struct dk_inode *o, struct inode *inode) { inode_state_at(o, (u64)inode); }

/* Puts into st->slot where the inode st->wanted is noted, or would be: in memory, so that what follows is verified once, not for each
 * way out of the loop. */
__noinline int touched_slot(struct task_state *st) {
  if (!st) return 0;
  st->slot = st->touched;
  for (u32 i = 0; i < DK_TOUCH_MAX; i++) {
    if (i >= st->touched) break;
    if (st->touched_ptr[i] != st->wanted) continue;
    st->slot = i;
    break;
  }
  return 0;
}

/* The state of a touched inode at the end of a call. One that is gone meanwhile keeps what was seen; a new one had no number or
 * generation yet. */
__noinline int refresh_slot(struct task_state *st, u32 i) {
  if (!st || i >= DK_TOUCH_MAX) return 0;
  struct inode *inode = (void *)st->touched_ptr[i];
  if (st->touch[i].ino && GET(inode, inode, i_ino) != st->touch[i].ino) return 0;
  if (GET(GET(inode, inode, i_sb), super_block, s_magic) != EXT4_SUPER_MAGIC) inode_state(&st->touch[i], inode);
  return 0;
}

/* The same for all. */
__noinline int refresh(struct task_state *st) {
  if (!st || !st->refresh) return 0;
  for (u32 i = 0; i < DK_TOUCH_MAX; i++) {
    if (i >= st->touched) break;
    refresh_slot(st, i);
  }
  return 0;
}

static __always_inline void header(struct dk_header *h, u32 kind, u32 size, u64 enter_ns) {
  u64 id = bpf_get_current_pid_tgid();
  h->size = (size + 7) & ~7u;
  h->kind = kind;
  h->flags = 0;
  h->t_ns = bpf_ktime_get_boot_ns();
  h->enter_ns = enter_ns;
  h->pid = id >> 32;
  h->tid = id;
  h->nr = 0;
  h->fd = ~0u;
  h->ret = 0;
  bpf_get_current_comm(h->comm, sizeof(h->comm));
}

/* Sends `size` bytes of scratch; counts what the ring would not take. */
static __always_inline int send(struct scratch *s, u32 size) {
  size = (size + 7) & ~7u;
  if (size > SCRATCH_BYTES - 8) return -1;
  if (bpf_ringbuf_output(&ring, s->buf, size, BPF_RB_NO_WAKEUP)) {
    lost(DK_LOST_RING);
    return -1;
  }
  return 0;
}

/* A number of the order that no record carries: the call changed nothing watched. One that the ring does not take is no loss: the
 * Resolver waits for it in vain, for a bounded time. */
__noinline int send_skip(struct task_state *st) {
  struct dk_header *h = st ? bpf_ringbuf_reserve(&ring, sizeof(*h), 0) : NULL;
  if (!h) return 0;
  header(h, DK_SKIP, sizeof(*h), st->enter_ns);
  h->ret = st->lock_seq;
  bpf_ringbuf_submit(h, BPF_RB_NO_WAKEUP);
  return 0;
}

/* Copies the states of all touched inodes: by one call, because the verifier follows a copy word by word. */
static __always_inline void put_touched(void *to, struct task_state *st) {
  bpf_probe_read_kernel(to, sizeof(st->touch), st->touch);
}

static __always_inline bool dev_watched(u32 dev) {
  for (int i = 0; i < DEVS_MAX; i++) {
    if (dk_shared.devs[i] == 0) return false;
    if (dk_shared.devs[i] == dev) return true;
  }
  return false;
}

/* Stops the current process before its next instruction in user space; the recorder resumes it when it reads the STOP record. */
__noinline int stop_current(u32 why) {
  struct dk_header *h = bpf_ringbuf_reserve(&ring, sizeof(*h), 0);
  if (!h) return 0;
  header(h, DK_STOP, sizeof(*h), 0);
  h->ret = why;
  __sync_fetch_and_add(&dk_shared.stops, 1);
  bpf_send_signal(SIGSTOP); /* before the record is seen: a SIGCONT that came first would leave the task stopped */
  bpf_ringbuf_submit(h, BPF_RB_NO_WAKEUP);
  return 0;
}

static __always_inline void hold_back(struct task_state *st) {
  if (st->in_tree && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > dk_shared.stop_mark) stop_current(1);
}
#endif
