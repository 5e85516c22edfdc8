/* The order of changes: hooks inside the locks of the filesystems note which inodes a running call changes, and take its place in the
 * one order of all changes. Programs, so included once, by recorder.bpf.c. */
#ifndef DK_ORDER_H
#define DK_ORDER_H
#include "names.h"

/* Notes an inode that the running call changes. Returns its state there, NULL if it is not watched or there is no room. */
static __always_inline struct dk_inode *touch(struct task_state *st, struct inode *inode) {
  st->wanted = (u64)inode;
  if (!dev_watched(dev_of(inode))) {
    st->foreign = 1;
    if (dk_shared.layered && !mode_is(GET(inode, inode, i_mode), S_IFDIR)) {
      inode_state_at(&st->below, *(volatile u64 *)&st->wanted);
      st->has_below = 1;
    }
    return NULL;
  }
  st->watched = 1;
  touched_slot(st);
  u32 at = *(volatile u32 *)&st->slot;
  if (at >= DK_TOUCH_MAX) {
    if (!st->overfull) lost(DK_LOST_TOUCH); /* once a call */
    st->overfull = 1;
    return NULL;
  }
  st->touched_ptr[at] = (u64)inode;
  inode_state_at(&st->touch[at], *(volatile u64 *)&st->wanted);
  if (at == st->touched) st->touched = at + 1;
  return &st->touch[at];
}

/* The place in the order of changes, taken once a call. */
static __always_inline void take_number(struct task_state *st) {
  if (!st->lock_seq && st->watched) st->lock_seq = __sync_fetch_and_add(&dk_shared.lock_counter, 1) + 1;
}

/* Inside the inode lock: which inodes a running call changes, and their state after the change. */
SEC("tp_btf/ext4_mark_inode_dirty")
int BPF_PROG(on_ext4_mark_inode_dirty, struct inode *inode) {
  struct task_state *st = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
  if (!st || !st->pending) return 0;
  struct dk_inode *state = touch(st, inode);
  if (!state) return 0;
  /* a symlink may be marked for its atime alone, before the lock is taken */
  if (!mode_is(state->mode, S_IFLNK)) take_number(st);
  return 0;
}

/* The number of a data call, taken while it holds the inode's lock, where the hook does not say at which offset it writes. The file
 * position is that before the write: the call still holds its lock. */
static __always_inline int in_lock_unplaced(struct task_state *st) {
  struct inode *inode = (void *)st->inode;
  struct file *file = (void *)st->file;
  st->lock_pos = st->append ? GET(inode, inode, i_size) : GET(file, file, f_pos);
  st->has_pos = st->append ? 1 : 2;
  st->lock_seq = __sync_fetch_and_add(&dk_shared.lock_counter, 1) + 1;
  return 0;
}

/* An inode is being changed: the state is taken at the end of the call. ext4's own hook tells of all but extended attributes. */
static __always_inline int changing_by(struct task_state *st, struct inode *inode) {
  if (GET(GET(inode, inode, i_sb), super_block, s_magic) == EXT4_SUPER_MAGIC) {
    if (st->pending == 2 && touch(st, inode)) take_number(st);
    return 0;
  }
  st->refresh = 1;
  if (touch(st, inode)) take_number(st);
  return 0;
}
static __always_inline int changing(struct inode *inode) {
  struct task_state *st = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
  return st && st->pending && inode ? changing_by(st, inode) : 0;
}

/* Does a new ctime of the file tell that a data call holds its lock? */
static __always_inline bool ctime_tells(struct task_state *st, u64 magic) {
  return magic == OVERLAYFS_SUPER_MAGIC || (magic == BTRFS_SUPER_MAGIC && !st->twofold);
}

/* From 6.13 on every filesystem tells of a new ctime, in the midst of the change; overlayfs also before and after each write, where it
 * copies the times of the inode below. `given`: it is set to a known time, as that of an inode which is read from the disk while a path
 * is looked up: no change, and before any lock is taken. Overlayfs makes a new one after it has changed the folder. */
static __always_inline int ctime_set(struct inode *inode, bool given) {
  struct task_state *st = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
  if (!st || (!st->pending && !st->file)) return 0;
  u64 magic = GET(GET(inode, inode, i_sb), super_block, s_magic);
  if (st->file)
    return ctime_tells(st, magic) && st->inode == (u64)inode && !st->lock_seq && !st->fifo ? in_lock_unplaced(st) : 0;
  bool overlay = magic == OVERLAYFS_SUPER_MAGIC;
  if (magic == BTRFS_SUPER_MAGIC && is_bad(inode)) return 0;
  if (given && !st->touched && is_unnamed(inode) && (overlay || is_mgtime(inode))) return 0;
  if (overlay) dk_shared.layered_told = 1;
  return changing_by(st, inode);
}
SEC("tp_btf/inode_set_ctime_to_ts")
int BPF_PROG(on_inode_set_ctime_to_ts, struct inode *inode) { return ctime_set(inode, true); }
SEC("tp_btf/ctime_ns_xchg")
int BPF_PROG(on_ctime_ns_xchg, struct inode *inode) { return ctime_set(inode, false); }
SEC("tp_btf/ctime_xchg_skip")
int BPF_PROG(on_ctime_xchg_skip, struct inode *inode) { return ctime_set(inode, false); }

/* Inside the inode lock: the order of writes on one inode, and their true offset. */
static __always_inline int in_lock(struct inode *inode, s64 pos) {
  struct task_state *st = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
  if (!st || !st->file || st->inode != (u64)inode || st->lock_seq) return 0;
  st->lock_pos = pos;
  st->has_pos = 1;
  st->lock_seq = __sync_fetch_and_add(&dk_shared.lock_counter, 1) + 1;
  return 0;
}
SEC("tp_btf/ext4_da_write_end")
int BPF_PROG(on_ext4_da_write_end, struct inode *inode, s64 pos) { return in_lock(inode, pos); }
SEC("tp_btf/ext4_write_end")
int BPF_PROG(on_ext4_write_end, struct inode *inode, s64 pos) { return in_lock(inode, pos); }
SEC("tp_btf/ext4_journalled_write_end")
int BPF_PROG(on_ext4_journalled_write_end, struct inode *inode, s64 pos) { return in_lock(inode, pos); }

/* xfs: after the lock was taken and the offset settled, before the bytes are copied. */
SEC("tp_btf/xfs_file_buffered_write")
int BPF_PROG(on_xfs_file_buffered_write, struct kiocb *iocb) {
  struct file *file = BPF_CORE_READ(iocb, ki_filp);
  return in_lock(BPF_CORE_READ(file, f_inode), BPF_CORE_READ(iocb, ki_pos));
}

/* The number of a running fallocate. */
static __always_inline int allocating(struct task_state *st) {
  if (st->pending != 3 || st->lock_seq) return 0;
  st->lock_seq = __sync_fetch_and_add(&dk_shared.lock_counter, 1) + 1;
  return 0;
}

/* btrfs before 6.13 has no other hook: it reserves space for each write while it holds the inode's lock; the hook does not say for which.
 * sendfile reads first, and reading reserves space too, for what must get to the disk before it can be read: no lock is held there. */
SEC("tp_btf/update_bytes_may_use")
int BPF_PROG(on_update_bytes_may_use) {
  struct task_state *st = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
  if (!st || st->lock_seq) return 0;
  if (!st->file) return allocating(st);
  if (st->fifo || st->twofold || st->reads_first) return 0;
  struct inode *inode = (void *)st->inode;
  if (GET(GET(inode, inode, i_sb), super_block, s_magic) != BTRFS_SUPER_MAGIC) return 0;
  return in_lock_unplaced(st);
}

/* xfs: what fallocate calls inside the lock, where a new ctime is not told of because the last one is younger than a tick. */
#define XFS_SPACE(what)                                                              \
  SEC("tp_btf/xfs_" #what "_file_space")                                              \
  int BPF_PROG(on_xfs_##what##_file_space) {                                         \
    struct task_state *st = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0); \
    return st ? allocating(st) : 0;                                                  \
  }
XFS_SPACE(alloc)
XFS_SPACE(free)
XFS_SPACE(zero)
XFS_SPACE(collapse)
XFS_SPACE(insert)
#endif
