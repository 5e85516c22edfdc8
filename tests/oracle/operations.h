/* What the workload does. Every operation takes random paths and may fail: a name may be gone or taken. `choose`, `spell` and
 * the rest are in worker.h. The table OPERATIONS says how often each is done, and which only with --all. */
#include "worker.h"
#include <sys/sendfile.h>
#include <sys/xattr.h>

#define AT(fd, call_plain, call_at) (fd == AT_FDCWD && pick(w, 2) ? (call_plain) : (call_at))

static mode_t random_mode(struct worker *w) {
  static const mode_t modes[] = {0644, 0600, 0666, 0755, 0700, 0777, 0444, 0000, 04755, 02755, 01777, 06711};
  return modes[pick(w, 12)];
}
static struct timespec random_time(struct worker *w) {
  struct timespec t = {.tv_sec = pick(w, 2000000000), .tv_nsec = pick(w, 1000000000)};
  if (pick(w, 8) == 0) t.tv_nsec = UTIME_NOW;
  else if (pick(w, 8) == 0) t.tv_nsec = UTIME_OMIT;
  else if (pick(w, 8) == 0) t.tv_sec = -(long)pick(w, 1000000000);
  return t;
}
static void target_file(struct worker *w, char *path) {
  if (opt.mode == SHARED_FILE_MODE && pick(w, 2)) shared_path(w, path);
  else choose(w, FILES, path);
}
/* Keeps the tree small. */
static void limit(struct worker *w, int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0 || st.st_size < FILE_BYTES_MAX) return;
  int result = ftruncate(fd, pick(w, 10000));
  note(w, "limit fd %d = %d", fd, result);
}

static void do_open(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  target_file(w, path);
  int at = spell(w, path, s);
  int flags = O_CLOEXEC | O_NONBLOCK | (pick(w, 4) ? O_WRONLY : O_RDWR);
  if (pick(w, 3)) flags |= O_CREAT;
  if (pick(w, 4) == 0) flags |= O_EXCL;
  if (pick(w, 5) == 0) flags |= O_TRUNC;
  if (pick(w, 3) == 0) flags |= O_APPEND;
  if (pick(w, 8) == 0) flags |= O_NOFOLLOW;
  mode_t mode = random_mode(w) | 0600;
  int fd = pick(w, 16) ? AT(at, (int)syscall(SYS_open, s, flags, mode), openat(at, s, flags, mode))
                       : at == AT_FDCWD && !opt.all ? (int)syscall(SYS_creat, s, mode) /* would wait at a FIFO */ : openat(at, s, flags | O_CREAT, mode);
  note(w, "open %s (%s) flags %o = %d", path, s, flags, fd);
  if (fd >= 0) keep_fd(w, fd);
}
static void do_create(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, FILES, path);
  int at = spell(w, path, s);
  int fd = openat(at, s, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, random_mode(w) | 0200);
  note(w, "create %s (%s) = %d", path, s, fd);
  if (fd < 0) return;
  size_t n = length(w);
  if (pick(w, 2)) n = write(fd, bytes(w, n), n);
  keep_fd(w, fd);
}
static void do_open_dir(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, FOLDERS, path);
  if (pick(w, 4) == 0) snprintf(path, sizeof path, "%s", w->area);
  int at = spell(w, path, s);
  int fd = openat(at, s, O_DIRECTORY | O_CLOEXEC | (pick(w, 2) ? O_PATH : O_RDONLY));
  if (fd < 0) return;
  unsigned slot = pick(w, DIRS);
  if (w->dirs[slot] >= 0) close(w->dirs[slot]);
  w->dirs[slot] = fd;
  snprintf(w->dir_path[slot], PATH_BYTES, "%s", path);
}
static void do_chdir(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, FOLDERS, path);
  if (pick(w, 3) == 0) snprintf(path, sizeof path, "%s", pick(w, 2) ? w->area : "");
  snprintf(s, sizeof s, "%s/%s", opt.root, path);
  int result = chdir(s);
  unsigned slot = pick(w, DIRS);
  if (w->dirs[slot] >= 0 && pick(w, 4) == 0) {
    result = fchdir(w->dirs[slot]);
    snprintf(path, sizeof path, "%s", w->dir_path[slot]);
  }
  note(w, "chdir %s = %d", path, result);
  if (result == 0) snprintf(w->cwd, PATH_BYTES, "%s", path);
}
static void do_close(struct worker *w) {
  int *fd = some_fd(w);
  if (*fd >= 0) close(*fd);
  *fd = -1;
}
static void do_dup(struct worker *w) {
  int fd = *some_fd(w);
  if (fd >= 0) keep_fd(w, dup(fd));
}
static void do_write(struct worker *w) {
  int fd = *some_fd(w);
  if (fd < 0) return;
  size_t n = length(w);
  ssize_t done = write(fd, bytes(w, n), n);
  note(w, "write fd %d %zu = %zd", fd, n, done);
  limit(w, fd);
}
static void do_pwrite(struct worker *w) {
  int fd = *some_fd(w);
  if (fd < 0) return;
  size_t n = length(w);
  off_t at = place(w);
  ssize_t done = pwrite(fd, bytes(w, n), n, at);
  note(w, "pwrite fd %d %zu at %lld = %zd", fd, n, (long long)at, done);
}
static int vectors(struct worker *w, struct iovec *v) {
  int count = 1 + pick(w, pick(w, 20) ? 7 : 200);
  size_t total = 0;
  unsigned char *data = bytes(w, DATA_BYTES / 4);
  for (int i = 0; i < count; i++) {
    size_t n = pick(w, 6) ? pick(w, 300) : 0;
    if (total + n > DATA_BYTES / 4) n = 0;
    v[i].iov_base = data + (pick(w, 2) ? total : pick(w, 1000));
    v[i].iov_len = n;
    total += n;
  }
  return count;
}
static void do_writev(struct worker *w) {
  struct iovec v[256];
  int fd = *some_fd(w);
  if (fd < 0) return;
  int count = vectors(w, v);
  ssize_t done = pick(w, 2) ? writev(fd, v, count) : pwritev(fd, v, count, place(w));
  note(w, "writev fd %d x%d = %zd", fd, count, done);
}
static void do_lseek(struct worker *w) {
  int fd = *some_fd(w);
  if (fd >= 0) lseek(fd, pick(w, 3) ? place(w) : 0, pick(w, 3) ? SEEK_SET : SEEK_END);
}
static void do_append(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  target_file(w, path);
  int at = spell(w, path, s);
  int fd = openat(at, s, O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  for (int i = pick(w, 4); i >= 0; i--) {
    size_t n = length(w);
    ssize_t done = write(fd, bytes(w, n), n);
    note(w, "append %s fd %d %zu = %zd", path, fd, n, done);
  }
  limit(w, fd);
  close(fd);
}
/* Bytes that are in no page table yet: a private map of a file that was never touched. Not of the file that is written, and not
 * where others write the source: then the bytes change under the call, and nobody can say which ones it took. */
static void do_write_from_map(struct worker *w) {
  struct stat to;
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, FILES, path);
  int from = openat(spell(w, path, s), s, O_RDONLY | O_CLOEXEC | O_NONBLOCK), fd = *some_fd(w);
  struct stat st;
  if (from < 0) return;
  int differs = fd >= 0 && fstat(from, &st) == 0 && fstat(fd, &to) == 0 && st.st_ino != to.st_ino;
  if (opt.mode != SHARED_NAME_MODE && differs && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size < DATA_BYTES) {
    void *map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, from, 0);
    if (map != MAP_FAILED) {
      ssize_t done = write(fd, map, st.st_size);
      note(w, "write_from_map %s to fd %d %lld = %zd", path, fd, (long long)st.st_size, done);
      munmap(map, st.st_size);
    }
  }
  close(from);
}
/* A short write: the buffer ends before the length does. */
static void do_short_write(struct worker *w) {
  int fd = *some_fd(w);
  if (fd < 0) return;
  unsigned char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(map + 4096, 4096);
  size_t n = 1 + pick(w, 4000);
  memcpy(map + 4096 - n, bytes(w, n), n);
  ssize_t done = write(fd, map + 4096 - n, n + 1000);
  note(w, "short_write fd %d %zu = %zd", fd, n, done);
  munmap(map, 4096);
}
static void do_inherited(struct worker *w) {
  int fd = opt.inherited[pick(w, INHERITED)];
  size_t n = length(w) % 5000;
  ssize_t done = write(fd, bytes(w, n), n);
  note(w, "inherited fd %d %zu = %zd", fd, n, done);
}
static void do_child(struct worker *w) {
  int fd = *some_fd(w);
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, FILES, path);
  int at = spell(w, path, s);
  unsigned char *data = bytes(w, 4096);
  pid_t pid = fork();
  if (pid == 0) {
    if (fd >= 0 && write(fd, data, 100) != 100) _exit(1);
    int own = openat(at, s, O_CREAT | O_WRONLY | O_TRUNC | O_NONBLOCK, 0640);
    if (own >= 0 && write(own, data, 4096) != 4096) _exit(2);
    _exit(0);
  }
  note(w, "child %d %s fd %d", (int)pid, path, fd);
  if (pid > 0) waitpid(pid, NULL, 0);
}
static void do_truncate(struct worker *w) {
  char path[PATH_BYTES];
  int fd = *some_fd(w), result;
  off_t size = pick(w, 3) ? place(w) : 0;
  target_file(w, path);
  char s[2 * PATH_BYTES];
  snprintf(s, sizeof s, "%s/%s", opt.root, path);
  if (pick(w, 2) && fd >= 0) result = ftruncate(fd, size);
  else result = truncate(s, size);
  note(w, "truncate %s or fd %d to %lld = %d", path, fd, (long long)size, result);
}
static void two_paths(struct worker *w, enum want want, char a[2][PATH_BYTES], char s[2][PATH_BYTES], int at[2]) {
  for (int i = 0; i < 2; i++) {
    choose(w, want, a[i]);
    at[i] = spell(w, a[i], s[i]);
  }
}
static void do_rename(struct worker *w) {
  char a[2][PATH_BYTES], s[2][PATH_BYTES];
  int at[2];
  two_paths(w, pick(w, 3) ? FILES : pick(w, 2) ? FOLDERS : ANY, a, s, at);
  int result = at[1] == AT_FDCWD ? AT(at[0], rename(s[0], s[1]), renameat(at[0], s[0], at[1], s[1]))
                                 : renameat(at[0], s[0], at[1], s[1]);
  note(w, "rename %s (%s) -> %s (%s) = %d", a[0], s[0], a[1], s[1], result);
}
static void do_save(struct worker *w) { /* as editors do: a new file, then rename over the old one */
  char a[2][PATH_BYTES], s[2][PATH_BYTES];
  int at[2];
  two_paths(w, FILES, a, s, at);
  int fd = openat(at[0], s[0], O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0644);
  if (fd < 0) return;
  size_t n = length(w);
  ssize_t done = write(fd, bytes(w, n), n);
  if (pick(w, 10) == 0) fsync(fd);
  if (pick(w, 2)) keep_fd(w, fd);
  else close(fd);
  int result = renameat(at[0], s[0], at[1], s[1]);
  note(w, "save %s (%zd) -> %s = %d", a[0], done, a[1], result);
}
static void do_unlink(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, pick(w, 3) ? FILES : LINKS, path);
  int at = spell(w, path, s);
  int result = AT(at, unlink(s), unlinkat(at, s, 0));
  note(w, "unlink %s (%s) = %d", path, s, result);
}
static void do_mkdir(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, FOLDERS, path);
  int at = spell(w, path, s);
  int result = AT(at, mkdir(s, random_mode(w)), mkdirat(at, s, random_mode(w)));
  note(w, "mkdir %s (%s) = %d", path, s, result);
}
static void do_rmdir(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, FOLDERS, path);
  int at = spell(w, path, s);
  int result = AT(at, rmdir(s), unlinkat(at, s, AT_REMOVEDIR));
  note(w, "rmdir %s (%s) = %d", path, s, result);
}
static void do_symlink(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES], target[PATH_BYTES];
  choose(w, LINKS, path);
  int at = spell(w, path, s);
  int raced = opt.mode == SHARED_NAME_MODE;
  const char *file = raced ? RACED_NAMES[pick(w, 5)] : FILE_NAMES[pick(w, 16)];
  const char *folder = raced ? RACED_NAMES[pick(w, 5)] : DIR_NAMES[pick(w, 4)];
  switch (pick(w, 5)) {
    case 0: snprintf(target, sizeof target, "%s", file); break;
    case 1: snprintf(target, sizeof target, "%s", folder); break;
    case 2: snprintf(target, sizeof target, "%s/%s/%s", opt.root, w->area, folder); break;
    case 3: snprintf(target, sizeof target, "../%s/%s", w->area, folder); break;
    default: snprintf(target, sizeof target, "nowhere\xff%u", pick(w, 5));
  }
  int result = AT(at, symlink(target, s), symlinkat(target, at, s));
  note(w, "symlink %s (%s) = %d", path, s, result);
}
static void do_link(struct worker *w) {
  char a[2][PATH_BYTES], s[2][PATH_BYTES];
  int at[2], result;
  two_paths(w, pick(w, 4) ? FILES : ANY, a, s, at);
  if (at[0] == AT_FDCWD && at[1] == AT_FDCWD && pick(w, 2)) result = link(s[0], s[1]);
  else result = linkat(at[0], s[0], at[1], s[1], pick(w, 3) ? 0 : AT_SYMLINK_FOLLOW);
  note(w, "link %s (%s) -> %s (%s) = %d", a[0], s[0], a[1], s[1], result);
}
static void do_chmod(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, pick(w, 3) ? FILES : ANY, path);
  int at = spell(w, path, s), fd = *some_fd(w), result;
  mode_t mode = random_mode(w);
  if (fd >= 0 && pick(w, 3) == 0) result = fchmod(fd, mode);
  else result = AT(at, chmod(s, mode), (int)syscall(SYS_fchmodat, at, s, mode));
  note(w, "chmod %s (%s) or fd %d = %d", path, s, fd, result);
}
static void do_chown(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, ANY, path);
  int at = spell(w, path, s), fd = *some_fd(w), result;
  uid_t uid = pick(w, 3) ? pick(w, 5) : (uid_t)-1;
  gid_t gid = pick(w, 3) ? pick(w, 5) : (gid_t)-1;
  if (geteuid() != 0) uid = gid = -1;
  if (fd >= 0 && pick(w, 3) == 0) result = fchown(fd, uid, gid);
  else result = AT(at, lchown(s, uid, gid), fchownat(at, s, uid, gid, pick(w, 2) ? AT_SYMLINK_NOFOLLOW : 0));
  note(w, "chown %s (%s) or fd %d to %d %d = %d", path, s, fd, (int)uid, (int)gid, result);
}
static void do_utimes(struct worker *w) {
  char path[PATH_BYTES], s[PATH_BYTES];
  choose(w, ANY, path);
  struct timespec t[2] = {random_time(w), random_time(w)};
  int at = spell(w, path, s), fd = *some_fd(w), result;
  if (fd >= 0 && pick(w, 3) == 0) result = futimens(fd, t);
  else result = utimensat(at, s, pick(w, 8) ? t : NULL, pick(w, 2) ? AT_SYMLINK_NOFOLLOW : 0);
  note(w, "utimes %s (%s) or fd %d = %d", path, s, fd, result);
}
