/* Operations of --all: those beside plain files and names. Each may be refused by the file system; that is fine. */
#include "operations.h"

static void do_fallocate(struct worker *w) {
  static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                              FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE};
  int fd = *some_fd(w), mode = modes[pick(w, 7)];
  if (fd < 0) return;
  int block = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE) ? 4096 : 1;
  off_t at = block > 1 ? pick(w, 4) * block : place(w), n = block > 1 ? (1 + pick(w, 4)) * block : 1 + pick(w, 50000);
  int result = fallocate(fd, mode, at, n);
  note(w, "fallocate fd %d mode %d at %lld + %lld = %d", fd, mode, (long long)at, (long long)n, result);
  limit(w, fd);
}
static int other_file(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  target_file(w, path);
  int at = spell(w, path, s);
  return openat(at, s, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}
static void do_copy(struct worker *w) {
  int fd = *some_fd(w), from = other_file(w);
  if (fd < 0 || from < 0) goto end;
  loff_t in = place(w) / 4, out = place(w);
  size_t n = length(w);
  unsigned how = pick(w, 3);
  ssize_t done;
  if (how == 0) done = copy_file_range(from, &in, fd, pick(w, 2) ? &out : NULL, n, 0);
  else if (how == 1) done = sendfile(fd, from, pick(w, 2) ? &in : NULL, n);
  else {
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) goto end;
    done = splice(from, &in, pipe_fds[1], NULL, n, SPLICE_F_NONBLOCK);
    if (done > 0) done = splice(pipe_fds[0], NULL, fd, pick(w, 2) ? &out : NULL, done, 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
  }
  note(w, "copy how %u fd %d %zu = %zd", how, fd, n, done);
  limit(w, fd);
end:
  if (from >= 0) close(from);
}
static void do_xattr(struct worker *w) {
  static const char *const names[] = {"user.a", "user.long.name", "user.\xc3\xa4"};
  char path[PATH_BYTES], s[2 * PATH_BYTES];
  choose(w, pick(w, 2) ? FILES : FOLDERS, path);
  snprintf(s, sizeof s, "%s/%s", opt.root, path);
  const char *name = names[pick(w, 3)];
  int fd = *some_fd(w), result;
  size_t n = pick(w, 4) ? pick(w, 100) : pick(w, 2000);
  unsigned how = pick(w, 6);
  if (how == 0) result = removexattr(s, name);
  else if (how == 1) result = fremovexattr(fd, name);
  else if (how == 2) result = fsetxattr(fd, name, bytes(w, n), n, 0);
  else if (how == 3) result = lsetxattr(s, name, bytes(w, n), n, 0);
  else result = setxattr(s, name, bytes(w, n), n, pick(w, 3) ? 0 : XATTR_REPLACE);
  note(w, "xattr how %u %s %s fd %d %zu = %d", how, path, name, fd, n, result);
}
/* An ACL with one user more than a mode can name; the ids of the others are not stored. */
static size_t acl(struct worker *w, unsigned char *to) {
  static const unsigned short tags[] = {1, 2, 4, 16, 32};
  unsigned version = 2, at = 4;
  memcpy(to, &version, 4);
  for (int i = 0; i < 5; i++) {
    unsigned short perm = pick(w, 8);
    unsigned id = tags[i] == 2 ? 1000 + pick(w, 3) : pick(w, 2) ? 0xffffffff : 0;
    memcpy(to + at, &tags[i], 2);
    memcpy(to + at + 2, &perm, 2);
    memcpy(to + at + 4, &id, 4);
    at += 8;
  }
  return at;
}
/* Attributes that the kernel changes along with others: ACLs of files and folders, capabilities of files. */
static void do_acl(struct worker *w) {
  static const char *const names[] = {"system.posix_acl_access", "system.posix_acl_default", "security.capability"};
  static const unsigned char capability[20] = {1, 0, 0, 2, 0, 4};
  unsigned char value[64];
  char path[PATH_BYTES], s[2 * PATH_BYTES];
  unsigned which = pick(w, 3);
  choose(w, which == 1 || (which == 0 && pick(w, 2)) ? FOLDERS : FILES, path);
  snprintf(s, sizeof s, "%s/%s", opt.root, path);
  int removes = pick(w, 4) == 0, result;
  if (removes) result = removexattr(s, names[which]);
  else if (which == 2) result = setxattr(s, names[which], capability, sizeof capability, 0);
  else result = setxattr(s, names[which], value, acl(w, value), 0);
  note(w, "acl %s %s %s = %d", removes ? "-" : "+", path, names[which], result);
}
static void do_tmpfile(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES], self[64];
  snprintf(s, sizeof s, "%s/%s", opt.root, w->area);
  int fd = open(s, O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
  if (fd < 0) return;
  size_t n = length(w);
  ssize_t done = write(fd, bytes(w, n), n);
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  choose(w, FILES, path);
  int at = spell(w, path, s);
  int result = pick(w, 2) ? linkat(AT_FDCWD, self, at, s, AT_SYMLINK_FOLLOW) : linkat(fd, "", at, s, AT_EMPTY_PATH);
  note(w, "tmpfile fd %d %zd -> %s = %d", fd, done, path, result);
  keep_fd(w, fd);
}
static void do_exchange(struct worker *w) {
  static const unsigned flags[] = {RENAME_EXCHANGE, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
  char a[2][PATH_BYTES], s[2][PATH_BYTES];
  int at[2];
  two_paths(w, ANY, a, s, at);
  unsigned flag = flags[pick(w, 4)];
  int result = renameat2(at[0], s[0], at[1], s[1], flag);
  note(w, "renameat2 %s -> %s flags %u = %d", a[0], a[1], flag, result);
}
static void do_mknod(struct worker *w) {
  static const mode_t types[] = {S_IFIFO, S_IFSOCK, S_IFREG};
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, FILES, path);
  int at = spell(w, path, s);
  int result = mknodat(at, s, types[pick(w, 3)] | 0644, 0);
  note(w, "mknod %s (%s) = %d", path, s, result);
}
static void do_pwritev2(struct worker *w) {
  static const int flags[] = {0, RWF_APPEND, RWF_DSYNC, RWF_HIPRI};
  struct iovec v[256];
  int fd = *some_fd(w);
  if (fd < 0) return;
  int count = vectors(w, v), flag = flags[pick(w, 4)];
  off_t at = pick(w, 2) ? -1 : place(w);
  ssize_t done = pwritev2(fd, v, count, at, flag);
  note(w, "pwritev2 fd %d x%d at %lld flags %d = %zd", fd, count, (long long)at, flag, done);
}

struct operation {
  const char *name;
  void (*run)(struct worker *);
  unsigned weight;
  int extra; /* only with --all */
};
static const struct operation OPERATIONS[] = {
    {"open", do_open, 60, 0},         {"create", do_create, 50, 0},
    {"open_dir", do_open_dir, 10, 0}, {"chdir", do_chdir, 10, 0},
    {"close", do_close, 10, 0},       {"dup", do_dup, 5, 0},
    {"write", do_write, 120, 0},      {"pwrite", do_pwrite, 60, 0},
    {"writev", do_writev, 30, 0},     {"lseek", do_lseek, 15, 0},
    {"append", do_append, 40, 0},     {"write_from_map", do_write_from_map, 10, 0},
    {"short_write", do_short_write, 5, 0}, {"inherited", do_inherited, 20, 0},
    {"child", do_child, 2, 0},        {"truncate", do_truncate, 30, 0},
    {"rename", do_rename, 50, 0},     {"save", do_save, 30, 0},
    {"unlink", do_unlink, 40, 0},     {"mkdir", do_mkdir, 30, 0},
    {"rmdir", do_rmdir, 15, 0},       {"symlink", do_symlink, 20, 0},
    {"link", do_link, 25, 0},         {"chmod", do_chmod, 20, 0},
    {"chown", do_chown, 8, 0},        {"utimes", do_utimes, 25, 0},
    {"fallocate", do_fallocate, 30, 1}, {"copy", do_copy, 40, 1},
    {"xattr", do_xattr, 30, 1},       {"tmpfile", do_tmpfile, 15, 1},
    {"exchange", do_exchange, 20, 1}, {"mknod", do_mknod, 8, 1},
    {"pwritev2", do_pwritev2, 20, 1}, {"acl", do_acl, 15, 1},
};
#define OPERATION_COUNT (sizeof OPERATIONS / sizeof *OPERATIONS)
