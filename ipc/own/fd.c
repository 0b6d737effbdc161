/* One descriptor: see fd.h. */
#include "ipc/own/fd.h"

#include <sys/stat.h>
#include <unistd.h>

int ipc_fd_set(struct ipc_fd *f, int fd)
{
	struct stat st;

	if (fd == -1) {
		*f = (struct ipc_fd){.fd = -1};
		return 0;
	}
	if (fstat(fd, &st) == -1)
		return -1;
	*f = (struct ipc_fd){.fd = fd, .kind = ipc_os_fdkind_of(fd, &st), .dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

bool ipc_fd_is_ours(const struct ipc_fd *f)
{
	struct stat st;

	return f->fd != -1 && fstat(f->fd, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino;
}

void ipc_fd_close_ours(const struct ipc_fd *f)
{
	if (ipc_fd_is_ours(f))
		close(f->fd);
}

bool ipc_fd_is_same_socket(const struct ipc_fd *a, const struct ipc_fd *b)
{
	return ipc_os_is_socket(a->kind) && b->fd != -1 && a->dev == b->dev && a->ino == b->ino;
}

int ipc_fd_nonblock(struct ipc_fd *f)
{
	bool was;

	if (f->fd == -1 || f->kind != IPC_FD_PIPE)
		return 0;
	if (ipc_os_set_nonblock(f->fd, true, &was) == -1)
		return -1;
	f->nonblock = f->nonblock || !was;
	return 0;
}

void ipc_fd_give_flags_back(const struct ipc_fd *f)
{
	if (f->nonblock)
		ipc_os_set_nonblock(f->fd, false, NULL);
}

void ipc_fd_close_pipe(int fd[2])
{
	for (int i = 0; i < 2; i++)
		if (fd[i] != -1)
			close(fd[i]);
	fd[0] = fd[1] = -1;
}
