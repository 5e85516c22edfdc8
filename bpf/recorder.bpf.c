/* The recorder's BPF programs: one at sys_enter, one at sys_exit, in-lock hooks of ext4, and the life of processes.
 * Every way to lose something has a counter (dk_shared.lost). Nothing here filters by process tree: tasks outside it are marked. */
#include "calls32.h"
#include "data.h"
#include "aio.h"
#include "names.h"
#include "mapped.h"

char LICENSE[] SEC("license") = "GPL";
/* a section of its own: user space reads it before it loads the object (src/capture/ebpf/object.ts) */
const volatile u32 dk_abi SEC(".rodata.abi") = DK_ABI;

static __always_inline u32 class_of(u64 nr) { return nr < 512 ? dk_class_of[nr] : C_NONE; }

/* The recorder announces a watched folder (or its own state-dir, index -2) by a call that fails on purpose. */
static __always_inline void self_enter(struct task_struct *task, u64 *arg, u64 nr) {
  u32 mode = arg[1];
  if (nr != NR_FALLOCATE || (mode != ANNOUNCE_MODE && mode != PAGE_MODE)) return;
  struct file *file = file_of(task, arg[0]);
  if (mode == PAGE_MODE) {
    if (file) page_base_find((u64)BPF_CORE_READ(file, f_inode), arg[2], arg[3]);
    return;
  }
  if (file) announce((u64)BPF_CORE_READ(file, f_path.dentry), (u64)BPF_CORE_READ(file, f_path.mnt), (s32)arg[2]);
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_sys_enter, struct pt_regs *regs) {
  struct task_struct *task = bpf_get_current_task_btf();
  bool is32 = call_is_32bit(task);
  u64 nr = call_number(regs, is32), arg[6];
  u32 class = class_of(nr);
  if (class == C_NONE || !dk_shared.enabled || (class >= C_SYNC_FD && !dk_shared.mapped)) return 0;
  call_arguments(arg, regs, is32);
  if (task->tgid == dk_shared.self_tgid) {
    self_enter(task, arg, nr);
    return 0;
  }
  if (class == C_CLONE) {
    u32 cmd = arg[1];
    if (cmd != FICLONE && cmd != FICLONERANGE) return 0;
  }
  struct task_state *st = bpf_task_storage_get(&tasks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!st) {
    lost(DK_LOST_TASK);
    return 0;
  }
  if (class < C_OPEN) {
    u32 fd = class == C_SPLICE || class == C_COPYRANGE ? arg[2] : arg[0];
    st->twofold = class == C_COPYRANGE;
    st->reads_first = class == C_SENDFILE;
    data_enter(st, task, fd, class == C_PWRITEV2 ? arg[5] : 0);
    return 0;
  }
  if (class >= C_SYNC_FD) {
    st->enter_ns = bpf_ktime_get_boot_ns();
    st->syncing = sync_enter(st, task, arg[0], class);
    return 0;
  }
  st->enter_ns = bpf_ktime_get_boot_ns();
  st->touched = 0;
  st->overfull = 0;
  st->refresh = 0;
  st->watched = 0;
  st->foreign = 0;
  st->has_below = 0;
  st->lock_seq = 0;
  st->pending = class >= C_SETXATTR && class <= C_FREMXATTR ? 2 : nr == NR_FALLOCATE ? 3 : 1;
  if (class >= C_PATH && class < C_MMAP) note_starts(st, class, arg);
  return 0;
}

/* A seccomp filter refuses a call before its sys_enter, with this (asm-generic/errno.h); its sys_exit comes all the same. */
#define DK_ENOSYS 38

/* Something the recorder cannot follow exactly. */
__noinline int send_note(struct task_state *st, u32 note) {
  struct dk_note_rec *o = st ? bpf_ringbuf_reserve(&ring, sizeof(*o), 0) : NULL;
  if (!o) {
    lost(DK_LOST_RING);
    return 0;
  }
  header(&o->h, DK_NOTE, sizeof(*o), st->enter_ns);
  o->note = note;
  o->pad = 0;
  bpf_ringbuf_submit(o, BPF_RB_NO_WAKEUP);
  return 0;
}

static __always_inline void note_exit(struct task_state *st, u32 class, u32 nr, s64 ret) {
  if (class == C_AIO && ret > 0) aio_exit(st, st->arg[2], ret);
  st->map_nr = nr;
  st->map_fd = ~0u;
  if (class >= C_SYNC_FD) {
    if (st->syncing) sync_exit(st, class, ret);
    st->syncing = 0;
  } else if (class == C_MMAP) {
    mmap_exit(st, ret);
  } else if (st->in_tree) {
    u32 io_uring = ret == -DK_ENOSYS ? DK_NOTE_NO_IO_URING : DK_NOTE_IO_URING;
    send_note(st, class == C_IO_URING ? io_uring : DK_NOTE_AIO);
  }
}

/* A call failed and changed inodes all the same (an mtime, mostly): their state as noted. Returns true when a record was sent. */
__noinline int touched_exit(struct task_state *st, s64 ret) {
  if (!st || !st->watched || !st->touched) return false;
  struct scratch *s = scratch_get();
  if (!s) return false;
  struct dk_touched *o = (void *)s->buf;
  u32 n = st->touched;
  if (n > DK_TOUCH_MAX) n = DK_TOUCH_MAX;
  u32 size = sizeof(*o) + n * sizeof(struct dk_inode);
  header(&o->h, DK_TOUCHED, size, st->enter_ns);
  if (!st->in_tree) o->h.flags |= DK_F_OUTSIDE;
  o->h.ret = ret;
  o->lock_seq = st->lock_seq;
  o->count = n;
  o->pad = 0;
  put_touched(s->buf + sizeof(*o), st);
  int failed = send(s, size);
  scratch_put(s);
  return !failed;
}

/* The same for a data call that failed, or wrote to a named pipe. Its one inode is known. */
__noinline int times_exit(struct task_state *st, s64 ret) {
  if (!st || st->output) return false;
  struct dk_touched *o = bpf_ringbuf_reserve(&ring, sizeof(*o) + sizeof(struct dk_inode), 0);
  if (!o) {
    lost(DK_LOST_RING);
    return false;
  }
  header(&o->h, DK_TOUCHED, sizeof(*o) + sizeof(struct dk_inode), st->enter_ns);
  if (!st->in_tree) o->h.flags |= DK_F_OUTSIDE;
  o->h.ret = ret;
  o->lock_seq = st->lock_seq;
  o->count = 1;
  o->pad = 0;
  inode_state((void *)(o + 1), (void *)st->inode);
  bpf_ringbuf_submit(o, BPF_RB_NO_WAKEUP);
  return true;
}

static __always_inline bool name_call_exit(struct task_state *st, u32 class, u32 nr, s64 ret) {
  if (class <= C_OPENHANDLE) return open_exit(st, class, nr, ret);
  if (class == C_PATH2 || class == C_ATPATH2)
    verdicts_void(st, class == C_ATPATH2 && ((u32)st->arg[4] & RENAME_EXCHANGE));
  return call_matters(st) && call_exit(st, class, nr, ret);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long ret) {
  struct task_struct *task = bpf_get_current_task_btf();
  bool is32 = call_is_32bit(task);
  u64 nr = call_number(regs, is32);
  u32 class = class_of(nr);
  if (class == C_NONE || !dk_shared.enabled || (class >= C_SYNC_FD && !dk_shared.mapped)) return 0;
  if (task->tgid == dk_shared.self_tgid) return 0;
  struct task_state *st = bpf_task_storage_get(&tasks, task, 0, 0);
  if (!st) return 0;
  take_arguments(st, regs, is32);
  bool sent = false, data = class < C_OPEN;
  if (data) {
    if (!st->file) return 0;
    if (st->fifo) {
      sent = times_exit(st, ret);
    } else if (ret > 0 || (class == C_CLONE && ret == 0)) {
      data_exit(st, class, nr, ret);
      sent = true;
    } else if (ret < 0) {
      sent = times_exit(st, ret);
    }
    st->file = 0;
  } else {
    /* a call that a seccomp filter holds and a signal (or the freezer) takes out of it never began: what is noted is the last one's */
    bool began = st->pending;
    st->pending = 0;
    if (class < C_MMAP && began) refresh(st);
    if (class >= C_MMAP) note_exit(st, class, nr, ret);
    else if (!began) return 0;
    else if (ret >= 0) sent = name_call_exit(st, class, nr, ret);
    else {
      if (nr == NR_FALLOCATE) cut_short(st, ret);
      sent = touched_exit(st, ret);
    }
  }
  if (sent && dk_shared.mapped && st->in_tree && changed_mapped(st, data)) stop_current(4);
  if (!sent && st->lock_seq) send_skip(st);
  st->lock_seq = 0;
  hold_back(st);
  return 0;
}

#include "order.h"
#include "fentry.h"

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child) {
  struct task_state *st = bpf_task_storage_get(&tasks, parent, 0, 0);
  if (!st || !st->in_tree) return 0;
  struct task_state *ch = bpf_task_storage_get(&tasks, child, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!ch) {
    lost(DK_LOST_TASK);
    return 0;
  }
  ch->in_tree = 1;
  struct dk_fork *o = bpf_ringbuf_reserve(&ring, sizeof(*o), 0);
  if (!o) {
    lost(DK_LOST_RING);
    return 0;
  }
  header(&o->h, DK_FORK, sizeof(*o), 0);
  o->child_pid = child->tgid;
  o->child_tid = child->pid;
  if (child->pid != child->tgid) o->h.flags |= DK_F_THREAD;
  bpf_ringbuf_submit(o, BPF_RB_NO_WAKEUP);
  if (dk_shared.mapped && child->pid == child->tgid) mappings_fork(parent->tgid, child->tgid);
  return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *p) {
  bool first = p->tgid == dk_shared.launcher_tgid && dk_shared.launcher_tgid;
  struct task_state *st = bpf_task_storage_get(&tasks, p, 0, first ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
  if (!st) {
    if (first) lost(DK_LOST_TASK);
    return 0;
  }
  if (first) {
    st->in_tree = 1;
    dk_shared.launcher_tgid = 0;
  }
  if (dk_shared.mapped) mapping_range(st, p->tgid, R_DROP);
  if (!st->in_tree) return 0;
  st->pending = 0;
  if (!FOLLOWS_32BIT && task_is_32bit(p)) send_note(st, DK_NOTE_IA32);
  struct dk_inode *cwd = &st->base[0];
  note_start(st, 0, AT_FDCWD);
  base_of(cwd, st, 0);
  struct scratch *s = scratch_get();
  if (!s) return 0;
  struct dk_exec *o = (void *)s->buf;
  header(&o->h, DK_EXEC, 0, 0);
  o->ppid = p->real_parent->tgid;
  u64 ids = bpf_get_current_uid_gid();
  o->uid = ids;
  o->gid = ids >> 32;
  o->cwd_dev = cwd->dev;
  o->cwd_ino = cwd->ino;
  struct file *exe = BPF_CORE_READ(p, mm, exe_file);
  s->to_root = 1;
  walk(s, BPF_CORE_READ(exe, f_path.dentry), BPF_CORE_READ(exe, f_path.mnt), sizeof(*o), 0);
  u32 at = s->len;
  o->exe_len = at - sizeof(*o);
  u64 start = BPF_CORE_READ(p, mm, arg_start), n = BPF_CORE_READ(p, mm, arg_end) - start;
  if (n > DK_ARGV_BYTES) {
    n = DK_ARGV_BYTES;
    o->h.flags |= DK_F_CUT;
  }
  if (at > 16384) at = 16384;
  if (bpf_probe_read_user(s->buf + at, n, (void *)start)) n = 0;
  o->argv_len = n;
  u32 size = at + n;
  o->h.size = (size + 7) & ~7u;
  send(s, size);
  scratch_put(s);
  return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *p) {
  struct task_state *st = bpf_task_storage_get(&tasks, p, 0, 0);
  if (!st) return 0;
  bool group_dead = BPF_CORE_READ(p, signal, live.counter) == 0;
  if (dk_shared.mapped && group_dead) mapping_range(st, p->tgid, R_DROP);
  if (!st->in_tree) return 0;
  struct dk_exit *o = bpf_ringbuf_reserve(&ring, sizeof(*o), 0);
  if (!o) {
    lost(DK_LOST_RING);
    return 0;
  }
  header(&o->h, DK_EXIT, sizeof(*o), 0);
  o->code = p->exit_code;
  o->group_dead = group_dead;
  if (p->pid != p->tgid) o->h.flags |= DK_F_THREAD;
  bpf_ringbuf_submit(o, BPF_RB_NO_WAKEUP);
  return 0;
}
