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

/* `epoch`: as it was before the question was asked; a rename meanwhile makes the answer old at once. */
static __always_inline void verdict_set(struct inode_key *k, s32 root, u32 epoch) {
  struct verdict v = {.root = root, .epoch = epoch};
  if (bpf_map_update_elem(&inodes, k, &v, BPF_ANY)) lost(DK_LOST_INODE);
}

/* A file with several names, opened by one outside: the recorder has put those with a name in a watched folder into the map, with
 * generation 0 (it does not know better). */
static __always_inline s32 linked_root(struct inode_key k) {
  k.gen = 0;
  struct verdict *v = bpf_map_lookup_elem(&inodes, &k);
  return v ? v->root : VERDICT_OUTSIDE;
}

#define WITHIN_ONLY 1    /* what a walk through the mounts found outside is asked again: in which folder does it lie? */
#define WITHIN_FILES 2   /* no mount is known */
#define WALK_STEPS_MAX 1024 /* names and mount points of one path */

/* One step of a walk, state in scratch. Returns true when the walk ended. Global, as what follows: verified once, not at each place
 * it is used. */
__noinline int walk_step(struct scratch *s) {
  if (!s) return true;
  struct dentry *d = (void *)s->dentry;
  struct mount *m = (void *)s->mnt;
  struct inode *inode = BPF_CORE_READ(d, d_inode);
  if (s->steps++ && !s->to_root && inode) {
    struct inode_key k;
    inode_key(&k, inode);
    s32 root;
    if (verdict_of(&k, &root) && !(s->within == WITHIN_ONLY && root == VERDICT_OUTSIDE)) {
      s->root = root;
      s->anchor_dev = k.dev;
      s->anchor_ino = k.ino;
      return true;
    }
  }
  if (!s->within && d == BPF_CORE_READ(m, mnt.mnt_root)) {
    struct mount *up = BPF_CORE_READ(m, mnt_parent);
    if (BPF_CORE_READ(d, d_parent) != d) s->bound = 1;
    if (up == m || !up) return true;
    s->dentry = (u64)BPF_CORE_READ(m, mnt_mountpoint);
    s->mnt = (u64)up;
    return false;
  }
  struct dentry *parent = BPF_CORE_READ(d, d_parent);
  if (parent == d || !parent) return true;
  s->dentry = (u64)parent;
  u32 len = s->len;
  if (len > DK_NAMES_BYTES - 256) {
    s->cut = 1; /* on without names: only where it leads is asked */
    return false;
  }
  const unsigned char *name = BPF_CORE_READ(d, d_name.name);
  /* kernels below 6.2 may write dst[-1] on a fault at the first byte: there is always a fixed part before the names */
  long n = bpf_probe_read_kernel_str(s->buf + len, 256, name);
  if (n > 0) s->len = len + (n & 511);
  s->depth++;
  return false;
}

__noinline int walk_part(struct scratch *s) {
  if (!s) return 1;
  for (int i = 0; i < PART_STEPS; i++)
    if (walk_step(s)) return 1;
  return 0;
}

__noinline int walk_all(struct scratch *s) {
  if (!s) return 0;
  for (int i = 0; i < WALK_STEPS_MAX / PART_STEPS; i++)
    if (walk_part(s)) return 0;
  s->cut = 1;
  return 0;
}

/* Walks from a dentry upwards; names go into the buffer from `at` on, which must be more than 0. */
static __always_inline void walk(struct scratch *s, struct dentry *dentry, struct vfsmount *mnt, u32 at, u32 within) {
  s->within = within;
  s->bound = 0;
  s->dentry = (u64)dentry;
  s->mnt = (u64)((char *)mnt - bpf_core_field_offset(struct mount, mnt));
  s->len = at;
  s->depth = 0;
  s->root = VERDICT_OUTSIDE;
  s->anchor_ino = 0;
  s->anchor_dev = 0;
  s->cut = 0;
  s->steps = 0;
  walk_all(s);
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
  s->to_root = 0;
  u32 epoch = dk_shared.epoch;
  struct inode_key k;
  inode_key(&k, inode);
  walk(s, dentry, mnt, sizeof(struct dk_node), 0);
  if (s->root == VERDICT_OUTSIDE && s->bound) walk(s, dentry, mnt, sizeof(struct dk_node), WITHIN_ONLY);
  int root = force_root == VERDICT_OUTSIDE ? s->root : force_root;
  if (root == VERDICT_OUTSIDE && GET(inode, inode, i_nlink) > 1) root = linked_root(k);
  if (s->cut) {
    if (root == VERDICT_OUTSIDE) {
      verdict_set(&k, root, epoch);
      scratch_put(s);
      return root;
    }
    lost(DK_LOST_WALK);
  }
  struct dk_node *n = (void *)s->buf;
  u32 size = s->len & (2 * DK_NAMES_BYTES - 1);
  header(&n->h, DK_NODE, size, 0);
  if (s->cut) n->h.flags |= DK_F_CUT;
  if (!BPF_CORE_READ(dentry, d_hash.pprev)) n->h.flags |= DK_F_DELETED;
  inode_state(&n->inode, inode);
  n->anchor_dev = s->anchor_dev;
  n->root = root;
  n->anchor_ino = s->anchor_ino;
  n->names_len = size - sizeof(*n);
  n->depth = s->depth;
  send(s, size);
  if (!s->cut) verdict_set(&k, root, epoch);
  scratch_put(s);
  return root;
}

/* Where a touched inode lies, by the first of its names that the kernel remembers. One that has none any more says nothing: the
 * folder it was removed from does. */
__noinline int root_of_alias(u64 inode_ptr, u32 nlink) {
  struct inode *inode = (void *)inode_ptr;
  struct inode_key k;
  u32 epoch = dk_shared.epoch;
  if (!nlink) return VERDICT_OUTSIDE;
  if (!bpf_core_field_exists(inode->i_dentry)) return 0;
  struct hlist_node *alias = BPF_CORE_READ(inode, i_dentry.first);
  if (!alias) return 0;
  struct dentry *dentry = (void *)((char *)alias - bpf_core_field_offset(struct dentry, d_u.d_alias));
  if (BPF_CORE_READ(dentry, d_inode) != inode) return 0;
  inode_key(&k, inode);
  struct scratch *s = scratch_try();
  if (!s) return 0;
  s->to_root = 0;
  walk(s, dentry, NULL, sizeof(struct dk_node), WITHIN_FILES);
  s32 root = s->root;
  scratch_put(s);
  if (root == VERDICT_OUTSIDE && nlink > 1) root = linked_root(k);
  if (root == VERDICT_EXCLUDED && nlink > 1) return 0; /* saved in the state-dir by a second name */
  /* one inside is announced when a record needs it */
  if (root == VERDICT_OUTSIDE) verdict_set(&k, root, epoch);
  return root;
}

/* Does one of the inodes that a call touched lie in a watched folder, or may it? Global, so that it is verified once. */
__noinline int touched_inside(struct task_state *st) {
  if (!st) return 1;
  for (u32 i = 0; i < DK_TOUCH_MAX; i++) {
    if (i >= st->touched) break;
    struct inode_key k = {.dev = st->touch[i].dev, .gen = st->touch[i].gen, .ino = st->touch[i].ino};
    u32 links = st->touch[i].nlink;
    s32 root;
    if (!verdict_of(&k, &root)) root = root_of_alias(st->touched_ptr[i], links);
    if (root >= 0) return 1;
  }
  return 0;
}

/* Returns 1 for a file, whose own verdict is void now where it was outside; 0 for a folder. */
__noinline int verdict_void(struct task_state *st, u32 i) {
  if (!st || i >= DK_TOUCH_MAX) return 0;
  if (mode_is(st->touch[i].mode, S_IFDIR)) return 0;
  struct inode_key k = {.dev = st->touch[i].dev, .gen = st->touch[i].gen, .ino = st->touch[i].ino};
  struct verdict *v = bpf_map_lookup_elem(&inodes, &k);
  if (v && v->root == VERDICT_OUTSIDE) bpf_map_delete_elem(&inodes, &k);
  return 1;
}

/* After a rename or link: what was outside may lie inside now. A moved folder voids all such verdicts; a file only its own. */
__noinline int verdicts_void(struct task_state *st, u32 all) {
  if (!st) return 0;
  u32 files = 0;
  for (u32 i = 0; i < DK_TOUCH_MAX; i++) {
    if (i >= st->touched) break;
    files += verdict_void(st, i);
  }
  if (all || !files) __sync_fetch_and_add(&dk_shared.epoch, 1);
  return 0;
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
