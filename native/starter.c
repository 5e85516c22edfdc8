/*
 * The two small processes beside a recording, in one static program without a C library: they are there from the first moment, and
 * a runtime of 100 MB would take 30 ms of both processors to start each. By its first argument:
 *
 *   launch COMMANDS REPLIES     reads a plan, obeys, and becomes the recorded command (src/record/launch_plan.ts writes all of it)
 *   wait PROGRAM ARG...         sleeps until its stdin ends or says something, then becomes PROGRAM ARG... WORD, WORD being what
 *                               happened: "ended", "keep" or "take" (src/record/guard.ts)
 *
 * Both sides are of one build, so the plan has no version. Numbers are little-endian, as the machine's.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;

/* linux: include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls/syscall_64.tbl */
#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, MMAP = 9, RT_SIGACTION = 13, RT_SIGPROCMASK = 14, FCNTL = 72, SETGROUPS = 116, SETRESUID = 117,
       SETRESGID = 119, PRCTL = 157, EXECVE = 59, EXIT_GROUP = 231, SETSID = 112, OPENAT = 257, PRLIMIT64 = 302, SECCOMP = 317, EXECVEAT = 322 };
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, MMAP = 222, RT_SIGACTION = 134, RT_SIGPROCMASK = 135, FCNTL = 25, SETGROUPS = 159, SETRESUID = 147,
       SETRESGID = 149, PRCTL = 167, EXECVE = 221, EXIT_GROUP = 94, SETSID = 157, OPENAT = 56, PRLIMIT64 = 261, SECCOMP = 277, EXECVEAT = 281 };
#else
#error "no system calls are known for this machine"
#endif

enum { ENOENT = 2, EINTR = 4, ENOEXEC = 8, ENOMEM = 12, EACCES = 13, ENOTDIR = 20, EINVAL = 22 };
enum { F_SETFD = 2, F_GETFL = 3, F_SETFL = 4, FD_CLOEXEC = 1, O_NONBLOCK = 04000, O_PATH = 010000000, O_CLOEXEC = 02000000 };
enum { AT_FDCWD = -100, AT_EMPTY_PATH = 0x1000, PR_SET_NAME = 15, PR_SET_PDEATHSIG = 1, RLIMIT_NOFILE = 7, SECCOMP_SET_MODE_FILTER = 1 };
enum { SIG_SETMASK = 2, SIG_DFL = 0, SIG_IGN = 1, SIGNALS = 31, SIGNAL_SET_BYTES = 8, SIGKILL = 9, SIGCHLD = 17 };
enum { PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22 };
/* Exit codes of env(1), and ours for a recorder that failed. */
enum { EXIT_RECORDER_FAILED = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

static i64 call6(i64 number, i64 a, i64 b, i64 c, i64 d, i64 e, i64 f)
{
#if defined(__x86_64__)
	i64 result;
	register i64 r10 __asm__("r10") = d;
	register i64 r8 __asm__("r8") = e;
	register i64 r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
#else
	register i64 x8 __asm__("x8") = number;
	register i64 x0 __asm__("x0") = a;
	register i64 x1 __asm__("x1") = b;
	register i64 x2 __asm__("x2") = c;
	register i64 x3 __asm__("x3") = d;
	register i64 x4 __asm__("x4") = e;
	register i64 x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
#endif
}

#define CALL(number, a, b, c, d) call6(number, (i64)(a), (i64)(b), (i64)(c), (i64)(d), 0, 0)

static void __attribute__((noreturn)) leave(int code)
{
	for (;;) CALL(EXIT_GROUP, code, 0, 0, 0);
}

/* All of it, or nothing is left to do: the recorder went away. */
static void read_all(int fd, void *into, u64 bytes)
{
	for (u64 done = 0; done < bytes;) {
		i64 got = CALL(READ, fd, (u8 *)into + done, bytes - done, 0);
		if (got == -EINTR) continue;
		if (got <= 0) leave(EXIT_RECORDER_FAILED);
		done += got;
	}
}

static void *memory(u64 bytes)
{
	i64 at = call6(MMAP, 0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
	if (at < 0 && at > -4096) leave(EXIT_RECORDER_FAILED);
	return (void *)at;
}

/* What the recorder is told, 16 bytes each. */
struct reply {
	i64 kind;
	i64 value;
};
enum { REPLY_FILTER = 1, REPLY_EXEC = 2, REPLY_USER = 3 };

static void reply(int fd, i64 kind, i64 value)
{
	struct reply message = { kind, value };
	CALL(WRITE, fd, &message, sizeof(message), 0);
}

/* ---- launch ---- */

/* Behind it: the groups and the descriptors (8 bytes each), then the strings, each ended by NUL: argv, env, paths. */
struct plan {
	u64 bytes;	/* of all that follows */
	u64 argc, envc, pathc, groupc, fdc;
	u64 has_user, uid, gid;
	u64 ignored, blocked;	/* bit n - 1: signal n */
	u64 blocking;	/* bit n: descriptor n is made blocking */
	u64 files_max;	/* soft limit of open files; 0: as it is */
};

/* What the recorder asks for before the go. Behind FILTER: the program, `bytes` long. */
struct command {
	u32 kind;
	u32 flags;
	u64 bytes;
};
enum { COMMAND_GO = 1, COMMAND_FILTER = 2 };
enum { FILTER_INSTRUCTION_BYTES = 8, FILTER_BYTES_MAX = 4096 * FILTER_INSTRUCTION_BYTES };

struct filter_program {
	unsigned short length;
	void *instructions;
};

static u8 filter_room[FILTER_BYTES_MAX];

static void obey(int commands, int replies)
{
	for (;;) {
		struct command command;
		read_all(commands, &command, sizeof(command));
		if (command.kind == COMMAND_GO) return;
		if (command.kind != COMMAND_FILTER || command.bytes > FILTER_BYTES_MAX) leave(EXIT_RECORDER_FAILED);
		read_all(commands, filter_room, command.bytes);
		struct filter_program program = { command.bytes / FILTER_INSTRUCTION_BYTES, filter_room };
		reply(replies, REPLY_FILTER, CALL(SECCOMP, SECCOMP_SET_MODE_FILTER, command.flags, &program, 0));
	}
}

/* linux: struct sigaction of the kernel, with room for sa_restorer. */
struct signal_action {
	u64 handler, flags, restorer, mask;
};

static void set_signal(int signal, u64 handler)
{
	struct signal_action action = { handler, 0, 0, 0 };
	CALL(RT_SIGACTION, signal, &action, 0, SIGNAL_SET_BYTES);
}

static void make_blocking(int fd)
{
	i64 flags = CALL(FCNTL, fd, F_GETFL, 0, 0);
	if (flags >= 0) CALL(FCNTL, fd, F_SETFL, flags & ~O_NONBLOCK, 0);
}

/* Signals are as the recorder got them: from now on, because those that are sent to the command may come before the go. */
static void restore_signals(const struct plan *plan)
{
	for (int signal = 1; signal <= SIGNALS; signal++)
		set_signal(signal, plan->ignored >> (signal - 1) & 1 ? SIG_IGN : SIG_DFL);
	u64 mask = plan->blocked;
	CALL(RT_SIGPROCMASK, SIG_SETMASK, &mask, 0, SIGNAL_SET_BYTES);
}

/* What the recorder's runtime changed for itself is put back. */
static void restore(const struct plan *plan, const u64 *fds)
{
	for (u64 i = 0; i < plan->fdc; i++) CALL(FCNTL, fds[i], F_SETFD, 0, 0);
	for (int fd = 0; fd < 3; fd++)
		if (plan->blocking >> fd & 1) make_blocking(fd);
	if (plan->files_max == 0) return;
	u64 limit[2];
	if (CALL(PRLIMIT64, 0, RLIMIT_NOFILE, 0, limit) != 0) return;
	limit[0] = plan->files_max;
	CALL(PRLIMIT64, 0, RLIMIT_NOFILE, limit, 0);
}

static void become(const struct plan *plan, const u64 *groups, int replies)
{
	u32 *ids = memory(plan->groupc * sizeof(u32) + 1);
	for (u64 i = 0; i < plan->groupc; i++) ids[i] = groups[i];
	i64 code = CALL(SETGROUPS, plan->groupc, ids, 0, 0);
	if (code == 0) code = CALL(SETRESGID, plan->gid, plan->gid, plan->gid, 0);
	if (code == 0) code = CALL(SETRESUID, plan->uid, plan->uid, plan->uid, 0);
	if (code == 0) return;
	reply(replies, REPLY_USER, -code);
	leave(EXIT_RECORDER_FAILED);
}

/* Fills `table` with the next `count` strings and a null pointer; returns the string behind them. */
static char *strings(char **table, u64 count, char *at)
{
	for (u64 i = 0; i < count; i++) {
		table[i] = at;
		while (*at != 0) at++;
		at++;
	}
	table[count] = 0;
	return at;
}

/* execvp(3) over the plan's paths. Returns the error number that says most. */
static i64 execute(char **paths, char **argv, char **envp)
{
	i64 denied = 0;
	for (; *paths != 0; paths++) {
		i64 code = -CALL(EXECVE, *paths, argv, envp, 0);
		if (code == ENOEXEC) {
			/* argv has a free place before it: a script without "#!" is the shell's */
			argv[0] = *paths;
			argv[-1] = "/bin/sh";
			return -CALL(EXECVE, "/bin/sh", argv - 1, envp, 0);
		}
		if (code == EACCES) denied = code;
		else if (code != ENOENT && code != ENOTDIR) return code;
	}
	return denied == 0 ? ENOENT : denied;
}

static void launch(int commands, int replies)
{
	struct plan plan;
	CALL(PRCTL, PR_SET_NAME, "diffkeeper", 0, 0);
	/* stopped, it would outlive a recorder that is killed before the go */
	CALL(PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	CALL(FCNTL, commands, F_SETFD, FD_CLOEXEC, 0);
	CALL(FCNTL, replies, F_SETFD, FD_CLOEXEC, 0);
	read_all(commands, &plan, sizeof(plan));
	/* a NUL more than the plan has: its last string ends in any case */
	u8 *rest = memory(plan.bytes + 1);
	read_all(commands, rest, plan.bytes);
	u64 *groups = (u64 *)rest;
	u64 *fds = groups + plan.groupc;
	char **argv = (char **)memory((plan.argc + plan.envc + plan.pathc + 4) * sizeof(char *)) + 1;
	char **envp = argv + plan.argc + 1;
	char **paths = envp + plan.envc + 1;
	char *at = strings(argv, plan.argc, (char *)(fds + plan.fdc));
	strings(paths, plan.pathc, strings(envp, plan.envc, at));
	restore_signals(&plan);
	obey(commands, replies);
	CALL(PRCTL, PR_SET_PDEATHSIG, 0, 0, 0);
	restore(&plan, fds);
	if (plan.has_user) become(&plan, groups, replies);
	i64 code = execute(paths, argv, envp);
	reply(replies, REPLY_EXEC, code);
	leave(code == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

/* ---- wait ---- */

/* Bytes on stdin: KEEP and TAKE_OVER of src/record/guard.ts. */
enum { KEEP = 'k', TAKE_OVER = 't' };

static char *what_happened(void)
{
	char *word = "ended";
	for (;;) {
		u8 byte;
		i64 got = CALL(READ, 0, &byte, 1, 0);
		if (got == -EINTR) continue;
		if (got <= 0) return word;
		if (byte == TAKE_OVER) return "take";
		if (byte == KEEP) word = "keep";
	}
}

static void wait_and_become(u64 argc, char **argv, char **envp)
{
	/* What is sent to the group of the recorder, from a terminal or by kill(2), is meant for the command: without a guard the calls of
	 * what is left of it would fail. The recorder ends us by SIGKILL. */
	CALL(SETSID, 0, 0, 0, 0);
	for (int signal = 1; signal <= SIGNALS; signal++)
		if (signal != SIGCHLD) set_signal(signal, SIG_IGN);
	make_blocking(0);
	/* opened now: it may be replaced or removed while we sleep */
	i64 program = CALL(OPENAT, AT_FDCWD, argv[0], O_PATH | O_CLOEXEC, 0);
	char **table = memory((argc + 2) * sizeof(char *));
	for (u64 i = 0; i < argc; i++) table[i] = argv[i];
	table[argc] = what_happened();
	table[argc + 1] = 0;
	call6(EXECVEAT, program, (i64)"", (i64)table, (i64)envp, AT_EMPTY_PATH, 0);
	CALL(EXECVE, argv[0], table, envp, 0);
	leave(EXIT_NOT_EXECUTABLE);
}

/* ---- start ---- */

static int number(const char *text)
{
	int value = 0;
	for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (*text - '0');
	return value;
}

/* The stack at the start (System V ABI): argc, argv, 0, envp, 0. */
__attribute__((noreturn, used)) static void start(u64 *stack)
{
	u64 argc = stack[0];
	char **argv = (char **)(stack + 1);
	char **envp = argv + argc + 1;
	if (argc == 4 && argv[1][0] == 'l') launch(number(argv[2]), number(argv[3]));
	if (argc >= 3 && argv[1][0] == 'w') wait_and_become(argc - 2, argv + 2, envp);
	leave(EXIT_RECORDER_FAILED);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl start\n");
#endif
