/* What a child may do after a fork without handlers: the rule is in child.h. Linux only. */
#include "ipc/os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Younger than the headers of the systems we build on. */
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND UINT64_C(0x100000000)
#endif

#ifndef SYS_ppoll
#define SYS_ppoll SYS_ppoll_time64
#endif

/* 32-bit systems have these twice, the first ones with 16-bit ids. */
#ifdef SYS_setgroups32
#define SYS_SETGROUPS SYS_setgroups32
#define SYS_SETRESGID SYS_setresgid32
#define SYS_SETRESUID SYS_setresuid32
#else
#define SYS_SETGROUPS SYS_setgroups
#define SYS_SETRESGID SYS_setresgid
#define SYS_SETRESUID SYS_setresuid
#endif

/* The kernel's sigset_t, in bytes. */
#define SIGSET_LEN ((size_t)NSIG / 8)

/* The kernel's struct sigaction as far as we need it: all zeroes mean the default, in whatever order the rest is. */
struct action {
#ifdef __mips__
	unsigned flags;
#endif
	uintptr_t handler;
	uintptr_t rest[15];
};

static void reset_signals(void)
{
	const struct action none = {0};
	struct action sa = {0};

	for (int sig = 1; sig < NSIG; sig++)
		if (syscall(SYS_rt_sigaction, sig, NULL, &sa, SIGSET_LEN) == 0 &&
		    sa.handler != (uintptr_t)SIG_DFL && sa.handler != (uintptr_t)SIG_IGN)
			syscall(SYS_rt_sigaction, sig, &none, NULL, SIGSET_LEN);
}

/* One call for both since Linux 5.5. -1 elsewhere, with any errno: a system call filter may choose it. */
static pid_t fork_without_signals(void)
{
#ifdef SYS_clone3
	enum { FLAGS, PIDFD, CHILD_TID, PARENT_TID, EXIT_SIGNAL, STACK, STACK_SIZE, TLS, MEMBERS };
	uint64_t args[MEMBERS] = {[FLAGS] = CLONE_CLEAR_SIGHAND, [EXIT_SIGNAL] = SIGCHLD};

	return (pid_t)syscall(SYS_clone3, args, sizeof(args));
#else
	errno = ENOSYS;
	return -1;
#endif
}

static pid_t plain_fork(void)
{
#ifdef __s390__
	return (pid_t)syscall(SYS_clone, 0, SIGCHLD, 0, 0, 0);
#else
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#endif
}

pid_t ipc_os_raw_fork(void)
{
	pid_t pid = fork_without_signals();

	if (pid != -1 || errno == EAGAIN || errno == ENOMEM)
		return pid;
	pid = plain_fork();
	if (pid == 0)
		reset_signals();
	return pid;
}

void ipc_os_raw_unblock(void)
{
	const uint64_t none[2] = {0};

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, SIGSET_LEN);
}

void ipc_os_raw_close(int fd)
{
	syscall(SYS_close, fd);
}

void ipc_os_raw_write(int fd, const void *data, size_t len)
{
	while (syscall(SYS_write, fd, data, len) == -1 && errno == EINTR)
		;
}

int ipc_os_raw_null(void)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);

	return fd != -1 ? fd : (int)syscall(SYS_openat, AT_FDCWD, "/", O_PATH, 0);
}

/* Not the C library's functions: these signal all threads, and the child of a raw fork has only one. */
int ipc_os_set_ids(uid_t uid, gid_t gid)
{
	if (syscall(SYS_SETGROUPS, 0, NULL) == -1)
		return -1;
	if (syscall(SYS_SETRESGID, gid, gid, gid) == -1)
		return -1;
	return syscall(SYS_SETRESUID, uid, uid, uid) == -1 ? -1 : 0;
}

int ipc_os_set_ids_of_all(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) == -1)
		return -1;
	if (setresgid(gid, gid, gid) == -1)
		return -1;
	return setresuid(uid, uid, uid);
}

static bool has_reader(int fd)
{
	struct pollfd p = {.fd = fd};
	const int64_t at_once[2] = {0}; /* a timespec, whatever its size */

	return syscall(SYS_ppoll, &p, 1, at_once, NULL, SIGSET_LEN) != 1;
}

/* In another PID namespace the parent's number is 0, and so is the number of the process that inherits its children. */
int ipc_os_die_with(pid_t parent, int fd)
{
	pid_t now;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1)
		return -1;
	now = getppid();
	if (now == parent || (now == 0 && has_reader(fd)))
		return 0;
	errno = ECANCELED;
	return -1;
}
