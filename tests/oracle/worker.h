/* One thread of the workload: its random numbers, its open descriptors, and the ways it spells a path. A path is always given
 * relative to the work folder first; `spell` turns it into what a system call gets. No spelling leaves the work folder: links
 * and folders seldom lie directly in it, and "../" is put only before what lies beside the folder it starts from. */
#ifndef WORKER_H
#define WORKER_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FDS 8
#define DIRS 4
#define PATH_BYTES 2048
#define DATA_BYTES (1 << 20)
#define FILE_BYTES_MAX (4 << 20)
#define SHARED_FILES 6
#define INHERITED 3

enum mode { PRIVATE, SHARED_FILE_MODE, SHARED_NAME_MODE };

struct worker {
  uint64_t rng;
  int proc, thread;
  char area[32];               /* its folder below the work folder */
  int fds[FDS];                /* -1: none */
  int dirs[DIRS];
  char dir_path[DIRS][PATH_BYTES];
  char cwd[PATH_BYTES];        /* relative to the work folder; "" is the work folder */
  int own_cwd;                 /* 0: other threads change it too, so `cwd` may be out of date */
  FILE *log;
  unsigned char *data;         /* DATA_BYTES of its own */
};

struct options {
  uint64_t seed;
  int procs, threads, all;
  long ops;
  enum mode mode;
  const char *root, *log, *only;
  int inherited[INHERITED];
};
extern struct options opt;

static inline uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}
static inline uint64_t next(struct worker *w) { return mix(w->rng += 0x632be59bd9b4e019ull); }
static inline unsigned pick(struct worker *w, unsigned n) { return next(w) % n; }

/* With --log every call goes to a file outside the work folder: when, what, result. */
static inline void note(struct worker *w, const char *format, ...) {
  if (!w->log) return;
  int error = errno;
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  fprintf(w->log, "%lld.%09ld %d.%d ", (long long)t.tv_sec, t.tv_nsec, w->proc, w->thread);
  va_list list;
  va_start(list, format);
  vfprintf(w->log, format, list);
  va_end(list);
  fprintf(w->log, " errno %d\n", error);
}

static const char LONG_NAME[] =
    "LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL"
    "LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL";
static const char *const FILE_NAMES[] = {"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "n\xff\xfe", "new\nline",
                                         "a b 'c' \"d\"", "*?[x]{y}\\", "\xc3\xa4\xe2\x82\xac", LONG_NAME, ".hidden", "#1"};
static const char *const DIR_NAMES[] = {"d0", "d1", "d2", "d\xf0 x"};
static const char *const LINK_NAMES[] = {"l0", "l1", "l2"};
static const char *const RACED_NAMES[] = {"a", "b", "c", "d", "e\xff"};

enum want { FILES, FOLDERS, LINKS, ANY };

/* A random path relative to the work folder; what it names may exist or not. Through a link now and then. */
static inline void choose(struct worker *w, enum want want, char *out) {
  int n = snprintf(out, PATH_BYTES, "%s", w->area);
  int raced = opt.mode == SHARED_NAME_MODE;
  for (unsigned depth = pick(w, raced ? 3 : 4); depth > 1; depth--) {
    const char *name = raced ? RACED_NAMES[pick(w, 5)] : pick(w, 8) ? DIR_NAMES[pick(w, 4)] : LINK_NAMES[pick(w, 3)];
    n += snprintf(out + n, PATH_BYTES - n, "/%s", name);
  }
  if (want == ANY) want = pick(w, 3);
  const char *leaf = raced              ? RACED_NAMES[pick(w, 5)]
                     : want == FILES    ? FILE_NAMES[pick(w, 16)]
                     : want == FOLDERS  ? DIR_NAMES[pick(w, 4)]
                                        : LINK_NAMES[pick(w, 3)];
  snprintf(out + n, PATH_BYTES - n, "/%s", leaf);
}

static inline void shared_path(struct worker *w, char *out) { snprintf(out, PATH_BYTES, "shared/s%u", pick(w, SHARED_FILES)); }

/* `path` as seen from the folder `from`, both relative to the work folder; 0 if that would take too many "../". */
static inline int relative(const char *from, const char *path, char *out) {
  size_t n = strlen(from);
  if (n == 0) return snprintf(out, PATH_BYTES, "%s", path);
  if (!strncmp(from, path, n) && path[n] == '/') return snprintf(out, PATH_BYTES, "%s", path + n + 1);
  const char *up = strrchr(from, '/');
  if (!up) return 0;
  n = up - from;
  if (!strncmp(from, path, n) && path[n] == '/') return snprintf(out, PATH_BYTES, "../%s", path + n + 1);
  return 0;
}

/* Puts "./", "//" or "name/../" into a path. */
static inline void decorate(struct worker *w, char *path) {
  char copy[PATH_BYTES];
  snprintf(copy, sizeof copy, "%s", path);
  char *slash = strchr(copy, '/');
  if (!slash || slash == copy) return;
  *slash++ = 0;
  switch (pick(w, 3)) {
    case 0: snprintf(path, PATH_BYTES, "%s/./%s", copy, slash); break;
    case 1: snprintf(path, PATH_BYTES, "%s//%s", copy, slash); break;
    default: {
      char *second = strchr(slash, '/');
      if (second && strcmp(copy, "..")) snprintf(path, PATH_BYTES, "%s/%.*s/../%s", copy, (int)(second - slash), slash, slash);
    }
  }
}

/* Spells a path for a system call: from the cwd, from an open folder, or absolute. Returns the folder descriptor. */
static inline int spell(struct worker *w, const char *path, char *out) {
  int from = AT_FDCWD;
  char plain[PATH_BYTES];
  unsigned how = pick(w, 8);
  int found = 0;
  if (how < 3) found = relative(w->cwd, path, plain) && (w->own_cwd || strncmp(plain, "../", 3));
  if (how >= 3 && how < 6) {
    unsigned at = pick(w, DIRS);
    if (w->dirs[at] >= 0 && (found = relative(w->dir_path[at], path, plain))) from = w->dirs[at];
  }
  if (found && pick(w, 4) == 0) decorate(w, plain);
  if (found) snprintf(out, PATH_BYTES, "%s", plain);
  else snprintf(out, PATH_BYTES, "%s/%s", opt.root, path);
  return from;
}

/* Bytes nobody else writes: every 8 of them differ. */
static inline unsigned char *bytes(struct worker *w, size_t n) {
  uint64_t key = next(w);
  for (size_t i = 0; i < (n + 7) / 8; i++) ((uint64_t *)w->data)[i] = key += 0x9e3779b97f4a7c15ull;
  return w->data;
}
static inline size_t length(struct worker *w) {
  unsigned kind = pick(w, 1000);
  if (kind < 30) return 0;
  if (kind < 600) return 1 + pick(w, 128);
  if (kind < 900) return 1 + pick(w, 4096);
  if (kind < 992) return 1 + pick(w, 65536);
  return 1 + pick(w, DATA_BYTES - 1);
}
static inline off_t place(struct worker *w) {
  unsigned kind = pick(w, 100);
  return kind < 70 ? pick(w, 8192) : kind < 97 ? pick(w, 200000) : pick(w, 3000000);
}
static inline int *some_fd(struct worker *w) { return &w->fds[pick(w, FDS)]; }
static inline void keep_fd(struct worker *w, int fd) {
  int *slot = some_fd(w);
  if (*slot >= 0) close(*slot);
  *slot = fd;
}
#endif
