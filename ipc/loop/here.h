/*
 * What runs in this thread now: a callback of a base's loop, or a task that waits in place of the thread. Watches tell the one, the
 * scheduler of tasks tells the other. Whoever may wait asks here.
 */
#ifndef IPC_LOOP_HERE_H
#define IPC_LOOP_HERE_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/own/own.h"

struct event_base;

/* A task's way to wait: the task is suspended, and the loop of its base goes on. */
struct ipc_waits {
	struct event_base *base;
	uint32_t epoch; /* of the process that set it: a child which a task forks has none */
	int (*poll)(struct pollfd *fds, nfds_t n, int64_t deadline); /* as ipc_wait() */
};

/* Of this thread. Whoever sets a member restores its former value at the end: loops run inside loops. */
extern _Thread_local struct ipc_here {
	const struct ipc_waits
		*waits; /* set by a scheduler while its tasks run; NULL: the thread itself waits */
	struct event_base *calling; /* the base whose watch is called back; NULL */
} ipc_here;

/* How the running task waits. NULL: no task runs. */
static inline const struct ipc_waits *ipc_waits_here(void)
{
	const struct ipc_waits *w = ipc_here.waits;

	return w && w->epoch == ipc_epoch() ? w : NULL;
}

/* Is this a callback of @base's loop? False in a task of @base, and when @base is NULL. */
bool ipc_in_callback(struct event_base *base);

#endif
