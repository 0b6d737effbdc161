/* Who shares a queue: see company.h. */
#include "ipc/flow/company.h"

#include <aioipc/queue.h>

#include "ipc/flow/queue.h"

void ipc_company_join(struct aioqueue *q, enum ipc_side side)
{
	if (!q || ipc_queue_check(q) == -1)
		return;
	ipc_queue_lock(q);
	q->company[side].n++;
	ipc_queue_unlock(q);
}

bool ipc_company_leave(struct aioqueue *q, enum ipc_side side, bool used)
{
	bool last, close;

	if (!q || ipc_queue_check(q) == -1)
		return false;
	ipc_queue_lock(q);
	q->company[side].used = q->company[side].used || used;
	last = --q->company[side].n == 0;
	close = last && q->company[side].used;
	ipc_queue_unlock(q);
	if (close)
		aioqueue_close(q);
	return last;
}

unsigned ipc_company_count(const struct aioqueue *q, enum ipc_side side)
{
	unsigned n = atomic_load_explicit(&q->company[side].n, memory_order_relaxed);

	return n > 0 ? n : 1;
}
