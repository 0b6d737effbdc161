/* An eventfd where there are some, else a pipe: see bell.h. */
#include "ipc/os/bell.h"

#include <stdint.h>
#include <unistd.h>

#ifdef __linux__

#include <sys/eventfd.h>

int ipc_os_bell(int fd[2])
{
	fd[0] = fd[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return fd[0] == -1 ? -1 : 0;
}

#else

#include "ipc/os/os.h"

int ipc_os_bell(int fd[2])
{
	if (ipc_os_pipe(fd) == -1)
		return -1;
	ipc_os_set_nonblock(fd[0], true, NULL);
	ipc_os_set_nonblock(fd[1], true, NULL);
	return 0;
}

#endif

/* Full means rung. */
void ipc_os_bell_ring(int fd)
{
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof one);
}

void ipc_os_bell_quiet(int fd)
{
	uint64_t rings[16];

	(void)!read(fd, rings, sizeof rings);
}

void ipc_os_bell_close(const int fd[2])
{
	close(fd[0]);
	if (fd[1] != fd[0])
		close(fd[1]);
}
