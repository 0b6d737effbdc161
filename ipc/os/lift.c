/*
 * Keeps the library's descriptors off 0, 1 and 2. Where a program has closed these, others still write to them: its printf() would end up
 * in one of our pipes.
 */
#include "ipc/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

int ipc_os_lift(int fd)
{
	int up = fd, error;

	if (fd >= 0 && fd <= STDERR_FILENO) {
		up = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		error = errno == EINVAL ? EMFILE : errno; /* the limit is as low as that */
		close(fd);
		errno = error;
	}
	return up;
}

int ipc_os_lift_pair(int made, int fd[2])
{
	int error;

	if (made == -1)
		return -1;
	fd[0] = ipc_os_lift(fd[0]);
	error = errno;
	fd[1] = ipc_os_lift(fd[1]);
	if (fd[0] != -1 && fd[1] != -1)
		return 0;
	error = fd[0] == -1 ? error : errno;
	for (int i = 0; i < 2; i++)
		if (fd[i] != -1)
			close(fd[i]);
	errno = error;
	return -1;
}

void ipc_os_block_stdio_end(const int fd[3])
{
	int error = errno;

	for (int i = 0; i <= STDERR_FILENO; i++)
		if (fd[i] != -1)
			close(fd[i]);
	errno = error;
}

int ipc_os_block_stdio(int fd[3])
{
	int one;

	fd[0] = fd[1] = fd[2] = -1;
	do {
		one = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (one == -1) {
			ipc_os_block_stdio_end(fd);
			return -1;
		}
		if (one <= STDERR_FILENO)
			fd[one] = one;
	} while (one <= STDERR_FILENO);
	close(one);
	return 0;
}
