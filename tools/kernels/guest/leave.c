/* Ends QEMU at once through its isa-debug-exit device, which saves the half second of an orderly power-off. */
#include <sys/io.h>
#include <unistd.h>

#define DEBUG_EXIT_PORT 0xf4

int main(void) {
  sync();
  if (ioperm(DEBUG_EXIT_PORT, 1, 1)) return 1;
  outb(0, DEBUG_EXIT_PORT);
  return 2;
}
