/* Data calls: write and its relatives. The file is taken at sys_enter (a descriptor may be closed meanwhile), the payload at
 * sys_exit (the kernel has just read it, so it is resident; ret is the true count). */
#ifndef DK_DATA_H
#define DK_DATA_H
#include "walk.h"

#define PIECES_MAX 1200                 /* iovecs (UIO_MAXIOV 1024) plus chunk cuts */
#define DEV_NULL (1u << 20 | 3)        /* MKDEV(1, 3) */
#define CAPTURE_BYTES_MAX (16u << 20)   /* larger calls are read back while the task is stopped */

struct iovec {
  u64 base, len;
};

/* One buffer of a vector; a 32-bit program's are half as long. Returns how many bytes it takes. */
static __always_inline u32 read_vector(struct iovec *v, u64 user, bool is32) {
  if (!is32) {
    bpf_probe_read_user(v, sizeof(*v), (void *)user);
    return sizeof(*v);
  }
  u32 pair[2] = {};
  bpf_probe_read_user(pair, sizeof(pair), (void *)user);
  v->base = pair[0];
  v->len = pair[1];
  return sizeof(pair);
}

static __always_inline bool is_output(struct inode *inode, u32 dev, u64 ino) {
  return ino && ino == GET(inode, inode, i_ino) && dev == dev_of(inode);
}

/* Which of the command's streams this is: 1, 2 or 0. Shells swap descriptors (echo >&2 writes to 1), so the inode decides, and
 * the descriptor only where both streams are one inode. Of /dev/null everybody has one: there the descriptor must fit. */
static __always_inline u32 stream_of(struct inode *inode, u32 fd) {
  bool out = is_output(inode, dk_shared.out_dev[0], dk_shared.out_ino[0]);
  bool err = is_output(inode, dk_shared.out_dev[1], dk_shared.out_ino[1]);
  if (out && err) return fd;
  u32 stream = out ? 1 : err ? 2 : 0;
  if (GET(inode, inode, i_rdev) == DEV_NULL && stream != fd) return 0;
  return stream;
}

/* Does this call write at its offset although the file was opened to append? overlayfs does not pass RWF_NOAPPEND on (backing-file.c). */
static __always_inline bool not_appending(struct inode *inode, u32 flags) {
  return (flags & RWF_NOAPPEND) && GET(GET(inode, inode, i_sb), super_block, s_magic) != OVERLAYFS_SUPER_MAGIC;
}

/* sys_enter of a data call on descriptor fd; flags: RWF_*. */
static __always_inline void data_enter(struct task_state *st, struct task_struct *task, u32 fd, u32 flags) {
  st->file = 0;
  struct file *file = file_of(task, fd);
  if (!file) return;
  struct inode *inode = GET(file, file, f_inode);
  if (!inode) return;
  st->output = 0;
  if (st->in_tree && (fd == 1 || fd == 2)) st->output = stream_of(inode, fd);
  s32 root = VERDICT_OUTSIDE;
  u32 mode = GET(inode, inode, i_mode);
  st->fifo = 0;
  if (mode_is(mode, S_IFREG)) {
    root = verdict_of_file(file, inode);
  } else if (mode_is(mode, S_IFIFO) && dev_watched(dev_of(inode))) {
    root = verdict_of_file(file, inode);
    st->fifo = root >= 0;
  }
  if (root >= 0) st->output = 0;
  else if (!st->output) return;
  st->enter_ns = bpf_ktime_get_boot_ns();
  st->lock_seq = 0;
  st->has_pos = 0;
  st->inode = (u64)inode;
  st->append = (flags & RWF_APPEND) || ((GET(file, file, f_flags) & O_APPEND) && !not_appending(inode, flags));
  st->pos_before = st->append ? GET(inode, inode, i_size) : GET(file, file, f_pos);
  st->file = (u64)file;
}

/* One record of payload: header, fixed part, n bytes from user memory. */
static __always_inline int piece(struct dk_write *w, struct scratch *s, const void *ptr, u32 n) {
  u32 size = sizeof(*w) + n;
  w->payload_len = n;
  w->h.size = (size + 7) & ~7u;
  if (HAS_USER_DYNPTR) {
    struct bpf_dynptr d;
    if (bpf_ringbuf_reserve_dynptr(&ring, w->h.size, 0, &d)) {
      bpf_ringbuf_discard_dynptr(&d, BPF_RB_NO_WAKEUP);
      return -1;
    }
    if (n && bpf_probe_read_user_dynptr(&d, sizeof(*w), n, ptr)) {
      w->h.flags |= DK_F_NO_PAYLOAD;
      lost(DK_LOST_PAYLOAD);
    }
    bpf_dynptr_write(&d, 0, w, sizeof(*w), 0);
    bpf_ringbuf_submit_dynptr(&d, BPF_RB_NO_WAKEUP);
    return 0;
  }
  if (!s) return -1;
  if (n > DK_CHUNK_BYTES) return -1;
  if (n && bpf_probe_read_user(s->buf + sizeof(*w), n, ptr)) {
    w->h.flags |= DK_F_NO_PAYLOAD;
    lost(DK_LOST_PAYLOAD);
  }
  __builtin_memcpy(s->buf, w, sizeof(*w));
  size = (size + 7) & ~7u;
  if (size > SCRATCH_BYTES - 8) return -1;
  return bpf_ringbuf_output(&ring, s->buf, size, BPF_RB_NO_WAKEUP) ? -1 : 0;
}

/* One step over the iovecs of a call, cut at DK_CHUNK_BYTES; its state lives in scratch. Returns 1 when done, -1 on failure. Global,
 * as what follows: verified once, not at each place it is used. */
__noinline int piece_step(struct dk_write *w, struct scratch *s) {
  if (!w || !s) return -1;
  if (s->off >= s->total) return 1;
  if (!s->left) {
    struct iovec v = {};
    s->iov += read_vector(&v, s->iov, s->is32);
    s->ptr = v.base;
    s->left = v.len;
    if (!v.len) return 0;
  }
  u64 n = s->left, rest = s->total - s->off;
  if (n > rest) n = rest;
  if (n > DK_CHUNK_BYTES) n = DK_CHUNK_BYTES;
  w->payload_off = s->off;
  if (s->off + n >= s->total) w->h.flags |= DK_F_LAST;
  if (piece(w, s, (void *)s->ptr, n)) return -1;
  w->h.kind = DK_CHUNK;
  w->h.flags &= ~DK_F_NO_PAYLOAD;
  s->ptr += n;
  s->left -= n;
  s->off += n;
  return 0;
}

__noinline int pieces_part(struct dk_write *w, struct scratch *s) {
  if (!w || !s) return -1;
  for (int i = 0; i < PART_STEPS; i++) {
    int done = piece_step(w, s);
    if (done) return done;
  }
  return 0;
}

__noinline int pieces(struct dk_write *w, struct scratch *s) {
  if (!w || !s) return -1;
  for (int i = 0; i < PIECES_MAX / PART_STEPS; i++) {
    int done = pieces_part(w, s);
    if (done) return done < 0 ? -1 : 0;
  }
  return s->off < s->total ? -1 : 0;
}

/* Fills the fixed part; `offset` ~0 means: where the file position or the lock hook says. */
static __always_inline void write_fixed(struct dk_write *w, struct task_state *st, u64 ret, u64 offset) {
  struct file *file = (void *)st->file;
  struct inode *inode = (void *)st->inode;
  header(&w->h, st->output ? DK_OUTPUT : DK_WRITE, 0, st->enter_ns);
  if (!st->in_tree) w->h.flags |= DK_F_OUTSIDE;
  w->h.ret = ret;
  w->dev = dev_of(inode);
  w->gen = GET(inode, inode, i_generation);
  w->ino = GET(inode, inode, i_ino);
  w->size = GET(inode, inode, i_size);
  dk_mtime(inode, &w->mtime_sec, &w->mtime_nsec);
  w->mode = GET(inode, inode, i_mode);
  w->lock_seq = st->lock_seq;
  w->payload_off = 0;
  if (st->lock_seq && (st->has_pos == 1 || (st->has_pos == 2 && offset == ~0ull))) w->offset = st->lock_pos;
  else if (offset != ~0ull) w->offset = offset;
  else w->offset = GET(file, file, f_pos) - ret;
  st->implicit = offset == ~0ull;
}

static __always_inline bool ring_fits(u64 bytes) {
  u64 size = bpf_ringbuf_query(&ring, 1 /* BPF_RB_RING_SIZE */);
  return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) + bytes + (bytes >> 4) + 4096 < size;
}

static __always_inline void lost_data(u64 bytes) {
  lost(DK_LOST_RING);
  __sync_fetch_and_add(&dk_shared.lost[DK_LOST_BYTES], bytes);
}

#include "cache.h"

/* A call whose bytes are not in user memory, or do not fit: they are read back from the file. */
__noinline int send_readback(struct dk_write *w, struct task_state *st, u32 stop) {
  if (!w || !st) return 0;
  w->h.flags |= DK_F_NO_PAYLOAD | DK_F_LAST;
  if (stop && st->in_tree) w->h.flags |= DK_F_STOPPED;
  if (piece(w, NULL, NULL, 0)) {
    struct dk_write *r = bpf_ringbuf_reserve(&ring, sizeof(*w), 0);
    if (!r) {
      lost_data(w->h.ret);
      return 0;
    }
    *r = *w;
    r->payload_len = 0;
    r->h.size = sizeof(*w);
    bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
  }
  if (stop && st->in_tree) stop_current(2);
  return 0;
}

static __always_inline u64 size_of(struct task_state *st) {
  struct inode *inode = (void *)st->inode;
  return GET(inode, inode, i_size);
}

static __always_inline u64 pwrite_offset(struct task_state *st, u64 pos, u64 ret) {
  struct file *file = (void *)st->file;
  return GET(file, file, f_flags) & O_APPEND ? size_of(st) - ret : pos;
}

/* What a copying call read from: a descriptor, and where the user's own position of it stands (0: the file position). */
struct copy_source {
  u32 fd;
  u64 position;
};

static __always_inline struct copy_source copy_source(struct task_state *st, u32 class) {
  struct copy_source from = {.fd = st->arg[0], .position = st->arg[1]};
  if (class == C_SENDFILE) from.fd = st->arg[1], from.position = st->arg[2];
  return from;
}

/* struct file_clone_range (include/uapi/linux/fs.h) */
struct clone_range {
  s64 src_fd;
  u64 src_offset, src_length, dest_offset;
};

/* A whole or partial clone: where it read and wrote, which the call itself does not return. */
static __always_inline bool clone_range(struct clone_range *range, struct task_state *st) {
  range->src_fd = (s32)st->arg[2];
  range->src_offset = range->src_length = range->dest_offset = 0;
  if ((u32)st->arg[1] == FICLONE) return true;
  return !bpf_probe_read_user(range, sizeof(*range), (void *)st->arg[2]);
}

/* COPY, when the source is a watched file: its content is known there. Returns false when it is not (nothing is sent). `offset`: where a
 * clone reads; ~0: no clone, the position after the call tells. */
__noinline int copy_send(struct dk_write *w, struct task_state *st, u32 fd, u64 position, u64 offset) {
  if (!w || !st) return true;
  bool clone = offset != ~0ull;
  struct task_struct *task = bpf_get_current_task_btf();
  u64 inode_ptr = st->inode;
  struct file *file = file_of(task, fd);
  if (!file) return false;
  struct inode *inode = GET(file, file, f_inode);
  if (!inode || !mode_is(GET(inode, inode, i_mode), S_IFREG) || verdict_of_file(file, inode) < 0) return false;
  u64 size = GET(inode, inode, i_size);
  if (clone && !w->h.ret) w->h.ret = size > offset ? size - offset : 0;
  u64 after = GET(file, file, f_pos);
  if (position && st->short_position) after = 0, bpf_probe_read_user(&after, 4, (void *)position);
  else if (position) bpf_probe_read_user(&after, sizeof(after), (void *)position);
  if (!clone) offset = after - w->h.ret;
  /* sendfile within one file reads what it has just written where the ranges overlap */
  if ((u64)inode == inode_ptr && offset < w->offset + w->h.ret && w->offset < offset + w->h.ret) return false;
  struct dk_copy *o = bpf_ringbuf_reserve(&ring, sizeof(*o), 0);
  if (!o) {
    lost_data(w->h.ret);
    return true;
  }
  o->src_size = size;
  w->h.kind = DK_COPY;
  w->h.size = sizeof(*o);
  w->payload_len = 0;
  o->w = *w;
  o->src_dev = dev_of(inode);
  o->src_gen = GET(inode, inode, i_generation);
  o->src_ino = GET(inode, inode, i_ino);
  o->src_offset = offset;
  bpf_ringbuf_submit(o, BPF_RB_NO_WAKEUP);
  return true;
}

/* Was the source of a copy changed while it was copied, or within `slack` ns before, as far as its ctime can tell? Then no reference to it
 * says what the bytes were. */
static __always_inline bool source_is_fresh(struct task_state *st, u32 fd, u64 slack) {
  struct file *file = file_of(bpf_get_current_task_btf(), fd);
  if (!file) return false;
  u64 took = bpf_ktime_get_boot_ns() - st->enter_ns;
  return dk_ctime_ns(GET(file, file, f_inode)) + took + slack >= dk_ctime_ns((void *)st->inode);
}

/* Bytes that never were in user memory: by reference to a watched source, else read back. Of a pipe nothing is left to compare with,
 * so the task is stopped until that is done; stopping every `cp` of a file from elsewhere would be noticed, and cost more than it. */
__noinline int copy_exit(struct dk_write *w, struct task_state *st, u32 class) {
  if (!w || !st) return 0;
  struct task_struct *task = bpf_get_current_task_btf();
  bool stop = false;
  if (st->output) return 0;
  if (class == C_CLONE) {
    struct clone_range range;
    if (!clone_range(&range, st)) {
      lost_data(0);
      return 0;
    }
    w->offset = range.dest_offset;
    w->h.ret = range.src_length;
    if (copy_send(w, st, range.src_fd, 0, range.src_offset)) return 0;
    if (!w->h.ret) w->h.ret = w->size > w->offset ? w->size - w->offset : 0;
  } else {
    struct copy_source from = copy_source(st, class);
    u64 slack = w->h.ret <= COPY_CACHED_BYTES ? FRESH_SMALL_NS : FRESH_LARGE_NS;
    bool cached = (!st->lock_seq && w->h.ret <= COPY_UNORDERED_BYTES) || source_is_fresh(st, from.fd, slack);
    if (cached && cache_send(w, st)) return 0;
    if (copy_send(w, st, from.fd, from.position, ~0ull)) return 0;
    if (cache_send(w, st)) return 0;
    struct file *file = file_of(task, from.fd);
    if (!file) return send_readback(w, st, true);
    struct inode *inode = GET(file, file, f_inode);
    stop = (u64)inode == st->inode || !mode_is(GET(inode, inode, i_mode), S_IFREG);
  }
  return send_readback(w, st, stop);
}

/* The bytes of a call: from one buffer, or from a vector of them. */
__noinline int payload_send(struct dk_write *w, struct task_state *st, u64 ptr, s64 ret, u32 single) {
  if (!w || !st) return 0;
  if (ret > CAPTURE_BYTES_MAX || !ring_fits(ret)) return send_readback(w, st, true);
  if (single && ret <= DK_CHUNK_BYTES && HAS_USER_DYNPTR) {
    w->h.flags |= DK_F_LAST;
    if (piece(w, NULL, (void *)ptr, ret)) lost_data(ret);
    return 0;
  }
  struct scratch *s = scratch_try();
  if (!s) return send_readback(w, st, true);
  s->off = 0;
  s->total = ret;
  s->iov = ptr;
  s->ptr = ptr;
  s->left = single ? ret : 0;
  s->is32 = st->is32;
  if (pieces(w, s)) lost_data(ret);
  scratch_put(s);
  return 0;
}

static __always_inline void data_exit(struct task_state *st, u32 class, u32 nr, s64 ret) {
  struct dk_write *w = &st->write;
  u64 offset = ~0ull, ptr = st->arg[1];
  if (class == C_PWRITE || class == C_PWRITEV) offset = pwrite_offset(st, st->arg[3], ret);
  if (class == C_PWRITEV2 && (s64)st->arg[3] == -1 && (st->arg[5] & RWF_APPEND)) {
    struct file *file = (void *)st->file;
    offset = GET(file, file, f_pos) - ret; /* where it went, not where the position was */
  }
  if (class == C_PWRITEV2 && (s64)st->arg[3] != -1) {
    u32 rwf = st->arg[5];
    offset = rwf & RWF_APPEND                             ? size_of(st) - ret
             : not_appending((void *)st->inode, rwf) ? st->arg[3]
                                                          : pwrite_offset(st, st->arg[3], ret);
  }
  if (class == C_COPYRANGE || class == C_SPLICE) {
    u64 *user = (void *)st->arg[3], after = 0;
    if (user && !bpf_probe_read_user(&after, sizeof(after), user)) offset = after - ret;
  }
  write_fixed(w, st, ret, offset);
  w->h.nr = nr;
  w->h.fd = class == C_SPLICE || class == C_COPYRANGE ? st->arg[2] : st->arg[0];
  if (st->output) w->h.fd = st->output;
  if (class >= C_SENDFILE) {
    copy_exit(w, st, class);
    return;
  }
  bool single = class == C_WRITE || class == C_PWRITE;
  if (single && (u64)ret < st->arg[2] && short_send(w, st, st->arg[2])) return;
  if (!st->lock_seq && cache_send(w, st)) return; /* nobody knows its place among others */
  payload_send(w, st, ptr, ret, single);
}
#endif
