/* A new base for a thread of the library: see fresh.h. */
#include "ipc/loop/fresh.h"

#include <errno.h>
#include <stddef.h>

#include <event2/event.h>

#include "ipc/os/os.h"
#include "ipc/own/own.h"

/* libevent ends the process when it has no descriptors for a base: a pair of sockets, and one to poll. */
static int probe_descriptors(void)
{
	int one[2], other[2], r;

	if (ipc_own_hold() == -1)
		return -1;
	r = ipc_os_pipe(one);
	if (r == 0) {
		r = ipc_os_pipe(other);
		if (r == 0)
			ipc_fd_close_pipe(other);
		ipc_fd_close_pipe(one);
	}
	ipc_own_let_go();
	return r;
}

struct event_base *ipc_base_new(void)
{
	struct event_base *base = NULL;
	int low[3];

	if (ipc_os_block_stdio(low) == 0) {
		if (probe_descriptors() == 0)
			base = event_base_new();
		ipc_os_block_stdio_end(low);
	}
	if (!base && errno != EMFILE && errno != ENFILE)
		errno = ENOMEM;
	return base;
}
