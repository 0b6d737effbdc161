/* An eventfd where there are some, else a pipe: see bell.h. Both are rung and quieted alike. */
#include "ipc/os/bell.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

#include "ipc/os/missing.h"
#include "ipc/os/os.h"

static int pipe_bell(int fd[2])
{
	if (ipc_os_pipe(fd) == -1)
		return -1;
	ipc_os_set_nonblock(fd[0], true, NULL);
	ipc_os_set_nonblock(fd[1], true, NULL);
	return 0;
}

int ipc_os_bell(int fd[2])
{
#ifdef __linux__
	fd[0] = fd[1] = ipc_os_lift(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (fd[0] != -1)
		return 0;
	if (!ipc_os_is_missing(errno))
		return -1;
#endif
	return pipe_bell(fd);
}

/* When it is full, it was rung already. */
void ipc_os_bell_ring(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof one) == -1 && errno == EINTR)
		;
}

/* What stays in a pipe makes it readable once more, which does no harm. */
void ipc_os_bell_quiet(int fd)
{
	uint64_t rings[64];

	while (read(fd, rings, sizeof rings) == -1 && errno == EINTR)
		;
}

void ipc_os_bell_close(const int fd[2])
{
	close(fd[0]);
	if (fd[1] != fd[0])
		close(fd[1]);
}
