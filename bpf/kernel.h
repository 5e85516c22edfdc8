/* Kernel types this program uses, declared as far as it uses them (CO-RE relocates every access), and the differences between
 * kernels from 5.15 on. Everything that depends on the kernel's version stands in this file. Field names come from the kernel's
 * own headers (include/linux/{fs,dcache,sched,mount,fdtable}.h); renamed fields have a second "flavour" of the struct (___x). */
#ifndef DK_KERNEL_H
#define DK_KERNEL_H

#define __VMLINUX_H__ /* bpf_tracing.h: use the kernel's own register names */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

enum bpf_map_type {
  BPF_MAP_TYPE_HASH = 1,
  BPF_MAP_TYPE_ARRAY = 2,
  BPF_MAP_TYPE_RINGBUF = 27,
  BPF_MAP_TYPE_TASK_STORAGE = 29,
};
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_F_NO_PREALLOC 1
#define BPF_LOCAL_STORAGE_GET_F_CREATE 1
#define BPF_RB_NO_WAKEUP 1
#define BPF_RB_AVAIL_DATA 0

struct bpf_dynptr {
  __u64 __opaque[2];
} __attribute__((aligned(8)));

/* libbpf goes through all types of the kernel, 1 ms of them, for each struct below that is looked up by name: what has a fixed
 * layout, or another way to be had, is not among them. */
#if defined(__TARGET_ARCH_x86)
struct pt_regs { /* arch/x86/include/uapi/asm/ptrace.h */
  unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax;
};
#endif

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { int counter; } atomic_t;
typedef struct { u32 val; } kuid_t;
typedef struct { u32 val; } kgid_t;

#if defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
  u64 regs[31];
};
struct pt_regs {
  u64 regs[31];
  u64 orig_x0;
  s32 syscallno;
};
#endif

struct timespec64 {
  s64 tv_sec;
  long tv_nsec;
};
struct qstr {
  union {
    struct {
      u32 hash, len;
    };
    u64 hash_len;
  };
  const unsigned char *name;
};
struct dentry;
struct hlist_bl_node {
  struct hlist_bl_node *next, **pprev;
};
struct hlist_node {
  struct hlist_node *next, **pprev;
};
struct hlist_head {
  struct hlist_node *first;
};
struct file_system_type {
  int fs_flags;
};
struct super_block {
  u32 s_dev;
  struct file_system_type *s_type;
  unsigned long s_magic;
};
struct xarray {
  void *xa_head;
};
struct address_space {
  struct xarray i_pages;
};
struct xa_node {
  unsigned char shift;
  void *slots[64];
};
struct page {
  unsigned long flags;
};
struct folio {
  struct address_space *mapping;
  unsigned long index;
};
struct inode {
  unsigned short i_mode;
  kuid_t i_uid;
  kgid_t i_gid;
  struct super_block *i_sb;
  struct address_space *i_mapping;
  unsigned long i_ino;
  unsigned int i_nlink;
  u32 i_rdev;
  s64 i_size;
  u32 i_generation;
  struct hlist_head i_dentry;
#if defined(DK_NEWEST)
  s64 i_mtime_sec, i_ctime_sec;
  u32 i_mtime_nsec, i_ctime_nsec;
#endif
};
/* mtime: struct timespec64 i_mtime up to 6.6, __i_mtime 6.7-6.10, two fields from 6.11 on */
struct inode___a {
  struct timespec64 i_mtime, i_ctime;
};
struct inode___b {
  struct timespec64 __i_mtime, __i_ctime;
};
struct inode___c {
  s64 i_mtime_sec, i_ctime_sec;
  u32 i_mtime_nsec, i_ctime_nsec;
};
struct dentry {
  struct hlist_bl_node d_hash;
  struct dentry *d_parent;
  struct qstr d_name;
  struct inode *d_inode;
  union {
    struct hlist_node d_alias;
  } d_u;
};
struct ovl_inode {
  struct inode vfs_inode;
  struct dentry *__upperdentry;
};
struct vfsmount {
  struct dentry *mnt_root;
};
struct mount {
  struct mount *mnt_parent;
  struct dentry *mnt_mountpoint;
  struct vfsmount mnt;
};
struct path {
  struct vfsmount *mnt;
  struct dentry *dentry;
};
struct file {
  u32 f_mode;
  u32 f_flags;
  struct inode *f_inode;
  struct path f_path;
  s64 f_pos;
};
struct kiocb {
  struct file *ki_filp;
  s64 ki_pos;
};
struct fdtable {
  unsigned int max_fds;
  struct file **fd;
};
struct files_struct {
  struct fdtable *fdt;
};
struct fs_struct {
  struct path root, pwd;
};
struct signal_struct {
  atomic_t live;
};
struct mm_struct {
  struct {
    unsigned long arg_start, arg_end;
    struct file *exe_file;
  };
};
struct thread_info {
  unsigned long flags;
  u32 status;
};
struct user_namespace {
  int level; /* 0: the initial one */
};

struct cred {
  struct user_namespace *user_ns;
};

struct task_struct {
  struct thread_info thread_info;
  int pid, tgid;
  int exit_code;
  struct task_struct *real_parent;
  struct mm_struct *mm;
  struct fs_struct *fs;
  struct files_struct *files;
  struct signal_struct *signal;
  const struct cred *cred;
};

#pragma clang attribute pop

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Linux 6.16+. off and size went from u32 to u64 in 6.19; the u64 declaration loads on both. */
extern int bpf_probe_read_user_dynptr(struct bpf_dynptr *d, u64 off, u64 size,
                                      const void *unsafe_ptr__ign) __ksym __weak;

/* Linux 6.2+: a number becomes a typed pointer whose fields are plain loads. */
extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym __weak;

/* 32-bit programs have call numbers of their own (calls32.h). Bits: arch/{x86,arm64}/include/asm/thread_info.h */
#if defined(__TARGET_ARCH_x86)
static __always_inline bool task_is_32bit(struct task_struct *t) { return t->thread_info.flags & (1ul << 29); }
static __always_inline bool call_is_32bit(struct task_struct *t) { return t->thread_info.status & 2; /* TS_COMPAT */ }
#elif defined(__TARGET_ARCH_arm64)
static __always_inline bool task_is_32bit(struct task_struct *t) { return t->thread_info.flags & (1ul << 22); }
static __always_inline bool call_is_32bit(struct task_struct *t) { return task_is_32bit(t); }
#endif

#ifndef bpf_ksym_exists /* libbpf < 1.2 */
#define bpf_ksym_exists(sym) (!!(sym))
#endif

/* What newer kernels offer. DK_NEWEST: a build that relies on all of it (Linux 6.16), so that half of the program need not be
 * relocated, verified and cut away again at each start. DK_OLDEST: a build that does without, to test on any kernel what 5.15 gets. */
#if defined(DK_OLDEST)
#define HAS_USER_DYNPTR 0
#define HAS_RDONLY_CAST 0
#elif defined(DK_NEWEST)
#define HAS_USER_DYNPTR 1
#define HAS_RDONLY_CAST 1
#else
#define HAS_USER_DYNPTR bpf_ksym_exists(bpf_probe_read_user_dynptr)
#define HAS_RDONLY_CAST bpf_ksym_exists(bpf_rdonly_cast)
#endif

/* Field `f` of the `struct T` at p, for hot paths: a load where the kernel allows it, else bpf_probe_read_kernel (15 ns more). */
#if defined(DK_NEWEST)
#define GET(p, T, f) (((struct T *)bpf_rdonly_cast((p), bpf_core_type_id_kernel(struct T)))->f)
#else
#define GET(p, T, f)                                                                         \
  ({                                                                                         \
    struct T *_p = (void *)(p);                                                              \
    __typeof__(_p->f) _v;                                                                    \
    if (HAS_RDONLY_CAST) {                                                                   \
      struct T *_q = bpf_rdonly_cast(_p, bpf_core_type_id_kernel(struct T));                 \
      _v = _q->f;                                                                            \
    } else {                                                                                 \
      _v = BPF_CORE_READ(_p, f);                                                             \
    }                                                                                        \
    _v;                                                                                      \
  })
#endif

static __always_inline void dk_mtime(struct inode *inode, s64 *sec, u32 *nsec) {
#if defined(DK_NEWEST)
  *sec = GET(inode, inode, i_mtime_sec);
  *nsec = GET(inode, inode, i_mtime_nsec);
#else
  struct inode___c *c = (void *)inode;
  if (bpf_core_field_exists(c->i_mtime_nsec)) {
    if (HAS_RDONLY_CAST) {
      c = bpf_rdonly_cast(inode, bpf_core_type_id_kernel(struct inode));
      *sec = c->i_mtime_sec;
      *nsec = c->i_mtime_nsec;
      return;
    }
    *sec = BPF_CORE_READ(c, i_mtime_sec);
    *nsec = BPF_CORE_READ(c, i_mtime_nsec);
    return;
  }
  struct inode___b *b = (void *)inode;
  struct inode___a *a = (void *)inode;
  struct timespec64 t = {};
  if (bpf_core_field_exists(b->__i_mtime)) {
    BPF_CORE_READ_INTO(&t, b, __i_mtime);
  } else {
    BPF_CORE_READ_INTO(&t, a, i_mtime);
  }
  *sec = t.tv_sec;
  *nsec = t.tv_nsec;
#endif
}

#define CTIME_QUERIED (1u << 31) /* include/linux/fs.h, I_CTIME_QUERIED, Linux 6.13+: in the nanoseconds */

static __always_inline u64 dk_ctime_ns(struct inode *inode) {
  u64 sec, nsec;
#if defined(DK_NEWEST)
  sec = GET(inode, inode, i_ctime_sec);
  nsec = GET(inode, inode, i_ctime_nsec);
#else
  struct inode___c *c = (void *)inode;
  struct inode___b *b = (void *)inode;
  struct inode___a *a = (void *)inode;
  if (bpf_core_field_exists(c->i_ctime_nsec)) {
    sec = BPF_CORE_READ(c, i_ctime_sec);
    nsec = BPF_CORE_READ(c, i_ctime_nsec);
  } else if (bpf_core_field_exists(b->__i_ctime)) {
    sec = BPF_CORE_READ(b, __i_ctime.tv_sec);
    nsec = BPF_CORE_READ(b, __i_ctime.tv_nsec);
  } else {
    sec = BPF_CORE_READ(a, i_ctime.tv_sec);
    nsec = BPF_CORE_READ(a, i_ctime.tv_nsec);
  }
#endif
  return sec * 1000000000 + (nsec & ~CTIME_QUERIED);
}

#define FS_MGTIME 64 /* include/linux/fs.h, Linux 6.13+ */

/* Is a ctime of this filesystem set to a given time only when an inode is read (Linux 6.13+)? On one with multigrain timestamps a change
 * goes another way; overlayfs copies that of the inode below, also after each change. */
static __always_inline bool is_mgtime(struct inode *inode) {
  struct file_system_type *type = GET(GET(inode, inode, i_sb), super_block, s_type);
  return GET(type, file_system_type, fs_flags) & FS_MGTIME;
}

/* Has no name yet: it is being made, or being read from the disk while a path is looked up. */
static __always_inline bool is_unnamed(struct inode *inode) {
  return bpf_core_field_exists(inode->i_dentry) && !BPF_CORE_READ(inode, i_dentry.first);
}
#endif
