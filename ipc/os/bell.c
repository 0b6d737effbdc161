/* An eventfd where there are some, else a pipe: see bell.h. */
#include "ipc/os/bell.h"

#include <errno.h>
#include <unistd.h>

#ifdef __linux__

#include <sys/eventfd.h>

int ipc_os_bell(int fd[2])
{
	fd[0] = fd[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return fd[0] == -1 ? -1 : 0;
}

/* Neither fails: there is always room for one more ring. */
void ipc_os_bell_ring(int fd)
{
	eventfd_write(fd, 1);
}

void ipc_os_bell_quiet(int fd)
{
	eventfd_t rings;

	eventfd_read(fd, &rings);
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

/* Full means rung. */
void ipc_os_bell_ring(int fd)
{
	while (write(fd, "", 1) == -1 && errno == EINTR)
		;
}

void ipc_os_bell_quiet(int fd)
{
	char rings[128];

	while (read(fd, rings, sizeof rings) == -1 && errno == EINTR)
		;
}

#endif

void ipc_os_bell_close(const int fd[2])
{
	close(fd[0]);
	if (fd[1] != fd[0])
		close(fd[1]);
}
