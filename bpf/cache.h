/* What a file holds when a call ends, taken from the page cache: the bytes of a write whose place among others nobody knows, and those
 * that never were in user memory (splice, sendfile, copy_file_range). A call that changes them later has begun before they are taken, or
 * comes later in the order, so a moment at which no call runs is told exactly.
 * The kernel's direct map is linear: a page's bytes lie at dk_shared.page_base + 64 * (struct page *). The recorder finds the constant
 * with a page of its own (page_base_find); where it cannot, it is 0 and nothing is taken. */
#ifndef DK_CACHE_H
#define DK_CACHE_H
#include "state.h"

#define PAGE_BITS 12
#define PAGE_BYTES (1 << PAGE_BITS)
#define PAGES_TO_BYTES (PAGE_BYTES / 64) /* struct page has 64 bytes */
#define GIB_BITS 30
#define MEMORY_GIB_MAX 4096
#define FOLIO_AWAY 1
#define XA_LEVELS_MAX 11 /* 6 bits of the index each */
#define COPY_CACHED_BYTES (64 << 10) /* longer copies are told by reference, unless the source is changed at the same time */
#define FRESH_SMALL_NS 2000000000    /* up to this long before the copy */
#define FRESH_LARGE_NS 20000000      /* and for longer copies: two ticks of the slowest clock of ctimes */
#define COPY_UNORDERED_BYTES (1 << 20) /* the same where nobody knows their place */

/* One level down from s->entry towards a page index. Returns 1 at the end, -1 when the index lies outside. */
__noinline int folio_step(struct scratch *s, u64 index, u32 is_top) {
  if (!s) return -1;
  u64 entry = s->entry;
  if ((entry & 3) != 2 || entry < PAGE_BYTES) return 1;
  struct xa_node *node = (void *)(entry - 2);
  u64 at = index >> BPF_CORE_READ(node, shift);
  if (is_top && at > 63) return -1;
  bpf_probe_read_kernel(&entry, sizeof(entry), &node->slots[at & 63]);
  if ((entry & 3) == 2 && entry < PAGE_BYTES) /* part of a larger folio: its first slot */
    bpf_probe_read_kernel(&entry, sizeof(entry), &node->slots[(entry >> 2) & 63]);
  s->entry = entry;
  return 0;
}

/* The folio at a page index (lib/xarray.c): bits 0 and 1 say what an entry is. 0: none; FOLIO_AWAY: swapped out, or being moved. */
static __always_inline u64 folio_at(struct scratch *s, struct address_space *mapping, u64 index) {
  s->entry = (u64)BPF_CORE_READ(mapping, i_pages.xa_head);
  /* without a node there is the first page alone */
  if (index && ((s->entry & 3) != 2 || s->entry < PAGE_BYTES)) return s->entry & 3 ? FOLIO_AWAY : 0;
  for (u32 i = 0; i < XA_LEVELS_MAX; i++) {
    int done = folio_step(s, index, i == 0);
    if (done < 0) return 0;
    if (done) break;
  }
  return s->entry & 3 ? FOLIO_AWAY : s->entry;
}

/* Is a page that the page cache does not have a hole? Only tmpfs keeps its files there and nowhere else. */
static __always_inline bool absent_is_zero(struct inode *inode) {
  return GET(GET(inode, inode, i_sb), super_block, s_magic) == TMPFS_MAGIC;
}

/* Adds up to a page of the file to s->buf; s->off counts from s->ptr, the place of the call's bytes in the file. Returns 1 when there
 * is room for no more, or no more to come, -1 when the page is not there. */
__noinline int cache_piece(struct scratch *s, u64 inode_ptr) {
  if (!s || !bpf_core_type_exists(struct folio)) return -1;
  struct inode *inode = (void *)inode_ptr;
  struct address_space *mapping = GET(inode, inode, i_mapping);
  u64 at = s->ptr + s->off, in_page = at & (PAGE_BYTES - 1), n = PAGE_BYTES - in_page, rest = s->total - s->off;
  u64 to = s->len;
  if (s->off >= s->total || to > sizeof(struct dk_write) + DK_CHUNK_BYTES - PAGE_BYTES) return 1;
  if (n > rest) n = rest;
  struct folio *folio = (void *)folio_at(s, mapping, at >> PAGE_BITS);
  u64 page = 0;
  bool is_hole = !folio && absent_is_zero(inode);
  if ((!folio && !is_hole) || (u64)folio == FOLIO_AWAY) return -1;
  if (folio) {
    u64 index = BPF_CORE_READ(folio, index);
    page = dk_shared.page_base + (u64)folio * PAGES_TO_BYTES + (((at >> PAGE_BITS) - index) << PAGE_BITS);
  }
  /* kernels below 6.12 do not follow how these came here: the bounds must stand here */
  __asm__ volatile("" : "+r"(n), "+r"(to));
  if (n > PAGE_BYTES) return -1;
  to &= DK_CHUNK_BYTES - 1; /* it is less, see above */
  /* from address 0 nothing can be read: the helper leaves zeros then (kernel/trace/bpf_trace.c), which is what a hole holds */
  long failed = bpf_probe_read_kernel(s->buf + to, n, (void *)(is_hole ? 0 : page + in_page));
  if (failed && !is_hole) return -1;
  if (!is_hole && BPF_CORE_READ(folio, mapping) != mapping) return 0; /* it went meanwhile: looked up again */
  s->len = to + n;
  s->off += n;
  return 0;
}

__noinline int cache_part(struct scratch *s, u64 inode_ptr) {
  if (!s) return -1;
  for (u32 i = 0; i < PART_STEPS; i++) {
    int done = cache_piece(s, inode_ptr);
    if (done) return done;
  }
  return 0;
}

/* Whose pages hold the file's bytes: of overlayfs those of the file below. */
static __always_inline u64 cached_inode(struct task_state *st) {
  struct inode *inode = (void *)st->inode;
  if (GET(GET(inode, inode, i_sb), super_block, s_magic) != OVERLAYFS_SUPER_MAGIC) return st->inode;
  if (!bpf_core_type_exists(struct ovl_inode)) return 0;
  struct ovl_inode *ovl = (void *)((char *)inode - bpf_core_field_offset(struct ovl_inode, vfs_inode));
  return (u64)BPF_CORE_READ(ovl, __upperdentry, d_inode);
}

static __always_inline bool can_be_cached(struct task_state *st, u64 bytes) {
  struct file *file = (void *)st->file;
  return dk_shared.page_base && bytes && bytes <= CAPTURE_BYTES_MAX && !st->output &&
         !(GET(file, file, f_flags) & O_DIRECT) && ring_fits(bytes);
}

/* Without a hook inside the lock the position at the end of a call is that of the next one, if another task writes by the same
 * description: what both writes may have hit is taken. */
static __always_inline void widen(struct dk_write *w, struct task_state *st) {
  u64 start = st->pos_before, end = start + w->h.ret, stop = w->offset + w->h.ret;
  if (start > w->offset) start = w->offset;
  if (end < stop) end = stop;
  if (end - start > DK_CHUNK_BYTES) return;
  w->offset = start;
  w->h.ret = end - start;
}

/* One record with as many of the bytes as have room and are there. Returns 1 after the last. */
__noinline int cache_record(struct dk_write *w, struct scratch *s, u64 inode_ptr) {
  if (!w || !s) return 1;
  u64 start = s->off;
  int done = s->total ? 0 : 1;
  s->len = sizeof(*w);
  for (u32 i = 0; i < DK_CHUNK_BYTES / PAGE_BYTES / PART_STEPS + 1; i++) {
    if (done) break;
    done = cache_part(s, inode_ptr);
  }
  if (done < 0 && s->off == start) {
    if (!start) return -1; /* nothing was sent */
    w->h.flags |= DK_F_NO_PAYLOAD; /* the rest is read back */
    s->off = s->total;
  }
  w->payload_off = start;
  w->payload_len = s->len - sizeof(*w);
  if (s->off >= s->total) w->h.flags |= DK_F_LAST;
  w->h.size = (s->len + 7) & ~7u;
  __builtin_memcpy(s->buf, w, sizeof(*w));
  if (send(s, s->len)) __sync_fetch_and_add(&dk_shared.lost[DK_LOST_BYTES], w->payload_len);
  w->h.kind = DK_CHUNK;
  return s->off >= s->total;
}

/* Sends a WRITE with the bytes [w->offset, w->offset + w->h.ret) of the file as they are now. Returns 0 when it cannot. */
__noinline int cache_send(struct dk_write *w, struct task_state *st) {
  if (!w || !st || !can_be_cached(st, w->h.ret)) return 0;
  u64 inode_ptr = cached_inode(st);
  struct inode *inode = (void *)st->inode;
  struct scratch *s = inode_ptr ? scratch_try() : NULL;
  if (!s) return 0;
  u64 offset = w->offset, ret = w->h.ret, seq = st->lock_seq;
  /* before the bytes are taken: what changes them later has a higher number */
  if (!seq) {
    if (st->implicit) widen(w, st);
    st->lock_seq = __sync_fetch_and_add(&dk_shared.lock_counter, 1) + 1;
  }
  w->lock_seq = st->lock_seq;
  w->size = GET(inode, inode, i_size);
  s->ptr = w->offset;
  s->off = 0;
  /* what another task has cut off meanwhile is not there */
  if (w->size <= w->offset) w->h.ret = 0;
  else if (w->h.ret > w->size - w->offset) w->h.ret = w->size - w->offset;
  s->total = w->h.ret;
  dk_mtime(inode, &w->mtime_sec, &w->mtime_nsec);
  w->h.flags |= DK_F_CACHED;
  int done = 0;
  for (u32 i = 0; i < CAPTURE_BYTES_MAX / DK_CHUNK_BYTES + 1; i++) {
    if (done) break;
    done = cache_record(w, s, inode_ptr);
  }
  scratch_put(s);
  if (done >= 0) return 1;
  if (!seq) send_skip(st);
  w->offset = offset;
  w->h.ret = ret;
  w->h.flags &= ~DK_F_CACHED;
  w->lock_seq = st->lock_seq = seq;
  return 0;
}

/* A write that ended early at a bad address. Where xfs had no page yet, the rest of the last page that was to be written is what the
 * memory held before (fs/iomap/buffered-io.c marks it up to date before the bytes are copied): it belongs to what the call did. */
__noinline int short_send(struct dk_write *w, struct task_state *st, u64 wanted) {
  if (!w || !st) return 0;
  struct inode *inode = (void *)st->inode;
  if (GET(GET(inode, inode, i_sb), super_block, s_magic) != XFS_SUPER_MAGIC) return 0;
  u64 ret = w->h.ret, rest = PAGE_BYTES - ((w->offset + ret) & (PAGE_BYTES - 1));
  if (rest > wanted - ret) rest = wanted - ret;
  w->h.ret = ret + rest;
  if (cache_send(w, st)) return 1;
  w->h.ret = ret;
  return 0;
}

/* Does the direct map begin where this address would be `page`, of which the first bytes are a pattern? */
__noinline int page_base_at(u64 page, u64 at, u64 pattern) {
  u64 found[2] = {};
  if (bpf_probe_read_kernel(found, sizeof(found), (void *)at)) return 0;
  if (found[0] != pattern || found[1] != ~pattern) return 0;
  dk_shared.page_base = at - page * PAGES_TO_BYTES;
  return 1;
}

__noinline int page_base_try(u64 page, u64 start, u64 pattern) {
  for (u32 i = 0; i < PART_STEPS; i++)
    if (page_base_at(page, start - ((u64)i << GIB_BITS), pattern)) return 1;
  return 0;
}

/* The same for more: two levels keep the loops that the verifier goes through short. */
#define GIB_PARTS 8
__noinline int page_base_part(u64 page, u64 start, u64 pattern) {
  for (u32 i = 0; i < GIB_PARTS; i++)
    if (page_base_try(page, start - ((u64)(i * PART_STEPS) << GIB_BITS), pattern)) return 1;
  return 0;
}

/* The recorder's own call: `pfn` is where the first page of the file lies in memory, and `pattern` what it begins with. Tries each
 * place where the direct map can begin, downwards from a pointer into it. */
__noinline int page_base_find(u64 inode_ptr, u64 pfn, u64 pattern) {
  struct inode *inode = (void *)inode_ptr;
  if (!bpf_core_type_exists(struct folio) || bpf_core_type_size(struct page) != PAGE_BYTES / PAGES_TO_BYTES) return 0;
  struct scratch *s = scratch_try();
  if (!s) return 0;
  u64 page = folio_at(s, BPF_CORE_READ(inode, i_mapping), 0);
  scratch_put(s);
  u64 start = (inode_ptr >> GIB_BITS << GIB_BITS) + (pfn << PAGE_BITS);
  if (page <= FOLIO_AWAY) return 0;
  for (u32 i = 0; i < MEMORY_GIB_MAX / PART_STEPS / GIB_PARTS; i++)
    if (page_base_part(page, start - ((u64)(i * PART_STEPS * GIB_PARTS) << GIB_BITS), pattern)) return 0;
  return 0;
}
#endif
