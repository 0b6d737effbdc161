/*
 * What only Linux does, or does its own way: pipes born close-on-exec, writes with RWF_NOSIGNAL, credentials,
 * pidfds, guard pages, memory that a fork wipes. A newer kernel's calls fall back to what older ones have.
 */
#include "ipc/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_NOACCESS(at, len) ((void)0)
#endif

#include "ipc/os/missing.h"

/* Younger than the headers of the systems we build on. */
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

/* A process may have 65530 mappings by default. A guard needs two, so this leaves half of them to others. */
#define GUARD_MAPPINGS_MOST 16000

int ipc_os_pipe(int fd[2])
{
	return ipc_os_lift_pair(pipe2(fd, O_CLOEXEC), fd);
}

int ipc_os_sockpair(int fd[2])
{
	return ipc_os_lift_pair(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), fd);
}

/* Removes the signal that the write has raised, unless it was pending before. */
static void take_away(int sig, const sigset_t *pending)
{
	const struct timespec at_once = {0, 0};
	sigset_t set;

	if (sigismember(pending, sig))
		return;
	sigemptyset(&set);
	sigaddset(&set, sig);
	while (sigtimedwait(&set, NULL, &at_once) == -1 && errno == EINTR)
		;
}

ssize_t ipc_os_write_masked(int fd, const struct iovec *iov, int n)
{
	sigset_t masked, before, pending;
	ssize_t put;
	int error;

	sigemptyset(&masked);
	sigaddset(&masked, SIGPIPE);
	sigaddset(&masked, SIGXFSZ);
	sigemptyset(&pending);
	pthread_sigmask(SIG_BLOCK, &masked, &before);
	if (sigismember(&before, SIGPIPE) || sigismember(&before, SIGXFSZ))
		sigpending(&pending);
	put = writev(fd, iov, n);
	error = errno;
	if (put == -1 && (error == EPIPE || error == EFBIG))
		take_away(error == EPIPE ? SIGPIPE : SIGXFSZ, &pending);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return put;
}

static bool is_fifo(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

ssize_t ipc_os_write_pipe(int fd, const struct iovec *iov, int n)
{
	static atomic_bool no_flag;
	bool known = atomic_load_explicit(&no_flag, memory_order_relaxed);
	ssize_t put;

	if (!known) {
		put = pwritev2(fd, iov, n, -1, RWF_NOSIGNAL);
		if (put >= 0 || !ipc_os_is_missing(errno))
			return put;
	}
	put = ipc_os_write_masked(fd, iov, n);
	if (!known && put >= 0 && is_fifo(fd))
		atomic_store_explicit(&no_flag, true, memory_order_relaxed);
	return put;
}

/* Another socket would answer with numbers that mean nothing. */
static bool is_unix_socket(int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof addr;

	return getsockname(fd, (struct sockaddr *)&addr, &len) == 0 && addr.ss_family == AF_UNIX;
}

int ipc_os_peer_cred(int fd, pid_t *pid, uid_t *uid, gid_t *gid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (!is_unix_socket(fd)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
		return -1;
	if (pid)
		*pid = cred.pid;
	if (uid)
		*uid = cred.uid;
	if (gid)
		*gid = cred.gid;
	return 0;
}

/* Terminals can, /dev/null can't. This tries it; when there is no descriptor for that, the answer is yes. */
bool ipc_os_can_watch(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int epoll = ipc_os_lift(epoll_create1(EPOLL_CLOEXEC)), r, error;

	if (epoll == -1)
		return true;
	r = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
	error = errno;
	close(epoll);
	return r == 0 || error != EPERM;
}

bool ipc_os_all_arrived(int fd)
{
	int waiting;

	return ioctl(fd, SIOCOUTQ, &waiting) == 0 && waiting == 0;
}

/* A timer that is never armed. Its interval has no effect then, and tells it from any other descriptor. */
static const struct timespec placeholder_mark = {.tv_sec = 0x61696f, .tv_nsec = 697063};

int ipc_os_placeholder(void)
{
	const struct itimerspec mark = {.it_interval = placeholder_mark};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd != -1)
		timerfd_settime(fd, 0, &mark, NULL);
	return fd;
}

bool ipc_os_is_placeholder(int fd)
{
	struct itimerspec t;
	int error = errno;
	bool is = timerfd_gettime(fd, &t) == 0 && t.it_interval.tv_sec == placeholder_mark.tv_sec &&
		  t.it_interval.tv_nsec == placeholder_mark.tv_nsec;

	errno = error;
	return is;
}

int ipc_os_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
	return ipc_os_lift((int)syscall(SYS_pidfd_open, pid, 0));
#else
	(void)pid;
	errno = ENOSYS;
	return -1;
#endif
}

/* unshare(CLONE_THREAD) does nothing in a process with one thread, and fails with more. */
bool ipc_os_one_thread(void)
{
	struct stat st;

	if (stat("/proc/self/task", &st) == 0)
		return st.st_nlink == 3;
#if __has_include(<sys/single_threaded.h>)
	if (__libc_single_threaded)
		return true;
#endif
	return unshare(CLONE_THREAD) == 0;
}

/* The program headers of the program and of each library say it. */
static int add_locals(struct dl_phdr_info *info, size_t size, void *sum)
{
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*(size_t *)sum += info->dlpi_phdr[i].p_memsz + info->dlpi_phdr[i].p_align;
	return 0;
}

size_t ipc_os_thread_locals(void)
{
	size_t sum = 0;

	dl_iterate_phdr(add_locals, &sum);
	return sum;
}

void *ipc_os_page_of_this_process(void)
{
	const size_t size = 4096;
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, size, MADV_WIPEONFORK) == 0)
		return page;
	munmap(page, size);
	return NULL;
}

size_t ipc_os_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* With huge pages, a stack that uses one page would cost two megabytes. */
void *ipc_os_map_stacks(size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	madvise(at, len, MADV_NOHUGEPAGE);
	return at;
}

static atomic_bool no_guard_install;
static atomic_uint guard_mappings;

/* Valgrind is told: it does not know MADV_GUARD_INSTALL, and in its search for leaks would take a minute to run into each page of a slab. */
int ipc_os_guard(void *at, size_t len)
{
	if (!atomic_load_explicit(&no_guard_install, memory_order_relaxed)) {
		if (madvise(at, len, MADV_GUARD_INSTALL) == 0) {
			VALGRIND_MAKE_MEM_NOACCESS(at, len);
			return 0;
		}
		if (!ipc_os_is_missing(errno))
			return -1;
		atomic_store(&no_guard_install, true);
	}
	if (atomic_fetch_add(&guard_mappings, 1) < GUARD_MAPPINGS_MOST && mprotect(at, len, PROT_NONE) == 0)
		return 0;
	atomic_fetch_sub(&guard_mappings, 1);
	errno = ENOMEM;
	return -1;
}

void ipc_os_unmap_stacks(void *at, size_t len, unsigned guards)
{
	munmap(at, len);
	if (atomic_load_explicit(&no_guard_install, memory_order_relaxed))
		atomic_fetch_sub(&guard_mappings, guards);
}

/* The call is of Linux 6.6, and younger than the headers of the systems we build on. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

int ipc_os_chmod_opened(int fd, mode_t mode)
{
	char path[40];

	if (syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH) == 0)
		return 0;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return chmod(path, mode);
}

uint64_t ipc_os_started(void)
{
	char text[1024], *at;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd == -1 ? -1 : read(fd, text, sizeof text - 1);
	const int before = 20; /* fields between the name of the program, in parentheses, and this one */

	if (fd != -1)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strrchr(text, ')');
	for (int i = 0; at && i < before; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}
