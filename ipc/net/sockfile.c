/* Sockets in the file system: see sockfile.h. */
#include "ipc/net/sockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/net/socket.h"
#include "ipc/os/os.h"
#include "ipc/os/socket.h"

#define LOCK_SUFFIX ".aioipc-lock" /* others may have their own idea of a ".lock" */
#define LOCK_TRIES 200             /* a holder is through in less than a millisecond */

#define LOCK_PATH_SIZE (sizeof(struct sockaddr_un) + sizeof LOCK_SUFFIX)

static void lock_path(char *to, const char *path)
{
	snprintf(to, LOCK_PATH_SIZE, "%s" LOCK_SUFFIX, path);
}

/* The holder before may have removed what was opened here. */
static bool is_there(int fd, const char *path)
{
	struct stat here, there;

	return fstat(fd, &here) == 0 && lstat(path, &there) == 0 && here.st_ino == there.st_ino &&
	       here.st_dev == there.st_dev;
}

static int try_lock(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd == -1)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && is_there(fd, path))
		return fd;
	close(fd);
	errno = EWOULDBLOCK;
	return -1;
}

static int lock(const char *socket_path)
{
	char path[LOCK_PATH_SIZE];
	int fd;

	lock_path(path, socket_path);
	for (int i = 0; i < LOCK_TRIES; i++) {
		fd = try_lock(path);
		if (fd != -1 || errno != EWOULDBLOCK)
			return fd;
		ipc_os_poll(NULL, 0, 1000000);
	}
	errno = EADDRINUSE;
	return -1;
}

static void unlock(int fd, const char *socket_path)
{
	char path[LOCK_PATH_SIZE];
	int error = errno;

	lock_path(path, socket_path);
	unlink(path);
	close(fd);
	errno = error;
}

/*
 * Is it a socket that nobody has any more? One of another type is asked: what lives refuses that with EPROTOTYPE, and does not
 * notice, while a connection would be a peer.
 */
static bool is_dead(const struct sockaddr_un *un, socklen_t len)
{
	struct ipc_own probe;
	struct stat st;
	bool dead;

	ipc_own_init(&probe);
	if (lstat(un->sun_path, &st) == -1 || !S_ISSOCK(st.st_mode) ||
	    ipc_net_socket(&probe, AF_UNIX, SOCK_DGRAM) == -1)
		return false;
	dead = ipc_os_connect(probe.r.fd, (const struct sockaddr *)(const void *)un, len) == -1 &&
	       errno == ECONNREFUSED;
	ipc_own_close(&probe);
	return dead;
}

static int bind_it(int fd, const struct sockaddr_un *un, socklen_t len)
{
	const struct sockaddr *sa = (const struct sockaddr *)(const void *)un;

	if (bind(fd, sa, len) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -1;
	if (is_dead(un, len) && unlink(un->sun_path) == 0)
		return bind(fd, sa, len);
	errno = EADDRINUSE;
	return -1;
}

/* Under the lock. */
static int make(struct ipc_sockfile *f, int fd, const struct sockaddr_un *un, socklen_t len, mode_t mode,
		int backlog)
{
	struct stat st;
	int error;

	if (bind_it(fd, un, len) == -1)
		return -1;
	if (chmod(un->sun_path, mode) == -1 || lstat(un->sun_path, &st) == -1 || listen(fd, backlog) == -1) {
		error = errno;
		unlink(un->sun_path);
		errno = error;
		return -1;
	}
	*f = (struct ipc_sockfile){.dev = st.st_dev, .ino = st.st_ino};
	memcpy(f->path, un->sun_path, sizeof f->path);
	return 0;
}

int ipc_sockfile_listen(struct ipc_sockfile *f, int fd, const struct sockaddr_un *un, socklen_t len,
			mode_t mode, int backlog)
{
	int held = lock(un->sun_path), r;

	if (held == -1)
		return -1;
	r = make(f, fd, un, len, mode, backlog);
	unlock(held, un->sun_path);
	return r;
}

void ipc_sockfile_remove(struct ipc_sockfile *f)
{
	struct stat st;
	int held, error = errno;

	if (!*f->path)
		return;
	held = lock(f->path);
	if (lstat(f->path, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino)
		unlink(f->path);
	if (held != -1)
		unlock(held, f->path);
	*f->path = '\0';
	errno = error;
}
