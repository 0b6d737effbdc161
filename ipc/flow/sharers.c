/* The count of those who share a queue. See sharers.h. */
#include "ipc/flow/sharers.h"

#include <aioipc/queue.h>

#include "ipc/flow/queue.h"

void ipc_sharers_join(struct aioqueue *q, enum ipc_side side)
{
	if (!q || ipc_queue_check(q) == -1)
		return;
	ipc_queue_lock(q);
	q->sharers[side].n++;
	ipc_queue_unlock(q);
}

bool ipc_sharers_leave(struct aioqueue *q, enum ipc_side side, bool used)
{
	bool last, close;

	if (!q || ipc_queue_check(q) == -1)
		return false;
	ipc_queue_lock(q);
	q->sharers[side].used = q->sharers[side].used || used;
	last = --q->sharers[side].n == 0;
	close = last && q->sharers[side].used;
	ipc_queue_unlock(q);
	if (close)
		aioqueue_close(q);
	return last;
}

unsigned ipc_sharers_count(const struct aioqueue *q, enum ipc_side side)
{
	unsigned n = atomic_load_explicit(&q->sharers[side].n, memory_order_relaxed);

	return n > 0 ? n : 1;
}
