/* Calls that change names or attributes, and opens that create or truncate. Strings are read at sys_exit; the inodes a call touched
 * are noted while it runs, by ext4_mark_inode_dirty (bpf/recorder.bpf.c), where the filesystem tells. */
#ifndef DK_NAMES_H
#define DK_NAMES_H
#include "walk.h"

#define AF_UNIX 1

/* State of an inode after the call: as noted inside its lock, else as it is now. Global, as what follows: verified once, not at each
 * place it is used. */
__noinline int state_after(struct dk_inode *o, struct task_state *st, u64 inode) {
  if (!o || !st) return 0;
  st->wanted = inode;
  touched_slot(st);
  u32 at = *(volatile u32 *)&st->slot;
  if (at >= DK_TOUCH_MAX || at >= st->touched) {
    inode_state(o, (void *)inode);
    return 0;
  }
  *o = st->touch[at];
  __asm__ volatile("" ::: "memory"); /* else the compiler shares a load with inode_state: of two sorts of pointers, refused */
  return 0;
}

/* Puts into st->slot where the first folder is noted that the call touched: the one that got the new name. */
__noinline int touched_folder(struct task_state *st) {
  if (!st) return 0;
  for (u32 i = 0; i < DK_TOUCH_MAX; i++) {
    if (i >= st->touched) break;
    if (!mode_is(st->touch[i].mode, S_IFDIR)) continue;
    st->slot = i;
    return 1;
  }
  return 0;
}

/* Another task has renamed the new file into another folder before the call returned: the folder is that which the call touched, and the
 * name is the last of the path as given, from s->len on. Returns its length. */
__noinline int renamed_meanwhile(struct task_state *st, struct scratch *s, u32 class) {
  if (!st || !s || class == C_OPENHANDLE || !touched_folder(st)) return 0;
  u32 at = *(volatile u32 *)&st->slot;
  if (at >= DK_TOUCH_MAX) return 0;
  struct dk_open *o = (void *)s->buf;
  o->parent = st->touch[at];
  u64 path = class == C_OPENAT || class == C_OPENAT2 ? st->arg[1] : st->arg[0], to = s->len;
  if (to > sizeof(*o) + 256) return 0;
  long n = bpf_probe_read_user_str(s->buf + to, DK_PATH_BYTES, (void *)path);
  return n > 0 ? (n - 1) & (DK_PATH_BYTES - 1) : 0;
}

/* Returns true when a record was sent. */
__noinline int open_exit(struct task_state *st, u32 class, u32 nr, s64 ret) {
  if (!st) return false;
  struct file *file = file_of(bpf_get_current_task_btf(), ret);
  if (!file) return false;
  u64 flags = O_CREAT | O_WRONLY | O_TRUNC;
  if (class == C_OPEN) flags = st->arg[1];
  if (class == C_OPENAT || class == C_OPENHANDLE) flags = st->arg[2];
  if (class == C_OPENAT2) bpf_probe_read_user(&flags, sizeof(flags), (void *)st->arg[2]);
  bool created = BPF_CORE_READ(file, f_mode) & FMODE_CREATED;
  bool tmpfile = (flags & O_TMPFILE_BIT) != 0;
  bool truncated = !created && !tmpfile && (flags & O_TRUNC);
  if (!created && !tmpfile && !truncated) return false;
  struct inode *inode = BPF_CORE_READ(file, f_inode);
  if (!mode_is(BPF_CORE_READ(inode, i_mode), S_IFREG)) return false;
  struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry), *parent = BPF_CORE_READ(dentry, d_parent);
  s32 root;
  if (created || tmpfile) {
    u32 epoch = dk_shared.epoch;
    root = verdict_of_path(parent, BPF_CORE_READ(file, f_path.mnt));
    struct inode_key k;
    inode_key(&k, inode);
    verdict_set(&k, root, epoch);
  } else {
    root = verdict_of_file(file, inode);
  }
  if (root < 0) return false;
  struct scratch *s = scratch_get();
  if (!s) return false;
  struct dk_open *o = (void *)s->buf;
  header(&o->h, DK_OPEN, 0, st->enter_ns);
  o->h.nr = nr;
  o->h.fd = ret;
  o->h.ret = ret;
  o->h.flags = (st->in_tree ? 0 : DK_F_OUTSIDE) | (created ? DK_F_CREATED : 0) | (truncated ? DK_F_TRUNCATED : 0) |
               (tmpfile ? DK_F_TMPFILE : 0);
  state_after(&o->inode, st, (u64)inode);
  state_after(&o->parent, st, (u64)BPF_CORE_READ(parent, d_inode));
  o->lock_seq = st->lock_seq;
  o->open_flags = flags;
  long n = bpf_probe_read_kernel_str(s->buf + sizeof(*o), 256, BPF_CORE_READ(dentry, d_name.name));
  u32 len = n > 0 ? (n - 1) & 255 : 0;
  o->name_len = len;
  s->len = sizeof(*o) + len;
  o->path_len = 0;
  if (created) {
    struct dentry *now = BPF_CORE_READ(dentry, d_parent);
    st->wanted = (u64)BPF_CORE_READ(now, d_inode);
    touched_slot(st);
    if (st->touched && (now != parent || *(volatile u32 *)&st->slot >= st->touched)) {
      u32 path_len = renamed_meanwhile(st, s, class);
      o->path_len = path_len;
      s->len += path_len;
    }
  }
  u32 size = s->len;
  o->h.size = (size + 7) & ~7u;
  int failed = send(s, size);
  scratch_put(s);
  return !failed;
}

/* Notes where a call starts when it begins, which is when the kernel looks it up: working folder and descriptors are shared by
 * threads, and when the call ends another one may have changed them. Global, so that it is verified once. */
__noinline int note_start(struct task_state *st, u32 i, u32 fd) {
  if (!st || i > 1) return 0;
  struct start *at = &st->start[i];
  struct task_struct *task = bpf_get_current_task_btf();
  struct dentry *d;
  at->dentry = 0;
  if ((s32)fd == AT_FDCWD) {
    d = BPF_CORE_READ(task, fs, pwd.dentry);
    at->mnt = (u64)BPF_CORE_READ(task, fs, pwd.mnt);
  } else {
    struct file *f = file_of(task, fd);
    if (!f) return 0;
    d = BPF_CORE_READ(f, f_path.dentry);
    at->mnt = (u64)BPF_CORE_READ(f, f_path.mnt);
  }
  at->ino = BPF_CORE_READ(d, d_inode, i_ino);
  at->dentry = (u64)d;
  return 0;
}

/* Notes all that calls of a class start from. */
static __always_inline void note_starts(struct task_state *st, u32 class, u64 *arg) {
  s32 first = AT_FDCWD, second = AT_FDCWD;
  switch (class) {
    case C_ATPATH2:
      second = arg[2];
      /* fall through */
    case C_ATPATH:
    case C_UTIMENSAT:
    case C_SETXATTRAT:
    case C_REMXATTRAT:
    case C_FD:
    case C_FSETXATTR:
    case C_FREMXATTR:
      first = arg[0];
      break;
    case C_SYMLINKAT:
      second = arg[1];
      break;
  }
  note_start(st, 0, first);
  if (class >= C_PATH2 && class <= C_SYMLINKAT) note_start(st, 1, second);
}

/* What was noted, as far as it is still that: nobody holds it any more. */
static __always_inline struct dentry *started_at(struct start *at) {
  struct dentry *d = (void *)at->dentry;
  return d && BPF_CORE_READ(d, d_inode, i_ino) == at->ino ? d : NULL;
}

/* Base directory of a relative path: announced, with its state after the call. */
static __always_inline void base_of(struct dk_inode *o, struct task_state *st, u32 i) {
  __builtin_memset(o, 0, sizeof(*o));
  struct dentry *d = started_at(&st->start[i]);
  if (!d) return;
  verdict_of_path(d, (void *)st->start[i].mnt);
  inode_state(o, BPF_CORE_READ(d, d_inode));
}

/* What an absolute path starts from, where that is not the root of the mount namespace: in a chroot. */
static __always_inline void base_of_root(struct dk_inode *o, struct task_struct *task) {
  struct dentry *d = BPF_CORE_READ(task, fs, root.dentry);
  struct vfsmount *m = BPF_CORE_READ(task, fs, root.mnt);
  struct mount *mount = (void *)((char *)m - bpf_core_field_offset(struct mount, mnt));
  if (BPF_CORE_READ(mount, mnt_parent) == mount && BPF_CORE_READ(m, mnt_root) == d) return;
  verdict_of_path(d, m);
  inode_state(o, BPF_CORE_READ(d, d_inode));
}

/* sun_path of a struct sockaddr_un (unix(7)); 0 for other families, unnamed and abstract addresses. */
static __always_inline u64 unix_path(u64 address) {
  struct {
    u16 family;
    char first;
  } head = {};
  if (bpf_probe_read_user(&head, 3, (void *)address)) return 0;
  return head.family == AF_UNIX && head.first ? address + 2 : 0;
}

/* struct xattr_args (include/uapi/linux/xattr.h) of setxattrat. */
static __always_inline void xattr_args(struct call_args *a, u64 user) {
  struct {
    u64 value;
    u32 size, flags;
  } args = {};
  if (bpf_probe_read_user(&args, sizeof(args), (void *)user)) return;
  a->value = args.value, a->value_len = args.size, a->strings |= 4;
  if (a->value_len > DK_XATTR_BYTES) a->value_len = DK_XATTR_BYTES;
}

__noinline int call_args(struct task_state *st, u32 class, u32 nr) {
  if (!st) return 0;
  struct call_args *a = &st->args;
  __builtin_memset(a, 0, sizeof(*a));
  a->fd = -1;
  switch (class) {
    case C_PATH:
      a->path0 = st->arg[0], a->arg[0] = st->arg[1], a->arg[1] = st->arg[2], a->strings = 1;
      break;
    case C_ATPATH:
    case C_UTIMENSAT:
      a->path0 = st->arg[1], a->strings = 1;
      a->arg[0] = st->arg[2], a->arg[1] = st->arg[3], a->arg[2] = st->arg[4];
      if (class == C_UTIMENSAT) {
        a->arg[0] = st->arg[3];
        if (!a->path0) a->fd = (s32)st->arg[0], a->strings = 0;
      }
      break;
    case C_PATH2:
      a->path0 = st->arg[0], a->path1 = st->arg[1], a->strings = 3;
      break;
    case C_ATPATH2:
      a->path0 = st->arg[1], a->path1 = st->arg[3], a->strings = 3;
      a->arg[0] = nr == 264 || nr == 38 ? 0 : st->arg[4]; /* plain renameat has no flags */
      break;
    case C_SYMLINK:
      a->path0 = st->arg[0], a->path1 = st->arg[1], a->strings = 3;
      break;
    case C_SYMLINKAT:
      a->path0 = st->arg[0], a->path1 = st->arg[2], a->strings = 3;
      break;
    case C_FD:
      a->fd = st->arg[0], a->arg[0] = st->arg[1], a->arg[1] = st->arg[2], a->arg[2] = st->arg[3];
      break;
    case C_SETXATTR:
    case C_REMXATTR:
      a->path0 = st->arg[0], a->path1 = st->arg[1], a->strings = 3, a->name1 = 1;
      break;
    case C_SETXATTRAT:
    case C_REMXATTRAT:
      a->path0 = st->arg[1], a->arg[0] = st->arg[2], a->path1 = st->arg[3];
      a->strings = 3, a->name1 = 1;
      if (class == C_SETXATTRAT) xattr_args(a, st->arg[4]);
      break;
    case C_FSETXATTR:
    case C_FREMXATTR:
      a->fd = st->arg[0], a->path1 = st->arg[1], a->strings = 2, a->name1 = 1;
      break;
    case C_BIND:
      a->path0 = unix_path(st->arg[1]), a->strings = 1;
      break;
  }
  if (class == C_SETXATTR || class == C_FSETXATTR) {
    a->value = st->arg[2], a->value_len = st->arg[3], a->arg[0] = st->arg[4], a->strings |= 4;
    if (a->value_len > DK_XATTR_BYTES) a->value_len = DK_XATTR_BYTES;
  }
  return 0;
}

/* Appends user string i at s->len. A page that is away just now (being migrated) cannot be waited for here: the record says where the
 * string lies, and the task is stopped until the recorder has read it. */
static __always_inline void put_string(struct scratch *s, struct dk_call *o, u32 i, u64 user) {
  u32 at = s->len;
  if (at > 16384) return;
  long n = bpf_probe_read_user_str(s->buf + at, DK_PATH_BYTES, (void *)user);
  if (n <= 0) {
    o->h.flags |= DK_F_CUT;
    o->str_addr[i] = user;
    return;
  }
  u32 len = (n - 1) & (DK_PATH_BYTES - 1);
  s->len = at + len;
  o->str_len[i] = len;
}

/* Is the call about a watched filesystem? Touched inodes tell; without them (no hook on this filesystem) the Resolver decides. What
 * changes inodes elsewhere alone is about a watched filesystem only where that lies on another one. */
static __always_inline bool call_matters(struct task_state *st) {
  return st->watched || !st->foreign || (dk_shared.layered && !dk_shared.layered_told);
}

/* Returns 1 when a record was sent. */
__noinline int call_send(struct task_state *st, u64 nr_ret) {
  if (!st) return 0;
  struct call_args *a = &st->args;
  struct task_struct *task = bpf_get_current_task_btf();
  __builtin_memset(st->base, 0, sizeof(st->base));
  char c = 0;
  if (a->strings & 1) {
    bpf_probe_read_user(&c, 1, (void *)a->path0);
    if (c != '/') base_of(&st->base[0], st, 0);
    else base_of_root(&st->base[0], task);
  }
  if ((a->strings & 2) && !a->name1) {
    c = 0;
    bpf_probe_read_user(&c, 1, (void *)a->path1);
    if (c != '/') base_of(&st->base[1], st, 1);
    else base_of_root(&st->base[1], task);
  }
  struct scratch *s = scratch_get();
  if (!s) return 0;
  struct dk_call *o = (void *)s->buf;
  header(&o->h, DK_CALL, 0, st->enter_ns);
  o->h.nr = nr_ret >> 32;
  o->h.ret = (u32)nr_ret;
  o->h.fd = a->fd;
  o->h.flags = (st->in_tree ? 0 : DK_F_OUTSIDE) | (a->fd >= 0 ? DK_F_BY_FD : 0);
  for (int i = 0; i < 4; i++) o->arg[i] = a->arg[i];
  o->base[0] = st->base[0];
  o->base[1] = st->base[1];
  o->lock_seq = st->lock_seq;
  u32 n = st->touched;
  if (n > DK_TOUCH_MAX) n = DK_TOUCH_MAX;
  o->touched = n;
  put_touched(s->buf + sizeof(*o), st);
  s->len = sizeof(*o) + n * sizeof(struct dk_inode);
  for (int i = 0; i < 3; i++) o->str_len[i] = 0, o->str_addr[i] = 0;
  if (a->strings & 1) put_string(s, o, 0, a->path0);
  if (a->strings & 2) put_string(s, o, 1, a->path1);
  u32 vlen = a->value_len, at = s->len;
  if ((a->strings & 4) && BPF_CORE_READ(task, cred, user_ns, level)) o->h.flags |= DK_F_USER_NS;
  if ((a->strings & 4) && vlen && vlen <= DK_XATTR_BYTES && at <= 16384) {
    if (!bpf_probe_read_user(s->buf + at, vlen, (void *)a->value)) {
      o->str_len[2] = vlen;
      s->len = at + vlen;
    } else {
      o->h.flags |= DK_F_CUT;
      o->str_addr[2] = a->value;
      o->arg[3] = vlen;
    }
  }
  bool cut = o->h.flags & DK_F_CUT;
  u32 size = s->len;
  o->h.size = (size + 7) & ~7u;
  int failed = send(s, size);
  scratch_put(s);
  if (cut && st->in_tree) stop_current(3);
  return !failed;
}

#define EINTR 4
#define EIO 5
#define ENOSPC 28

/* A fallocate that failed may have done a part of its work: xfs moves what lies behind a range that is taken out, and a fatal signal
 * then keeps it from setting the size. Its file is noted as touched, of which no new ctime tells when the last is younger than a tick. */
__noinline int cut_short(struct task_state *st, s64 ret) {
  if (!st || st->touched || (ret != -EINTR && ret != -EIO && ret != -ENOSPC)) return 0;
  struct dentry *file = started_at(&st->start[0]);
  if (!file) return 0;
  struct inode *inode = BPF_CORE_READ(file, d_inode);
  if (!dev_watched(dev_of(inode)) || verdict_of_path(file, (void *)st->start[0].mnt) < 0) return 0;
  if (!st->lock_seq) st->lock_seq = __sync_fetch_and_add(&dk_shared.lock_counter, 1) + 1;
  inode_state(&st->base[0], inode);
  st->touch[0] = st->base[0];
  st->touched = st->watched = 1;
  return 0;
}

/* Returns true when a record was sent. */
__noinline int call_exit(struct task_state *st, u32 class, u32 nr, s64 ret) {
  if (!st) return false;
  struct call_args *a = &st->args;
  call_args(st, class, nr);
  if (class == C_BIND && !a->path0) return false;
  struct dentry *file = a->fd >= 0 ? started_at(&st->start[0]) : NULL;
  if (a->fd >= 0 && !file && !st->touched) return false;
  if (file) {
    struct inode *inode = BPF_CORE_READ(file, d_inode);
    if (!dev_watched(dev_of(inode)) || verdict_of_path(file, (void *)st->start[0].mnt) < 0) return false;
    /* tmpfs tells of no number where it changes the size alone; what changes it later has a higher one */
    if (nr == NR_FALLOCATE && !st->lock_seq) st->lock_seq = __sync_fetch_and_add(&dk_shared.lock_counter, 1) + 1;
    state_after(&st->base[0], st, (u64)inode); /* not in place: it may be the one that is read */
    st->touch[0] = st->base[0];
    st->touched = 1;
  } else if (st->touched && !touched_inside(st)) {
    return false;
  }
  /* a link tells no new ctime of the file on overlayfs: the one below says which it is */
  u32 n = *(volatile u32 *)&st->touched;
  if ((nr == NR_LINK || nr == NR_LINKAT) && st->has_below && n < DK_TOUCH_MAX) {
    st->touch[n] = st->below;
    st->touched = n + 1;
  }
  return call_send(st, (u64)nr << 32 | (u32)ret);
}
#endif
