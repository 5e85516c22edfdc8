/* What the parts of the library share that stands in for functions of libbpf. */
#pragma once
#include <pthread.h>

#define PUBLIC __attribute__((visibility("default")))

/* A function of libbpf itself, whatever its name is bound to. */
void *dk_of_libbpf(const char *name);

/* A thread that gets no signals: these are for the runtime's. 0, or an errno. */
int dk_start_thread(pthread_t *thread, void *(*work)(void *), void *argument);
