/*
 * Part of the library that makes loading BPF programs fast: kernel_types.c, program_loads.c. It is loaded before libbpf, for all to
 * see, so that libbpf's calls of its own functions come here.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include "loading.h"

void *dk_of_libbpf(const char *name)
{
	void *library = dlopen("libbpf.so.1", RTLD_NOW | RTLD_NOLOAD);
	return library ? dlsym(library, name) : 0;
}

int dk_start_thread(pthread_t *thread, void *(*work)(void *), void *argument)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int code = pthread_create(thread, 0, work, argument);
	pthread_sigmask(SIG_SETMASK, &old, 0);
	return code;
}
