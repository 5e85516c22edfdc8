/* A file whose every byte is known: the 8 bytes at offset 8 * i are a mix of i.
 *   pattern write FILE COUNT SIZE   COUNT write() calls of SIZE bytes (a multiple of 8) into a new file, one after the other
 *   pattern source BYTES            to stdout
 *   pattern check FILE BYTES        exit 0 if the file is exactly this long and every byte is right, else says where not
 *   pattern spin                    keeps a core busy until it is killed, or its parent is gone */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK (1 << 20)
static uint64_t block[BLOCK / 8];

static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}
static void fill(uint64_t at, size_t n) {
  for (size_t i = 0; i < (n + 7) / 8; i++) block[i] = mix(at / 8 + i);
}
static int fail(const char *what) {
  fprintf(stderr, "pattern: error: %s: %s\n", what, strerror(errno));
  return 1;
}
static int put(int fd, uint64_t bytes, size_t size) {
  for (uint64_t at = 0; at < bytes; at += size) {
    fill(at, size);
    for (size_t done = 0; done < size;) {
      ssize_t n = write(fd, (char *)block + done, size - done);
      if (n <= 0) return fail("cannot write");
      done += n;
    }
  }
  return 0;
}
static int check(const char *path, uint64_t bytes) {
  static unsigned char found[BLOCK];
  struct stat st;
  int fd = open(path, O_RDONLY);
  if (fd < 0 || fstat(fd, &st) != 0) return fail(path);
  if ((uint64_t)st.st_size != bytes) {
    fprintf(stderr, "pattern: %s has %lld bytes, not %llu\n", path, (long long)st.st_size, (unsigned long long)bytes);
    return 1;
  }
  for (uint64_t at = 0; at < bytes;) {
    ssize_t n = pread(fd, found, BLOCK, at);
    if (n <= 0) return fail("cannot read");
    fill(at, n);
    for (ssize_t i = 0; memcmp(found, block, n) && i < n; i++)
      if (found[i] != ((unsigned char *)block)[i]) {
        fprintf(stderr, "pattern: %s differs at byte %llu\n", path, (unsigned long long)(at + i));
        return 1;
      }
    at += n;
  }
  return 0;
}
int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "write") && argc == 5) {
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_EXCL, 0644);
    size_t size = strtoull(argv[4], NULL, 10);
    if (fd < 0 || size % 8 || size > BLOCK) return fail(argv[2]);
    return put(fd, strtoull(argv[3], NULL, 10) * size, size);
  }
  if (!strcmp(what, "source") && argc == 3) return put(1, strtoull(argv[2], NULL, 10), BLOCK);
  if (!strcmp(what, "check") && argc == 4) return check(argv[2], strtoull(argv[3], NULL, 10));
  if (!strcmp(what, "spin")) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (volatile uint64_t i = 0;; i++) {}
  }
  fprintf(stderr, "pattern: error: write FILE COUNT SIZE | source BYTES | check FILE BYTES | spin\n");
  return 2;
}
