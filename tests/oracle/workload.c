/* A random workload for the oracle: processes and threads that change a folder in every way there is, from a seed.
 *   workload --root DIR [--seed N] [--procs N] [--threads N] [--ops N] [--mode private|shared-files|shared-names] [--all]
 *            [--only NAME,...] [--cgroup NAME --ready FILE] [--log PREFIX]
 * --cgroup: before anything else it moves into a child of its cgroup, and says which in --ready: so the oracle can freeze it
 * from outside. It takes no part in that. Modes: `private`, each thread in its own folder; `shared-files`, all of them also write
 * the same files; `shared-names`, all race on the same few names. --ops is per thread. It prints nothing but its own errors. */
#include "more_operations.h"
#include <pthread.h>

struct options opt = {.seed = 1, .procs = 2, .threads = 2, .ops = 1000, .root = NULL};
static unsigned total_weight;

static int allowed(const struct operation *op) {
  if (!opt.only) return !op->extra || opt.all;
  const char *at = opt.only;
  for (size_t n = strlen(op->name); at; at = strchr(at, ','), at = at ? at + 1 : NULL)
    if (!strncmp(at, op->name, n) && (at[n] == ',' || at[n] == 0)) return 1;
  return 0;
}

static const struct operation *next_operation(struct worker *w) {
  unsigned at = pick(w, total_weight);
  for (size_t i = 0; i < OPERATION_COUNT; i++) {
    if (!allowed(&OPERATIONS[i])) continue;
    if (at < OPERATIONS[i].weight) return &OPERATIONS[i];
    at -= OPERATIONS[i].weight;
  }
  return &OPERATIONS[0];
}

static void start_worker(struct worker *w, int proc, int thread) {
  w->rng = mix(opt.seed ^ mix(proc * 1000 + thread));
  w->proc = proc;
  w->thread = thread;
  w->data = aligned_alloc(4096, DATA_BYTES);
  memset(w->fds, -1, sizeof w->fds);
  memset(w->dirs, -1, sizeof w->dirs);
  if (opt.mode == SHARED_NAME_MODE) strcpy(w->area, "s");
  else snprintf(w->area, sizeof w->area, "p%dt%d", proc, thread);
  char path[PATH_BYTES];
  snprintf(path, sizeof path, "%s/%s", opt.root, w->area);
  mkdir(path, 0755);
  if (!opt.log) return;
  snprintf(path, sizeof path, "%s.%d.%d", opt.log, proc, thread);
  w->log = fopen(path, "we");
}

static void *run_worker(void *argument) {
  struct worker *w = argument;
  /* Some threads have a working folder of their own, as a child process has. */
  w->own_cwd = opt.threads == 1 || (w->thread > 0 && pick(w, 2) && unshare(CLONE_FS) == 0);
  for (long i = 0; i < opt.ops; i++) next_operation(w)->run(w);
  if (w->log) fclose(w->log);
  return NULL;
}

static int run_process(int proc) {
  static struct worker workers[64];
  pthread_t threads[64];
  if (chdir(opt.root) != 0) return 1;
  umask(proc % 2 ? 022 : 027);
  for (int i = 0; i < opt.threads; i++) start_worker(&workers[i], proc, i);
  for (int i = 1; i < opt.threads; i++)
    if (pthread_create(&threads[i], NULL, run_worker, &workers[i]) != 0) return 1;
  run_worker(&workers[0]);
  for (int i = 1; i < opt.threads; i++) pthread_join(threads[i], NULL);
  return 0;
}

/* Moves into a child of our cgroup (v2) and writes its folder to `ready`. */
static int enter_cgroup(const char *name, const char *ready) {
  char line[4096], mount[1024] = "", own[1024] = "", folder[4096], procs[4200];
  FILE *f = fopen("/proc/self/mountinfo", "re");
  while (f && fgets(line, sizeof line, f))
    if (strstr(line, " - cgroup2 ")) sscanf(line, "%*s %*s %*s %*s %1000s", mount);
  if (f) fclose(f);
  f = fopen("/proc/self/cgroup", "re");
  while (f && fgets(line, sizeof line, f))
    if (!strncmp(line, "0::", 3)) sscanf(line + 3, "%1000s", own);
  if (f) fclose(f);
  snprintf(folder, sizeof folder, "%s%s/%s", mount, strcmp(own, "/") ? own : "", name);
  snprintf(procs, sizeof procs, "%s/cgroup.procs", folder);
  if (mkdir(folder, 0755) != 0 || !(f = fopen(procs, "we")) || fprintf(f, "%d", (int)getpid()) < 0 || fclose(f) != 0) {
    perror(folder);
    return 1;
  }
  snprintf(line, sizeof line, "%s.new", ready);
  f = fopen(line, "we");
  if (!f || fputs(folder, f) < 0 || fclose(f) != 0 || rename(line, ready) != 0) return 1;
  return 0;
}

static void open_shared(void) {
  static const int flags[INHERITED] = {O_WRONLY | O_CREAT | O_APPEND, O_WRONLY | O_CREAT, O_WRONLY | O_CREAT | O_TRUNC};
  char path[PATH_BYTES];
  snprintf(path, sizeof path, "%s/shared", opt.root);
  mkdir(path, 0755);
  for (int i = 0; i < INHERITED; i++) {
    snprintf(path, sizeof path, "%s/shared/inherited%d", opt.root, i);
    opt.inherited[i] = open(path, flags[i], 0644);
  }
  for (int i = 0; i < SHARED_FILES; i++) {
    snprintf(path, sizeof path, "%s/shared/s%d", opt.root, i);
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    if (fd >= 0) close(fd);
  }
}

int main(int argc, char **argv) {
  const char *cgroup = NULL, *ready = NULL;
  for (int i = 1; i < argc; i++) {
    const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(a, "--all")) { opt.all = 1; continue; }
    i++;
    if (!strcmp(a, "--seed")) opt.seed = strtoull(value, NULL, 10);
    else if (!strcmp(a, "--procs")) opt.procs = atoi(value);
    else if (!strcmp(a, "--threads")) opt.threads = atoi(value);
    else if (!strcmp(a, "--ops")) opt.ops = atol(value);
    else if (!strcmp(a, "--root")) opt.root = value;
    else if (!strcmp(a, "--log")) opt.log = value;
    else if (!strcmp(a, "--only")) opt.only = value;
    else if (!strcmp(a, "--cgroup")) cgroup = value;
    else if (!strcmp(a, "--ready")) ready = value;
    else if (!strcmp(a, "--mode") && !strcmp(value, "private")) opt.mode = PRIVATE;
    else if (!strcmp(a, "--mode") && !strcmp(value, "shared-files")) opt.mode = SHARED_FILE_MODE;
    else if (!strcmp(a, "--mode") && !strcmp(value, "shared-names")) opt.mode = SHARED_NAME_MODE;
    else return fprintf(stderr, "workload: error: bad argument %s %s\n", a, value), 2;
  }
  if (!opt.root || opt.root[0] != '/' || opt.threads < 1 || opt.threads > 64) return fprintf(stderr, "workload: error: --root, --threads\n"), 2;
  if (cgroup && enter_cgroup(cgroup, ready) != 0) return 1;
  for (size_t i = 0; i < OPERATION_COUNT; i++) total_weight += allowed(&OPERATIONS[i]) ? OPERATIONS[i].weight : 0;
  if (total_weight == 0) return fprintf(stderr, "workload: error: no operation is called %s\n", opt.only), 2;
  open_shared();
  for (int i = 0; i < opt.procs; i++)
    if (fork() == 0) _exit(run_process(i));
  while (wait(NULL) > 0) {}
  return 0;
}
