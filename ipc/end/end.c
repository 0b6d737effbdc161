/*
 * The public calls of ends: made in pairs or adopted, detached, reclaimed, released, freed. An end is a handle around a struct ipc_own, which does
 * the work. aioend_open() is in ipc/conn, aioend_inherited() in inherit.c.
 */
#include "ipc/end/end.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/os/log.h"
#include "ipc/os/socket.h"

struct aioend *ipc_end_new(void)
{
	struct aioend *end = malloc(sizeof(*end));

	if (!end)
		return NULL;
	ipc_own_init(&end->own);
	end->ring = IPC_NO_RING;
	end->name = NULL;
	end->stdio_r = end->stdio_w = -1;
	return end;
}

void ipc_end_dispose(struct aioend *end)
{
	free(end->name);
	free(end);
}

static int open_pipe(int fd[4], void *arg)
{
	int p[2];

	(void)arg;
	if (ipc_os_pipe(p) == -1)
		return -1;
	fd[0] = p[0];
	fd[3] = p[1];
	return 0;
}

static int open_two_pipes(int fd[4], void *arg)
{
	int there[2], back[2], error;

	(void)arg;
	if (ipc_os_pipe(there) == -1)
		return -1;
	if (ipc_os_pipe(back) == -1) {
		error = errno;
		close(there[0]);
		close(there[1]);
		errno = error;
		return -1;
	}
	fd[0] = there[0];
	fd[3] = there[1];
	fd[2] = back[0];
	fd[1] = back[1];
	return 0;
}

static int open_sockpair(int fd[4], void *arg)
{
	int s[2];

	(void)arg;
	if (ipc_os_sockpair(s) == -1)
		return -1;
	fd[0] = fd[1] = s[0];
	fd[2] = fd[3] = s[1];
	return 0;
}

/* Opened and registered under one hold, so that no fork happens in between. */
static int open_pair(struct aioend *one, struct aioend *other, ipc_end_open_fn *open, void *arg)
{
	int fd[4] = {-1, -1, -1, -1};

	if (ipc_own_hold() == -1)
		return -1;
	if (open(fd, arg) == -1) {
		ipc_own_let_go();
		return -1;
	}
	ipc_own_set(&one->own, fd[0], fd[1]);
	ipc_own_set(&other->own, fd[2], fd[3]);
	ipc_own_link(&one->own);
	ipc_own_link(&other->own);
	ipc_own_let_go();
	return 0;
}

int ipc_end_pair(struct aioend **one, struct aioend **other, ipc_end_open_fn *open, void *arg)
{
	struct aioend *a = ipc_end_new(), *b = ipc_end_new();

	if (!a || !b || open_pair(a, b, open, arg) == -1) {
		free(a);
		free(b);
		return -1;
	}
	*one = a;
	*other = b;
	return 0;
}

int aiopipe(struct aioend **rx, struct aioend **tx)
{
	return ipc_end_pair(rx, tx, open_pipe, NULL);
}

int aioduplex(struct aioend **one, struct aioend **other)
{
	return ipc_end_pair(one, other, open_two_pipes, NULL);
}

int aiosockpair(struct aioend **one, struct aioend **other)
{
	return ipc_end_pair(one, other, open_sockpair, NULL);
}

/* 0 when @fd is -1, or open for @way (O_RDONLY or O_WRONLY). */
static int check_way(int fd, int way)
{
	int flags;

	if (fd == -1)
		return 0;
	flags = fcntl(fd, F_GETFL);
	if (flags == -1)
		return -1;
	if (!(flags & O_PATH) && ((flags & O_ACCMODE) == O_RDWR || (flags & O_ACCMODE) == way))
		return 0;
	errno = EBADF;
	return -1;
}

/* Packets would be cut to the size of a buffer, and a socket that listens carries no data. */
static int check_stream(int fd)
{
	if (fd == -1 || ipc_os_check_stream(fd) == 0)
		return 0;
	if (errno == EINVAL)
		ipc_log("descriptor %d can't be an end: it is a socket that listens", fd);
	else
		ipc_log("descriptor %d can't be an end: it is a socket of packets, not of a stream", fd);
	return -1;
}

/* Under the mutex. */
static int adopt(struct ipc_own *own, int rfd, int wfd)
{
	if ((rfd != -1 && ipc_own_taken(rfd)) || (wfd != -1 && ipc_own_taken(wfd))) {
		errno = EBUSY;
		return -1;
	}
	if (ipc_own_set(own, rfd, wfd) == -1)
		return -1;
	if ((rfd != -1 && ipc_os_set_cloexec(rfd) == -1) || (wfd != -1 && ipc_os_set_cloexec(wfd) == -1))
		return -1;
	own->adopted = true;
	ipc_own_link(own);
	return 0;
}

int ipc_end_adopt(struct ipc_own *own, int rfd, int wfd)
{
	int rc;

	if (rfd == -1 && wfd == -1)
		return ipc_refuse("aioend_from_fds: both descriptors are -1: one must be given");
	if (check_way(rfd, O_RDONLY) == -1 || check_way(wfd, O_WRONLY) == -1)
		return -1;
	if (check_stream(rfd) == -1 || check_stream(wfd) == -1 || ipc_own_hold() == -1)
		return -1;
	rc = adopt(own, rfd, wfd);
	ipc_own_let_go();
	return rc;
}

struct aioend *aioend_from_fds(int rfd, int wfd)
{
	struct aioend *end = ipc_end_new();

	if (!end)
		return NULL;
	if (ipc_end_adopt(&end->own, rfd, wfd) == 0)
		return end;
	ipc_end_dispose(end);
	return NULL;
}

int aioend_release(struct aioend *end, int *rfd, int *wfd)
{
	if (ipc_own_check(&end->own) == -1)
		return -1;
	if (end->own.moved || end->ring) {
		errno = end->ring ? EOPNOTSUPP : EBADF;
		return -1;
	}
	*rfd = end->own.r.fd;
	*wfd = end->own.w.fd;
	ipc_own_remove(&end->own);
	ipc_end_dispose(end);
	return 0;
}

int aioend_detach(struct aioend *end)
{
	return ipc_own_detach(&end->own);
}

int aioend_reclaim(struct aioend *end)
{
	return ipc_own_reclaim(&end->own);
}

void aioend_free(struct aioend *end)
{
	if (!end)
		return;
	ipc_own_close(&end->own);
	ipc_end_dispose(end);
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= IPC_NAME_MOST && strspn(name, IPC_NAME_CHARS) == len;
}

int aioend_set_name(struct aioend *end, const char *name)
{
	char *copy;

	if (ipc_own_check(&end->own) == -1)
		return -1;
	if (!name_ok(name))
		return ipc_refuse(
			"aioend_set_name: \"%.80s\": a name has 1 to %d letters, digits, _, - and .",
			name ? name : "", IPC_NAME_MOST);
	copy = strdup(name);
	if (!copy)
		return -1;
	free(end->name);
	end->name = copy;
	return 0;
}

int aioend_set_stdio(struct aioend *end, int rfd, int wfd)
{
	if (ipc_own_check(&end->own) == -1)
		return -1;
	if ((rfd != -1 && rfd != STDIN_FILENO) || (wfd != -1 && wfd != STDOUT_FILENO && wfd != STDERR_FILENO))
		return ipc_refuse(
			"aioend_set_stdio: %d and %d: they must be 0 or -1 to read, and 1, 2 or -1 to write",
			rfd, wfd);
	if ((rfd != -1 && end->own.r.fd == -1) || (wfd != -1 && end->own.w.fd == -1)) {
		errno = EBADF;
		return -1;
	}
	if (end->ring) {
		errno = EOPNOTSUPP;
		return -1;
	}
	end->stdio_r = rfd;
	end->stdio_w = wfd;
	return 0;
}
