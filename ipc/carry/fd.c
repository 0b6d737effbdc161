/* The carrier of a pair of descriptors: pipes, sockets, terminals, files. What the kinds differ in is known here and below. */
#include <errno.h>

#include <event2/event.h>

#include "ipc/carry/carry.h"

static ssize_t fd_read(struct ipc_carrier *k, struct iovec *iov, int n, struct ipc_fdlist *fds)
{
	return ipc_os_readv(k->own.r.fd, k->own.r.kind, iov, n, fds);
}

static ssize_t fd_write(struct ipc_carrier *k, const struct iovec *iov, int n, const int *fd, unsigned nfds)
{
	return ipc_os_writev(k->own.w.fd, k->own.w.kind, iov, n, fd, nfds);
}

/*
 * A pipe without a reader is an error to whoever watches it. A socket stays readable at its end, so only edges tell of the rest. A
 * file has no peer.
 */
static short departure(enum ipc_fdkind kind)
{
	if (kind == IPC_FD_FILE)
		return 0;
	return kind == IPC_FD_PIPE ? EV_READ : EV_READ | EV_ET;
}

static short fd_shown_by(const struct ipc_carrier *k, enum ipc_carry_wait what)
{
	if (what == IPC_CARRY_GONE)
		return departure(k->own.w.kind);
	return what == IPC_CARRY_IN ? EV_READ : EV_WRITE;
}

bool ipc_carry_hung_up(const struct ipc_carrier *k)
{
	struct pollfd p = {.fd = k->own.w.fd};

	return ipc_os_poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP));
}

static void fd_shut_read(struct ipc_carrier *k)
{
	if (ipc_os_is_socket(k->own.r.kind) && k->own.r.fd >= 0)
		ipc_os_shutdown_read(k->own.r.fd);
}

static int fd_shut_write(struct ipc_carrier *k)
{
	ipc_own_close_write(&k->own);
	return 0;
}

static int fd_set_reset(struct ipc_carrier *k, bool on)
{
	if (k->own.w.kind == IPC_FD_SOCKET)
		return ipc_os_set_reset(k->own.w.fd, on);
	errno = EOPNOTSUPP;
	return -1;
}

static bool fd_all_arrived(const struct ipc_carrier *k)
{
	return k->own.r.kind == IPC_FD_SOCKET && ipc_os_all_arrived(k->own.r.fd);
}

static void fd_close(struct ipc_carrier *k)
{
	ipc_own_close(&k->own);
}

/* One socket, maybe under two numbers. */
static bool is_one(const struct ipc_fd *r, const struct ipc_fd *w)
{
	return ipc_os_is_socket(r->kind) && r->dev == w->dev && r->ino == w->ino;
}

void ipc_carry_by_fd(struct ipc_carrier *k)
{
	static const struct ipc_carry by_fd = {
		.read = fd_read,
		.write = fd_write,
		.shown_by = fd_shown_by,
		.left = ipc_carry_hung_up,
		.shut_read = fd_shut_read,
		.shut_write = fd_shut_write,
		.set_reset = fd_set_reset,
		.all_arrived = fd_all_arrived,
		.close = fd_close,
	};
	const struct ipc_fd *r = &k->own.r, *w = &k->own.w;

	k->how = &by_fd;
	k->can = (r->kind == IPC_FD_UNIX ? IPC_CARRY_FDS_IN : 0) |
		 (w->kind == IPC_FD_UNIX ? IPC_CARRY_FDS_OUT : 0) | (is_one(r, w) ? IPC_CARRY_ONE : 0) |
		 (r->kind == IPC_FD_SOCKET ? IPC_CARRY_READ_OUT : 0);
}
