/*
 * The kernel's type information (BTF) as libbpf needs it for one object, and no more. libbpf goes through all of its 120,000 types
 * for each name that it looks up, which is a third of the time of a load. This library is loaded before libbpf and stands in for
 * its btf__load_vmlinux_btf (bpf/btf.h): each type keeps its number and its sort, but those to which no name of the object leads lose
 * name and parts, so that a search passes them at once (functions become nothing). A thread makes them while the object is opened.
 *
 * Format: linux, Documentation/bpf/btf.rst, include/uapi/linux/btf.h. What is not understood (a kind that came later, a file that
 * contradicts itself) is left to libbpf's own function.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loading.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

struct header {
	u16 magic;
	u8 version, flags;
	u32 bytes, types_at, types_bytes, strings_at, strings_bytes;
};
struct type {
	u32 name, info, target;	/* target: or size */
};
enum { MAGIC = 0xeb9f };
enum { INT = 1, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT,
       DECL_TAG, TYPE_TAG, ENUM64 };
#define KIND(t) ((t)->info >> 24 & 31)
#define VLEN(t) ((t)->info & 0xffff)
/* Bits that mean nothing yet. */
enum { INFO_UNKNOWN = 0x60ff0000 };

/* Words behind the three of each type; -1: a kind that is not known. */
static int words_behind(const struct type *t)
{
	if (t->info & INFO_UNKNOWN) return -1;
	switch (KIND(t)) {
	case PTR: case FWD: case TYPEDEF: case VOLATILE: case CONST: case RESTRICT: case FUNC: case FLOAT: case TYPE_TAG: return 0;
	case INT: case VAR: case DECL_TAG: return 1;
	case ARRAY: return 3;
	case ENUM: case FUNC_PROTO: return 2 * VLEN(t);
	case STRUCT: case UNION: case DATASEC: case ENUM64: return 3 * VLEN(t);
	default: return -1;
	}
}

/* ---- names ---- */

enum { NAMES_MAX = 4096, SLOTS = 4 * NAMES_MAX };
static struct { const char *text; u32 length; } names[SLOTS];
static u32 name_count;

/* Where the names stand: the object is its caller's, and gone when the thread reads them. */
enum { HOOK_BYTES_MAX = 1 << 16 };
static char hook_names[HOOK_BYTES_MAX];
static u32 hook_bytes;
static char *object_names;

static void forget_names(void)
{
	free(object_names);
	object_names = 0;
	memset(names, 0, sizeof(names));
	name_count = hook_bytes = 0;
}

static u32 slot_of(const char *text, u32 length)
{
	u64 a = 0, b = 0;
	memcpy(&a, text, length < 8 ? length : 8);
	if (length > 8) memcpy(&b, text + length - 8, 8);
	u64 h = (a ^ b * 0x9e3779b97f4a7c15u ^ length) * 0xff51afd7ed558ccdu;
	return (h ^ h >> 32) >> 7 & (SLOTS - 1);
}

static int is_wanted(const char *text, u32 length)
{
	for (u32 i = slot_of(text, length); names[i].text; i = (i + 1) & (SLOTS - 1))
		if (names[i].length == length && memcmp(names[i].text, text, length) == 0) return 1;
	return 0;
}

static void want(const char *text, u32 length)
{
	if (length == 0 || name_count == NAMES_MAX || is_wanted(text, length)) return;
	u32 i = slot_of(text, length);
	while (names[i].text) i = (i + 1) & (SLOTS - 1);
	names[i].text = text;
	names[i].length = length;
	name_count++;
}

/* "name___flavour" of the object is "name" of the kernel (libbpf.h, CO-RE). */
static u32 essential(const char *text, u32 length)
{
	for (u32 i = length - 1; i >= 4 && i < length; i--)
		if (memcmp(text + i - 3, "___", 3) == 0 && text[i - 4] != '_' && text[i] != '_') return i - 3;
	return length;
}

static void want_strings(const char *at, const char *end)
{
	while (at < end) {
		u32 length = strnlen(at, end - at);
		want(at, essential(at, length));
		at += length + 1;
	}
}

/* tp_btf/NAME hangs on the type btf_trace_NAME, fentry/NAME on the function NAME. */
static int want_section(const char *name)
{
	const char *slash = strchr(name, '/');
	if (!slash) return 0;
	size_t prefix = strlen("btf_trace_"), length = prefix + strlen(slash + 1);
	if (length >= HOOK_BYTES_MAX - hook_bytes) return -E2BIG;
	char *text = hook_names + hook_bytes;
	stpcpy(stpcpy(text, "btf_trace_"), slash + 1);
	want(text, length);
	want(text + prefix, length - prefix);
	hook_bytes += length + 1;
	return 0;
}

/* Takes down what this object (ELF, 64 bits) can ask for: each string of its own type information, and its hooks. */
static int want_types_of(const u8 *object, u64 bytes)
{
	const Elf64_Ehdr *elf = (const void *)object;
	if (bytes < sizeof(*elf) || memcmp(elf->e_ident, ELFMAG, SELFMAG) || elf->e_shentsize != sizeof(Elf64_Shdr)) return -EINVAL;
	if (elf->e_shoff > bytes || (bytes - elf->e_shoff) / sizeof(Elf64_Shdr) < elf->e_shnum || elf->e_shstrndx >= elf->e_shnum)
		return -EINVAL;
	const Elf64_Shdr *sections = (const void *)(object + elf->e_shoff);
	const Elf64_Shdr *texts = &sections[elf->e_shstrndx];
	if (texts->sh_offset > bytes || texts->sh_size > bytes - texts->sh_offset || texts->sh_size == 0) return -EINVAL;
	const char *text = (const char *)object + texts->sh_offset;
	if (text[texts->sh_size - 1] != 0) return -EINVAL;
	for (u32 i = 0; i < elf->e_shnum; i++) {
		const Elf64_Shdr *s = &sections[i];
		if (s->sh_name >= texts->sh_size) return -EINVAL;
		if (want_section(text + s->sh_name) != 0) return -E2BIG;
		if (strcmp(text + s->sh_name, ".BTF") != 0) continue;
		if (s->sh_offset > bytes || s->sh_size > bytes - s->sh_offset || s->sh_size < sizeof(struct header)) return -EINVAL;
		const struct header *btf = (const void *)(object + s->sh_offset);
		u64 at = (u64)btf->bytes + btf->strings_at;
		if (at + btf->strings_bytes > s->sh_size || object_names) return -EINVAL;
		object_names = malloc((u64)btf->strings_bytes + 1);
		if (!object_names) return -ENOMEM;
		memcpy(object_names, (const char *)btf + at, btf->strings_bytes);
		object_names[btf->strings_bytes] = 0;
		want_strings(object_names, object_names + btf->strings_bytes);
	}
	/* without one of its names an object could be told that the kernel lacks what it has */
	return name_count < NAMES_MAX ? 0 : -E2BIG;
}

/* ---- the kernel's types ---- */

struct all {
	const u8 *types;
	const char *strings;
	u32 types_bytes, strings_bytes, count, room;
	u32 *at;	/* by number: where the type stands */
	u8 *is_kept;
	u32 *todo;	/* numbers whose own references are to be looked at */
	u32 todo_count;
	u8 *is_name;	/* bit for each place in strings: a wanted name begins there */
};

static const struct type *type_of(const struct all *all, u32 id)
{
	return (const void *)(all->types + all->at[id]);
}

/* How much of a type is wanted. BARE: of a struct behind a pointer only that it is one. */
enum { NOTHING, BARE, WHOLE };

static void keep(struct all *all, u32 id, u8 how)
{
	if (id == 0 || id >= all->count || all->is_kept[id] >= how) return;
	all->is_kept[id] = how;
	all->todo[all->todo_count++] = id;
}

static void find_names(struct all *all)
{
	const char *end = all->strings + all->strings_bytes;
	for (const char *at = all->strings; at < end;) {
		u32 length = strlen(at);	/* the last byte is 0 */
		if (is_wanted(at, length)) {
			u32 i = at - all->strings;
			all->is_name[i >> 3] |= 1 << (i & 7);
		}
		at += length + 1;
	}
}

/* Where each type stands; those with a wanted name are kept. -1: this file is not understood. */
static int find_types(struct all *all)
{
	u32 at = 0;
	for (u32 id = 1; at < all->types_bytes; id++) {
		const struct type *t = (const void *)(all->types + at);
		if (all->types_bytes - at < sizeof(*t) || id >= all->room) return -1;
		int words = words_behind(t);
		if (words < 0 || (all->types_bytes - at - sizeof(*t)) / 4 < (u32)words || t->name >= all->strings_bytes) return -1;
		/* a name inside another is not looked for */
		if (t->name && all->strings[t->name - 1] != 0) return -1;
		all->at[id] = at;
		all->count = id + 1;
		if (all->is_name[t->name >> 3] >> (t->name & 7) & 1) {
			all->is_kept[id] = WHOLE;
			all->todo[all->todo_count++] = id;
		}
		at += sizeof(*t) + 4 * words;
	}
	return 0;
}

/* What CO-RE looks at beside a type itself: what it embeds, and of what a pointer leads to, its sort. */
static void keep_parts(struct all *all, u32 id)
{
	const struct type *t = type_of(all, id);
	const u32 *behind = (const u32 *)(t + 1);
	u8 how = all->is_kept[id];
	switch (KIND(t)) {
	case PTR:
		keep(all, t->target, BARE);
		break;
	case TYPEDEF: case VOLATILE: case CONST: case RESTRICT: case FUNC: case VAR: case TYPE_TAG:
		keep(all, t->target, how);
		break;
	case ARRAY:
		keep(all, behind[0], how);
		keep(all, behind[1], how);
		break;
	case STRUCT: case UNION:
		if (how == WHOLE)
			for (u32 i = 0; i < VLEN(t); i++) keep(all, behind[3 * i + 1], WHOLE);
		break;
	case FUNC_PROTO:
		keep(all, t->target, BARE);
		for (u32 i = 0; i < VLEN(t); i++) keep(all, behind[2 * i + 1], BARE);
		break;
	}
}

/*
 * What stands for a type to which no name leads. A module may have types that embed it, and names that lead to those: so it keeps its
 * sort, and what it leads to if that is short or has no name. Functions, which are half of all types, become nothing.
 */
static struct type stand_in(const struct all *all, u32 id)
{
	const struct type *t = type_of(all, id);
	switch (KIND(t)) {
	case STRUCT: case UNION: case ENUM: case ENUM64:
		return (struct type){ 0, KIND(t) << 24, t->target };
	default:
		return (struct type){ 0, FWD << 24, 0 };
	}
}

static int is_whole(const struct all *all, u32 id)
{
	const struct type *t = type_of(all, id);
	switch (KIND(t)) {
	case INT: case PTR: case ARRAY: case TYPEDEF: case VOLATILE: case CONST: case RESTRICT: case FLOAT: case TYPE_TAG:
		return 1;
	case STRUCT: case UNION:
		return all->is_kept[id] || t->name == 0;
	default:
		return all->is_kept[id];
	}
}

/* The same types by the same numbers, without what is not kept. */
static u8 *shortened(const struct all *all, u32 *bytes)
{
	u32 types = 0;
	for (u32 id = 1; id < all->count; id++)
		types += sizeof(struct type) + (is_whole(all, id) ? 4 * words_behind(type_of(all, id)) : 0);
	struct header header = { MAGIC, 1, 0, sizeof(header), 0, types, types, all->strings_bytes };
	u8 *made = malloc(sizeof(header) + types + all->strings_bytes);
	if (!made) return 0;
	memcpy(made, &header, sizeof(header));
	u8 *to = made + sizeof(header);
	for (u32 id = 1; id < all->count; id++) {
		const struct type *t = type_of(all, id);
		u32 size = sizeof(*t) + 4 * words_behind(t);
		struct type other = stand_in(all, id);
		if (is_whole(all, id)) memcpy(to, t, size);
		else memcpy(to, &other, size = sizeof(other));
		to += size;
	}
	memcpy(to, all->strings, all->strings_bytes);
	*bytes = to + all->strings_bytes - made;
	return made;
}

/* A BTF file without what no name leads to, to be freed; 0: it is not understood. */
PUBLIC u8 *dk_shorten_types(const u8 *file, u64 size, u32 *bytes)
{
	const struct header *header = (const void *)file;
	if (size < sizeof(*header) || header->magic != MAGIC || header->version != 1 || header->bytes < sizeof(*header)) return 0;
	u64 types_at = (u64)header->bytes + header->types_at;
	u64 strings_at = (u64)header->bytes + header->strings_at;
	if (types_at + header->types_bytes > size || strings_at + header->strings_bytes > size || types_at % 4 != 0) return 0;
	struct all all = {
		.types = file + types_at, .types_bytes = header->types_bytes,
		.strings = (const char *)file + strings_at, .strings_bytes = header->strings_bytes,
		.count = 1, .room = header->types_bytes / sizeof(struct type) + 2,
	};
	if (all.strings_bytes == 0 || all.strings[0] != 0 || all.strings[all.strings_bytes - 1] != 0) return 0;
	u64 todo = 2 * (u64)all.room;	/* a type is looked at once as BARE and once as WHOLE */
	u8 *memory = calloc(1, 4 * (u64)all.room + 4 * todo + all.room + all.strings_bytes / 8 + 1);
	if (!memory) return 0;
	all.at = (u32 *)memory;
	all.todo = all.at + all.room;
	all.is_kept = (u8 *)(all.todo + todo);
	all.is_name = all.is_kept + all.room;
	find_names(&all);
	u8 *made = 0;
	if (find_types(&all) == 0) {
		while (all.todo_count > 0) keep_parts(&all, all.todo[--all.todo_count]);
		made = shortened(&all, bytes);
	}
	free(memory);
	return made;
}

/* All of a file; kernels from 6.16 on map this one, before, a read gives a page at a time. */
static u8 *contents(const char *path, u64 *bytes, int *is_mapped)
{
	u8 *at = 0;
	struct stat stat;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	if (fstat(fd, &stat) == 0 && stat.st_size > 0) {
		*bytes = stat.st_size;
		at = mmap(0, *bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
		*is_mapped = at != MAP_FAILED;
		if (!*is_mapped) {
			at = malloc(*bytes);
			for (u64 done = 0; at && done < *bytes;) {
				ssize_t got = read(fd, at + done, *bytes - done);
				if (got < 0 && errno == EINTR) continue;
				if (got <= 0) { free(at); at = 0; }
				else done += got;
			}
		}
	}
	close(fd);
	return at;
}

/* ---- in the place of libbpf's ---- */

struct btf;
static struct btf *(*make_types)(const void *, u32);
static pthread_t thread;
static int is_prepared;

static void *prepare(void *nothing)
{
	u64 size;
	u32 bytes = 0;
	int is_mapped = 0;
	u8 *file = contents("/sys/kernel/btf/vmlinux", &size, &is_mapped);
	if (!file) return nothing;
	u8 *shorter = dk_shorten_types(file, size, &bytes);
	if (is_mapped) munmap(file, size);
	else free(file);
	struct btf *types = shorter ? make_types(shorter, bytes) : 0;
	free(shorter);
	return types;
}

/* Begins, in a thread, with what bpf_object__load of this object will ask for. It is only read in here. 0, or an errno. */
PUBLIC int dk_prepare_types(const u8 *object, u64 bytes)
{
	make_types = dk_of_libbpf("btf__new");
	if (is_prepared || !make_types) return EINVAL;
	forget_names();
	int wanted = want_types_of(object, bytes);
	if (wanted != 0) return -wanted;
	int code = dk_start_thread(&thread, prepare, 0);
	is_prepared = code == 0;
	return code;
}

/* As libbpf's: the types, or 0 and errno. */
PUBLIC struct btf *btf__load_vmlinux_btf(void)
{
	void *types = 0;
	if (is_prepared) pthread_join(thread, &types);
	is_prepared = 0;
	if (types) return types;
	struct btf *(*load)(void) = dk_of_libbpf("btf__load_vmlinux_btf");
	if (load) return load();
	errno = ENOSYS;
	return 0;
}
