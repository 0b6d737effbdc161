/* aioring(): a pair of ends over shared memory. What an end is until it is opened is in shared.h. */
#include <errno.h>
#include <unistd.h>

#include <aioipc/end.h>

#include "ipc/carry/shared.h"
#include "ipc/end/end.h"
#include "ipc/os/os.h"

static int open_rings(int fd[4], void *arg)
{
	const size_t *size = arg;
	int s[2], error;

	if (ipc_os_sockpair(s) == -1)
		return -1;
	if (ipc_carry_share(s[0], s[1], *size) == -1) {
		error = errno;
		close(s[0]);
		close(s[1]);
		errno = error;
		return -1;
	}
	fd[0] = fd[1] = s[0];
	fd[2] = fd[3] = s[1];
	return 0;
}

int aioring(struct aioend **one, struct aioend **other, size_t size)
{
	if (ipc_end_pair(one, other, open_rings, &size) == -1)
		return -1;
	(*one)->ring = (*other)->ring = IPC_RING_COMES;
	return 0;
}
