/*
 * Large programs are given to the kernel by threads: it checks each of them for up to 20 ms, one after another for libbpf, which waits
 * for each. This library is loaded before libbpf and stands in for its bpf_prog_load (bpf/bpf.h): the caller gets a descriptor that
 * stands for the program until dk_finish_programs puts the program's own in its place.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "loading.h"

/* What is smaller takes a millisecond, like a thread. */
enum { INSTRUCTIONS_MIN = 1024, DEFERRED_MAX = 16 };

struct deferred {
	pthread_t thread;
	enum bpf_prog_type type;
	char *name, *license;
	struct bpf_insn *code;
	size_t count;
	struct bpf_prog_load_opts options;
	int stand_in;
	int result;	/* descriptor, or negative errno */
};
static struct deferred deferred[DEFERRED_MAX];
static int deferred_count, is_deferring;

typedef int load_function(enum bpf_prog_type, const char *, const char *, const struct bpf_insn *, size_t, const struct bpf_prog_load_opts *);

static void *copy_of(const void *from, size_t bytes)
{
	void *copy = malloc(bytes + 1);
	return copy && bytes ? memcpy(copy, from, bytes) : copy;
}

static void release(struct deferred *d)
{
	free(d->name);
	free(d->license);
	free(d->code);
	free((void *)d->options.func_info);
	free((void *)d->options.line_info);
	memset(d, 0, sizeof(*d));
}

static void *load(void *argument)
{
	struct deferred *d = argument;
	load_function *own = dk_of_libbpf("bpf_prog_load");
	d->result = own(d->type, d->name, d->license, d->code, d->count, &d->options);
	return 0;
}

/* All that the thread reads is its own: libbpf may free what it has given. */
static int copy_options(struct deferred *d, const struct bpf_prog_load_opts *options)
{
	struct bpf_prog_load_opts *own = &d->options;
	memcpy(own, options, options->sz < sizeof(*own) ? options->sz : sizeof(*own));
	own->sz = sizeof(*own);
	own->func_info = copy_of(options->func_info, (size_t)own->func_info_cnt * own->func_info_rec_size);
	own->line_info = copy_of(options->line_info, (size_t)own->line_info_cnt * own->line_info_rec_size);
	/* one buffer for all; who wants to know why it failed loads again */
	own->log_buf = 0;
	own->log_size = own->log_level = 0;
	return own->func_info && own->line_info;
}

/* The stand-in, or -1: not deferred. */
static int defer(struct deferred *d)
{
	d->stand_in = eventfd(0, EFD_CLOEXEC);
	if (d->stand_in < 0) return -1;
	if (dk_start_thread(&d->thread, load, d) == 0) return d->stand_in;
	close(d->stand_in);
	return -1;
}

PUBLIC int bpf_prog_load(enum bpf_prog_type type, const char *name, const char *license, const struct bpf_insn *code, size_t count,
			 const struct bpf_prog_load_opts *options)
{
	/* descriptors of modules are closed when libbpf is through */
	int is_plain = name && license && options && options->sz <= sizeof(*options) && !options->fd_array &&
		       options->attach_btf_obj_fd == 0;
	if (is_deferring && is_plain && count >= INSTRUCTIONS_MIN && deferred_count < DEFERRED_MAX) {
		struct deferred *d = &deferred[deferred_count];
		*d = (struct deferred){ .type = type, .count = count, .name = strdup(name), .license = strdup(license) };
		d->code = copy_of(code, count * sizeof(*code));
		if (copy_options(d, options) && d->name && d->license && d->code && defer(d) >= 0) {
			deferred_count++;
			return d->stand_in;
		}
		release(d);
	}
	load_function *own = dk_of_libbpf("bpf_prog_load");
	if (own) return own(type, name, license, code, count, options);
	return -(errno = ENOSYS);
}

/* From now on large programs are loaded by threads: until dk_finish_programs, which is called once bpf_object__load is through. */
PUBLIC void dk_defer_programs(void)
{
	is_deferring = 1;
}

/*
 * Waits for all. 0, or the errno of one that was refused: then its object is good for nothing but to be closed. Unless it `is_loaded`,
 * libbpf has closed the stand-ins, and by now their numbers may be anybody's.
 */
PUBLIC int dk_finish_programs(int is_loaded)
{
	int code = 0;
	for (int i = 0; i < deferred_count; i++) {
		struct deferred *d = &deferred[i];
		pthread_join(d->thread, 0);
		if (d->result < 0) code = -d->result;
		else if (is_loaded && dup3(d->result, d->stand_in, O_CLOEXEC) < 0) code = errno;
		if (d->result >= 0) close(d->result);
		release(d);
	}
	deferred_count = is_deferring = 0;
	return code;
}
