/* Hooks on functions (fentry), for kernels that allow them and have no tracepoint in that place; each is loaded where a watched
 * filesystem needs it (src/capture/ebpf/hooks.ts). All are called while the locks of what they are about to change are held, which
 * callers of these functions must hold (Documentation/filesystems/locking.rst). Their arguments used here are the same from Linux 5.15
 * to 7.3. */
#ifndef DK_FENTRY_H
#define DK_FENTRY_H
#include "state.h"

/* Names and attributes, where no tracepoint tells of a new ctime (before 6.13). */
static __always_inline int changing_dentry(struct dentry *dentry) { return changing(BPF_CORE_READ(dentry, d_inode)); }

SEC("fentry/security_inode_unlink")
int BPF_PROG(fn_security_inode_unlink, struct inode *dir, struct dentry *dentry) {
  changing(dir);
  return changing_dentry(dentry);
}
SEC("fentry/security_inode_rmdir")
int BPF_PROG(fn_security_inode_rmdir, struct inode *dir, struct dentry *dentry) {
  changing(dir);
  return changing_dentry(dentry);
}
SEC("fentry/security_inode_rename")
int BPF_PROG(fn_security_inode_rename, struct inode *old_dir, struct dentry *old, struct inode *new_dir,
             struct dentry *replaced) {
  changing(old_dir);
  changing(new_dir);
  changing_dentry(old);
  return changing_dentry(replaced);
}

/* A new name for a new inode, or for one more link. */
static __always_inline int named(struct dentry *dentry, struct inode *inode) {
  changing_dentry(BPF_CORE_READ(dentry, d_parent));
  return changing(inode);
}
SEC("fentry/d_instantiate")
int BPF_PROG(fn_d_instantiate, struct dentry *dentry, struct inode *inode) { return named(dentry, inode); }
SEC("fentry/d_instantiate_new")
int BPF_PROG(fn_d_instantiate_new, struct dentry *dentry, struct inode *inode) { return named(dentry, inode); }

/* The first argument was a user namespace before it was a mount's map of users. */
SEC("fentry/notify_change")
int BPF_PROG(fn_notify_change, void *map, struct dentry *dentry) { return changing_dentry(dentry); }
SEC("fentry/__vfs_setxattr_noperm")
int BPF_PROG(fn___vfs_setxattr_noperm, void *map, struct dentry *dentry) { return changing_dentry(dentry); }
SEC("fentry/__vfs_removexattr_locked")
int BPF_PROG(fn___vfs_removexattr_locked, void *map, struct dentry *dentry) { return changing_dentry(dentry); }

/* Bytes: tmpfs, and every filesystem without a way of its own. */
SEC("fentry/generic_perform_write")
int BPF_PROG(fn_generic_perform_write, struct kiocb *iocb) {
  struct file *file = BPF_CORE_READ(iocb, ki_filp);
  return in_lock(BPF_CORE_READ(file, f_inode), BPF_CORE_READ(iocb, ki_pos));
}

/* overlayfs, first thing inside the lock of its own inode. */
SEC("fentry/ovl_copyattr")
int BPF_PROG(fn_ovl_copyattr, struct inode *inode) {
  struct task_state *st = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
  if (!st || !st->file || st->lock_seq || st->inode != (u64)inode) return 0;
  return in_lock_unplaced(st);
}
#endif
