/* Files mapped shared and writable. A store through such a mapping is no system call: the recorder compares the file with what it
 * knows of it, at points where the task stands still. This file knows which process maps which watched file where (also read-only
 * while it may become writable), sends MMAP when a mapping becomes writable and SYNC at the end of a call after which the file must
 * be exact, and stops the task there until it was compared. It costs nothing while dk_shared.mapped is 0. */
#ifndef DK_MAPPED_H
#define DK_MAPPED_H
#include "walk.h"

#define MAPPINGS_MAX 16            /* of one process; a process with more has MAPPINGS_OVER: each of its unmaps may be of any file */
#define MAPPINGS_OVER (1u << 31)
#define MAPPED_PROCESSES_MAX 4096

/* Kernels below 6.2 refuse a loop whose end is a call right before its head ("back-edge"). */
#define LOOP_STEP asm volatile("r0 = 0" ::: "r0")

struct mapping_key {
  u32 tgid, slot;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MAPPED_PROCESSES_MAX * MAPPINGS_MAX);
  __type(key, struct mapping_key);
  __type(value, struct mapping);
} mappings SEC(".maps");

/* Slots in use, a bit each, of processes that have mappings. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MAPPED_PROCESSES_MAX);
  __type(key, u32);
  __type(value, u32);
} mapping_slots SEC(".maps");

/* Writable mappings of each file. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MAPPED_PROCESSES_MAX);
  __type(key, struct inode_key);
  __type(value, u64);
} mapped_inodes SEC(".maps");

static __always_inline bool is_mapped(struct inode_key *k) { return bpf_map_lookup_elem(&mapped_inodes, k) != NULL; }

static __always_inline void count_mapping(struct inode_key *k, s64 by) {
  u64 *count = bpf_map_lookup_elem(&mapped_inodes, k), one = 1;
  if (!count) {
    if (by > 0 && bpf_map_update_elem(&mapped_inodes, k, &one, BPF_ANY)) lost(DK_LOST_INODE);
    return;
  }
  if (__sync_fetch_and_add(count, by) + by == 0) bpf_map_delete_elem(&mapped_inodes, k);
}

/* The process has more than there are slots: this counts as one mapping, until the process ends. */
static __always_inline void mappings_over(u32 *used) {
  if (!(__sync_fetch_and_or(used, MAPPINGS_OVER) & MAPPINGS_OVER)) __sync_fetch_and_add(&dk_shared.mapped, 1);
}

/* Takes a slot of the process for `from`. */
__noinline int mapping_add(u32 tgid, struct mapping *from) {
  if (!from) return -1;
  struct mapping copy = *from, *m = &copy; /* on the stack: older kernels take no other memory of ours for a map's key and value */
  u32 *used = bpf_map_lookup_elem(&mapping_slots, &tgid), none = 0;
  if (!used) {
    bpf_map_update_elem(&mapping_slots, &tgid, &none, BPF_NOEXIST);
    used = bpf_map_lookup_elem(&mapping_slots, &tgid);
    if (!used) return -1;
  }
  for (u32 i = 0; i < MAPPINGS_MAX; i++) {
    u32 bit = 1u << i;
    if ((*used & bit) || (__sync_fetch_and_or(used, bit) & bit)) continue;
    struct mapping_key k = {.tgid = tgid, .slot = i};
    bpf_map_update_elem(&mappings, &k, m, BPF_ANY);
    if (m->writable) count_mapping(&m->inode, 1);
    __sync_fetch_and_add(&dk_shared.mapped, 1);
    return 0;
  }
  mappings_over(used);
  if (m->writable) count_mapping(&m->inode, 1);
  return -1;
}

static __always_inline void mapping_drop(struct mapping_key *k, struct mapping *m, u32 *used) {
  if (m->writable) count_mapping(&m->inode, -1);
  bpf_map_delete_elem(&mappings, k);
  __sync_fetch_and_and(used, ~(1u << k->slot));
  __sync_fetch_and_add(&dk_shared.mapped, -1ull);
}

/* What happens to a range of addresses. */
enum range_do { R_LOOK, R_UNMAP, R_MOVE, R_WRITABLE, R_DROP };

/* One record of a sync point or a new mapping; the task stops before its next instruction until the recorder has handled it. */
static __always_inline void send_mapped(struct task_state *st, struct mapping *m, u32 kind, s64 ret) {
  struct dk_mmap *o = bpf_ringbuf_reserve(&ring, sizeof(*o), 0);
  if (!o) return lost(DK_LOST_RING);
  header(&o->h, kind, sizeof(*o), st->enter_ns);
  o->h.ret = ret;
  o->h.nr = st->map_nr;
  o->h.fd = st->map_fd;
  __builtin_memset(&o->inode, 0, sizeof(o->inode));
  o->inode.dev = m->inode.dev;
  o->inode.gen = m->inode.gen;
  o->inode.ino = m->inode.ino;
  o->offset = m->offset;
  o->length = m->end - m->start;
  if (!st->in_tree) {
    o->h.flags |= DK_F_OUTSIDE;
  } else if (!bpf_send_signal(SIGSTOP)) {
    o->h.flags |= DK_F_STOPPED;
    __sync_fetch_and_add(&dk_shared.stops, 1);
  }
  bpf_ringbuf_submit(o, BPF_RB_NO_WAKEUP);
}

/* mremap. What stays where it was (a part, or all of it where the call only adds another view) keeps its slot, the rest takes a new one. */
__noinline int range_move(struct task_state *st, u32 tgid, u32 slot) {
  if (!st) return 0;
  struct mapping_key k = {.tgid = tgid, .slot = slot & (MAPPINGS_MAX - 1)};
  struct mapping *m = bpf_map_lookup_elem(&mappings, &k);
  if (!m) return 0;
  bool stays = !st->arg[1] || (st->arg[3] & MREMAP_DONTUNMAP);
  bool whole = m->start >= st->map_start && m->end <= st->map_end;
  if (whole && !stays) {
    m->start = st->map_to;
    m->end = st->map_to_end;
    return 0;
  }
  if (st->map_to == st->map_start) { /* grown or shrunk in its place */
    if (m->end < st->map_to_end) m->end = st->map_to_end;
    return 0;
  }
  struct mapping moved = *m;
  moved.offset += st->map_start > m->start ? st->map_start - m->start : 0;
  moved.start = st->map_to;
  moved.end = st->map_to_end;
  if (!stays && m->start >= st->map_start) {
    m->offset += st->map_end - m->start;
    m->start = st->map_end;
  } else if (!stays && m->end <= st->map_end) {
    m->end = st->map_start;
  }
  mapping_add(tgid, &moved);
  return 0;
}

/* One mapping of mapping_range. Global, as what follows: verified once, not at each place it is used. */
__noinline int range_step(struct task_state *st, u32 tgid, u32 slot, u32 *used, u32 how) {
  if (!st || !used) return 0;
  struct mapping_key key = {.tgid = tgid, .slot = slot & (MAPPINGS_MAX - 1)}, *k = &key;
  struct mapping *m = bpf_map_lookup_elem(&mappings, k);
  if (!m || (how != R_DROP && (m->end <= st->map_start || m->start >= st->map_end))) return 0;
  if (how == R_WRITABLE) {
    if (m->writable) return 0;
    m->writable = 1;
    count_mapping(&m->inode, 1);
    send_mapped(st, m, DK_MMAP, 0);
    return 0;
  }
  if (m->writable) {
    if (!st->map_hits++) st->map_hit = m->inode;
    else if (st->map_hit.ino != m->inode.ino) st->map_hit.ino = 0;
  }
  if (how == R_MOVE) {
    range_move(st, tgid, slot);
  } else if (how == R_DROP || (how == R_UNMAP && m->start >= st->map_start && m->end <= st->map_end)) {
    mapping_drop(k, m, used);
  } else if (how == R_UNMAP && m->start >= st->map_start) {
    m->offset += st->map_end - m->start;
    m->start = st->map_end;
  } else if (how == R_UNMAP && m->end <= st->map_end) {
    m->end = st->map_start;
  }
  return 0;
}

/* Works on the process's mappings that overlap st->map_start..map_end. Returns how many writable ones there were; st->map_hit is the
 * file of the first, ino 0 if there are several files. */
__noinline int mapping_range(struct task_state *st, u32 tgid, u32 how) {
  if (!st) return 0;
  u32 *used = bpf_map_lookup_elem(&mapping_slots, &tgid);
  if (!used) return 0;
  st->map_hits = 0;
  if ((*used & MAPPINGS_OVER) && how != R_DROP) {
    st->map_hits = 1;
    st->map_hit.ino = 0;
  }
  for (u32 i = 0; i < MAPPINGS_MAX; i++) {
    if (*used & (1u << i)) range_step(st, tgid, i, used, how);
    LOOP_STEP;
  }
  if (how == R_DROP) {
    if (*used & MAPPINGS_OVER) __sync_fetch_and_add(&dk_shared.mapped, -1ull);
    bpf_map_delete_elem(&mapping_slots, &tgid);
  }
  return st->map_hits;
}

/* Is the mapping in this slot a writable one of the file of st->map_hit? */
__noinline int mapping_hits(struct task_state *st, u32 tgid, u32 slot) {
  struct mapping_key k = {.tgid = tgid, .slot = slot};
  struct mapping *m = bpf_map_lookup_elem(&mappings, &k);
  return st && m && m->writable && m->inode.ino == st->map_hit.ino && m->inode.dev == st->map_hit.dev;
}

/* Does the process have a writable mapping of the file of st->map_hit? (ino 0: of any) */
__noinline int mapping_left(struct task_state *st, u32 tgid) {
  if (!st) return 0;
  u32 *used = bpf_map_lookup_elem(&mapping_slots, &tgid);
  if (!used) return 0;
  if ((*used & MAPPINGS_OVER) || !st->map_hit.ino) return 1;
  for (u32 i = 0; i < MAPPINGS_MAX; i++) {
    if ((*used & (1u << i)) && mapping_hits(st, tgid, i)) return 1;
    LOOP_STEP;
  }
  return 0;
}

/* A child has what its parent has mapped. */
__noinline int mappings_fork(u32 parent, u32 child) {
  u32 *used = bpf_map_lookup_elem(&mapping_slots, &parent);
  if (!used) return 0;
  for (u32 i = 0; i < MAPPINGS_MAX; i++) {
    struct mapping_key k = {.tgid = parent, .slot = i};
    struct mapping *m = *used & (1u << i) ? bpf_map_lookup_elem(&mappings, &k) : NULL;
    if (m) mapping_add(child, m);
    LOOP_STEP;
  }
  if (*used & MAPPINGS_OVER) {
    u32 none = 0;
    bpf_map_update_elem(&mapping_slots, &child, &none, BPF_NOEXIST);
    u32 *its = bpf_map_lookup_elem(&mapping_slots, &child);
    if (its) mappings_over(its);
  }
  return 0;
}

/* sys_enter of a call that may be a sync point. Returns false when it cannot matter. */
static __always_inline bool sync_enter(struct task_state *st, struct task_struct *task, u32 fd, u32 class) {
  st->map_hits = 0;
  if (class != C_SYNC_FD) {
    u32 tgid = task->tgid;
    return bpf_map_lookup_elem(&mapping_slots, &tgid) != NULL;
  }
  struct file *file = file_of(task, fd);
  if (!file) return false;
  inode_key(&st->map_hit, BPF_CORE_READ(file, f_inode));
  if (!is_mapped(&st->map_hit)) return false;
  st->map_hits = 1;
  return true;
}

static __always_inline void sync_send(struct task_state *st, s64 ret) {
  __builtin_memset(&st->map_new, 0, sizeof(st->map_new));
  st->map_new.inode = st->map_hit;
  send_mapped(st, &st->map_new, DK_SYNC, ret);
}

/* sys_exit of it. */
__noinline int sync_exit(struct task_state *st, u32 class, s64 ret) {
  if (!st) return 0;
  u32 tgid = bpf_get_current_pid_tgid() >> 32;
  if (class == C_SYNC_FD) {
    sync_send(st, 1);
    return 0;
  }
  if (ret < 0) return 0;
  st->map_start = st->arg[0];
  st->map_end = st->map_start + st->arg[1];
  if (class == C_MREMAP) {
    if (!st->arg[1]) st->map_end++; /* a second view of what is mapped there */
    st->map_to = ret;
    st->map_to_end = ret + st->arg[2];
    if (mapping_range(st, tgid, R_MOVE)) sync_send(st, 1);
  } else if (class == C_MPROTECT) {
    if (st->arg[2] & PROT_WRITE) mapping_range(st, tgid, R_WRITABLE);
  } else if (class == C_MSYNC) {
    if (mapping_range(st, tgid, R_LOOK)) sync_send(st, 1);
  } else if (mapping_range(st, tgid, R_UNMAP)) {
    sync_send(st, mapping_left(st, tgid));
  }
  return 0;
}

/* sys_exit of mmap. */
__noinline int mmap_exit(struct task_state *st, s64 ret) {
  if (!st) return 0;
  u64 flags = st->arg[3];
  u32 type = flags & MAP_TYPE, tgid = bpf_get_current_pid_tgid() >> 32;
  if (ret < 0 && ret > -4096) return 0;
  if ((flags & MAP_FIXED) && dk_shared.mapped) {
    st->map_start = ret;
    st->map_end = ret + st->arg[1];
    if (mapping_range(st, tgid, R_UNMAP)) sync_send(st, mapping_left(st, tgid));
  }
  if (type != MAP_SHARED && type != MAP_SHARED_VALIDATE) return 0;
  struct file *file = file_of(bpf_get_current_task_btf(), st->arg[4]);
  if (!file || !(BPF_CORE_READ(file, f_mode) & FMODE_WRITE)) return 0;
  struct inode *inode = BPF_CORE_READ(file, f_inode);
  if (!mode_is(BPF_CORE_READ(inode, i_mode), S_IFREG) || verdict_of_file(file, inode) < 0) return 0;
  struct mapping *m = &st->map_new;
  m->start = ret;
  m->end = ret + st->arg[1];
  m->offset = st->arg[5];
  m->writable = (st->arg[2] & PROT_WRITE) != 0;
  inode_key(&m->inode, inode);
  mapping_add(tgid, m);
  if (!m->writable) return 0;
  st->map_fd = st->arg[4];
  send_mapped(st, m, DK_MMAP, ret);
  return 0;
}

/* Did the call that ends here change a file that is mapped? Then the task waits until the file was compared. */
__noinline int changed_mapped(struct task_state *st, u32 data) {
  if (!st) return false;
  struct inode_key k;
  if (data) {
    inode_key(&k, (void *)st->inode);
    return is_mapped(&k);
  }
  for (u32 i = 0; i < DK_TOUCH_MAX; i++) {
    if (i >= st->touched) break;
    k.dev = st->touch[i].dev;
    k.gen = st->touch[i].gen;
    k.ino = st->touch[i].ino;
    if (is_mapped(&k)) return true;
  }
  return false;
}
#endif
