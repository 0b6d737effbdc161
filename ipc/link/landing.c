/* Messages that have arrived and go into a queue: see landing.h. */
#include "ipc/link/landing.h"

#include <errno.h>
#include <string.h>

#include <aioipc/msg.h>
#include "ipc/flow/queue.h"

void ipc_landing_take(struct ipc_landing *l, struct aiomsg *m)
{
	l->m[l->count++] = m;
}

/* How many were put; -1, for good when it is EPIPE. */
static ssize_t put_some(struct ipc_landing *l)
{
	ssize_t n = ipc_queue_hand_over(l->queue, l->m, l->count);

	if (n > 0) {
		l->count -= (size_t)n;
		memmove(l->m, l->m + n, l->count * sizeof l->m[0]);
		ipc_counter_add(&l->in, (uint64_t)n);
	}
	return n;
}

int ipc_landing_put(struct ipc_landing *l)
{
	while (l->count > 0) {
		if (put_some(l) >= 0)
			continue;
		if (errno != EPIPE)
			return -1;
		ipc_landing_drop(l);
	}
	return 0;
}

void ipc_landing_drop(struct ipc_landing *l)
{
	ipc_counter_add(&l->dropped, l->count);
	while (l->count > 0)
		aiomsg_free(l->m[--l->count]);
}
