/* Announcing inodes: walk from a dentry to the nearest directory already announced, send the names as a NODE record, and remember
 * the verdict (in which watched folder, or outside). The walk takes no lock; a racing rename is settled by the Resolver. */
#ifndef DK_WALK_H
#define DK_WALK_H
#include "state.h"

static __always_inline bool verdict_of(struct inode_key *k, s32 *root) {
  struct verdict *v = bpf_map_lookup_elem(&inodes, k);
  if (!v) return false;
  *root = v->root;
  return v->root != VERDICT_OUTSIDE || v->epoch == dk_shared.epoch;
}

static __always_inline void verdict_set(struct inode_key *k, s32 root) {
  struct verdict v = {.root = root, .epoch = dk_shared.epoch};
  if (bpf_map_update_elem(&inodes, k, &v, BPF_ANY)) lost(DK_LOST_INODE);
}

/* One step of a walk, state in scratch. Returns true when the walk ended. */
static __always_inline bool walk_step(struct scratch *s, bool first) {
  struct dentry *d = (void *)s->dentry;
  struct mount *m = (void *)s->mnt;
  struct inode *inode = BPF_CORE_READ(d, d_inode);
  if (!first && inode) {
    struct inode_key k;
    inode_key(&k, inode);
    s32 root;
    if (verdict_of(&k, &root)) {
      s->root = root;
      s->anchor_dev = k.dev;
      s->anchor_ino = k.ino;
      return true;
    }
  }
  if (d == BPF_CORE_READ(m, mnt.mnt_root)) {
    struct mount *up = BPF_CORE_READ(m, mnt_parent);
    if (up == m || !up) return true;
    s->dentry = (u64)BPF_CORE_READ(m, mnt_mountpoint);
    s->mnt = (u64)up;
    return false;
  }
  struct dentry *parent = BPF_CORE_READ(d, d_parent);
  if (parent == d || !parent) return true;
  u32 len = s->len;
  if (len > DK_NAMES_BYTES - 256) {
    s->done = 2;
    return true;
  }
  const unsigned char *name = BPF_CORE_READ(d, d_name.name);
  /* offset sizeof(dk_node) > 0: kernels below 6.2 may write dst[-1] on a fault at the first byte */
  long n = bpf_probe_read_kernel_str(s->buf + sizeof(struct dk_node) + len, 256, name);
  if (n > 0) s->len = len + (n & 511);
  s->depth++;
  s->dentry = (u64)parent;
  return false;
}

struct walk_ctx {
  struct scratch *s;
};
static long walk_cb(u32 i, struct walk_ctx *ctx) {
  if (!walk_step(ctx->s, i == 0)) return 0;
  if (!ctx->s->done) ctx->s->done = 1;
  return 1;
}

static __always_inline void walk(struct scratch *s) {
  struct walk_ctx ctx = {.s = s};
  if (HAS_BPF_LOOP) {
    bpf_loop(WALK_STEPS_MAX, walk_cb, &ctx, 0);
    return;
  }
  for (int i = 0; i < STEPS_WITHOUT_LOOP; i++)
    if (walk_cb(i, &ctx)) return;
}

/* Sends NODE for the inode of (struct dentry *, struct vfsmount *) and stores its verdict, which it returns. A global function, so
 * that it is verified once; pointers come as numbers, for the same reason. force_root: the recorder's own announcement, else -1. */
__noinline int announce(u64 dentry_ptr, u64 mnt_ptr, int force_root) {
  struct dentry *dentry = (void *)dentry_ptr;
  struct vfsmount *mnt = (void *)mnt_ptr;
  struct inode *inode = BPF_CORE_READ(dentry, d_inode);
  if (!inode) return VERDICT_OUTSIDE;
  struct scratch *s = scratch_get();
  if (!s) return VERDICT_OUTSIDE;
  s->dentry = (u64)dentry;
  s->mnt = (u64)((char *)mnt - bpf_core_field_offset(struct mount, mnt));
  s->len = 0;
  s->depth = 0;
  s->root = VERDICT_OUTSIDE;
  s->anchor_ino = 0;
  s->anchor_dev = 0;
  s->done = 0;
  walk(s);
  if (s->done != 1) lost(DK_LOST_WALK);
  int root = force_root == VERDICT_OUTSIDE ? s->root : force_root;
  struct dk_node *n = (void *)s->buf;
  u32 len = s->len & (2 * DK_NAMES_BYTES - 1);
  header(&n->h, DK_NODE, sizeof(*n) + len, 0);
  if (s->done != 1) n->h.flags |= DK_F_CUT;
  if (!BPF_CORE_READ(dentry, d_hash.pprev)) n->h.flags |= DK_F_DELETED;
  inode_state(&n->inode, inode);
  n->anchor_dev = s->anchor_dev;
  n->root = root;
  n->anchor_ino = s->anchor_ino;
  n->names_len = len;
  n->depth = s->depth;
  send(s, sizeof(*n) + len);
  struct inode_key k;
  inode_key(&k, inode);
  verdict_set(&k, root);
  scratch_put(s);
  return root;
}

static __always_inline s32 verdict_of_path(struct dentry *dentry, struct vfsmount *mnt) {
  struct inode *inode = BPF_CORE_READ(dentry, d_inode);
  struct inode_key k;
  s32 root;
  if (!inode) return VERDICT_OUTSIDE;
  inode_key(&k, inode);
  if (verdict_of(&k, &root)) return root;
  return announce((u64)dentry, (u64)mnt, VERDICT_OUTSIDE);
}

static __always_inline s32 verdict_of_file(struct file *file, struct inode *inode) {
  struct inode_key k;
  s32 root;
  inode_key(&k, inode);
  if (verdict_of(&k, &root)) return root;
  return announce((u64)BPF_CORE_READ(file, f_path.dentry), (u64)BPF_CORE_READ(file, f_path.mnt), VERDICT_OUTSIDE);
}
#endif
