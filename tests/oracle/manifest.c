/* Writes down what a folder holds, one name a line, for comparing trees:
 *   manifest DIR [STORE]
 *   PATH \t TYPE \t MODE \t UID \t GID \t SIZE \t SEC.NSEC \t GROUP \t CONTENT \t XATTRS
 * Names are escaped as %XX, sorted by bytes; "." is DIR itself. GROUP is the first path of the same inode (a hard link) or "-".
 * CONTENT: hash of a file's bytes, target of a symlink, "-" for the rest. With STORE the bytes of a file that are not there yet
 * are kept as STORE/HASH, so that a difference can be looked at. Not part of the recorder: shares no code with it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PATH_BYTES 16384
static struct seen { dev_t dev; ino_t ino; char *path; } *seen;
static size_t seen_count, seen_space;
static const char *store;
static int root_fd;

static void fail(const char *what, const char *path) {
  fprintf(stderr, "manifest: error: cannot %s \"%s\": %s\n", what, path, strerror(errno));
  exit(1);
}
static void escaped(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++) {
    unsigned char c = s[i];
    if (c > 32 && c < 127 && c != '%' && c != '\\') putchar(c);
    else printf("%%%02X", c);
  }
}
/* 128 bits from two multiplicative hashes: for telling apart, not against an enemy. */
static void hash(const unsigned char *p, size_t n, char out[40]) {
  uint64_t a = 0x9e3779b97f4a7c15ull ^ n, b = 0xc2b2ae3d27d4eb4full + n, v;
  for (; n > 0; p += 8, n = n > 8 ? n - 8 : 0) {
    v = 0;
    memcpy(&v, p, n < 8 ? n : 8);
    a = (a ^ v) * 0xff51afd7ed558ccdull;
    a ^= a >> 29;
    b = (b + v) * 0xc4ceb9fe1a85ec53ull;
    b ^= b >> 31;
  }
  snprintf(out, 40, "%016llx%016llx", (unsigned long long)a, (unsigned long long)b);
}
static void keep(const char *name, const unsigned char *p, size_t n) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", store, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (fd < 0 && errno == EEXIST) return;
  if (fd < 0) fail("keep", path);
  for (size_t at = 0; at < n;) {
    ssize_t done = write(fd, p + at, n - at);
    if (done <= 0) fail("keep", path);
    at += done;
  }
  close(fd);
}
static void content(int dir, const char *name, const char *path, off_t size) {
  static unsigned char *data;
  static size_t space;
  char text[40];
  int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NOATIME);
  if (fd < 0) fail("open", path);
  if ((size_t)size + 1 > space) data = realloc(data, space = 2 * (size + 1));
  size_t n = 0;
  for (ssize_t done = 1; done > 0; n += done)
    if ((done = read(fd, data + n, space - n)) < 0) fail("read", path);
  close(fd);
  if (n != (size_t)size) fprintf(stderr, "manifest: error: %s has %zu bytes, not %lld\n", path, n, (long long)size), exit(1);
  hash(data, n, text);
  fputs(text, stdout);
  if (store) keep(text, data, n);
}
static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
static void xattrs(const char *at) {
  char names[65536], value[65536];
  ssize_t n = llistxattr(at, names, sizeof names);
  const char *list[256];
  size_t count = 0;
  for (char *p = names; p < names + n && count < 256; p += strlen(p) + 1)
    if (strncmp(p, "security.", 9)) list[count++] = p;
  if (count == 0) putchar('-');
  qsort(list, count, sizeof *list, by_name);
  for (size_t i = 0; i < count; i++) {
    ssize_t size = lgetxattr(at, list[i], value, sizeof value);
    escaped(list[i], strlen(list[i]));
    putchar('=');
    if (size > 0) escaped(value, size);
    putchar(';');
  }
}
static const char *group_of(const struct stat *st, const char *path) {
  if (S_ISDIR(st->st_mode)) return "-";
  for (size_t i = 0; i < seen_count; i++)
    if (seen[i].ino == st->st_ino && seen[i].dev == st->st_dev) return seen[i].path;
  if (st->st_nlink < 2) return "-";
  if (seen_count == seen_space) seen = realloc(seen, (seen_space = 2 * seen_space + 64) * sizeof *seen);
  seen[seen_count++] = (struct seen){st->st_dev, st->st_ino, strdup(path)};
  return "-";
}
static void entry(int dir, const char *name, const char *path) {
  struct stat st;
  char at[64 + 300], target[PATH_BYTES];
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) fail("stat", path);
  escaped(path, strlen(path));
  const char type = S_ISREG(st.st_mode) ? 'f' : S_ISDIR(st.st_mode) ? 'd' : S_ISLNK(st.st_mode) ? 'l' : S_ISFIFO(st.st_mode) ? 'p'
                    : S_ISSOCK(st.st_mode) ? 's' : S_ISCHR(st.st_mode) ? 'c' : 'b';
  printf("\t%c\t%04o\t%u\t%u\t%lld\t%lld.%09ld\t", type, st.st_mode & 07777, st.st_uid, st.st_gid,
         S_ISREG(st.st_mode) ? (long long)st.st_size : 0, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  const char *group = group_of(&st, path);
  escaped(group, strlen(group));
  putchar('\t');
  if (type == 'f') content(dir, name, path, st.st_size);
  else if (type == 'l') {
    ssize_t n = readlinkat(dir, name, target, sizeof target);
    if (n < 0) fail("readlink", path);
    escaped(target, n);
  } else putchar('-');
  putchar('\t');
  snprintf(at, sizeof at, "/proc/self/fd/%d/%s", dir, name);
  xattrs(at);
  putchar('\n');
}
static void walk(int dir, char *path, size_t length) {
  DIR *d = fdopendir(dup(dir));
  char **names = NULL;
  size_t count = 0, space = 0;
  if (!d) fail("list", path);
  rewinddir(d);
  for (struct dirent *e; (e = readdir(d));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    if (count == space) names = realloc(names, (space = 2 * space + 16) * sizeof *names);
    names[count++] = strdup(e->d_name);
  }
  closedir(d);
  qsort(names, count, sizeof *names, by_name);
  for (size_t i = 0; i < count; i++) {
    size_t n = length + snprintf(path + length, PATH_BYTES - length, "%s%s", length ? "/" : "", names[i]);
    if (n >= PATH_BYTES) fail("name", path);
    entry(dir, names[i], path);
    int sub = openat(dir, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK);
    if (sub >= 0) {
      walk(sub, path, n);
      close(sub);
    }
    path[length] = 0;
    free(names[i]);
  }
  free(names);
}
int main(int argc, char **argv) {
  char path[PATH_BYTES] = "";
  if (argc < 2) return fprintf(stderr, "manifest: error: no folder\n"), 2;
  store = argc > 2 ? argv[2] : NULL;
  root_fd = open(argv[1], O_RDONLY | O_DIRECTORY);
  if (root_fd < 0) fail("open", argv[1]);
  entry(root_fd, ".", ".");
  walk(root_fd, path, 0);
  return fflush(stdout) == 0 ? 0 : 1;
}
