/* Calls at the limits of the recorder, in the current folder: a writev of 1024 pieces, one write of 20 MB, a file 300 folders
 * deep (deep/deep/..., which must be there) of which nothing was announced before, and a pwritev beyond the end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECES 1024
#define LARGE_BYTES (20 << 20)
#define DEPTH 300

static void must(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "odd_calls: error: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void pieces(void) {
  static char text[PIECES][8];
  static struct iovec iov[PIECES];
  ssize_t total = 0;
  for (int i = 0; i < PIECES; i++) {
    snprintf(text[i], sizeof text[i], "%06d", i);
    iov[i] = (struct iovec){text[i], i % 7}; /* some of them empty */
    total += i % 7;
  }
  int fd = open("pieces", O_CREAT | O_WRONLY, 0640);
  must(fd >= 0, "open pieces");
  must(writev(fd, iov, PIECES) == total, "writev");
  must(pwritev(fd, iov, 2, 100000) == 1, "pwritev");
  close(fd);
}

static void large(void) {
  char *bytes = malloc(LARGE_BYTES);
  must(bytes != NULL, "malloc");
  for (int i = 0; i < LARGE_BYTES; i++) bytes[i] = i * 2654435761u >> 24;
  int fd = open("large", O_CREAT | O_WRONLY | O_APPEND, 0600);
  must(fd >= 0, "open large");
  must(write(fd, bytes, LARGE_BYTES) == LARGE_BYTES, "write");
  close(fd);
  free(bytes);
}

/* The folders are there already: the file is the first that is heard of them. */
static void deep(void) {
  static char path[DEPTH * 5];
  for (int i = 0; i < DEPTH; i++) memcpy(path + 5 * i, "deep/", 5);
  path[sizeof path - 1] = 0;
  must(chdir(path) == 0, "chdir");
  int fd = open("bottom", O_CREAT | O_WRONLY, 0644);
  must(fd >= 0, "open bottom");
  must(write(fd, "deep\n", 5) == 5, "write bottom");
  close(fd);
}

int main(void) {
  pieces();
  large();
  deep();
  return 0;
}
