/* Changes a folder in steps that can be told again: each step is one system call, decided by a seed, and after it the times of what
 * it changed are written to a log that survives any kill. So the folder after n steps is known for every n: `steps --again`
 * makes the same calls elsewhere and sets the times of the log.
 *   steps ROOT LOG SEED PROCESSES PAUSE_US     forks; each process changes ROOT/pN, log LOG.N; until killed or the log is full
 *   steps --again ROOT LOG SEED N COUNT        process N alone, its first COUNT steps */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define STEPS_MAX 2000000
#define NAMES 48
#define OBJECTS 64
#define DEPTH_MAX 6
#define FILE_BYTES_MAX (256 << 10)
#define DATA_BYTES (700 << 10)

/* Numbers of OPS in kill_recorder.ts. */
enum op { CREATE, WRITE, TRUNCATE, RENAME, UNLINK, MKDIR, RMDIR, SYMLINK, LINK, MKNOD, CHMOD, UTIMES, XATTR, FALLOCATE, OPS };

struct times { int64_t sec; uint32_t nsec, object; };
struct entry { uint64_t t_ns; uint32_t op, count; struct times touched[3]; }; /* 64 bytes */
struct head { uint64_t count, pid, sec, nsec, rest[4]; };

struct object { char type; int links, fd, name; int64_t size, sec; uint32_t nsec; };
struct name { int dir, object; char text[16]; };

static struct object objects[OBJECTS]; /* 0 is the folder itself */
static struct name names[NAMES];
static struct head *head;
static struct entry *entries;
static int again;
static uint64_t rng, step;
static unsigned char *data;

static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}
static unsigned pick(unsigned n) { return (rng = mix(rng)) % n; }

static void need(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "steps: step %lu: %s: %s\n", (unsigned long)step, what, strerror(errno));
  _exit(9);
}

/* Path of a name, from the folder's own root. */
static const char *path_of(int name, char *out) {
  int chain[DEPTH_MAX + 1], n = 0;
  for (int at = name; at >= 0 && n <= DEPTH_MAX; at = objects[names[at].dir].name) chain[n++] = at;
  *out = 0;
  while (n-- > 0) sprintf(out + strlen(out), "%s%s", *out ? "/" : "", names[chain[n]].text);
  return out;
}
static int depth_of(int object) {
  int n = 0;
  for (int at = objects[object].name; at >= 0; at = objects[names[at].dir].name) n++;
  return n;
}
static int free_name(void) {
  for (int i = 0; i < NAMES; i++)
    if (!names[i].text[0]) return i;
  return -1;
}
static int free_object(void) {
  for (int i = 1; i < OBJECTS; i++)
    if (!objects[i].type) return i;
  return -1;
}
/* A name of one of the types, from a random place on; -1: none. */
static int some_name(const char *types) {
  for (int i = 0, at = pick(NAMES); i < NAMES; i++, at = (at + 1) % NAMES)
    if (names[at].text[0] && strchr(types, objects[names[at].object].type)) return at;
  return -1;
}
static int some_file(void) { /* also one without a name */
  for (int i = 0, at = pick(OBJECTS); i < OBJECTS; i++, at = (at + 1) % OBJECTS)
    if (objects[at].type == 'f') return at;
  return -1;
}
static int some_folder(void) {
  for (int i = 0, at = pick(OBJECTS); i < OBJECTS; i++, at = (at + 1) % OBJECTS)
    if (objects[at].type == 'd' && depth_of(at) < DEPTH_MAX - 2) return at;
  return 0;
}
static int is_empty(int folder) {
  for (int i = 0; i < NAMES; i++)
    if (names[i].text[0] && names[i].dir == folder) return 0;
  return 1;
}
static int is_below(int object, int folder) {
  for (int at = object;; at = names[objects[at].name].dir) {
    if (at == folder) return 1;
    if (objects[at].name < 0) return 0;
  }
}

/* Notes the times of an object after the step, or takes them from the log. */
static void touched(int object) {
  struct entry *e = &entries[step];
  struct object *o = &objects[object];
  uint32_t i = e->count++;
  if (again) {
    need(e->touched[i].object == (uint32_t)object, "the log tells of another object");
    o->sec = e->touched[i].sec, o->nsec = e->touched[i].nsec;
    return;
  }
  struct stat st;
  char path[256];
  if (o->type == 'f') need(fstat(o->fd, &st) == 0, "fstat");
  else need(lstat(object ? path_of(o->name, path) : ".", &st) == 0, "lstat");
  e->touched[i] = (struct times){.sec = st.st_mtim.tv_sec, .nsec = st.st_mtim.tv_nsec, .object = object};
}

static int new_name(int dir, int object) {
  int at = free_name();
  names[at].dir = dir;
  names[at].object = object;
  sprintf(names[at].text, "n%lu", (unsigned long)step);
  if (objects[object].name < 0) objects[object].name = at;
  objects[object].links++;
  return at;
}
static void drop_name(int at) {
  int object = names[at].object;
  names[at].text[0] = 0;
  if (--objects[object].links > 0) {
    for (int i = 0; i < NAMES; i++)
      if (names[i].text[0] && names[i].object == object) objects[object].name = i;
    return;
  }
  objects[object].name = -1;
  if (objects[object].type == 'f' && step % 4 == 0) return; /* still written to, without a name, until forget_one */
  if (objects[object].type == 'f') close(objects[object].fd);
  objects[object].type = 0;
}
static void forget_one(void) {
  for (int i = 1; i < OBJECTS; i++) {
    if (objects[i].type != 'f' || objects[i].links > 0) continue;
    close(objects[i].fd);
    objects[i].type = 0;
    return;
  }
}

static int do_make(enum op op) {
  static const char TYPE[OPS] = {[CREATE] = 'f', [MKDIR] = 'd', [SYMLINK] = 'l', [MKNOD] = 'p'};
  char path[256], target[32];
  int object = free_object();
  if (free_name() < 0 || object < 0) return 0;
  int dir = some_folder();
  objects[object] = (struct object){.type = TYPE[op], .fd = -1, .name = -1};
  path_of(new_name(dir, object), path);
  mode_t mode = 0600 | pick(0100);
  if (op == CREATE) {
    objects[object].fd = open(path, O_CREAT | O_EXCL | O_RDWR | (pick(3) ? 0 : O_APPEND), mode);
    need(objects[object].fd >= 0, path);
  } else if (op == MKDIR) need(mkdir(path, mode | 0100) == 0, path);
  else if (op == MKNOD) need(mknod(path, S_IFIFO | mode, 0) == 0, path);
  else sprintf(target, "to%u", pick(1000)), need(symlink(target, path) == 0, path);
  touched(object), touched(dir);
  return 1;
}

static int do_write(void) {
  int file = some_file(), other = some_file();
  if (file < 0) return 0;
  struct object *o = &objects[file];
  unsigned bytes = pick(500) == 0 ? pick(DATA_BYTES - 1) + 1 : pick(pick(8) ? 400 : 20000) + 1, kind = pick(5);
  off_t at = pick(FILE_BYTES_MAX / 2);
  int append = fcntl(o->fd, F_GETFL) & O_APPEND;
  unsigned char *from = data + (bytes < DATA_BYTES / 2 ? pick(DATA_BYTES / 2) : 0);
  struct iovec v[2] = {{from, bytes / 2}, {from + bytes / 2, bytes - bytes / 2}};
  ssize_t n;
  if (kind == 0) n = pwrite(o->fd, from, bytes, at);
  else if (kind == 1) n = writev(o->fd, v, 2);
  else if (kind == 2 && !append && other != file && objects[other].size > 1) {
    off_t src = pick(objects[other].size - 1);
    n = copy_file_range(objects[other].fd, &src, o->fd, &at, bytes, 0);
    if (n > 0) bytes = n;
  } else n = write(o->fd, from, bytes);
  need(n == (ssize_t)bytes, "write");
  struct stat st;
  fstat(o->fd, &st);
  o->size = st.st_size;
  touched(file);
  return 1;
}

static int do_truncate(void) {
  char path[256];
  int file = some_file();
  if (file < 0) return 0;
  struct object *o = &objects[file];
  off_t size = pick(FILE_BYTES_MAX / 4);
  if (o->name >= 0 && pick(3) == 0) {
    int fd = open(path_of(o->name, path), O_WRONLY | O_TRUNC);
    need(fd >= 0 && close(fd) == 0, path);
    size = 0;
  } else if (o->name >= 0 && pick(2)) need(truncate(path_of(o->name, path), size) == 0, path);
  else need(ftruncate(o->fd, size) == 0, "ftruncate");
  o->size = size;
  if (!(fcntl(o->fd, F_GETFL) & O_APPEND)) lseek(o->fd, size, SEEK_SET);
  touched(file);
  return 1;
}

static int do_rename(void) {
  char from[256], to[256];
  int name = some_name("fdlp"), kind = pick(3);
  if (name < 0) return 0;
  int object = names[name].object, dir = some_folder(), old = names[name].dir;
  int over = kind == 1 ? some_name("f") : -1;
  path_of(name, from);
  if (over >= 0 && objects[object].type != 'd' && names[over].object != object) {
    dir = names[over].dir;
    need(rename(from, path_of(over, to)) == 0, to);
    strcpy(names[name].text, names[over].text);
    drop_name(over);
  } else {
    if (objects[object].type == 'd' && (is_below(dir, object) || depth_of(dir) > 1)) dir = old;
    names[name].dir = dir;
    sprintf(names[name].text, "r%lu", (unsigned long)step);
    need(rename(from, path_of(name, to)) == 0, to);
  }
  names[name].dir = dir;
  touched(object), touched(old), touched(dir);
  return 1;
}

static int do_remove(enum op op) {
  char path[256];
  int name = some_name(op == RMDIR ? "d" : "flp");
  if (name < 0) return 0;
  int dir = names[name].dir, object = names[name].object;
  if (op == RMDIR && !is_empty(object)) return 0;
  need((op == RMDIR ? rmdir : unlink)(path_of(name, path)) == 0, path);
  drop_name(name);
  touched(dir);
  return 1;
}

static int do_link(void) {
  char from[256], to[256];
  int name = some_name("f"), dir = some_folder();
  if (name < 0 || free_name() < 0) return 0;
  path_of(name, from);
  need(link(from, path_of(new_name(dir, names[name].object), to)) == 0, to);
  touched(dir);
  return 1;
}

static int do_attribute(enum op op) {
  char path[256], value[64];
  int name = some_name(op == CHMOD || op == UTIMES ? "fdp" : "fd");
  if (name < 0) return 0;
  int object = names[name].object;
  path_of(name, path);
  struct timespec times[2] = {{pick(1000000000), pick(1000000000)}, {pick(1000000000), pick(1000000000)}};
  memset(value, 'a' + pick(26), sizeof value);
  if (op == CHMOD) need(chmod(path, 0700 | pick(01000)) == 0, path);
  else if (op == UTIMES) need(utimensat(AT_FDCWD, path, times, 0) == 0, path);
  else need(setxattr(path, pick(2) ? "user.a" : "user.b", value, pick(60), 0) == 0, path);
  touched(object);
  return 1;
}

static int do_fallocate(void) {
  int file = some_file();
  if (file < 0) return 0;
  int mode = pick(2) ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE;
  off_t at = pick(FILE_BYTES_MAX / 2), length = pick(9000) + 1;
  need(fallocate(objects[file].fd, mode, at, length) == 0, "fallocate");
  if (mode == FALLOC_FL_ZERO_RANGE && at + length > objects[file].size) objects[file].size = at + length;
  touched(file);
  return 1;
}

static int attempt(enum op op) {
  switch (op) {
    case WRITE: return do_write();
    case TRUNCATE: return do_truncate();
    case RENAME: return do_rename();
    case UNLINK:
    case RMDIR: return do_remove(op);
    case LINK: return do_link();
    case CHMOD:
    case UTIMES:
    case XATTR: return do_attribute(op);
    case FALLOCATE: return do_fallocate();
    default: return do_make(op);
  }
}

static void one_step(void) {
  static const unsigned char WEIGHT[OPS] = {[CREATE] = 12, [WRITE] = 40, [TRUNCATE] = 4, [RENAME] = 10, [UNLINK] = 10,
    [MKDIR] = 5, [RMDIR] = 4, [SYMLINK] = 2, [LINK] = 4, [MKNOD] = 1, [CHMOD] = 3, [UTIMES] = 2, [XATTR] = 2, [FALLOCATE] = 1};
  struct entry *e = &entries[step];
  if (pick(16) == 0) forget_one();
  for (int tries = 0;; tries++) {
    unsigned at = pick(100), op = tries > 50 ? UNLINK : 0;
    if (tries <= 50) while (at >= WEIGHT[op]) at -= WEIGHT[op++];
    e->count = 0;
    if (!attempt(op)) continue;
    need(!again || e->op == op, "the log tells of another step");
    e->op = op;
    return;
  }
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Everything has the times that the log says. */
static void set_times(void) {
  char path[256];
  for (int i = 0; i < OBJECTS; i++) {
    struct timespec times[2] = {{objects[i].sec, objects[i].nsec}, {objects[i].sec, objects[i].nsec}};
    if (!objects[i].type || (i && objects[i].name < 0)) continue;
    need(utimensat(AT_FDCWD, i ? path_of(objects[i].name, path) : ".", times, AT_SYMLINK_NOFOLLOW) == 0, "utimensat");
  }
}

static void work(const char *root, const char *log, uint64_t seed, int n, uint64_t count, unsigned pause_us) {
  char path[4096];
  snprintf(path, sizeof path, "%s.%d", log, n);
  int fd = open(path, O_RDWR | O_CREAT, 0644);
  size_t bytes = (STEPS_MAX + 1) * sizeof(struct entry);
  need(fd >= 0 && ftruncate(fd, bytes) == 0, path);
  head = mmap(NULL, bytes, PROT_READ | PROT_WRITE, again ? MAP_PRIVATE : MAP_SHARED, fd, 0);
  need(head != MAP_FAILED, "mmap");
  entries = (struct entry *)head + 1;
  snprintf(path, sizeof path, "%s/p%d", root, n);
  need(chdir(path) == 0, path);
  umask(0);
  rng = mix(seed * 1000 + n);
  data = malloc(DATA_BYTES * 2);
  for (int i = 0; i < DATA_BYTES * 2; i += 8) rng = mix(rng), memcpy(data + i, &rng, 8);
  for (int i = 0; i < OBJECTS; i++) objects[i].name = -1;
  objects[0].type = 'd';
  if (again) objects[0].sec = head->sec, objects[0].nsec = head->nsec;
  else {
    struct stat st;
    stat(".", &st);
    head->sec = st.st_mtim.tv_sec, head->nsec = st.st_mtim.tv_nsec;
    head->pid = getpid();
  }
  for (step = 0; step < count; step++) {
    one_step();
    if (again) continue;
    entries[step].t_ns = now_ns();
    __atomic_store_n(&head->count, step + 1, __ATOMIC_RELEASE);
    if (pause_us && step % 16 == 0) usleep(pause_us);
  }
  if (again) set_times();
}

int main(int argc, char **argv) {
  again = argc > 1 && !strcmp(argv[1], "--again");
  char **a = argv + again;
  if (argc != 6 + again) return fprintf(stderr, "steps: error: bad arguments\n"), 2;
  uint64_t seed = strtoull(a[3], NULL, 10);
  if (again) {
    work(a[1], a[2], seed, atoi(a[4]), strtoull(a[5], NULL, 10), 0);
    return 0;
  }
  for (int i = 0; i < atoi(a[4]); i++)
    if (fork() == 0) work(a[1], a[2], seed, i, STEPS_MAX, atoi(a[5])), _exit(0);
  while (wait(NULL) > 0) {}
  return 0;
}
