// Restrictions on this process. They are put up by a constructor: before Go starts
// a thread, so that none escapes them, and after the libraries were loaded, so that
// no file need be opened any more.
#define _GNU_SOURCE
#include "sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the seccomp filter is not written for this architecture"
#endif

// Memory of the whole process: Go, libavformat's indexes and queues, decoders
// that look at the first frames of 8K video.
#define MAX_DATA (1024ull << 20)
#define MAX_FILES 32

static int state;

int sandbox_state(void)
{
	return state;
}

static int limit(int what, rlim_t n)
{
	struct rlimit r = {n, n};
	return setrlimit(what, &r);
}

static int set_limits(void)
{
	// One thread demuxes. Packets of 100 kB are not to be mapped and unmapped each.
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	return limit(RLIMIT_CORE, 0) || limit(RLIMIT_NOFILE, MAX_FILES) ||
	       limit(RLIMIT_DATA, MAX_DATA) || limit(RLIMIT_MEMLOCK, 0) || limit(RLIMIT_MSGQUEUE, 0);
}

// Landlock, as its interface was at version 7; older headers do not have all of it.
struct ruleset {
	uint64_t fs, net, scoped;
};

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

// Handles every access that the kernel knows, and allows none.
static int set_landlock(void)
{
	struct ruleset r = {0, 0, 0};
	size_t size = sizeof r.fs;
	int fd, err;
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	if (version < 1)
		return -1;
	r.fs = (1 << 13) - 1;
	if (version >= 2)
		r.fs |= 1 << 13; // refer
	if (version >= 3)
		r.fs |= 1 << 14; // truncate
	if (version >= 5)
		r.fs |= 1 << 15; // ioctl of devices
	if (version >= 4) {
		r.net = 3; // TCP bind, connect
		size = 2 * sizeof r.fs;
	}
	if (version >= 6) {
		r.scoped = 3; // abstract sockets, signals
		size = sizeof r;
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
	if (fd < 0)
		return -1;
	err = (int)syscall(SYS_landlock_restrict_self, fd, 0);
	close(fd);
	return err;
}

// The system calls that Go, libc and libavformat make once everything is loaded.
// What is not here fails with EPERM: the process goes on, and its input is lost at
// worst.
static const unsigned short allowed[] = {
	SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_lseek, SYS_close, SYS_fstat, SYS_fcntl,
	SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_brk, SYS_mincore,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall,
	SYS_futex, SYS_set_robust_list, SYS_gettid, SYS_getpid, SYS_exit, SYS_exit_group,
	SYS_sched_yield, SYS_sched_getaffinity, SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_gettimeofday,
	SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2, SYS_pipe2, SYS_ppoll,
	SYS_getrandom, SYS_uname, SYS_sysinfo,
#ifdef SYS_rseq
	SYS_rseq,
#endif
#ifdef SYS_poll
	SYS_poll,
#endif
#ifdef SYS_arch_prctl
	SYS_arch_prctl,
#endif
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_ARG(n) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[n]))
#define LOAD_ARG_HIGH(n) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[n]) + 4)
#define UNLESS(v, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, v, 0, skip)
#define IF(v, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, v, skip, 0)
#define IF_BITS(v, skip) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, v, skip, 0)
#define RETURN(v) BPF_STMT(BPF_RET | BPF_K, v)
#define FAIL(e) RETURN(SECCOMP_RET_ERRNO | (e))

enum { FIXED = 32, COUNT = sizeof allowed / sizeof *allowed };

static int set_seccomp(void)
{
	struct sock_filter f[FIXED + 2 * COUNT];
	struct sock_fprog prog = {0, f};
	unsigned n = 0;
	const struct sock_filter head[] = {
		LOAD(arch),
		IF(ARCH, 1),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		// clone3 hides its flags behind a pointer; libc goes back to clone.
		UNLESS(SYS_clone3, 1),
		FAIL(ENOSYS),
		// clone makes threads, no processes.
		UNLESS(SYS_clone, 4),
		LOAD_ARG(0),
		IF_BITS(CLONE_THREAD, 1),
		FAIL(EPERM),
		RETURN(SECCOMP_RET_ALLOW),
		// Signals only to itself: Go preempts by them.
		UNLESS(SYS_tgkill, 4),
		LOAD_ARG(0),
		IF((unsigned)getpid(), 1),
		FAIL(EPERM),
		RETURN(SECCOMP_RET_ALLOW),
		// Limits are read, not set.
		UNLESS(SYS_prlimit64, 6),
		LOAD_ARG(2),
		UNLESS(0, 3),
		LOAD_ARG_HIGH(2),
		UNLESS(0, 1),
		RETURN(SECCOMP_RET_ALLOW),
		FAIL(EPERM),
		UNLESS(SYS_openat, 1),
		FAIL(EACCES),
	};

	memcpy(f, head, sizeof head);
	n = sizeof head / sizeof *head;
	for (unsigned i = 0; i < COUNT; i++) {
		f[n++] = (struct sock_filter)UNLESS(allowed[i], 1);
		f[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	}
	f[n++] = (struct sock_filter)FAIL(EPERM);
	prog.len = (unsigned short)n;
	// Of every thread: a library may have started one when it was loaded.
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog);
}

static void die(const char *why)
{
	ssize_t n = write(2, why, strlen(why));
	_exit(n < 0 ? 125 : 126);
}

__attribute__((constructor)) static void restrict_self(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		die("cleave-av: the process cannot be restricted\n");
	if (set_limits())
		die("cleave-av: no resource limits can be set\n");
	state |= SANDBOX_LIMITS;
	if (!set_landlock())
		state |= SANDBOX_LANDLOCK;
	if (set_seccomp())
		die("cleave-av: this kernel has no seccomp filters\n");
	state |= SANDBOX_SECCOMP;
}

static int try_file(void)
{
	int fd = open("/etc/passwd", O_RDONLY);
	return fd < 0 ? errno : 0;
}

static int try_write(void)
{
	int fd = open("/tmp/cleave-av", O_WRONLY | O_CREAT | O_EXCL, 0600);
	return fd < 0 ? errno : 0;
}

static int try_socket(int type)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, type, 0);

	if (fd < 0)
		return errno;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != ECONNREFUSED ? errno : 0;
}

static int try_fork(void)
{
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return 0;
}

static int try_exec(void)
{
	char *argv[] = {"true", NULL}, *env[] = {NULL};

	execve("/bin/true", argv, env);
	return errno;
}

static int try_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) < 0 ? errno : 0;
}

static int try_kill(void)
{
	return kill(getppid(), 0) < 0 ? errno : 0;
}

static int try_memory(void)
{
	const size_t size = 2048ul << 20;
	volatile char *p = malloc(size);

	if (!p)
		return errno;
	for (size_t i = 0; i < size; i += 4096)
		p[i] = 1;
	free((void *)p);
	return 0;
}

int sandbox_attempt(const char *what)
{
	static const struct {
		const char *name;
		int (*try)(void);
	} attempts[] = {
		{"read a file", try_file}, {"write a file", try_write}, {"fork", try_fork}, {"exec", try_exec},
		{"ptrace", try_ptrace},	   {"kill", try_kill},		{"2 GB of memory", try_memory},
	};

	if (!strcmp(what, "TCP"))
		return try_socket(SOCK_STREAM);
	if (!strcmp(what, "UDP"))
		return try_socket(SOCK_DGRAM);
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		if (!strcmp(what, attempts[i].name))
			return attempts[i].try();
	return -1;
}
