/* libaio: io_submit takes many writes at once; each is told as one. */
#ifndef DK_AIO_H
#define DK_AIO_H
#include "data.h"

#define IOCB_CMD_PWRITE 1
#define IOCB_CMD_PWRITEV 8
#define AIO_VECTORS_MAX 32
#define AIO_CALLS_MAX 256 /* iocbs of one io_submit that are looked at; the rest is a loss */

/* Adds to st->iov_bytes what a vector of buffers holds. Global, as what follows: verified once, not at each place it is used. */
__noinline int vector_add(struct task_state *st, u64 user) {
  struct iovec v = {};
  if (!st) return 0;
  u32 bytes = read_vector(&v, user, st->is32);
  st->iov_bytes += v.len;
  return bytes;
}

__noinline int vectors_bytes(struct task_state *st, u64 user, u64 count) {
  if (!st) return 0;
  for (u32 i = 0; i < AIO_VECTORS_MAX; i++) {
    if (i >= count) break;
    user += vector_add(st, user);
  }
  return 0;
}

/* One asynchronous write: its buffer must stay as it is until it is done, so it is told when it is submitted. */
__noinline int aio_write(struct task_state *st, u64 user) {
  if (!st) return 0;
  struct iocb *cb = &st->iocb;
  struct dk_write *w = &st->write;
  if (bpf_probe_read_user(cb, sizeof(*cb), (void *)user)) {
    lost(DK_LOST_PAYLOAD);
    return 0;
  }
  if (cb->op != IOCB_CMD_PWRITE && cb->op != IOCB_CMD_PWRITEV) return 0;
  struct file *file = file_of(bpf_get_current_task_btf(), cb->fd);
  if (!file) return 0;
  struct inode *inode = GET(file, file, f_inode);
  if (!mode_is(GET(inode, inode, i_mode), S_IFREG) || verdict_of_file(file, inode) < 0) return 0;
  bool single = cb->op == IOCB_CMD_PWRITE;
  st->iov_bytes = single ? cb->bytes : 0;
  if (!single) vectors_bytes(st, cb->buf, cb->bytes);
  u64 bytes = st->iov_bytes;
  st->file = (u64)file;
  st->inode = (u64)inode;
  st->output = 0;
  u64 offset = cb->offset;
  if ((cb->rw_flags & RWF_APPEND) || (GET(file, file, f_flags) & O_APPEND)) offset = size_of(st) - bytes;
  u64 seq = st->lock_seq;
  st->lock_seq = 0; /* it is the whole call's: sent as SKIP */
  write_fixed(w, st, bytes, offset);
  st->lock_seq = seq;
  w->h.nr = NR_IO_SUBMIT;
  w->h.fd = cb->fd;
  if (bytes) payload_send(w, st, cb->buf, bytes, single);
  st->file = 0;
  return 0;
}

/* The i-th of a list of pointers to iocbs. */
__noinline int aio_one(struct task_state *st, u64 list, u32 i) {
  u64 user = 0;
  if (!st) return 0;
  u32 bytes = st->is32 ? 4 : 8;
  if (!bpf_probe_read_user(&user, bytes, (void *)(list + i * bytes))) aio_write(st, user);
  return 0;
}

__noinline int aio_part(struct task_state *st, u64 list, u32 first, u32 count) {
  for (u32 i = 0; i < PART_STEPS; i++) {
    if (first + i >= count) break;
    aio_one(st, list, first + i);
  }
  return 0;
}

/* io_submit took the first `count` of its iocbs. */
static __always_inline void aio_exit(struct task_state *st, u64 list, u64 count) {
  if (count > AIO_CALLS_MAX) lost(DK_LOST_RING);
  for (u32 i = 0; i < AIO_CALLS_MAX / PART_STEPS; i++) {
    if (i * PART_STEPS >= count) break;
    aio_part(st, list, i * PART_STEPS, count);
  }
}
#endif
