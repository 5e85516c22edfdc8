/* Takes ranges out of files and puts ranges in, without end, until it is killed in the midst of a call: `_killed KILLS`, in the working
 * folder, a new file and a new child for each kill. The files' sizes are no multiple of a block, so that the calls also have zeros to write
 * and a size to set, which is where a fatal signal ends them early. Prints how many children were killed. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES 65000
#define BLOCK 4096

static void change_without_end(int number) {
  static char data[BYTES];
  for (int i = 0; i < BYTES; i++) data[i] = i / BLOCK + 1 + i % 13;
  char name[32];
  snprintf(name, sizeof name, "f%d", number);
  int fd = open(name, O_RDWR | O_CREAT, 0644);
  for (;;) {
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, BYTES, 0) != BYTES) _exit(1);
    if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, BLOCK, 2 * BLOCK) != 0) _exit(1);
    if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, BLOCK, BLOCK) != 0) _exit(1);
    if (fallocate(fd, FALLOC_FL_INSERT_RANGE, BLOCK, 2 * BLOCK) != 0) _exit(1);
  }
}

int main(int argc, char **argv) {
  int kills = argc > 1 ? atoi(argv[1]) : 1, killed = 0;
  for (int i = 0; i < kills; i++) {
    pid_t child = fork();
    if (child == 0) change_without_end(i);
    int status = 0;
    usleep(5000 + i * 7919 % 20000);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    killed += WIFSIGNALED(status);
  }
  printf("%d\n", killed);
  return 0;
}
