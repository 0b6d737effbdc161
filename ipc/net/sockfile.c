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

#define LOCK_SUFFIX ".aioipc-lock" /* other programs may use ".lock" for something else */
#define LOCK_TRIES 200             /* a holder keeps it for less than a millisecond */

/*
 * Where the file is: a folder and a name in it. The folder is opened once, so that all is done in the same folder even if the
 * path changes meanwhile.
 */
struct place {
	int folder;
	const char *name;
	char lock[sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof LOCK_SUFFIX];
};

static int open_place(struct place *p, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)] = "";

	memcpy(folder, path, (size_t)(name - path));
	p->name = name;
	snprintf(p->lock, sizeof p->lock, "%s" LOCK_SUFFIX, name);
	p->folder = ipc_os_lift(open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC));
	return p->folder == -1 ? -1 : 0;
}

static void close_place(const struct place *p)
{
	int error = errno;

	close(p->folder);
	errno = error;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static int look_at(const struct place *p, const char *name, struct stat *st)
{
	return fstatat(p->folder, name, st, AT_SYMLINK_NOFOLLOW);
}

/* A lock file of another user protects nothing, and that user could hold it for ever. */
static bool is_ours(const struct stat *st)
{
	return st->st_uid == geteuid() && st->st_nlink == 1;
}

/* Another user's file may fail to open the way we open ours. */
static bool is_foreign(int error)
{
	return error == EACCES || error == EPERM || error == ELOOP || error == EISDIR || error == ENXIO;
}

/* 1: *@fd holds the lock; 0: a lock is of no use here; -1/EWOULDBLOCK: another process holds it, or has just removed it. */
static int try_lock(const struct place *p, int *fd)
{
	struct stat here, there;

	*fd = ipc_os_lift(
		openat(p->folder, p->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
	if (*fd == -1)
		return is_foreign(errno) ? 0 : -1;
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0 && fstat(*fd, &here) == 0 &&
	    look_at(p, p->lock, &there) == 0 && is_same(&here, &there) && is_ours(&here))
		return 1;
	if (fstat(*fd, &here) == 0 && here.st_nlink && !is_ours(&here)) {
		close(*fd);
		*fd = -1;
		return 0;
	}
	close(*fd);
	*fd = -1;
	errno = EWOULDBLOCK;
	return -1;
}

/* Tries for as long as a holder may need. 0, also if a lock is of no use; or -1. */
static int lock(const struct place *p, int *fd)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (try_lock(p, fd) >= 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return -1;
		ipc_os_poll(NULL, 0, 1000000);
	}
	errno = EADDRINUSE;
	return -1;
}

static void unlock(const struct place *p, int fd)
{
	int error = errno;

	if (fd != -1) {
		unlinkat(p->folder, p->lock, 0);
		close(fd);
	}
	errno = error;
}

/*
 * Is it a socket that no process has open? A socket of another type tries to connect: a live socket refuses that with EPROTOTYPE and does
 * not notice. A real connection would look like a peer.
 */
static bool is_dead(const struct place *p, const struct sockaddr_un *un, socklen_t len)
{
	struct ipc_own probe;
	struct stat st;
	bool dead;

	ipc_own_init(&probe);
	if (look_at(p, p->name, &st) == -1 || !S_ISSOCK(st.st_mode) ||
	    ipc_net_socket(&probe, AF_UNIX, SOCK_DGRAM) == -1)
		return false;
	dead = ipc_os_connect(probe.r.fd, (const struct sockaddr *)(const void *)un, len) == -1 &&
	       errno == ECONNREFUSED;
	ipc_own_close(&probe);
	return dead;
}

static int bind_it(const struct place *p, int fd, const struct sockaddr_un *un, socklen_t len)
{
	const struct sockaddr *sa = (const struct sockaddr *)(const void *)un;

	if (bind(fd, sa, len) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -1;
	if (is_dead(p, un, len) && unlinkat(p->folder, p->name, 0) == 0)
		return bind(fd, sa, len);
	errno = EADDRINUSE;
	return -1;
}

/* Without /proc and fchmodat2(2): the file's name is used. That is safe only in a folder where other users can't replace our file. */
static bool nobody_else_names(const struct place *p)
{
	struct stat st;
	int error = errno;
	bool safe = fstat(p->folder, &st) == 0 && (st.st_uid == geteuid() || st.st_uid == 0) &&
		    (!(st.st_mode & (S_IWGRP | S_IWOTH)) || st.st_mode & S_ISVTX);

	errno = error;
	return safe;
}

/*
 * The socket got its mode before it was bound, which needs no path. But the umask has cleared bits. They are set again
 * on the file, if it is still the one that was made: another process may have replaced it.
 */
static int put_mode_right(const struct place *p, int file, mode_t mode, const struct stat *st)
{
	if ((st->st_mode & 07777) == mode)
		return 0;
	if (!is_ours(st)) {
		errno = EADDRINUSE;
		return -1;
	}
	if (ipc_os_chmod_opened(file, mode) == 0)
		return 0;
	return errno == ENOENT && nobody_else_names(p) ? fchmodat(p->folder, p->name, mode, 0) : -1;
}

/* Looks at the file that @p names, without following a link. -1, also if it is no socket. */
static int open_made(const struct place *p, struct stat *st)
{
	int file = ipc_os_lift(openat(p->folder, p->name, O_PATH | O_NOFOLLOW | O_CLOEXEC));

	if (file == -1)
		return -1;
	if (fstat(file, st) == 0 && S_ISSOCK(st->st_mode))
		return file;
	close(file);
	errno = EADDRINUSE;
	return -1;
}

/* Removes the file, unless it is another one by now. */
static void take_away(const struct place *p, const struct stat *made)
{
	struct stat st;
	int error = errno;

	if (look_at(p, p->name, &st) == 0 && is_same(&st, made))
		unlinkat(p->folder, p->name, 0);
	errno = error;
}

static int finish(const struct place *p, int fd, mode_t mode, int backlog, struct stat *st)
{
	int file = open_made(p, st), r, error;

	if (file == -1)
		return -1;
	r = put_mode_right(p, file, mode, st) == 0 ? listen(fd, backlog) : -1;
	error = errno;
	if (r == -1)
		take_away(p, st);
	close(file);
	errno = error;
	return r;
}

/* The caller holds the lock. */
static int make(struct ipc_sockfile *f, const struct place *p, int fd, const struct sockaddr_un *un,
		socklen_t len, mode_t mode, int backlog)
{
	struct stat st;

	fchmod(fd, mode); /* some systems refuse it, which does no harm */
	if (bind_it(p, fd, un, len) == -1 || finish(p, fd, mode, backlog, &st) == -1)
		return -1;
	*f = (struct ipc_sockfile){.dev = st.st_dev, .ino = st.st_ino};
	memcpy(f->path, un->sun_path, sizeof f->path);
	return 0;
}

int ipc_sockfile_listen(struct ipc_sockfile *f, int fd, const struct sockaddr_un *un, socklen_t len,
			mode_t mode, int backlog)
{
	struct place p;
	int held, r = -1;

	if (open_place(&p, un->sun_path) == -1)
		return -1;
	if (lock(&p, &held) == 0) {
		r = make(f, &p, fd, un, len, mode, backlog);
		unlock(&p, held);
	}
	close_place(&p);
	return r;
}

void ipc_sockfile_remove(struct ipc_sockfile *f)
{
	const struct stat made = {.st_dev = f->dev, .st_ino = f->ino};
	struct place p;
	int held, error = errno;

	if (!*f->path)
		return;
	if (open_place(&p, f->path) == 0) {
		bool locked = lock(&p, &held) == 0;

		take_away(&p, &made);
		if (locked)
			unlock(&p, held);
		close_place(&p);
	}
	*f->path = '\0';
	errno = error;
}
