/* Stores through shared mappings in every way, and after each sync point copies the file beside the watched folder and makes a mark
 * in it (mkdir markN), so that the recorder's state at the mark must equal the copy. The copy is made through a descriptor that is
 * never closed, because a close is a sync point itself. Run as: program COPIES [MARKS], or: program clock. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE 300000

static const char *copies;
static int marks, reader = -1;
static unsigned seed = 1;

static void die(const char *what) {
  perror(what);
  exit(9);
}

static void copy(const char *to) {
  char buf[65536];
  int b = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  struct stat st;
  if (b < 0) die("copy");
  for (long n, at = 0; (n = pread(reader, buf, sizeof buf, at)) > 0; at += n)
    if (write(b, buf, n) != n) die("copy");
  fstat(reader, &st);
  struct timespec times[2] = {st.st_mtim, st.st_mtim};
  futimens(b, times);
  close(b);
}

/* The state now: a copy outside, and a name inside. `what` becomes part of the name. */
static void mark(const char *what) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%d", copies, ++marks);
  copy(path);
  snprintf(path, sizeof path, "mark%d-%s", marks, what);
  if (mkdir(path, 0755)) die(path);
}

/* Changes a few places. */
static void scribble(char *m, long size) {
  for (int i = 0; i < 5; i++) {
    seed = seed * 1103515245 + 12345;
    long at = (seed >> 4) % (size - 40);
    memset(m + at, (seed >> 8) & 255, 1 + i * 9);
  }
}

static char *map(int fd, long size, int prot) {
  char *m = mmap(0, size, prot, MAP_SHARED, fd, 0);
  if (m == MAP_FAILED) die("mmap");
  return m;
}

static void first(char **argv) {
  int fd = open("file", O_RDWR | O_CREAT, 0644);
  if (ftruncate(fd, SIZE)) die("ftruncate");
  reader = open("file", O_RDONLY);
  char *m = map(fd, SIZE, PROT_READ | PROT_WRITE);
  scribble(m, SIZE);
  msync(m, SIZE, MS_SYNC);
  mark("msync");
  scribble(m, SIZE);
  msync(m + 4096, 4096, MS_ASYNC);
  mark("msync-part");
  scribble(m, SIZE);
  fsync(fd);
  mark("fsync");
  scribble(m, SIZE);
  fdatasync(fd);
  mark("fdatasync");
  scribble(m, SIZE);
  if (pwrite(fd, "written", 7, 70000) != 7) die("pwrite");
  mark("pwrite");
  scribble(m, SIZE);
  if (ftruncate(fd, SIZE + 9000)) die("ftruncate");
  mark("ftruncate");
  scribble(m, SIZE);
  fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 40000);
  mark("punch");
  scribble(m, SIZE);
  rename("file", "other");
  rename("other", "file");
  mark("rename");
  scribble(m, SIZE);
  chmod("file", 0600);
  mark("chmod");
  scribble(m, SIZE);
  close(fd);
  mark("close");
  scribble(m, SIZE);
  munmap(m + 4096 * 3, 4096 * 5);
  mark("munmap-part");
  scribble(m, 4096 * 3);
  scribble(m + 4096 * 8, SIZE - 4096 * 8);
  munmap(m, SIZE);
  mark("munmap");
  fd = open("file", O_RDWR);
  m = map(fd, SIZE, PROT_READ);
  close(fd);
  mprotect(m, SIZE, PROT_READ | PROT_WRITE);
  scribble(m, SIZE);
  char *moved = mremap(m, SIZE, SIZE + 4096, MREMAP_MAYMOVE);
  if (moved == MAP_FAILED) die("mremap");
  mark("mremap");
  scribble(moved, SIZE);
  if (mmap(moved, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) die("mmap over");
  mark("mapped-over");
  fd = open("file", O_RDWR);
  m = map(fd, SIZE, PROT_READ | PROT_WRITE);
  close(fd);
  pid_t child = fork();
  if (child == 0) {
    scribble(m + 1000, SIZE - 1000);
    _exit(0);
  }
  waitpid(child, 0, 0);
  mark("exit-of-child");
  munmap(m, SIZE);
  child = fork();
  if (child == 0) {
    fd = open("file", O_RDWR);
    m = map(fd, SIZE, PROT_READ | PROT_WRITE);
    scribble(m, SIZE);
    kill(getpid(), 9);
  }
  waitpid(child, 0, 0);
  mark("kill-of-child");
  fd = open("file", O_RDWR);
  m = map(fd, SIZE, PROT_READ | PROT_WRITE);
  scribble(m, SIZE);
  char number[20];
  snprintf(number, sizeof number, "%d", marks);
  execl(argv[0], argv[0], copies, number, (char *)0);
  die("exec");
}

/* Stores the time, again and again, without a call. */
static int store_clock(void) {
  int fd = open("clock", O_RDWR | O_CREAT, 0644);
  if (ftruncate(fd, 4096)) die("ftruncate");
  volatile long *m = (volatile long *)map(fd, 4096, PROT_READ | PROT_WRITE);
  struct timespec start, now;
  clock_gettime(CLOCK_REALTIME, &start);
  do {
    clock_gettime(CLOCK_REALTIME, &now);
    *m = now.tv_sec * 1000000000L + now.tv_nsec;
  } while (now.tv_sec * 1000L + now.tv_nsec / 1000000 < start.tv_sec * 1000L + start.tv_nsec / 1000000 + 1500);
  return 0;
}

int main(int argc, char **argv) {
  copies = argv[1];
  if (!strcmp(copies, "clock")) return store_clock();
  if (argc == 2) first(argv);
  marks = atoi(argv[2]);
  seed = marks;
  reader = open("file", O_RDONLY);
  mark("exec");
  int fd = open("file", O_RDWR);
  char *m = map(fd, SIZE, PROT_READ | PROT_WRITE);
  scribble(m, SIZE);
  _exit(0);
}
