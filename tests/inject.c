/* See inject.h. The list of what is wrapped is repeated in tests.am, as flags for the linker. */
#include "tests/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "ipc/msg/pool.h"

static atomic_bool armed;
static unsigned countdown;
static enum inject_kind kind_wanted;
static pthread_t thread;
static const char *failed_here, **failed = &failed_here;
static atomic_long blocks;
static void (*in_child)(void);

void inject_arm(unsigned nth, enum inject_kind kind)
{
	countdown = nth;
	kind_wanted = kind;
	thread = pthread_self();
	*failed = NULL;
	armed = true;
}

void inject_disarm(void)
{
	armed = false;
	countdown = 0;
}

void inject_pause(void)
{
	armed = false;
}

void inject_resume(void)
{
	armed = countdown > 0;
}

void inject_in_child(void (*fn)(void))
{
	in_child = fn;
}

const char *inject_failed(void)
{
	return *failed;
}

void inject_report_to(const char **where)
{
	failed = where;
}

long inject_blocks(void)
{
	return blocks;
}

/* Is it this call's turn to fail? An error of 0: it cannot fail in this way. */
static bool due(const char *name, int hard, int soft)
{
	int error;

	if (!armed || !pthread_equal(thread, pthread_self()))
		return false;
	error = kind_wanted == INJECT_HARD ? hard : soft;
	if (error == 0 || --countdown > 0)
		return false;
	armed = false;
	*failed = name;
	errno = error;
	return true;
}

/*
 * Not here: close, which may not fail, and fstat and getsockname of an open pipe or socket, which cannot. When fstat says EBADF the
 * library takes it that the number is somebody else's, and leaves it alone.
 */

/* A call @name with these parameters, that fails by returning @bad with @hard or @soft. */
#define WRAP(type, name, params, args, bad, hard, soft)                                                      \
	type __real_##name params;                                                                           \
	type __wrap_##name params;                                                                           \
	type __wrap_##name params                                                                            \
	{                                                                                                    \
		return due(#name, hard, soft) ? bad : __real_##name args;                                    \
	}

WRAP(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n), -1, EIO, EINTR)
WRAP(ssize_t, readv, (int fd, const struct iovec *iov, int n), (fd, iov, n), -1, EIO, EINTR)
WRAP(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags), -1, ECONNRESET, EAGAIN)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), -1, ECONNRESET, EINTR)
/* To bells, and to pipes that we hold both sides of: a signal is all that can come between. */
WRAP(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n), -1, 0, EINTR)
WRAP(ssize_t, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n), -1, EPIPE, EINTR)
WRAP(ssize_t, pwritev2, (int fd, const struct iovec *iov, int n, off_t at, int flags),
     (fd, iov, n, at, flags), -1, EPIPE, EAGAIN)
WRAP(ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags), -1, EPIPE, EAGAIN)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), -1, EPIPE, ENOBUFS)
WRAP(int, pipe2, (int fd[2], int flags), (fd, flags), -1, EMFILE, 0)
WRAP(int, socketpair, (int domain, int type, int protocol, int fd[2]), (domain, type, protocol, fd), -1,
     EMFILE, 0)
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1, EMFILE, 0)
WRAP(int, bind, (int fd, const struct sockaddr *sa, socklen_t len), (fd, sa, len), -1, EACCES, 0)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), -1, EADDRINUSE, 0)
WRAP(int, accept4, (int fd, struct sockaddr *sa, socklen_t *len, int flags), (fd, sa, len, flags), -1, EMFILE,
     ECONNABORTED)
WRAP(int, connect, (int fd, const struct sockaddr *sa, socklen_t len), (fd, sa, len), -1, ECONNREFUSED, 0)
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode), -1, EPERM, 0)
WRAP(int, flock, (int fd, int how), (fd, how), -1, ENOLCK, EWOULDBLOCK)
WRAP(int, ppoll, (struct pollfd * p, nfds_t n, const struct timespec *t, const sigset_t *set), (p, n, t, set),
     -1, ENOMEM, EINTR)
WRAP(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len),
     (fd, level, name, value, len), -1, ENOBUFS, 0)
WRAP(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len), -1, ENOBUFS, 0)
WRAP(int, shutdown, (int fd, int how), (fd, how), -1, ENOTCONN, 0)
WRAP(int, dup3, (int from, int to, int flags), (from, to, flags), -1, EBUSY, 0)
WRAP(int, eventfd, (unsigned n, int flags), (n, flags), -1, EMFILE, 0)
WRAP(int, timerfd_create, (int clock, int flags), (clock, flags), -1, EMFILE, 0)
WRAP(int, madvise, (void *at, size_t len, int advice), (at, len, advice), -1, EINVAL, 0)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE, 0)
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len), -1, ENOSPC, EINTR)
WRAP(void *, mmap, (void *at, size_t len, int prot, int flags, int fd, off_t offset),
     (at, len, prot, flags, fd, offset), MAP_FAILED, ENOMEM, 0)
WRAP(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options), -1, 0, EINTR)
WRAP(int, pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*fn)(void *), void *arg),
     (t, a, fn, arg), EAGAIN, EAGAIN, 0)
WRAP(int, pthread_atfork, (void (*a)(void), void (*b)(void), void (*c)(void)), (a, b, c), ENOMEM, ENOMEM, 0)
WRAP(int, pthread_key_create, (pthread_key_t * key, void (*fn)(void *)), (key, fn), EAGAIN, EAGAIN, 0)
WRAP(int, event_add, (struct event * e, const struct timeval *t), (e, t), -1, ENOMEM, 0)

/* Not only when the thread keeps no block, and malloc is asked. */
WRAP(void *, ipc_pool_get, (size_t want, size_t *size), (want, size), NULL, ENOMEM, 0)

/* In the child nothing fails, because who forks is tested; unless inject_in_child() arms it. */
pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	pid_t pid = due("fork", EAGAIN, 0) ? -1 : __real_fork();

	if (pid == 0) {
		inject_disarm();
		if (in_child)
			in_child();
	}
	return pid;
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
	va_list ap;
	long arg;

	va_start(ap, command);
	arg = va_arg(ap, long);
	va_end(ap);
	return due("fcntl", command == F_DUPFD_CLOEXEC ? EMFILE : EIO, 0) ? -1
									  : __real_fcntl(fd, command, arg);
}

/* Newer calls, which an older kernel does not have; futex, by which threads wake each other, is in each. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	bool forks = number == SYS_clone || number == SYS_clone3;
	va_list ap;
	long a[6], got;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (due("syscall", number == SYS_futex ? 0 : number == SYS_clone ? EAGAIN : ENOSYS, 0))
		return -1;
	got = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (forks && got == 0)
		inject_disarm();
	return got;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t n);
void *__real_realloc(void *old, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
void *__wrap_realloc(void *old, size_t n);
void *__wrap_reallocarray(void *old, size_t n, size_t size);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

static void *counted(void *p)
{
	if (p)
		blocks++;
	return p;
}

void *__wrap_malloc(size_t n)
{
	return due("malloc", ENOMEM, 0) ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return due("calloc", ENOMEM, 0) ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
	return due("aligned_alloc", ENOMEM, 0) ? NULL : counted(__real_aligned_alloc(alignment, n));
}

void *__wrap_realloc(void *old, size_t n)
{
	void *p;

	if (due("realloc", ENOMEM, 0))
		return NULL;
	p = __real_realloc(old, n);
	return old ? p : counted(p);
}

void *__wrap_reallocarray(void *old, size_t n, size_t size)
{
	return __wrap_realloc(old, n * size);
}

char *__wrap_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = __wrap_malloc(n);

	return p ? memcpy(p, s, n) : NULL;
}

void __wrap_free(void *p)
{
	if (p)
		blocks--;
	__real_free(p);
}

static void say_nothing(int severity, const char *text)
{
	(void)severity;
	(void)text;
}

void inject_setup(void)
{
	event_set_mem_functions(__wrap_malloc, __wrap_realloc, __wrap_free);
	event_set_log_callback(say_nothing);
}
