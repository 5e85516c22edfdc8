/* Two threads, one file: one writes 64 KiB over and over, the other cuts the file off and makes it longer again, so that writes end while
 * there are holes where their bytes were. `_holes FILE TIMES`. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES 65536

static int fd;
static volatile int is_done;

static void *cut_without_end(void *unused) {
  while (!is_done)
    if (ftruncate(fd, 0) != 0 || ftruncate(fd, 2 * BYTES) != 0) abort();
  return unused;
}

int main(int argc, char **argv) {
  static char data[BYTES];
  pthread_t cutter;
  if (argc < 3) return 2;
  memset(data, 'x', BYTES);
  fd = open(argv[1], O_RDWR | O_CREAT, 0644);
  if (fd < 0 || pthread_create(&cutter, NULL, cut_without_end, NULL) != 0) return 1;
  for (int i = 0; i < atoi(argv[2]); i++)
    if (pwrite(fd, data, BYTES, 4096) != BYTES) return 1;
  is_done = 1;
  pthread_join(cutter, NULL);
  return 0;
}
