/* Number and arguments of the call that runs, of 32-bit programs as a 64-bit one would give them: their numbers
 * (arch/x86/entry/syscalls/syscall_32.tbl) stand for the same calls, and a 64-bit argument comes in two halves. 32-bit programs on
 * arm64 are told of (DK_NOTE_IA32) and not followed. */
#ifndef DK_CALLS32_H
#define DK_CALLS32_H
#include "state.h"

#define NR_NONE 511 /* no call has it */

#if defined(__TARGET_ARCH_x86)
#define FOLLOWS_32BIT 1
enum {
  NR32_SENDFILE = 187,
  NR32_MMAP_OLD = 90,
  NR32_MMAP2 = 192,
  NR32_PWRITE = 181,
  NR32_TRUNCATE64 = 193,
  NR32_FTRUNCATE64 = 194,
  NR32_FALLOCATE = 324,
  NR32_PWRITEV = 334,
  NR32_PWRITEV2 = 379,
};
static const volatile u16 dk_call_of_32[512] = {
  [4] = 1, [181] = 18, [146] = 20, [334] = 296, [379] = 328, [187] = 40, [239] = 40, [313] = 275, [377] = 326, [54] = 16,
  [5] = 2, [8] = 85, [295] = 257, [437] = 437, [342] = 304, [92] = 76, [193] = 76, [39] = 83, [40] = 84, [10] = 87,
  [15] = 90, [182] = 92, [212] = 92, [16] = 94, [198] = 94, [30] = 132, [14] = 133, [271] = 235, [296] = 258, [297] = 259,
  [298] = 260, [301] = 263, [306] = 268, [452] = 452, [299] = 261, [320] = 280, [412] = 280, [38] = 82, [9] = 86,
  [302] = 264, [303] = 265, [353] = 316, [83] = 88, [304] = 266, [93] = 77, [194] = 77, [94] = 91, [95] = 93, [207] = 93,
  [324] = 285, [226] = 188, [227] = 189, [228] = 190, [235] = 197, [236] = 198, [237] = 199, [463] = 463, [466] = 466,
  [361] = 49, [90] = 9, [192] = 9, [425] = 425, [248] = 209, [6] = 3, [118] = 74, [148] = 75, [144] = 26, [91] = 11,
  [163] = 25, [125] = 10, [380] = 329,
};

static __always_inline u64 call_number(struct pt_regs *regs, bool is32) {
  u64 nr = regs->orig_ax;
  if (!is32) return nr;
  u32 native = nr < 512 ? dk_call_of_32[nr] : 0;
  return native ? native : NR_NONE;
}

static __always_inline void call_arguments(u64 *arg, struct pt_regs *regs, bool is32) {
  if (is32) {
    arg[0] = (u32)regs->bx, arg[1] = (u32)regs->cx, arg[2] = (u32)regs->dx;
    arg[3] = (u32)regs->si, arg[4] = (u32)regs->di, arg[5] = (u32)regs->bp;
    return;
  }
  arg[0] = regs->di, arg[1] = regs->si, arg[2] = regs->dx;
  arg[3] = regs->r10, arg[4] = regs->r8, arg[5] = regs->r9;
}

/* Puts the halves of 64-bit arguments together. Global, so that it is verified once. */
__noinline int join_halves(struct task_state *st, u32 nr32) {
  if (!st) return 0;
  u64 *arg = st->arg;
  st->short_position = nr32 == NR32_SENDFILE;
  if (nr32 == NR32_PWRITE || nr32 == NR32_PWRITEV || nr32 == NR32_PWRITEV2) {
    arg[3] |= arg[4] << 32;
  } else if (nr32 == NR32_TRUNCATE64 || nr32 == NR32_FTRUNCATE64) {
    arg[1] |= arg[2] << 32;
  } else if (nr32 == NR32_FALLOCATE) {
    arg[2] |= arg[3] << 32;
    arg[3] = arg[4] | arg[5] << 32;
  } else if (nr32 == NR32_MMAP2) {
    arg[5] <<= 12;
  } else if (nr32 == NR32_MMAP_OLD) {
    u32 user[6] = {};
    bpf_probe_read_user(user, sizeof(user), (void *)arg[0]);
    for (int i = 0; i < 6; i++) arg[i] = user[i];
  }
  return 0;
}
#elif defined(__TARGET_ARCH_arm64)
#define FOLLOWS_32BIT 0
static __always_inline u64 call_number(struct pt_regs *regs, bool is32) {
  return is32 ? NR_NONE : (u64)(u32)regs->syscallno;
}

static __always_inline void call_arguments(u64 *arg, struct pt_regs *regs, bool is32) {
  arg[0] = regs->orig_x0, arg[1] = regs->regs[1], arg[2] = regs->regs[2];
  arg[3] = regs->regs[3], arg[4] = regs->regs[4], arg[5] = regs->regs[5];
}
#endif

/* The arguments of the call that ends here. */
static __always_inline void take_arguments(struct task_state *st, struct pt_regs *regs, bool is32) {
  st->is32 = is32;
  call_arguments(st->arg, regs, is32);
#if FOLLOWS_32BIT
  if (is32) join_halves(st, regs->orig_ax);
  else st->short_position = 0;
#endif
}
#endif
