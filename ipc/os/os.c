/*
 * What every POSIX system of today does: descriptor flags, reads and writes that neither block nor raise SIGPIPE, descriptors that travel with
 * them, the clock. os_linux.c has what only Linux does.
 */
#include "ipc/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ipc/os/eager.h"

/* Younger than the headers of the systems we build on. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

int ipc_os_set_cloexec(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags == -1 || flags & FD_CLOEXEC)
		return flags == -1 ? -1 : 0;
	return fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

int ipc_os_set_nonblock(int fd, bool on, bool *was)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1)
		return -1;
	if (was)
		*was = flags & O_NONBLOCK;
	if (!(flags & O_NONBLOCK) == !on)
		return 0;
	return fcntl(fd, F_SETFL, flags ^ O_NONBLOCK);
}

enum ipc_fdkind ipc_os_fdkind(int fd)
{
	struct stat st;

	return fstat(fd, &st) == -1 ? IPC_FD_PIPE : ipc_os_fdkind_of(fd, &st);
}

enum ipc_fdkind ipc_os_fdkind_of(int fd, const struct stat *st)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISBLK(st->st_mode))
		return IPC_FD_FILE;
	if (!S_ISSOCK(st->st_mode))
		return S_ISCHR(st->st_mode) && !ipc_os_can_watch(fd) ? IPC_FD_FILE : IPC_FD_PIPE;
	if (getsockname(fd, (struct sockaddr *)&addr, &len) == -1 || addr.ss_family != AF_UNIX)
		return IPC_FD_SOCKET;
	return IPC_FD_UNIX;
}

/* Some errors have two names. */
static ssize_t settle(ssize_t n)
{
	if (n == -1 && errno == EWOULDBLOCK)
		errno = EAGAIN;
	if (n == -1 && errno == EPROTOTYPE)
		errno = ECONNRESET;
	return n;
}

/*
 * Room for the control data of a message, aligned: the most descriptors that one message can bring, and more for what the socket's user may have
 * turned on: credentials, a security label, a pidfd, times. So the kernel cuts control data only when this process lacks descriptors.
 */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(IPC_FDS_MOST * sizeof(int)) + 1024];
};

/* For descriptors that nobody wants, like the peer's pidfd where SO_PASSPIDFD is on. */
static void close_fds(const struct cmsghdr *cm, unsigned n)
{
	int fd;

	for (unsigned i = 0; i < n; i++) {
		memcpy(&fd, CMSG_DATA(cm) + i * sizeof fd, sizeof fd);
		if (fd >= 0)
			close(fd);
	}
}

static void claim_fds(const struct cmsghdr *cm, unsigned n, struct ipc_fdlist *fds)
{
	memcpy(fds->fd + fds->n, CMSG_DATA(cm), n * sizeof(int));
	fds->n += n;
}

/* Why did descriptors not come in: has this process no number left, or did a security module refuse them? */
static int why_cut(int fd)
{
	int one_more = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (one_more == -1)
		return errno;
	close(one_more);
	return EACCES;
}

/* One that can't be lifted keeps its number: it is the user's and must not get lost. */
static void lift_fds(struct ipc_fdlist *fds)
{
	int up;

	for (unsigned i = 0; i < fds->n; i++) {
		if (fds->fd[i] > STDERR_FILENO)
			continue;
		up = fcntl(fds->fd[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (up == -1)
			continue;
		close(fds->fd[i]);
		fds->fd[i] = up;
	}
}

static void take_fds(int fd, struct msghdr *msg, struct ipc_fdlist *fds)
{
	struct cmsghdr *cm;

	for (cm = CMSG_FIRSTHDR(msg); cm; cm = CMSG_NXTHDR(msg, cm)) {
		unsigned n = (unsigned)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (cm->cmsg_level != SOL_SOCKET)
			continue;
		if (cm->cmsg_type == SCM_RIGHTS && fds->n + n <= IPC_FDS_MOST)
			claim_fds(cm, n, fds);
		else if (cm->cmsg_type == SCM_RIGHTS || cm->cmsg_type == SCM_PIDFD)
			close_fds(cm, n);
	}
	lift_fds(fds);
	if (msg->msg_flags & MSG_CTRUNC)
		fds->cut = why_cut(fd);
}

static ssize_t receive_fds(int fd, struct iovec *iov, int n, struct ipc_fdlist *fds, int flags)
{
	union control control;
	struct msghdr msg = {.msg_iov = iov,
			     .msg_iovlen = (size_t)n,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	ssize_t got = recvmsg(fd, &msg, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	fds->n = 0;
	fds->cut = 0;
	if (got >= 0)
		take_fds(fd, &msg, fds);
	return got;
}

static ssize_t receive(int fd, struct iovec *iov, int n, struct ipc_fdlist *fds)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};

	if (fds)
		return receive_fds(fd, iov, n, fds, 0);
	if (n == 1)
		return recv(fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT);
	return recvmsg(fd, &msg, MSG_DONTWAIT);
}

/* A terminal whose other side was closed: reading and writing fail with EIO. For a reader that is the ordinary end. */
static bool has_hung_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return ipc_os_poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

ssize_t ipc_os_readv(int fd, enum ipc_fdkind kind, struct iovec *iov, int n, struct ipc_fdlist *fds)
{
	ssize_t got;

	do {
		if (ipc_os_is_socket(kind))
			got = receive(fd, iov, n, fds);
		else if (n == 1)
			got = read(fd, iov->iov_base, iov->iov_len);
		else
			got = readv(fd, iov, n);
	} while (got == -1 && errno == EINTR);
	if (got == -1 && errno == EIO && has_hung_up(fd))
		return 0;
	return settle(got);
}

ssize_t ipc_os_peek(int fd, struct iovec *iov, struct ipc_fdlist *fds)
{
	ssize_t got;

	do
		got = receive_fds(fd, iov, 1, fds, MSG_PEEK);
	while (got == -1 && errno == EINTR);
	return settle(got);
}

static ssize_t send_fds(int fd, const struct iovec *iov, int n, const int *fds, unsigned nfds, int flags)
{
	union control control;
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
			     .msg_iovlen = (size_t)n,
			     .msg_control = control.bytes,
			     .msg_controllen = CMSG_SPACE(nfds * sizeof(int))};
	struct cmsghdr *cm = &control.align;

	if (nfds > IPC_FDS_MOST) {
		errno = EINVAL;
		return -1;
	}
	memset(&control, 0, msg.msg_controllen);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(nfds * sizeof(int));
	memcpy(CMSG_DATA(cm), fds, nfds * sizeof(int));
	return sendmsg(fd, &msg, flags);
}

static ssize_t send_socket(int fd, const struct iovec *iov, int n, const int *fds, unsigned nfds)
{
	const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};

	if (nfds)
		return send_fds(fd, iov, n, fds, nfds, flags);
	if (n == 1)
		return send(fd, iov->iov_base, iov->iov_len, flags);
	return sendmsg(fd, &msg, flags);
}

static ssize_t write_once(int fd, enum ipc_fdkind kind, const struct iovec *iov, int n, const int *fds,
			  unsigned nfds)
{
	if (ipc_os_is_socket(kind))
		return send_socket(fd, iov, n, fds, nfds);
	return kind == IPC_FD_PIPE ? ipc_os_write_pipe(fd, iov, n) : ipc_os_write_masked(fd, iov, n);
}

ssize_t ipc_os_writev(int fd, enum ipc_fdkind kind, const struct iovec *iov, int n, const int *fds,
		      unsigned nfds)
{
	ssize_t put;

	if (nfds && kind != IPC_FD_UNIX) {
		errno = EOPNOTSUPP;
		return -1;
	}
	do
		put = write_once(fd, kind, iov, n, fds, nfds);
	while (put == -1 && errno == EINTR);
	if (put == -1 && errno == EIO && has_hung_up(fd))
		errno = EPIPE;
	if (put == -1 && (errno == ETOOMANYREFS || errno == ENOMEM))
		errno = ENOBUFS;
	return settle(put);
}

int ipc_os_set_reset(int fd, bool on)
{
	const struct linger l = {.l_onoff = on, .l_linger = 0};

	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

int ipc_os_shutdown_write(int fd)
{
	return shutdown(fd, SHUT_WR);
}

int ipc_os_shutdown_read(int fd)
{
	return shutdown(fd, SHUT_RD);
}

int64_t ipc_os_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

IPC_EAGER(sigaction);
IPC_EAGER(sigemptyset);
IPC_EAGER(sigprocmask);

void ipc_os_reset_signals(void)
{
	struct sigaction sa;
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++) {
		if (sigaction(sig, NULL, &sa) == -1 || sa.sa_handler == SIG_DFL || sa.sa_handler == SIG_IGN)
			continue;
		sa = (struct sigaction){.sa_handler = SIG_DFL};
		sigaction(sig, &sa, NULL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}
