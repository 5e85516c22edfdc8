/* Ways to make the recorder lose something, for drop_injection.ts.
 *   drops names DIR COUNT          COUNT folders d000000... one after the other
 *   drops lines FILE COUNT         COUNT lines of 100 bytes, each with its number, one write each
 *   drops unmapped SOURCE FILE END writes pages of SOURCE's mapping while another thread takes them away, until there is a file END
 *   drops links FROM TO            chmod of FROM through a chain of symlinks: TO is the first */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 100
/* of all sizes tried, the one whose bytes are missed most often */
#define BLOCK (64 << 10)
#define SECONDS_MAX 60

static char *page;
static volatile int over;

static void *take_away(void *unused) {
  (void)unused;
  while (!over) madvise(page, BLOCK, MADV_DONTNEED);
  return NULL;
}

int main(int argc, char **argv) {
  char text[LINE_BYTES + 1];
  if (argc < 4) return 2;
  long count = atol(argv[3]);
  if (!strcmp(argv[1], "names")) {
    if (chdir(argv[2]) != 0) return 1;
    for (long i = 0; i < count; i++) {
      snprintf(text, sizeof text, "d%06ld", i);
      if (mkdir(text, 0755) != 0) return 1;
    }
    return 0;
  }
  if (!strcmp(argv[1], "lines")) {
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644);
    for (long i = 0; i < count; i++) {
      int n = snprintf(text, sizeof text, "%06ld ", i);
      memset(text + n, 'a' + i % 26, LINE_BYTES - n - 1);
      text[LINE_BYTES - 1] = '\n';
      if (write(fd, text, LINE_BYTES) != LINE_BYTES) return 1;
    }
    return 0;
  }
  if (!strcmp(argv[1], "unmapped") && argc == 5) {
    pthread_t thread;
    int from = open(argv[2], O_RDONLY), to = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    page = mmap(NULL, BLOCK, PROT_READ, MAP_PRIVATE, from, 0);
    if (page == MAP_FAILED || to < 0 || pthread_create(&thread, NULL, take_away, NULL) != 0) return 1;
    for (time_t end = time(NULL) + SECONDS_MAX; access(argv[4], F_OK) != 0;)
      if (time(NULL) > end) return 1;
      else if (pwrite(to, page, BLOCK, 0) != BLOCK) return 1;
    over = 1;
    return pthread_join(thread, NULL);
  }
  return 2;
}
